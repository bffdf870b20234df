"""Live as from a file: the same packets give the same flows and verdicts, early alarms count once."""

from __future__ import annotations

import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.load import Frame, pcap
from benchmarks.traffic import Traffic, Tunnel, office, tunnel
from benchmarks.veth import FAR, Frames, Wire, why_not

from kshot.features import FeatureExtractor, columns_for_tier
from kshot.records.columns import Tier
from kshot.records.frames import FrameBatch
from kshot.sources.interface import LiveInterface
from kshot.sources.packet_socket import open_packet_socket
from kshot.sources.pcap import CaptureReader
from kshot.store import builtin_reference, builtin_threat
from kshot.stream.batching import PieceQueue
from kshot.stream.early import EarlyVerdicts
from kshot.stream.followed_interface import FollowedInterface
from kshot.stream.growing import alarms_of
from kshot.stream.laboratory import Laboratory
from kshot.stream.metering import MeterOptions, meter
from kshot.stream.shedding import MOST_LONE, MOST_OF_A_HOST, without_lone
from kshot.stream.standing import StandingDetector, Teaching
from kshot.stream.warm import made_flows

WHY_NOT = why_not()
needs_wire = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "a wire can be made")
DAY = 1_772_438_400.0
HIDDEN = Tunnel("10.20.1.33", "198.51.100.8", "x1.example.net", 10, (110, 180), (100, 300), (20, 70), 0.1, 15)
FLOW = ["community_id", "first_time", "slice"]


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty minutes of an office, and a DNS tunnel."""
    from random import Random

    traffic = Traffic(Random(3))
    office(traffic, DAY, 1_200.0, 1_500)
    tunnel(traffic, DAY, 1_200.0, HIDDEN)
    path = tmp_path_factory.mktemp("captures") / "day.pcap"
    traffic.write(path)
    return path


@pytest.fixture
def wire() -> Iterator[Wire]:
    with Wire() as wire:
        yield wire


class Tee(LiveInterface):
    """A live interface that keeps what it gave."""

    def __init__(self, *settings: object) -> None:
        super().__init__(*settings)  # type: ignore[arg-type]
        self.kept: list[Frame] = []

    def batch(self, seconds: float) -> FrameBatch | None:
        return self._keep(super().batch(seconds))

    def rest(self) -> FrameBatch | None:
        return self._keep(super().rest())

    def _keep(self, batch: FrameBatch | None) -> FrameBatch | None:
        for i in range(len(batch) if batch is not None else 0):
            assert batch is not None
            data = batch.buffer[batch.offsets[i] : batch.offsets[i] + batch.captured_bytes[i]].tobytes()
            self.kept.append(Frame(data, int(batch.times_nanoseconds[i]), int(batch.wire_bytes[i])))
        return batch


def followed(wire: Wire, send: Callable[[], None], **settings: bool) -> tuple[pl.DataFrame, list[pl.DataFrame], Tee]:
    """What an interface gives while `send` runs and a little after: flows, early ones, and the frames themselves."""
    with wire.inside():
        tee = Tee(FAR, open_packet_socket(FAR))
    source = FollowedInterface(tee, MeterOptions(idle_timeout_seconds=1.0), **settings)
    source.resume(None)
    send()
    pieces = []
    until = time.monotonic() + 2.0
    while time.monotonic() < until:
        pieces += [piece for piece in [source.read()] if piece is not None]
    pieces += source.rest()
    counters = source.counters()
    assert counters["kernel_seen"] == counters["packets_read"] + counters["kernel_drops"] == len(tee.kept)
    assert counters["packets_read"] == sum(
        counters[name] for name in ("metered", "non_ip", "malformed", "truncated", "shed")
    )
    source.close()
    flows = pl.concat([piece.frame for piece in pieces])
    assert counters["flows"] == flows.height
    return flows, [piece.early for piece in pieces if piece.early is not None], tee


@needs_wire
def test_the_same_packets_give_the_same_flows_and_verdicts_as_from_a_file(
    wire: Wire, capture: Path, tmp_path: Path
) -> None:
    frames = Frames.of_capture(capture)

    def send() -> None:
        sender = wire.sender()
        assert sender.send(frames, rate=20_000.0) == len(frames)
        sender.close()

    live, early, tee = followed(wire, send, early=True)
    path = tmp_path / "live.pcap"
    path.write_bytes(pcap(tee.kept, nanoseconds=True))
    assert len(tee.kept) == len(frames)
    with CaptureReader(path) as reader:
        assert sum(len(batch) for batch in reader) == len(frames)
    options = MeterOptions(idle_timeout_seconds=1.0)
    filed = pl.concat(list(meter([path], options)))
    ordered = [flows.drop("end_reason").sort(*FLOW) for flows in (live, filed)]
    assert ordered[0].equals(ordered[1])
    assert live.height > 1_000

    laboratory = Laboratory([builtin_threat("dns-tunnel"), builtin_threat("port-scan")], builtin_reference()[0][::6])
    detector = StandingDetector(Teaching([], laboratory), columns_for_tier(Tier.PACKETS))
    told = []
    for flows in (live, filed):
        verdicts = detector.judge(FeatureExtractor().transform(flows))
        named = pl.Series("threat", [str(name) for name in verdicts.threat])
        told.append(flows.select(FLOW).with_columns(named, pl.Series("alarm", verdicts.alarm)).sort(*FLOW))
    assert told[0]["alarm"].sum() > 10
    same = (told[0]["alarm"] == told[1]["alarm"]) & (~told[0]["alarm"] | (told[0]["threat"] == told[1]["threat"]))
    assert same.mean() >= 0.999

    looked = pl.concat(early)
    assert looked.height > 0
    assert looked.join(live, on=FLOW, how="anti", nulls_equal=True).height == 0


@needs_wire
def test_a_flow_ends_though_nothing_follows_it(wire: Wire) -> None:
    datagram = struct.pack(">HHHH", 7, 53, 12, 0) + b"only"
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 32, 0, 0, 64, 17, 0, b"\x0a\t\0\1", b"\x0a\t\0\2")
    with wire.inside():
        live = LiveInterface(FAR, open_packet_socket(FAR), 8 << 20)
    source = FollowedInterface(live, MeterOptions(idle_timeout_seconds=0.5))
    source.resume(None)
    sender = wire.sender()
    sender.send(Frames([bytes(12) + b"\x08\0" + head + datagram]))
    sender.close()
    began, piece = time.monotonic(), None
    while piece is None and time.monotonic() - began < 15:
        piece = source.read()
    # The idle timeout, and the meter's five seconds for packets that come out of order.
    assert piece is not None and piece.frame["orig_port"].to_list() == [7]
    assert 5.0 < time.monotonic() - began < 9.0
    assert list(source.rest()) == [] and source.ended
    source.close()


def test_what_alarmed_early_is_not_counted_again() -> None:
    early, flows = EarlyVerdicts(), made_flows()
    alarm = np.zeros(flows.height, bool)
    alarm[:10] = True
    threat = np.array(["scan"] * flows.height, dtype=object)

    def alarms(named: np.ndarray) -> pl.DataFrame:
        return alarms_of(flows, 1, named, np.ones(flows.height), np.full(flows.height, np.nan), alarm)

    assert early.untold(flows, alarms(threat), are_open=True).height == 10
    assert early.untold(flows, alarms(threat), are_open=True).height == 0
    assert early.untold(flows, alarms(threat), are_open=False).height == 0
    other = threat.copy()
    other[3] = "flood"
    assert early.untold(flows, alarms(other), are_open=False)["at"].to_list() == [3]
    assert early.features(flows).height == early.looked == flows.height and early.alarms == 10


def test_under_pressure_lone_flows_are_thinned_and_all_others_kept() -> None:
    flows = made_flows()
    lone = flows.filter(pl.col("resp_packets") == 0)[:1].with_columns(orig_packets=pl.lit(1, pl.UInt64()))
    answered = flows.with_columns(resp_packets=pl.lit(3, pl.UInt64()))
    spoofed = pl.concat([lone] * 5_000).with_columns(
        originator=pl.format("198.18.0.{}", pl.int_range(5_000) % 3_000), responder=pl.lit("198.51.100.77")
    )
    sweep = pl.concat([lone] * 300).with_columns(
        originator=pl.lit("203.0.113.9"), responder=pl.format("10.1.1.{}", pl.int_range(300))
    )
    mixed = pl.concat([spoofed, answered, sweep]).sample(fraction=1.0, shuffle=True, seed=4)
    left = without_lone(mixed)
    assert left.filter(pl.col("resp_packets") > 0).height == flows.height
    assert left.filter(pl.col("originator").str.starts_with("198.18.0.")).height == MOST_OF_A_HOST
    assert left.filter(pl.col("originator") == "203.0.113.9").height == MOST_OF_A_HOST
    assert left.height <= flows.height + MOST_LONE
    assert without_lone(answered).equals(answered) and without_lone(flows.clear()).height == 0


def test_a_live_queue_is_full_when_verdicts_would_be_late() -> None:
    from kshot.records.streams import Bookmark, Piece

    now = [0.0]
    flows = made_flows().with_columns(resp_packets=pl.lit(0, pl.UInt64()), orig_packets=pl.lit(1, pl.UInt64()))
    kept = without_lone(flows).height
    assert 0 < kept <= MOST_LONE
    settings = {"most_wait_seconds": 2.0, "thin": without_lone, "spared_records": 3 * kept - 1}
    queue = PieceQueue(100_000, "shed", lambda: now[0], **settings)  # type: ignore[arg-type]
    piece = Piece(flows, Bookmark("1"), early=flows)
    assert queue.put(piece) and (queue.queued_records, queue.shed_records) == (flows.height, 0)
    now[0] = 1.5
    assert queue.put(piece), "half as late as may be: what says least is thinned, of what waits too"
    assert queue.queued_records == 2 * kept
    assert queue.thinned_records == queue.shed_records == 2 * (flows.height - kept)
    now[0] = 2.5
    assert not queue.put(piece) and queue.shed_records == 3 * flows.height - 2 * kept
    assert queue.put(piece, is_last=True), "what comes last and is not thinned out waits"
    taken = queue.batch(10**6, 0.0)
    assert [one.frame.height for one in taken] == [kept, kept, kept]
    assert all(one.early is None for one in taken), "open flows come again at their end"
    assert queue.put(piece) and queue.queued_records == flows.height, "and what was taken is no longer late"
    few = Piece(flows.head(1), Bookmark("2"))
    waiting = PieceQueue(100_000, "shed", lambda: now[0], **settings)  # type: ignore[arg-type]
    assert waiting.put(few)
    now[0] = 60.0
    assert waiting.put(few) and waiting.shed_records == 0, "what is judged in one go may wait"
    assert waiting.put(piece) and waiting.shed_records == flows.height - kept, "what would be late is thinned first"
