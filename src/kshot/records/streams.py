"""What a followed source gives: pieces of records, each with where it ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl


def _nothing() -> bytes:
    return b""


@dataclass(frozen=True, slots=True)
class Bookmark:
    """How far a source was read: enough to go on behind it in another process."""

    position: str
    """JSON text of the source's own; small, for it is written with every batch."""
    carry: Callable[[], bytes] = _nothing
    """Makes what position alone cannot bring back, such as half of a join; called only if this bookmark is kept."""
    carry_version: int = 0
    """Changes whenever what `carry` makes does, so that the same bytes are not written twice."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Records of a source, in order, and where it stood behind them."""

    frame: pl.DataFrame
    """Flows, of FLOW_SCHEMA or the part of it that a log can fill; may be empty where only the bookmark moved."""
    bookmark: Bookmark
    early: pl.DataFrame | None = None
    """Flows that are still open, as they are by now, of a source that can look at them: they come again when they end.
    """
