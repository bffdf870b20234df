"""The tables of the alert store, as SQLAlchemy sees them."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

METADATA = MetaData()
_Big = BigInteger().with_variant(Integer, "sqlite")

ALERTS = Table(
    "alerts",
    METADATA,
    Column("id", _Big, primary_key=True, autoincrement=True),
    Column("source", String(512), nullable=False),
    Column("threat", Text, nullable=False),
    Column("originator", Text),
    Column("responder", Text),
    Column("first_nanoseconds", BigInteger),
    Column("last_nanoseconds", BigInteger),
    Column("flows", BigInteger, nullable=False),
    Column("score", Float(53), nullable=False),
    Column("p_value", Float(53)),
    Column("calibrated", String(16), nullable=False),
    Column("attack", Text, nullable=False),
    Column("reasons", Text, nullable=False),
    Column("record", BigInteger, nullable=False),
    Column("is_open", Boolean, nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("suppressed_by", BigInteger),
    Index("alerts_open", "source", "is_open"),
    Index("alerts_last", "last_nanoseconds"),
    sqlite_autoincrement=True,
)
EVIDENCE = Table(
    "evidence",
    METADATA,
    Column("alert", _Big, ForeignKey("alerts.id", ondelete="CASCADE"), primary_key=True),
    Column("record", BigInteger, primary_key=True),
    Column("score", Float(53), nullable=False),
    Column("p_value", Float(53)),
    Column("facts", Text, nullable=False),
    Column("features", Text, nullable=False),
)
LABELS = Table(
    "labels",
    METADATA,
    Column("id", _Big, primary_key=True, autoincrement=True),
    Column("alert", BigInteger, nullable=False),
    Column("verdict", String(32), nullable=False),
    Column("threat", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("at", String(40), nullable=False),
    Column("is_undone", Boolean, nullable=False),
    Column("features", Text, nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Index("labels_alert", "alert"),
)
"""A label holds the records that it teaches from, so that it outlives its alert."""
SUPPRESSIONS = Table(
    "suppressions",
    METADATA,
    Column("id", _Big, primary_key=True, autoincrement=True),
    Column("threat", Text),
    Column("originator", Text),
    Column("responder", Text),
    Column("until_nanoseconds", BigInteger),
    Column("note", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("at", String(40), nullable=False),
    Column("is_lifted", Boolean, nullable=False),
)
"""What nobody wants to hear of: null is any threat, any party, for ever."""
BOOKMARKS = Table(
    "bookmarks",
    METADATA,
    Column("source", String(512), primary_key=True),
    Column("batch", BigInteger, nullable=False),
    Column("records", BigInteger, nullable=False),
    Column("position", Text, nullable=False),
    Column("carry", LargeBinary, nullable=False),
    Column("snapshot", LargeBinary, nullable=False),
)
"""`records` were judged so far; `snapshot` is what the watch remembered, before the batches in `journal`."""
JOURNAL = Table(
    "journal",
    METADATA,
    Column("source", String(512), ForeignKey("bookmarks.source", ondelete="CASCADE"), primary_key=True),
    Column("batch", BigInteger, primary_key=True),
    Column("records", LargeBinary, nullable=False),
)
RESERVOIR = Table(
    "reservoir",
    METADATA,
    Column("source", String(512), ForeignKey("bookmarks.source", ondelete="CASCADE"), primary_key=True),
    Column("batch", BigInteger, primary_key=True),
    Column("records", LargeBinary, nullable=False),
)
"""An even sample of records that belong to no alert, from which a new reference is made when traffic drifts."""
STANDING = Table(
    "standing",
    METADATA,
    Column("source", String(512), ForeignKey("bookmarks.source", ondelete="CASCADE"), primary_key=True),
    Column("reference", LargeBinary, nullable=False),
)
"""The reference made so, which a restarted watch fits on again."""
AUDIT = Table(
    "audit",
    METADATA,
    Column("id", _Big, primary_key=True, autoincrement=True),
    Column("at", String(40), nullable=False),
    Column("who", Text, nullable=False),
    Column("action", String(64), nullable=False),
    Column("about", Text, nullable=False),
)
