"""Captures and tables on their way in: bytes become frames in one reused buffer, or columns."""
