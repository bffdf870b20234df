"""What crosses rooms: the columns of the bulk frames, and frozen dataclasses for the few."""
