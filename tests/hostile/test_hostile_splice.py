"""Hostile packets among benign ones change no other flow (R6); a flood pushes out next to none (R11)."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from benchmarks.families import FAMILIES
from benchmarks.load import START_SECONDS, Frame, pcap, syn_flood, traffic
from benchmarks.mutants import mutate

from kshot.flows import FlowMeter
from kshot.sources.pcap import CaptureReader

BENIGN_NETWORK = 0xC6120000  # 198.18.0.0/15 is for benchmarks (RFC 2544): nobody else's packets are from there
BENIGN = traffic(150, seed=11, network=BENIGN_NETWORK)


def all_flows_of(frames: list[Frame], path: Path, **settings: int) -> pl.DataFrame:
    """The flows of a capture of `frames`, in a fixed order."""
    path.write_bytes(pcap(sorted(frames, key=lambda frame: frame.nanoseconds), nanoseconds=True))
    meter = FlowMeter(**settings)
    parts = []
    with CaptureReader(path) as reader:
        for batch in reader:
            meter.push(batch)
            parts += list(meter.drain())
    parts += list(meter.finish())
    return pl.concat(parts).sort("community_id", "first_time")


def flows_of(frames: list[Frame], path: Path, **settings: int) -> pl.DataFrame:
    """Of a capture of `frames`, the flows whose 5-tuples are among the benign ones."""
    ours = {(f.data[23], *sorted((f.data[26:30] + f.data[34:36], f.data[30:34] + f.data[36:38]))) for f in BENIGN}
    flows = all_flows_of(frames, path, **settings)

    def end(row: dict[str, object], side: str, port: str) -> bytes:
        return ipaddress.ip_address(str(row[side])).packed + int(str(row[port])).to_bytes(2)

    ends = (("originator", "orig_port"), ("responder", "resp_port"))
    keys = ((row["protocol"], *sorted(end(row, *which) for which in ends)) for row in flows.iter_rows(named=True))
    return flows.filter(pl.Series([key in ours for key in keys], dtype=pl.Boolean))


def packets_of(path: Path) -> list[bytes]:
    """The Ethernet frames of a capture."""
    found = []
    for batch in CaptureReader(path):
        for at, size, link in zip(batch.offsets, batch.captured_bytes, batch.link_types, strict=True):
            if link == 1:
                found.append(batch.buffer[at : at + size].tobytes())
    return found


def among(packets: list[bytes], generator: np.random.Generator) -> list[Frame]:
    """The benign frames and `packets` at times between them."""
    first, last = BENIGN[0].nanoseconds, BENIGN[-1].nanoseconds
    times = generator.integers(first, last, len(packets))
    wires = generator.integers(0, 70_000, len(packets))
    return BENIGN + [Frame(p, int(t), int(w)) for p, t, w in zip(packets, times, wires, strict=True)]


def test_made_hostile_packets_change_no_other_flow(tmp_path: Path) -> None:
    alone = flows_of(BENIGN, tmp_path / "x")
    assert len(alone) >= 150
    generator = np.random.default_rng(1)
    for name, family in FAMILIES.items():
        (tmp_path / "family").write_bytes(family(400))
        packets = packets_of(tmp_path / "family")[:5000]
        assert flows_of(among(packets, generator), tmp_path / "x").equals(alone), name


def test_mutated_benign_packets_change_no_other_flow(tmp_path: Path) -> None:
    """What differs must be a flow that a mutant still names; mutants of other networks name none."""
    alone = flows_of(BENIGN, tmp_path / "x")
    generator = np.random.default_rng(2)
    others = [frame.data for frame in traffic(40, seed=12)]
    packets = [mutate(data, generator, others[0]) for data in others]
    assert flows_of(among(packets, generator), tmp_path / "x").equals(alone)


@pytest.mark.shared
@pytest.mark.xdist_group("hostile set")
def test_packets_of_the_hostile_set_change_no_other_flow(hostile_set: Path, tmp_path: Path) -> None:
    packets = []
    for path in sorted(hostile_set.rglob("*.pcap")):
        if path.stat().st_size < 20_000:
            try:
                packets += packets_of(path)[:40]
            except Exception as error:  # no capture after all
                assert type(error).__name__ == "InputError"
    assert len(packets) > 5000
    alone = flows_of(BENIGN, tmp_path / "x")
    assert flows_of(among(packets, np.random.default_rng(3)), tmp_path / "x").equals(alone)


def test_a_flood_beyond_the_memory_leaves_the_other_flows(tmp_path: Path) -> None:
    (tmp_path / "flood").write_bytes(syn_flood(60_000, seconds=300.0).tobytes())
    rest = [frame for batch in CaptureReader(tmp_path / "flood") for frame in _frames(batch)]
    memory = 4 << 20
    alone = flows_of(BENIGN, tmp_path / "x", memory_bytes=memory)
    flooded = flows_of(BENIGN + rest, tmp_path / "x", memory_bytes=memory)
    kept = alone.join(flooded, on=["community_id", "first_time", "orig_packets", "resp_packets", "end_reason"])
    assert len(kept) >= 0.95 * len(alone)
    assert START_SECONDS * 10**9 <= rest[0].nanoseconds


def _frames(batch: object) -> list[Frame]:
    from kshot.records.frames import FrameBatch

    assert isinstance(batch, FrameBatch)
    return [
        Frame(batch.buffer[at : at + size].tobytes(), int(time), int(wire))
        for at, size, time, wire in zip(
            batch.offsets, batch.captured_bytes, batch.times_nanoseconds, batch.wire_bytes, strict=True
        )
    ]
