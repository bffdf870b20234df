"""The watch: a source to growing alerts, each batch committed with the source's position."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from kshot.errors import OutputError
from kshot.features import FeatureExtractor, fingerprint
from kshot.records.kept import KeptAlert
from kshot.records.streams import Bookmark, Piece
from kshot.sources.following import FollowedSource
from kshot.store.alerts import AlertStore, Progress, Resumed
from kshot.stream.batching import BATCH_SECONDS, MOST_BATCH_RECORDS, PieceQueue
from kshot.stream.early import EarlyVerdicts
from kshot.stream.flowtables import whole_flows
from kshot.stream.growing import GrowingAlerts, GrowingOptions, alarms_of
from kshot.stream.remembering import RememberingExtractor, journal_entry
from kshot.stream.showing import shown
from kshot.stream.standing import Judge, Verdicts
from kshot.stream.steering import Steering

_PAUSE_SECONDS = 0.05
"""Between two looks at a source that had nothing."""
_RETRY_SECONDS = (0.2, 1.0, 5.0)
"""Between tries to write to a store that fails; the last for as long as it does."""
_MOST_JOURNAL_BYTES = 32 << 20
_MOST_JOURNAL_BATCHES = 256
Log = Callable[..., None]
"""Called with the name of what happened, and facts by keyword."""


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """How a watch gathers and groups."""

    most_batch_records: int = MOST_BATCH_RECORDS
    batch_seconds: float = BATCH_SECONDS
    growing: GrowingOptions = field(default_factory=GrowingOptions)


class Watch:
    """Follows one source until it ends or is told to stop; nothing is lost or doubled however it ends.

    Parameters:
        detector: fits a detector on the feature columns of the stream; asked again when `version` changes. Asked with
            a second argument, features of late records, it fits on these in the place of its reference.
        version: of the labels that the detector learned from; asked at each batch.
        log: gets what happens, as it happens.
        on_alert: gets each alert that is new, after it was committed.
        columns: the features that the stream will have, if that is known: then `prepare` fits the detector.
        steering: keeps promises while traffic changes; by default drift is told and no more.
        rest: asked when the watch stops for what no other process could go on with, such as flows still open.
        rehearsal: flows to judge before the source is followed: the first ones then do not wait for machine code.
    """

    def __init__(
        self,
        source: FollowedSource,
        store: AlertStore,
        detector: Callable[..., Judge],
        *,
        log: Log,
        version: Callable[[], object] = lambda: None,
        on_alert: Callable[[KeptAlert], None] = lambda alert: None,
        options: WatchOptions = WatchOptions(),
        queue: PieceQueue | None = None,
        columns: Sequence[str] | None = None,
        steering: Steering | None = None,
        rest: Callable[[], Iterable[Piece]] = tuple,
        rehearsal: pl.DataFrame | None = None,
    ) -> None:
        self._source = source
        self._rehearsal = rehearsal
        self._rest = rest
        self._steering = steering if steering is not None else Steering(log)
        self._store = store
        self._detector_for = detector
        self._version_of = version
        self._log = log
        self._on_alert = on_alert
        self._options = options
        self._columns = columns
        self._queue = queue if queue is not None else PieceQueue()
        self._extractor = RememberingExtractor()
        self._early = EarlyVerdicts()
        self._detector: Judge | None = None
        self._version: object = None
        self._batch = 0
        self._records = 0
        self._watermark = 0
        self._journal_bytes, self._journal_batches = 0, 0
        self._carry_version: int | None = None
        self._position = "null"
        self._growing = GrowingAlerts(options=options.growing)
        self._stop = threading.Event()
        self._failed: list[BaseException] = []
        self._counts: Counter[str] = Counter(dict.fromkeys(("flows_scored", "flows_muted", "alarms", "alerts"), 0))
        self._adapt_seconds = 0.0
        self._behind_seconds = 0.0
        self._started = time.monotonic()

    def stop(self) -> None:
        """Ask for an end after the batch at hand; safe in a signal handler."""
        self._stop.set()

    def prepare(self) -> None:
        """Go on where the store says, or begin; then the source is followed.

        Raises:
            InputError, OutputError: the source or the store cannot be used.
        """
        kept = self._store.resume(self._source.name)
        if kept is not None and "steering" in (place := json.loads(kept.progress.position)):
            self._steering.restore(place["steering"], kept.standing, kept.samples)
        if self._columns is not None:
            # First, for a live source is heard from `resume` on, and fitting takes seconds.
            detector = self._standing(self._columns)
            if self._rehearsal is not None:
                detector.judge(FeatureExtractor().transform(self._rehearsal), self._rehearsal).explain([0])
        if kept is None:
            self._source.resume(None)
        else:
            self._resume(kept)

    def _resume(self, kept: Resumed) -> None:
        place = json.loads(kept.progress.position)
        self._batch, self._records = kept.progress.batch, kept.progress.records
        self._watermark, self._position = int(place["watermark"]), json.dumps(place["source"])
        hours = {int(hour): int(count) for hour, count in place["hours"].items()}
        self._growing = GrowingAlerts(kept.alerts, hours, self._options.growing)
        self._journal_batches, self._journal_bytes = len(kept.journal), sum(map(len, kept.journal))
        if not self._extractor.restore(kept.progress.snapshot or b"", kept.journal):
            # The next commit puts a whole snapshot in the place of what cannot be read.
            self._journal_batches = _MOST_JOURNAL_BATCHES
            self._log("memory_lost", why="the store's is of another version", effect="history begins anew")
        carry = kept.progress.carry or b""
        self._source.resume(Bookmark(self._position, lambda: carry) if place["source"] is not None else None)
        self._log("resumed", source=self._source.name, records=self._records, open_alerts=len(self._growing))

    def run(self, seconds: float | None = None) -> None:
        """Follow the source until it ends, `stop` is called or `seconds` are over; what was read by then is judged.

        Raises:
            InputError: what is followed turned out to be something else.
            OutputError: the store fails and the watch was told to stop; the last batch is read again next time.
        """
        until = None if seconds is None else time.monotonic() + seconds
        reader = threading.Thread(target=self._read, name="kshot-reader", daemon=True)
        reader.start()
        try:
            while not self._queue.is_over:
                if until is not None and time.monotonic() >= until:
                    self.stop()
                pieces = self._queue.batch(
                    self._options.most_batch_records, self._options.batch_seconds, self._stop.is_set
                )
                if pieces:
                    self._judge(pieces)
            if self._batch and (self._journal_batches or self._failed):
                self._commit([], self._position, None, b"", force_snapshot=True)
        finally:
            self._stop.set()
            reader.join(10.0)
            self._source.close()
        if self._failed:
            raise self._failed[0]

    def _read(self) -> None:
        # What has a rest cannot be read again: it waits for room though the watch was told to stop.
        give_up = self._stop.is_set if self._rest is tuple else lambda: False
        try:
            while not self._stop.is_set() and not self._source.ended:
                piece = self._source.read()
                for line in self._source.problems():
                    self._log("input_damaged", what=line)
                if piece is None:
                    self._stop.wait(_PAUSE_SECONDS)
                    continue
                self._queue.put(piece, give_up)
            for piece in self._rest():
                self._queue.put(piece, is_last=True)
            for line in self._source.problems():
                self._log("input_damaged", what=line)
        except BaseException as error:
            self._failed.append(error)
        finally:
            self._queue.end()

    def _judge(self, pieces: Sequence[Piece]) -> None:
        """Judge a batch and commit it."""
        flows = [whole_flows(piece.frame) for piece in pieces if piece.frame.height]
        open_ones = [piece.early for piece in pieces if piece.early is not None]
        last = pieces[-1].bookmark
        if open_ones:
            self._take_early(pl.concat(open_ones))
        if not flows:
            alerts = self._growing.changed()
            if alerts or last.position != self._position:
                self._batch += 1
                self._commit(alerts, last.position, last, b"")
            return
        frame = pl.concat(flows)
        features = self._extractor.transform(frame)
        self._standing(features.columns)
        firsts = frame["first_time"].cast(pl.Int64).fill_null(0).to_numpy()
        for begin, end, hour in self._steering.stretches(firsts, self._watermark):
            if self._steering.begin(hour):
                self._fit(features.columns)
            self._take(frame[begin:end], features[begin:end])
        self._batch += 1
        self._commit(self._growing.changed(), last.position, last, journal_entry(frame))
        newest = frame["last_time"].cast(pl.Int64).max()
        self._behind_seconds = max(time.time() - float(newest or 0) * 1e-9, 0.0)  # type: ignore[arg-type]

    def _take_early(self, frame: pl.DataFrame) -> None:
        """Judge flows that are still open; what alarms here is not counted again when it ends."""
        features = self._early.features(frame)
        detector = self._standing(features.columns)
        self._grow(frame, features, detector, self._steering.decide(detector.judge(features, frame)), are_open=True)

    def _take(self, frame: pl.DataFrame, features: pl.DataFrame) -> None:
        """Judge records of one hour, and let alerts grow by them."""
        detector = self._standing(features.columns)
        verdicts = self._steering.steer(detector.judge(features, frame), frame)
        self._watermark = max(self._watermark, int(frame["first_time"].cast(pl.Int64).max() or 0))  # type: ignore[arg-type]
        first_row = self._records + 1
        self._grow(frame, features, detector, verdicts, are_open=False)
        self._steering.learn(features, frame, first_row, verdicts, self._growing.parties)
        self._counts["flows_scored"] += frame.height
        self._counts["flows_muted"] += verdicts.muted
        self._counts["alarms"] += int(verdicts.alarm.sum())

    def _grow(
        self, frame: pl.DataFrame, features: pl.DataFrame, detector: Judge, verdicts: Verdicts,
        *, are_open: bool,
    ) -> None:  # fmt: skip
        alarms = alarms_of(frame, self._records + 1, verdicts.threat, verdicts.score, verdicts.p_value, verdicts.alarm)
        self._records += frame.height
        self._growing.take(
            self._early.untold(frame, alarms, are_open=are_open),
            self._watermark,
            fingerprint=fingerprint(),
            attack=detector.attack,
            explain=verdicts.explain,
            show=lambda rows: shown(frame, features, rows, verdicts.segment),
        )

    def _standing(self, columns: Sequence[str]) -> Judge:
        """The detector, fitted anew if labels have changed."""
        try:
            version = self._version_of()
        except OutputError as error:
            version = self._version
            self._log("labels_unread", why=str(error))
        if self._detector is None or version != self._version:
            self._version = version
            return self._fit(columns)
        return self._detector

    def _fit(self, columns: Sequence[str]) -> Judge:
        began = time.monotonic()
        fresh = self._steering.fresh
        self._detector = self._detector_for(columns) if fresh is None else self._detector_for(columns, fresh)
        self._adapt_seconds = time.monotonic() - began
        self._log("adapted", seconds=round(self._adapt_seconds, 3), rate=self._detector.rate)
        for note in self._detector.notes:
            self._log("note", what=note)
        return self._detector

    def _commit(
        self, alerts: list[KeptAlert], position: str, bookmark: Bookmark | None, journal: bytes,
        *, force_snapshot: bool = False,
    ) -> None:  # fmt: skip
        """Write a batch; while the store fails nothing is read on, and nothing forgotten."""
        due = self._journal_batches >= _MOST_JOURNAL_BATCHES or self._journal_bytes >= _MOST_JOURNAL_BYTES
        snapshot = self._extractor.snapshot() if due or force_snapshot else None
        place = {
            "source": json.loads(position), "hours": self._growing.hours, "watermark": self._watermark,
            "steering": self._steering.state(),
        }  # fmt: skip
        carry = None
        if bookmark is not None and bookmark.carry_version != self._carry_version:
            carry = bookmark.carry()
        told = b"" if snapshot is not None else journal
        sample, standing = self._steering.left()
        whole = self._steering.reservoir.whole() if snapshot is not None else None
        progress = Progress(
            self._batch, self._records, json.dumps(place), carry, snapshot, told, sample, whole, standing
        )
        ids = self._write(progress, alerts)
        self._steering.written()
        self._position = position
        if bookmark is not None:
            self._carry_version = bookmark.carry_version
        if snapshot is not None:
            self._journal_bytes, self._journal_batches = 0, 0
        elif told:
            self._journal_bytes += len(told)
            self._journal_batches += 1
        if alerts:
            for alert in self._growing.written(ids):
                self._counts["alerts"] += 1
                self._on_alert(alert)

    def _write(self, progress: Progress, alerts: list[KeptAlert]) -> list[int]:
        tries = 0
        while True:
            try:
                ids = self._store.commit(self._source.name, progress, alerts)
            except OutputError as error:
                self._counts["store_failures"] += 1
                self._log("store_failed", why=str(error), tries=tries + 1)
                if self._stop.is_set() and tries >= len(_RETRY_SECONDS):
                    raise
                # Told to stop or not, what was judged is worth a few more tries.
                time.sleep(_RETRY_SECONDS[min(tries, len(_RETRY_SECONDS) - 1)])
                tries += 1
                continue
            if tries:
                self._log("store_recovered", tries=tries)
            return ids

    def stats(self) -> dict[str, Any]:
        """What was done so far: counters since the start, and the state of the moment."""
        counters: Mapping[str, int] = self._source.counters()
        scored = self._counts["flows_scored"]
        return {
            "packets_read": counters.get("packets_read", 0),
            "kernel_drops": counters.get("kernel_drops", 0),
            "flows_metered": scored + self._queue.queued_records + self._queue.shed_records,
            "flows_scored": scored,
            "flows_shed": self._queue.shed_records,
            "flows_thinned": self._queue.thinned_records,
            "flows_muted": self._counts["flows_muted"],
            "flows_looked_at": self._early.looked,
            "early_alarms": self._early.alarms,
            "alarms": self._counts["alarms"],
            "alerts": self._counts["alerts"],
            "alerts_open": len(self._growing),
            "alarms_folded": self._growing.folded,
            "batches": self._batch,
            "records": self._records,
            "queued": self._queue.queued_records,
            "reader_waits": self._queue.waits,
            "lag_bytes": self._source.backlog_bytes,
            "lag_seconds": round(self._behind_seconds, 3),
            "adapt_seconds": round(self._adapt_seconds, 3),
            **self._steering.stats(),
            "store_failures": self._counts["store_failures"],
            "uptime_seconds": round(time.monotonic() - self._started, 3),
            "source": {name: value for name, value in counters.items() if name not in ("packets_read", "kernel_drops")},
        }
