"""A bounded queue between who reads and who judges, and batches by size or time."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import polars as pl

from kshot.records.streams import Piece

MOST_BATCH_RECORDS = 8_192
MOST_QUEUED_RECORDS = 65_536
BATCH_SECONDS = 1.0
MOST_WAIT_SECONDS = 2.0


@dataclass(slots=True)
class _Waiting:
    """A piece in the queue."""

    since: float
    piece: Piece
    is_thinned: bool


class PieceQueue:
    """Holds pieces until they are judged; full, it makes the reader wait or sheds what comes, and counts either.

    policy: "wait" for sources that keep what is not read (files, pipes); "shed" for those that do not. A piece that is
    shed is gone with its bookmark, so the next bookmark goes past it: what was shed stays shed after a restart. By
    "shed" the queue is also full when its oldest piece has waited for `most_wait_seconds`, so that verdicts stay
    timely; and once it is half of that, its pieces and each new one are thinned by `thin`. But `spared_records` may
    wait however long: they are judged in one go.
    """

    def __init__(
        self,
        most_records: int = MOST_QUEUED_RECORDS,
        policy: Literal["wait", "shed"] = "wait",
        clock: Callable[[], float] = time.monotonic,
        most_wait_seconds: float = MOST_WAIT_SECONDS,
        thin: Callable[[pl.DataFrame], pl.DataFrame] = lambda frame: frame,
        spared_records: int = MOST_BATCH_RECORDS,
    ) -> None:
        self.shed_records = 0
        """Left out because the queue was full, or"""
        self.thinned_records = 0
        """thinned out because it was half full."""
        self.waits = 0
        """How often the reader had to wait."""
        self.queued_records = 0
        self._most_records = most_records
        self._policy = policy
        self._clock = clock
        self._most_wait_seconds = most_wait_seconds
        self._thin = thin
        self._spared_records = spared_records
        self._pieces: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._over = False

    def put(self, piece: Piece, give_up: Callable[[], bool] = lambda: False, *, is_last: bool = False) -> bool:
        """Add a piece; False if it was shed, or if `give_up` said so while waiting for room.

        is_last: nothing new comes any more, so that what is not thinned out can wait.
        """
        with self._changed:
            most = piece.frame.height
            is_pressed = self._policy == "shed" and (self._is_pressed() or self._is_late(most) or self._is_full(most))
            if is_pressed:
                piece = self._thinned(piece)
                for one in self._pieces:
                    if not one.is_thinned:
                        one.piece, one.is_thinned = self._thinned(one.piece), True
                self.queued_records = sum(one.piece.frame.height for one in self._pieces)
            records = piece.frame.height
            if self._policy == "shed" and not is_last and (self._is_late(records) or self._is_full(records)):
                self.shed_records += records
                return False
            if self._is_full(records):
                self.waits += 1
                while self._is_full(records):
                    if give_up():
                        return False
                    self._changed.wait(0.1)
            self._pieces.append(_Waiting(self._clock(), piece, is_pressed))
            self.queued_records += records
            self._changed.notify_all()
        return True

    def _is_full(self, records: int) -> bool:
        # A piece larger than the whole queue goes in alone.
        return bool(self._pieces) and self.queued_records + records > self._most_records

    def _is_late(self, records: int) -> bool:
        if not self._pieces or self.queued_records + records <= self._spared_records:
            return False
        return self._clock() - self._pieces[0].since > self._most_wait_seconds

    def _is_pressed(self) -> bool:
        """Whether it is half full, in records or in time."""
        if not self._pieces or 2 * self.queued_records <= self._spared_records:
            return False
        waited = self._clock() - self._pieces[0].since
        return 2 * waited > self._most_wait_seconds or 2 * self.queued_records > self._most_records

    def _thinned(self, piece: Piece) -> Piece:
        # Open flows come again at their end.
        thinned = replace(piece, frame=self._thin(piece.frame), early=None)
        self.thinned_records += piece.frame.height - thinned.frame.height
        self.shed_records += piece.frame.height - thinned.frame.height
        return thinned

    def end(self) -> None:
        """Say that nothing will follow."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    @property
    def is_over(self) -> bool:
        """Whether nothing is left and nothing will follow."""
        with self._changed:
            return self._over and not self._pieces

    def batch(
        self,
        most_records: int = MOST_BATCH_RECORDS,
        most_seconds: float = BATCH_SECONDS,
        hurry: Callable[[], bool] = lambda: False,
    ) -> list[Piece]:
        """Take pieces until they hold `most_records` or `most_seconds` are over; less if nothing comes or in a hurry.

        Waits for the first one no longer than `most_seconds`; the list may be empty.
        """
        taken: list[Piece] = []
        records = 0
        until = self._clock() + most_seconds
        with self._changed:
            while records < most_records:
                if self._pieces:
                    piece = self._pieces.popleft().piece
                    taken.append(piece)
                    records += piece.frame.height
                    self.queued_records -= piece.frame.height
                    self._changed.notify_all()
                    continue
                left = until - self._clock()
                if left <= 0 or self._over or hurry():
                    break
                self._changed.wait(min(left, 0.1))
        return taken
