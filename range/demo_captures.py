"""Cuts the captures of `kshot demo` from runs of the range: connections, payloads, the truth."""

from __future__ import annotations

import argparse
import csv
import functools
import lzma
import math
import struct
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import tomli_w
from label import label_flows, meter, read_truth
from truth import ICMP, PAIRS, TCP, UDP

PAYLOAD_PACKETS = 2
"""How many packets with payload keep `PAYLOAD_BYTES` of it, in each direction of a connection; later ones keep none.
The meter keeps a direction's first 64 bytes, and lengths are told by the headers."""
PAYLOAD_BYTES = 128
WHOLE_BELOW_BYTES = 90
"""Datagrams up to this long stay whole: names and readings are what a person wants to see in them."""
SLACK_SECONDS = 0.001
Packet = tuple[float, bytes, int]
"""Unix time, captured bytes, length on the wire."""
Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Cut:
    """What to take of a run."""

    name: str
    threats: frozenset[str]
    begin: float
    end: float
    """Unix time; a connection that is not whole between them is left out."""
    most_packets: int
    """Benign connections of more packets are left out, but for the `bulky` that come first."""
    bulky: int
    """Long transfers are part of life, and most of a capture's bytes."""


def main() -> None:
    """demo_captures.py TEACH-RUN FIND-RUN OUT."""
    parser = argparse.ArgumentParser(prog="range/demo_captures.py", description=__doc__)
    parser.add_argument("teach", type=Path, help="folder of the run to learn from")
    parser.add_argument("find", type=Path, help="folder of the run to find in")
    parser.add_argument("out", type=Path)
    parser.add_argument("--taught", default="mqtt-bruteforce", help="the range's name of the threat to learn")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    begins = _steps(given.find)[0]["start"]
    everything = frozenset(row["label"] for row in _truth(given.find) if row["part"] == "attack")
    cuts = (
        (given.teach, Cut("learn", frozenset({given.taught}), 0.0, _start(given.teach) + 60.0, 120, 2)),
        (given.find, Cut("quiet", frozenset(), 0.0, begins, 150, 8)),
        (given.find, Cut("find", everything, begins, math.inf, 150, 8)),
    )
    about = {cut.name: _make(folder, cut, given.out) for folder, cut in cuts}
    (given.out / "captures.toml").write_text(tomli_w.dumps(about))
    for name, told in about.items():
        print(name, told)


def _truth(folder: Path) -> list[dict[str, str]]:
    with (folder / "truth.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _steps(folder: Path) -> list[dict[str, Any]]:
    """What the attackers did, in the order of time."""
    scenario = tomllib.loads((folder / "scenario.toml").read_text())
    # A run of one threat names it once, at the top.
    steps = [{"threat": scenario["scenario"], **step} for step in scenario["step"]]
    return sorted(steps, key=lambda step: step["start"])


def _start(folder: Path) -> float:
    return min(float(row["start"]) for row in _truth(folder))


def _make(folder: Path, cut: Cut, out: Path) -> dict[str, Any]:
    """Write NAME.pcap.xz and NAME.truth.csv; returns what there is to tell about them."""
    rows = _kept(_truth(folder), cut)
    packets = [struct.pack("<IIII", *divmod(round(time * 1e6), 1_000_000), len(kept), wire) + kept
               for time, kept, wire in _cut_packets(folder / "capture.pcap", rows)]  # fmt: skip
    pcap = (folder / "capture.pcap").open("rb").read(24) + b"".join(packets)
    capture = out / f"{cut.name}.pcap.xz"
    capture.write_bytes(lzma.compress(pcap, preset=9 | lzma.PRESET_EXTREME))
    flows = _write_truth(capture, folder / "truth.csv", out / f"{cut.name}.truth.csv")
    steps = [step for step in _steps(folder) if step["threat"] in cut.threats and not step.get("serve")]
    return {
        "run": folder.name,
        "begins": datetime.fromtimestamp(max(cut.begin, _start(folder)), UTC),
        "packets": len(packets),
        "flows": flows,
        "tools": {
            name: sorted({step["tool"] for step in steps if _built_in(step["threat"]) == name})
            for name in sorted({_built_in(step["threat"]) for step in steps})
        },
    }


def _kept(truth: list[dict[str, str]], cut: Cut) -> list[dict[str, str]]:
    """The connections of the truth that the cut takes; those of which nobody knows the label are taken by nobody."""
    rows = []
    bulky: Counter[str] = Counter()
    for row in truth:
        inside = cut.begin <= float(row["start"]) and float(row["end"]) <= cut.end
        if not inside or row["label"] not in ("benign", *cut.threats):
            continue
        if row["label"] == "benign" and int(row["packets"]) > cut.most_packets:
            # Of each service the first few.
            if bulky[row["resp_port"]] >= cut.bulky // 4 or bulky.total() >= cut.bulky:
                continue
            bulky[row["resp_port"]] += 1
        rows.append(row)
    return rows


def _cut_packets(capture: Path, rows: list[dict[str, str]]) -> Iterator[Packet]:
    """The packets of the connections in `rows`, trimmed."""
    wanted: dict[Key, list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        ports = int(row["orig_port"]), int(row["resp_port"])
        wanted[_key(int(row["protocol"]), row["originator"], ports[0], row["responder"], ports[1])].append(row)
    sent: Counter[tuple[int, str]] = Counter()
    for time, data, wire in _packets(capture):
        found = _ends(data)
        for row in wanted.get(_key(*found), ()) if found else ():
            if float(row["start"]) - SLACK_SECONDS <= time <= float(row["end"]) + SLACK_SECONDS:
                yield time, _trimmed(data, found[0], sent, (id(row), found[1])), wire
                break


def _write_truth(capture: Path, truth: Path, out: Path) -> dict[str, int]:
    """Write a row for each flow of the cut capture that is not benign; returns the number of flows of each threat."""
    flows = label_flows(meter(capture), read_truth(truth))
    if flows["label"].null_count():
        raise SystemExit(f"{capture}: {flows['label'].null_count()} flows that the truth does not know")
    told = flows.filter(pl.col("label") != "benign").select(
        pl.col("first_time").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"),
        "originator", "orig_port", "responder", "resp_port", "protocol",
        pl.col("label").map_elements(_built_in, pl.String).alias("threat"), "tool", "part",
    )  # fmt: skip
    if told.height:
        told.write_csv(out)
    return dict(flows["label"].map_elements(_built_in, pl.String).value_counts(sort=True).iter_rows())


@functools.cache
def _built_in(label: str) -> str:
    """The name under which kshot ships what the range calls `label`."""
    known = tomllib.loads((Path(__file__).parent / "threats.toml").read_text())
    return next((name for name, told in known.items() if label in told["labels"]), label)


def _packets(path: Path) -> Iterator[Packet]:
    """The packets of a capture that tcpdump wrote on this machine."""
    data = path.read_bytes()
    nano = data[:4] == b"\x4d\x3c\xb2\xa1"
    if data[:4] not in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1"):
        raise SystemExit(f"{path}: no capture in this machine's byte order")
    at = 24
    while at + 16 <= len(data):
        seconds, part, captured, wire = struct.unpack_from("<IIII", data, at)
        yield seconds + part * (1e-9 if nano else 1e-6), data[at + 16 : at + 16 + captured], wire
        at += 16 + captured


def _ends(frame: bytes) -> tuple[int, str, int, str, int] | None:
    """Protocol, source, port, target and port of an IPv4 frame; None for what is none, and later fragments."""
    if frame[12:14] != b"\x08\x00" or frame[20] & 0x1F or frame[21]:
        return None
    protocol, body = frame[23], 14 + (frame[14] & 15) * 4
    source, target = (".".join(map(str, frame[at : at + 4])) for at in (26, 30))
    if protocol in (TCP, UDP):
        return (
            protocol,
            source,
            *struct.unpack_from(">H", frame, body),
            target,
            *struct.unpack_from(">H", frame, body + 2),
        )
    if protocol == ICMP:
        return protocol, source, frame[body], target, frame[body + 1]
    return protocol, source, 0, target, 0


def _key(protocol: int, source: str, port: int, target: str, other: int) -> Key:
    """What both directions of a connection share; of ICMP the two hosts and the kind, as in range/label.py."""
    if protocol == ICMP:
        return (protocol, *sorted((source, target)), PAIRS.get(port, port))
    return (protocol, *sorted(((source, port), (target, other))))


def _trimmed(frame: bytes, protocol: int, sent: Counter[tuple[int, str]], side: tuple[int, str]) -> bytes:
    """The frame's headers, and of its payload what `PAYLOAD_PACKETS` says."""
    body = 14 + (frame[14] & 15) * 4
    end = 14 + int.from_bytes(frame[16:18], "big")
    header = body + (frame[body + 12] >> 4) * 4 if protocol == TCP else body + 8
    if end <= header:
        return frame[:end]
    sent[side] += 1
    if sent[side] <= PAYLOAD_PACKETS:
        return frame[: min(end, header + PAYLOAD_BYTES)]
    return frame[: min(end, header + WHOLE_BELOW_BYTES)] if protocol == UDP else frame[:header]


if __name__ == "__main__":
    main()
