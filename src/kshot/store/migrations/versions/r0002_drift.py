"""Second schema: the reservoir of late records, and the reference that was made of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the two tables as revision 0002 had them."""
    source = sa.ForeignKey("bookmarks.source", ondelete="CASCADE")
    op.create_table(
        "reservoir",
        sa.Column("source", sa.String(512), source, primary_key=True),
        sa.Column("batch", sa.BigInteger, primary_key=True),
        sa.Column("records", sa.LargeBinary, nullable=False),
    )
    source = sa.ForeignKey("bookmarks.source", ondelete="CASCADE")
    op.create_table(
        "standing",
        sa.Column("source", sa.String(512), source, primary_key=True),
        sa.Column("reference", sa.LargeBinary, nullable=False),
    )


def downgrade() -> None:
    """Leave what the first schema had."""
    op.drop_table("standing")
    op.drop_table("reservoir")
