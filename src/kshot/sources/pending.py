"""What http, dns and tls records told of flows that the log of flows has not told of yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BytesIO

import polars as pl

from kshot.sources.log_flows import FACTS, as_log_frame, join_facts
from kshot.sources.log_lines import canonical_addresses

MOST_ROWS = 200_000
"""Facts kept waiting; beyond, the oldest go: their flows are long, or were never logged."""
_COLUMNS = ("log_uid", *(name for group in FACTS for name in group))
_EMPTY = pl.DataFrame(schema={name: pl.String() for name in _COLUMNS})


class PendingFacts:
    """Facts wait here until their flow is logged; joined they are forgotten."""

    def __init__(self, most_rows: int = MOST_ROWS) -> None:
        self.version = 0
        """Changes whenever a `packer` would make other bytes."""
        self.dropped = 0
        """Facts that had to go."""
        self._most_rows = most_rows
        self._waiting = _EMPTY

    def __len__(self) -> int:
        return self._waiting.height

    def add(self, facts: Sequence[pl.DataFrame]) -> None:
        """Take frames with a log_uid and some of the columns of facts, in the order of their logs."""
        having = [frame for frame in facts if frame.height]
        if not having:
            return
        whole = pl.concat([self._waiting, *having], how="diagonal").select(_COLUMNS)
        # Of each flow the first record that tells of a group of facts is taken: the others never matter.
        whole = whole.filter(pl.col("log_uid").is_not_null()).with_row_index("at")
        first = [
            whole.filter(pl.any_horizontal(pl.col(name).is_not_null() for name in group))
            .unique("log_uid", keep="first", maintain_order=True)
            .select("at")
            for group in FACTS
        ]
        kept = whole.join(pl.concat(first).unique(), on="at", how="semi", maintain_order="left").drop("at")
        self.dropped += max(kept.height - self._most_rows, 0)
        self._waiting = kept.tail(self._most_rows)
        self.version += 1

    def join(self, flows: pl.DataFrame) -> pl.DataFrame:
        """Give flows (with log_uid) their facts, columns and addresses as flow frames from logs have them."""
        flows = canonical_addresses(flows, ("originator", "responder"))
        if not self._waiting.height or not flows.height:
            return as_log_frame(flows)
        joined = as_log_frame(join_facts(flows, [self._waiting]))
        left = self._waiting.join(flows.select("log_uid"), on="log_uid", how="anti", maintain_order="left")
        if left.height < self._waiting.height:
            self._waiting = left
            self.version += 1
        return joined

    def lacking(self, uids: pl.Series) -> pl.Series:
        """Which of `uids` have no facts here."""
        return uids.filter(~uids.is_in(self._waiting["log_uid"].implode()))

    def packer(self) -> Callable[[], bytes]:
        """What makes bytes of everything that waits now, whenever it is called."""
        waiting = self._waiting
        return lambda: _pack(waiting)

    def unpack(self, data: bytes) -> None:
        """Take what a `packer` made."""
        self._waiting = pl.read_ipc(BytesIO(data)) if data else _EMPTY
        self.version += 1


def _pack(waiting: pl.DataFrame) -> bytes:
    if not waiting.height:
        return b""
    buffer = BytesIO()
    waiting.write_ipc(buffer, compression="zstd")
    return buffer.getvalue()
