"""A watch says what a scan says; alerts grow alike in any batches; labels teach, undo forgets."""

from __future__ import annotations

import datetime
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import polars as pl
import pytest

pytest.importorskip("sqlalchemy", reason="the store needs pip install 'kshot[watch]'")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.traffic import Traffic, Tunnel, office, tunnel

from kshot.errors import OutputError, UserError
from kshot.features import FeatureExtractor, columns_for_tier
from kshot.records.columns import Tier
from kshot.records.kept import KeptAlert
from kshot.records.streams import Bookmark, Piece
from kshot.sources.capture_folder import CaptureFolder
from kshot.store import builtin_reference, builtin_threat
from kshot.store.alerts import AlertStore, Progress
from kshot.store.labels import LabelStore
from kshot.stream.batching import PieceQueue
from kshot.stream.followed_captures import FollowedCaptures
from kshot.stream.growing import MOST_EVIDENCE, GrowingAlerts, GrowingOptions
from kshot.stream.laboratory import Laboratory
from kshot.stream.metering import MeterOptions
from kshot.stream.pipeline import Records, read_records, scan
from kshot.stream.remembering import RememberingExtractor, journal_entry
from kshot.stream.standing import StandingDetector, Teaching
from kshot.stream.watching import Watch, WatchOptions

DAY = 1_772_438_400.0
TUNNELLER = "10.20.1.33"
HIDDEN = Tunnel(TUNNELLER, "198.51.100.8", "x1.example.net", 10, (110, 180), (100, 300), (20, 70), 0.1, 15)
COLUMNS = columns_for_tier(Tier.PACKETS)
NOON = datetime.datetime(2026, 3, 2, 12, tzinfo=datetime.UTC)


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    traffic = Traffic(Random(3))
    office(traffic, DAY, 1_200.0, 250)
    tunnel(traffic, DAY, 1_200.0, HIDDEN)
    path = tmp_path_factory.mktemp("captures") / "day.pcap"
    traffic.write(path)
    return path


@pytest.fixture(scope="module")
def records(capture: Path) -> Records:
    return read_records([capture], MeterOptions())


@pytest.fixture(scope="module")
def laboratory() -> Laboratory:
    return Laboratory([builtin_threat(name) for name in ("port-scan", "dns-tunnel")], builtin_reference()[0][::6])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[AlertStore]:
    store = AlertStore(f"sqlite:///{tmp_path / 'watch.sqlite'}")
    yield store
    store.close()


class Given:
    """A source that gives a frame in pieces, and goes on where its bookmark stands."""

    name, backlog_bytes = "given", 0

    def __init__(self, frame: pl.DataFrame, step: int) -> None:
        self._frame, self._step, self._at = frame, step, 0

    @property
    def ended(self) -> bool:
        return self._at >= self._frame.height

    def resume(self, bookmark: Bookmark | None) -> None:
        self._at = int(bookmark.position) if bookmark else 0

    def read(self) -> Piece | None:
        piece = self._frame[self._at : self._at + self._step]
        self._at += piece.height
        return Piece(piece, Bookmark(str(self._at))) if piece.height else None

    def problems(self) -> list[str]:
        return []

    def counters(self) -> dict[str, int]:
        return {}

    def close(self) -> None:
        pass


def quiet(event: str, **facts: Any) -> None:
    pass


def watch(source: Any, store: AlertStore, detector: StandingDetector, **more: Any) -> Watch:
    options = WatchOptions(most_batch_records=64, batch_seconds=0.01)
    made = Watch(source, store, lambda columns: detector, log=quiet, options=options, **more)
    made.prepare()
    return made


def shown(alerts: list[KeptAlert]) -> list[tuple[Any, ...]]:
    return sorted(
        (a.threat, a.originator, a.responder, a.first_nanoseconds, a.last_nanoseconds, a.flows, a.record, a.p_value)
        for a in alerts
    )


def of_scan(alerts: pl.DataFrame) -> list[tuple[Any, ...]]:
    times = [pl.col(name).cast(pl.Int64) for name in ("first_time", "last_time")]
    names = ["threat", "originator", "responder", "first_time", "last_time", "flows", "first_record", "p_value"]
    return sorted(alerts.with_columns(times).select(names).iter_rows())


@pytest.mark.parametrize("by", ["laboratory", "reference"])
def test_the_same_records_get_the_same_verdicts_as_from_a_scan(
    records: Records, laboratory: Laboratory, store: AlertStore, by: str
) -> None:
    quiet_hour = Traffic(Random(9))
    office(quiet_hour, DAY - 86_400, 1_200.0, 250)
    path = Path(str(store.engine.url.database)).with_name("benign.pcap")
    quiet_hour.write(path)
    reference = read_records([path], MeterOptions()) if by == "reference" else None
    told = scan(records, [], laboratory=laboratory, reference=reference)
    detector = StandingDetector(Teaching([], laboratory, reference), COLUMNS)
    features = FeatureExtractor().transform(records.frame)
    assert features.columns == list(COLUMNS)
    verdicts = detector.judge(features)
    assert verdicts.threat.tolist() == told.verdicts["threat"].to_list()
    assert verdicts.alarm.tolist() == told.verdicts["alarm"].to_list()
    assert verdicts.alarm.any()
    assert np.array_equal(verdicts.score, told.verdicts["score"].to_numpy())
    p_values = told.verdicts["p_value"].fill_null(float("nan")).to_numpy()
    assert np.array_equal(verdicts.p_value, p_values, equal_nan=True)
    watch(Given(records.frame, 50), store, detector).run()
    assert shown(store.alerts()) == of_scan(told.alerts)
    reasons = {alert.record: list(alert.reasons) for alert in store.alerts()}
    assert reasons == dict(told.alerts.select("first_record", "reasons").iter_rows())


def test_dropped_captures_are_each_read_once(
    capture: Path, records: Records, laboratory: Laboratory, store: AlertStore, tmp_path: Path
) -> None:
    detector = StandingDetector(Teaching([], laboratory), COLUMNS)
    folder = tmp_path / "dropped"
    folder.mkdir()
    (folder / "note.txt").write_text("no capture\n")
    shutil.copy(capture, folder / "a.pcap")

    def follow(seconds: float) -> Watch:
        source = FollowedCaptures(CaptureFolder(folder, settle_seconds=0.0), MeterOptions())
        made = watch(source, store, detector)
        made.run(seconds)
        return made

    first = follow(5.0)
    assert first.stats()["flows_scored"] == len(records) == first.stats()["records"]
    assert first.stats()["packets_read"] == first.stats()["source"]["metered"] > 0
    assert follow(1.0).stats()["flows_scored"] == 0
    shutil.copy(capture, folder / "b.pcap")
    assert follow(5.0).stats()["records"] == 2 * len(records)


def test_a_capture_is_gone_on_with_in_its_middle(capture: Path, records: Records) -> None:
    def source() -> FollowedCaptures:
        return FollowedCaptures(CaptureFolder(capture.parent, settle_seconds=0.0), MeterOptions())

    first = source()
    first.resume(None)
    whole = [piece for piece in iter(first.read, None) if piece is not None]
    frames = pl.concat([piece.frame for piece in whole])
    assert frames.drop("community_id").equals(records.frame.drop("community_id"))
    place = json.loads(whole[0].bookmark.position) | {"given": 100}
    middle = Bookmark(json.dumps(place))
    second = source()
    second.resume(middle)
    rest = pl.concat([piece.frame for piece in iter(second.read, None) if piece is not None])
    assert rest.equals(frames[100:])


def test_what_is_remembered_outlives_the_process(records: Records) -> None:
    whole = FeatureExtractor().transform(records.frame)
    first = RememberingExtractor()
    first.transform(records.frame[:60])
    snapshot = first.snapshot()
    first.transform(records.frame[60:90])
    second = RememberingExtractor()
    assert second.restore(snapshot, [journal_entry(records.frame[60:90])])
    assert second.transform(records.frame[90:]).equals(whole[90:])
    assert not RememberingExtractor().restore(snapshot[:-9], [])
    assert not RememberingExtractor().restore(b"", [b"no frame"])


def alarms(rows: list[tuple[int, str, int]]) -> pl.DataFrame:
    """(second, originator, score) a row."""
    return pl.DataFrame(
        {
            "at": range(len(rows)),
            "row": range(1, len(rows) + 1),
            "threat": ["scan"] * len(rows),
            "score": [float(score) for _, _, score in rows],
            "p_value": pl.Series([None] * len(rows), dtype=pl.Float64),
            "originator": [who for _, who, _ in rows],
            "responder": ["r"] * len(rows),
            "first": [second * 10**9 for second, _, _ in rows],
            "last": [second * 10**9 for second, _, _ in rows],
        }
    )


def grown(frame: pl.DataFrame, cuts: Sequence[int], **options: Any) -> list[KeptAlert]:
    growing = GrowingAlerts(options=GrowingOptions(**options))
    kept: dict[int, KeptAlert] = {}
    watermark, numbers = 0, count(1)
    for begin, end in zip([0, *cuts], [*cuts, frame.height], strict=True):
        part = frame[begin:end]
        rows = part["row"].to_list()
        watermark = max([watermark, *part["first"].to_list()])
        growing.take(
            part.with_columns(pl.Series("at", range(part.height), dtype=pl.Int64)),
            watermark,
            fingerprint="f",
            attack={"scan": ("T1046",)},
            explain=lambda at, rows=rows: [[str(rows[one])] for one in at],  # type: ignore[misc]
            show=lambda at, rows=rows: [(str(rows[one]), "{}") for one in at],  # type: ignore[misc]
        )
        changed = growing.changed()
        ids = [alert.id or next(numbers) for alert in changed]
        growing.written(ids)
        kept |= dict(zip(ids, changed, strict=True))
    return list(kept.values())


def everything(alerts: list[KeptAlert]) -> list[tuple[Any, ...]]:
    return sorted(
        (
            *(a.originator or "", a.first_nanoseconds, a.last_nanoseconds, a.flows, a.score, a.record, a.reasons),
            a.is_open,
            *(one.record for one in a.evidence),
        )
        for a in alerts
    )


@pytest.mark.parametrize("seed", range(5))
def test_alerts_grow_alike_however_batches_fall(seed: int) -> None:
    random = Random(seed)
    second = 0
    rows = []
    for _ in range(120):
        second += random.choice((0, 1, 60, 5_000))
        rows.append((second, random.choice("abc"), random.randrange(30)))
    frame = alarms(rows)
    whole = grown(frame, [])
    assert sum(alert.flows for alert in whole) == 120
    assert max(len(alert.evidence) for alert in whole) <= MOST_EVIDENCE
    for _ in range(3):
        cuts = sorted(random.sample(range(1, 120), 7))
        assert everything(grown(frame, cuts)) == everything(whole)


def test_a_pause_begins_a_new_alert_and_the_old_one_is_closed() -> None:
    first, second = sorted(
        grown(alarms([(0, "a", 1), (3_000, "a", 5), (20_000, "a", 2)]), [2]), key=lambda one: one.record
    )
    assert (first.flows, first.score, first.reasons, first.is_open) == (2, 5.0, ("2",), False)
    assert (second.flows, second.is_open) == (1, True)


def test_beyond_the_limit_alerts_are_folded_and_counted() -> None:
    rows = [(number, f"host {number}", number) for number in range(50)]
    alerts = grown(alarms(rows), [10, 30], most_alerts_an_hour=20)
    assert len(alerts) == 21
    (folded,) = [alert for alert in alerts if alert.originator is None]
    assert (folded.flows, folded.record) == (30, 50)
    assert sum(alert.flows for alert in alerts) == 50


def piece(records: int) -> Piece:
    return Piece(pl.DataFrame({"x": range(records)}), Bookmark(""))


def test_a_full_queue_sheds_and_counts_or_waits() -> None:
    shedding = PieceQueue(100, "shed")
    assert [shedding.put(piece(60)) for _ in range(3)] == [True, False, False]
    assert (shedding.shed_records, shedding.queued_records) == (120, 60)
    waiting = PieceQueue(100, "wait")
    assert waiting.put(piece(500)), "what is larger than the queue goes in alone"
    assert not waiting.put(piece(1), give_up=lambda: True)
    assert (waiting.shed_records, waiting.waits) == (0, 1)
    waiting.end()
    assert len(waiting.batch(10, 0.0)) == 1 and waiting.is_over


def test_labels_teach_and_undo_takes_it_back(records: Records, laboratory: Laboratory, store: AlertStore) -> None:
    labels = LabelStore(store)

    def fit() -> StandingDetector:
        return StandingDetector(Teaching([], laboratory, labels=labels.standing()), COLUMNS)

    features = FeatureExtractor().transform(records.frame)
    before = fit()
    watch(Given(records.frame, 50), store, before).run()
    alert = next(one for one in store.alerts() if one.originator == TUNNELLER)
    labels.add(alert.id, "false-positive", who="ada", when=NOON, note="the resolver")
    taught = fit().judge(features)
    mine = (records.frame["originator"] == TUNNELLER).to_numpy()
    told = before.judge(features)
    assert taught.alarm[mine].sum() <= 0.1 * told.alarm[mine].sum()
    assert taught.muted > 0
    labels.undo(alert.id, who="ada", when=NOON)
    again = fit().judge(features)
    assert np.array_equal(again.score, told.score) and again.alarm.tolist() == told.alarm.tolist()
    labels.add(alert.id, "malicious", who="ada", when=NOON, threat="our-tunnel")
    found = fit().judge(features)
    assert "our-tunnel" in set(found.threat[mine & found.alarm])


def test_a_watch_that_cannot_write_tries_again(
    records: Records, laboratory: Laboratory, store: AlertStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, failures = store.commit, iter([True, False, True])

    def sometimes(source: str, progress: Progress, alerts: Sequence[KeptAlert]) -> list[int]:
        if next(failures, False):
            raise OutputError("disk full")
        return commit(source, progress, alerts)

    monkeypatch.setattr(store, "commit", sometimes)
    made = watch(Given(records.frame, 50), store, StandingDetector(Teaching([], laboratory), COLUMNS))
    made.run()
    assert made.stats()["store_failures"] == 2
    assert made.stats()["records"] == len(records)
    resumed = store.resume("given")
    assert resumed is not None and resumed.progress.records == len(records)


def test_nothing_to_judge_by_is_one_line(laboratory: Laboratory) -> None:
    with pytest.raises(UserError, match="nothing to calibrate on"):
        StandingDetector(Teaching([]), COLUMNS)
    with pytest.raises(UserError, match="no threat has been taught"):
        StandingDetector(Teaching([], Laboratory([], laboratory.reference)), COLUMNS)
