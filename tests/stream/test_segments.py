"""What is normal in one segment is an alert in another; the most specific network wins."""

from __future__ import annotations

import datetime
import ipaddress
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("sqlalchemy", reason="the store needs pip install 'kshot[watch]'")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.traffic import Traffic, Tunnel, browse, lookup, shell, tunnel

from kshot.errors import UserError
from kshot.features import columns_for_tier, fingerprint
from kshot.records.columns import Tier
from kshot.records.kept import KeptAlert, Label
from kshot.records.streams import Bookmark, Piece
from kshot.records.threats import Threat
from kshot.store.alerts import AlertStore
from kshot.store.labels import LabelStore
from kshot.stream.budget import GroupSizes
from kshot.stream.metering import MeterOptions
from kshot.stream.pipeline import Records, ScanOptions, read_records
from kshot.stream.segments import COLUMN, REST, SegmentedDetector, Segments, labels_in, late_of
from kshot.stream.standing import StandingDetector, Teaching, Verdicts
from kshot.stream.steering import Steering
from kshot.stream.watching import Watch, WatchOptions

DAY = 1_772_438_400.0
COLUMNS = columns_for_tier(Tier.PACKETS)
NETWORKS = {"desks": ["10.20.1.0/24"], "machines": ["10.20.0.0/16"]}
VENDOR = "198.51.100.8"
NOON = datetime.datetime(2026, 3, 2, 12, tzinfo=datetime.UTC)


def flows(*pairs: tuple[str | None, str | None]) -> pl.DataFrame:
    return pl.DataFrame(list(pairs), schema={"originator": pl.String, "responder": pl.String}, orient="row")


@pytest.mark.parametrize(
    ("originator", "responder", "segment"),
    [
        ("10.1.2.3", "10.9.9.9", "site"),
        ("10.1.9.3", "10.9.9.9", "servers"),
        ("8.8.8.8", "10.1.9.3", "servers"),
        ("10.1.9.200", "8.8.8.8", "printer"),
        ("10.1.2.3", "10.1.9.3", "site"),
        ("::ffff:10.1.9.3", "8.8.8.8", "servers"),
        ("fd00:1::5", "8.8.8.8", "servers"),
        ("fd00:2::5", "fe80::1%eth0", ""),
        ("8.8.8.8", "9.9.9.9", ""),
        (None, "10.1.2.3", "site"),
        (None, None, ""),
        ("no address", "10.1.2.3", "site"),
        ("", "192.0.2.1", ""),
    ],
)
def test_the_originator_and_the_most_specific_network_decide(
    originator: str | None, responder: str | None, segment: str
) -> None:
    networks = {"site": ["10.0.0.0/8"], "servers": ["10.1.9.0/24", "fd00:1::/32"], "printer": ["10.1.9.200"]}
    assert Segments(networks).of(flows((originator, responder))).tolist() == [segment]
    backwards = dict(reversed(networks.items()))
    assert Segments(backwards).of(flows((originator, responder))).tolist() == [segment]


_NETWORKS = st.tuples(st.integers(0, 7), st.integers(0, 32)).map(
    lambda told: ipaddress.ip_network((0x0A000000 + (told[0] << 21), told[1]), strict=False)
)


@given(networks=st.lists(_NETWORKS, unique=True, min_size=1, max_size=6), hosts=st.lists(st.integers(0, 1 << 24)))
def test_as_the_standard_library_says(networks: list[ipaddress.IPv4Network], hosts: list[int]) -> None:
    segments = Segments({str(network): [str(network)] for network in networks})
    addresses = [ipaddress.IPv4Address(0x0A000000 + host) for host in hosts]
    told = segments.of(flows(*((str(address), None) for address in addresses))).tolist()
    for address, name in zip(addresses, told, strict=True):
        holding = [network for network in networks if address in network]
        assert name == (str(max(holding, key=lambda one: one.prefixlen)) if holding else REST)


@pytest.mark.parametrize(
    ("networks", "said"),
    [
        ({"a": ["10.1.0.0/33"]}, "segment a: '10.1.0.0/33' is no network; give one such as"),
        ({"a": ["host"]}, "segment a: 'host' is no network"),
        ({"a": ["10.1.2.3/16"]}, "do you mean 10.1.0.0/16?"),
        ({"a": ["10.1.0.0/16"], "b": ["10.1.0.0/16"]}, "network 10.1.0.0/16 is in segment a and in b; give it to one"),
    ],
)
def test_what_is_no_network_or_in_two_segments_is_one_line(networks: dict[str, list[str]], said: str) -> None:
    with pytest.raises(UserError) as caught:
        Segments(networks)
    assert said in str(caught.value) and "\n" not in str(caught.value)
    Segments({"a": ["10.1.0.0/16", "10.1.0.0/16"]})


def lives(traffic: Traffic, start: float, *, tunnels: dict[str, int], shells: dict[str, int]) -> None:
    """Two nets that browse alike, and beside it have tunnels and shells, so many each."""
    random = traffic.random
    for net in ("10.20.1", "10.20.2"):
        hosts = [f"{net}.{number}" for number in range(10, 30)]
        for _ in range(260):
            act = lookup if random.random() < 0.7 else browse
            act(traffic, start + random.uniform(0, 3_600), random.choice(hosts))
        for _ in range(shells[net]):
            shell(traffic, start + random.uniform(0, 3_600), random.choice(hosts))
        for _ in range(tunnels[net]):
            host = random.choice(hosts)
            told = Tunnel(host, VENDOR, "x1.example.net", 16, (90, 150), (60, 200), (15, 40), 0.1, 1)
            tunnel(traffic, start, 3_600.0, told)


def read(folder: Path, seed: int, tunnels: dict[str, int], shells: dict[str, int]) -> Records:
    traffic = Traffic(Random(seed))
    lives(traffic, DAY + seed * 86_400, tunnels=tunnels, shells=shells)
    traffic.write(folder / f"{seed}.pcap")
    return read_records([folder / f"{seed}.pcap"], MeterOptions())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("segments")


@pytest.fixture(scope="module")
def reference(folder: Path) -> Records:
    """At desks tunnels are normal (a vendor's), at machines shells are."""
    return read(folder, 1, {"10.20.1": 60, "10.20.2": 0}, {"10.20.1": 0, "10.20.2": 60})


@pytest.fixture(scope="module")
def records(folder: Path) -> Records:
    return read(folder, 2, {"10.20.1": 25, "10.20.2": 25}, {"10.20.1": 25, "10.20.2": 25})


@pytest.fixture(scope="module")
def threats(folder: Path) -> list[Threat]:
    shown = read(folder, 3, {"10.20.1": 5, "10.20.2": 0}, {"10.20.1": 5, "10.20.2": 0})
    ports = {"dns-tunnel": shown.frame["responder"] == VENDOR, "remote-shell": shown.frame["resp_port"] == 22}
    return [Threat(name, shown.features.filter(chosen), "flow", fingerprint()) for name, chosen in ports.items()]


@pytest.fixture(scope="module")
def segments() -> Segments:
    return Segments(NETWORKS)


@pytest.fixture(scope="module")
def detector(reference: Records, threats: list[Threat], segments: Segments) -> SegmentedDetector:
    of = segments.of(reference.frame)
    options = ScanOptions(false_alarm_rate=0.02)

    def fit(name: str) -> StandingDetector:
        mine = reference if name == REST else reference.filter(pl.Series(of == name, dtype=pl.Boolean))
        return StandingDetector(Teaching(threats, None, mine, options=options), COLUMNS)

    return SegmentedDetector(segments, {name: fit(name) for name in (REST, *NETWORKS)})


def kinds(records: Records, segments: Segments) -> dict[tuple[str, str], Any]:
    of = segments.of(records.frame)
    is_tunnel = (records.frame["responder"] == VENDOR).to_numpy()
    is_shell = (records.frame["resp_port"] == 22).to_numpy()
    every = {"tunnel": is_tunnel, "shell": is_shell, "other": ~is_tunnel & ~is_shell}
    return {(name, kind): (of == name) & rows for name in NETWORKS for kind, rows in every.items()}


def test_what_is_normal_in_one_is_an_alert_in_the_other(
    records: Records, detector: SegmentedDetector, segments: Segments
) -> None:
    verdicts = detector.judge(records.features, records.frame)
    rows = kinds(records, segments)
    share = {at: verdicts.alarm[mine].mean() for at, mine in rows.items()}
    assert share["machines", "tunnel"] >= 0.8 and share["desks", "tunnel"] <= 0.3, share
    assert share["desks", "shell"] >= 0.8 and share["machines", "shell"] <= 0.3, share
    for name, normal in (("desks", "tunnel"), ("machines", "shell")):
        false = verdicts.alarm[rows[name, normal] | rows[name, "other"]].mean()
        assert false <= 2 * 0.02, f"{false} of what is normal at {name}"
    assert verdicts.segment is not None and set(verdicts.segment) == {"desks", "machines"}
    mine = np.flatnonzero(verdicts.segment == "desks")
    alone = detector._detectors["desks"].judge(records.features[mine])
    assert np.array_equal(verdicts.p_value[mine], alone.p_value) and np.array_equal(verdicts.score[mine], alone.score)
    loud = np.flatnonzero(verdicts.alarm).tolist()[::7]
    reasons = verdicts.explain(loud)
    assert [reasons[loud.index(row)] for row in loud if row in mine] == alone.explain(
        [int(np.searchsorted(mine, row)) for row in loud if row in mine]
    )
    assert all(reasons)


def test_the_rest_is_judged_by_the_reference_of_all(records: Records, detector: SegmentedDetector) -> None:
    elsewhere = records.frame.with_columns(originator=pl.lit("192.0.2.1"), responder=pl.lit("192.0.2.2"))
    verdicts = detector.judge(records.features, elsewhere)
    whole = detector._detectors[REST].judge(records.features)
    assert np.array_equal(verdicts.p_value, whole.p_value) and set(verdicts.segment.tolist()) == {REST}  # type: ignore[union-attr]


class Given:
    """A source that gives a frame in pieces, and goes on where its bookmark stands."""

    name, backlog_bytes = "given", 0

    def __init__(self, frame: pl.DataFrame) -> None:
        self._frame, self._at = frame, 0

    @property
    def ended(self) -> bool:
        return self._at >= self._frame.height

    def resume(self, bookmark: Bookmark | None) -> None:
        self._at = int(bookmark.position) if bookmark else 0

    def read(self) -> Piece | None:
        piece = self._frame[self._at : self._at + 40]
        self._at += piece.height
        return Piece(piece, Bookmark(str(self._at))) if piece.height else None

    def problems(self) -> list[str]:
        return []

    def counters(self) -> dict[str, int]:
        return {}

    def close(self) -> None:
        pass


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[tuple[AlertStore, AlertStore]]:
    made = (AlertStore(f"sqlite:///{tmp_path / 'a.sqlite'}"), AlertStore(f"sqlite:///{tmp_path / 'b.sqlite'}"))
    yield made
    for store in made:
        store.close()


def watched(store: AlertStore, frame: pl.DataFrame, detector: SegmentedDetector) -> None:
    sizes = GroupSizes(np.array([1.0, 3.0]), np.array([500.0, 100.0]), 3_600.0)
    steering = Steering(lambda event, **facts: None, alerts_a_day=2_000, sizes=sizes, segments=[*NETWORKS])
    made = Watch(
        Given(frame), store, lambda columns: detector, log=lambda event, **facts: None, steering=steering,
        options=WatchOptions(most_batch_records=64, batch_seconds=0.01),
    )  # fmt: skip
    made.prepare()
    made.run()


def shown(alerts: list[KeptAlert]) -> list[tuple[Any, ...]]:
    """All but the last digits of scores, which depend on how many records were judged at once."""
    return sorted(
        (a.threat, a.originator, a.responder, a.flows, a.p_value, round(a.score, 9), a.record, a.reasons, a.segment)
        for a in alerts
    )


def test_stopped_and_resumed_the_alerts_are_the_same_and_tell_their_segment(
    records: Records, detector: SegmentedDetector, stores: tuple[AlertStore, AlertStore]
) -> None:
    frame, (whole, halves) = records.frame.sort("last_time"), stores
    watched(whole, frame, detector)
    watched(halves, frame[: frame.height // 2], detector)
    watched(halves, frame, detector)
    told = [store.with_evidence(store.alerts()) for store in stores]
    assert shown(told[0]) == shown(told[1]) != []
    alerts = told[0]
    assert {one.segment for one in alerts} == {"desks", "machines"}
    assert all(one.segment == ("desks" if str(one.originator).startswith("10.20.1.") else "machines") for one in alerts)
    assert {one.calibrated for one in alerts} == {"site"}


def test_a_harmless_label_acts_in_its_segment_and_a_malicious_one_in_all(
    records: Records, detector: SegmentedDetector, segments: Segments, stores: tuple[AlertStore, AlertStore]
) -> None:
    watched(stores[0], records.frame, detector)
    labels = LabelStore(stores[0])
    alerts = stores[0].with_evidence(stores[0].alerts())
    shell_alert = max((a for a in alerts if a.threat == "remote-shell"), key=lambda one: one.flows)
    told = labels.add(shell_alert.id, "false-positive", who="ada", when=NOON)
    assert told.segment == shell_alert.segment == "desks"
    taught = detector.relabelled(labels.standing())
    where = {name: np.flatnonzero(segments.of(records.frame) == name) for name in NETWORKS}
    before, after = (one.judge(records.features, records.frame) for one in (detector, taught))
    assert after.muted > 0
    assert after.alarm[where["desks"]].sum() < before.alarm[where["desks"]].sum()
    assert np.array_equal(after.alarm[where["machines"]], before.alarm[where["machines"]])
    again = taught.relabelled([]).judge(records.features, records.frame)
    assert np.array_equal(again.alarm, before.alarm) and np.array_equal(again.score, before.score)


def label(verdict: str, segment: str | None) -> Label:
    features = json.dumps({"x": 1.0} | ({} if segment is None else {"segment": segment}))
    return Label(1, 1, verdict, "t", "", "ada", NOON, False, (features,), "f")


def test_labels_of_no_segment_now_known_act_everywhere() -> None:
    names = {REST: 0, "a": 0}
    everywhere = [label("malicious", "a"), label("false-positive", None), label("false-positive", "gone")]
    mine, rest = label("false-positive", "a"), label("benign-trigger", REST)
    assert labels_in("a", [*everywhere, mine, rest], names) == [*everywhere, mine]
    assert labels_in(REST, [*everywhere, mine, rest], names) == [*everywhere, rest]


def drifting(steering: Steering, drifted: str, hours: int) -> None:
    """Two segments; in one of them everything is three times as loud from hour 20 on, until it is fitted anew."""
    rng = np.random.default_rng(3)
    names, row = np.array(["a", "b"] * 200, dtype=object), 1
    for hour in range(400_000, 400_000 + hours):
        steering.begin(hour)
        at = pl.lit(hour * 3_600 * 10**9).cast(pl.Datetime("ns", "UTC"))
        frame = pl.DataFrame({"originator": [f"h{hour}.{number}" for number in range(400)]})
        frame = frame.with_columns(responder=pl.lit("r"), first_time=at, last_time=at)
        loud = rng.exponential(1.0, 400)
        features = pl.DataFrame({"x": loud})
        if hour >= 400_020 and not steering.refits:
            loud = np.where(names == drifted, 3.0 * loud, loud)
        silent = np.zeros(400, bool)
        told = Verdicts(
            np.full(400, "t", dtype=object), loud, np.exp(-loud), silent, 0, lambda rows: [], silent, loud, names
        )
        steering.learn(features, frame, row, steering.steer(told, frame), set())
        row += 400


def test_drift_is_told_of_its_segment_which_alone_is_fitted_anew() -> None:
    told: list[tuple[str, str]] = []

    def log(event: str, **facts: Any) -> None:
        told.append((event, facts["segment"]))

    sizes = GroupSizes(np.array([1.0]), np.array([9_600.0]), 86_400.0)
    steering = Steering(log, alerts_a_day=50, sizes=sizes, segments=["a", "b"])
    drifting(steering, "b", 40)
    assert told == [("drift", "b"), ("recalibrated", "b")]
    assert steering.fresh is not None and set(steering.fresh[COLUMN]) == {"b"}
    late = late_of("b", steering.fresh)
    assert late is not None and late.columns == ["x"] and late.height >= 1_000
    assert late_of("a", steering.fresh) is None, "its reference stays"
    assert late_of("b", late) is None, "records of a time without segments"
    again = Steering(log, alerts_a_day=50, sizes=sizes, segments=["a", "b"])
    _, standing = steering.left()
    assert standing is not None
    again.restore(json.loads(json.dumps(steering.state())), standing, [steering.reservoir.whole()])
    assert again.state() == steering.state()


def test_a_budget_is_one_for_all_segments() -> None:
    fast = GroupSizes(np.array([1.0]), np.array([1_000.0]), 3_600.0)
    slow = GroupSizes(np.array([1.0, 5.0]), np.array([300.0, 20.0]), 86_400.0)
    both = GroupSizes.joined([fast, slow])
    for rate in (0.1, 0.001):
        assert both.alerts_a_day(rate) == pytest.approx(fast.alerts_a_day(rate) + slow.alerts_a_day(rate))
    assert both.records_an_hour == pytest.approx(fast.records_an_hour + slow.records_an_hour)
    assert both.times(0.5).alerts_a_day(0.01) == pytest.approx(0.5 * both.alerts_a_day(0.01))
