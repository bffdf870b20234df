"""The pipeline: from captures and tables to alerts."""
