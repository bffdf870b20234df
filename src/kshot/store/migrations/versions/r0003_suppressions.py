"""Third schema: suppressions, and which of them an alert falls under."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the table as revision 0003 had it; no alert is suppressed so far."""
    op.create_table(
        "suppressions",
        sa.Column("id", _BIG, primary_key=True, autoincrement=True),
        sa.Column("threat", sa.Text),
        sa.Column("originator", sa.Text),
        sa.Column("responder", sa.Text),
        sa.Column("until_nanoseconds", sa.BigInteger),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("at", sa.String(40), nullable=False),
        sa.Column("is_lifted", sa.Boolean, nullable=False),
    )
    op.add_column("alerts", sa.Column("suppressed_by", sa.BigInteger))


def downgrade() -> None:
    """Leave what the second schema had."""
    op.drop_column("alerts", "suppressed_by")
    op.drop_table("suppressions")
