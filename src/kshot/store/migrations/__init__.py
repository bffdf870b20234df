"""The alert store's schema, revision by revision (alembic)."""
