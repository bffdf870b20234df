"""First schema: alerts, evidence, labels, bookmarks with their journal, audit."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the tables as revision 0001 had them, whatever `tables.py` says by now."""
    op.create_table(
        "alerts",
        sa.Column("id", _BIG, primary_key=True, autoincrement=True),
        sa.Column("source", sa.String(512), nullable=False),
        sa.Column("threat", sa.Text, nullable=False),
        sa.Column("originator", sa.Text),
        sa.Column("responder", sa.Text),
        sa.Column("first_nanoseconds", sa.BigInteger),
        sa.Column("last_nanoseconds", sa.BigInteger),
        sa.Column("flows", sa.BigInteger, nullable=False),
        sa.Column("score", sa.Float(53), nullable=False),
        sa.Column("p_value", sa.Float(53)),
        sa.Column("calibrated", sa.String(16), nullable=False),
        sa.Column("attack", sa.Text, nullable=False),
        sa.Column("reasons", sa.Text, nullable=False),
        sa.Column("record", sa.BigInteger, nullable=False),
        sa.Column("is_open", sa.Boolean, nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("alerts_open", "alerts", ["source", "is_open"])
    op.create_index("alerts_last", "alerts", ["last_nanoseconds"])
    op.create_table(
        "evidence",
        sa.Column("alert", _BIG, sa.ForeignKey("alerts.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("record", sa.BigInteger, primary_key=True),
        sa.Column("score", sa.Float(53), nullable=False),
        sa.Column("p_value", sa.Float(53)),
        sa.Column("facts", sa.Text, nullable=False),
        sa.Column("features", sa.Text, nullable=False),
    )
    op.create_table(
        "labels",
        sa.Column("id", _BIG, primary_key=True, autoincrement=True),
        sa.Column("alert", sa.BigInteger, nullable=False),
        sa.Column("verdict", sa.String(32), nullable=False),
        sa.Column("threat", sa.Text, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("at", sa.String(40), nullable=False),
        sa.Column("is_undone", sa.Boolean, nullable=False),
        sa.Column("features", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
    )
    op.create_index("labels_alert", "labels", ["alert"])
    op.create_table(
        "bookmarks",
        sa.Column("source", sa.String(512), primary_key=True),
        sa.Column("batch", sa.BigInteger, nullable=False),
        sa.Column("records", sa.BigInteger, nullable=False),
        sa.Column("position", sa.Text, nullable=False),
        sa.Column("carry", sa.LargeBinary, nullable=False),
        sa.Column("snapshot", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "journal",
        sa.Column("source", sa.String(512), sa.ForeignKey("bookmarks.source", ondelete="CASCADE"), primary_key=True),
        sa.Column("batch", sa.BigInteger, primary_key=True),
        sa.Column("records", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "audit",
        sa.Column("id", _BIG, primary_key=True, autoincrement=True),
        sa.Column("at", sa.String(40), nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("about", sa.Text, nullable=False),
    )


def downgrade() -> None:
    """Leave nothing."""
    for name in ("audit", "journal", "bookmarks", "labels", "evidence", "alerts"):
        op.drop_table(name)
