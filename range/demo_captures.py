"""Cuts the two captures of `kshot demo` from runs of the range: whole connections, trimmed payloads, truth beside them."""

from __future__ import annotations

import argparse
import csv
import lzma
import struct
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

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
    begin_seconds: float
    end_seconds: float
    """After the run's first packet; a connection that is not whole between them is left out."""
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
    parser.add_argument("--taught", default="mqtt-bruteforce", help="the threat to learn")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    learn = Cut("learn", frozenset({given.taught}), 0.0, 60.0, 120, 2)
    find = Cut("find", frozenset(_threats(given.find)), 0.0, 1e9, 200, 12)
    for folder, cut in ((given.teach, learn), (given.find, find)):
        print(_make(folder, cut, given.out))


def _threats(folder: Path) -> set[str]:
    return {row["label"] for row in _truth(folder) if row["part"] == "attack"}


def _truth(folder: Path) -> list[dict[str, str]]:
    with (folder / "truth.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _make(folder: Path, cut: Cut, out: Path) -> str:
    """Write NAME.pcap.xz and NAME.truth.csv; returns a line about them."""
    rows = _kept(_truth(folder), cut)
    wanted: dict[Key, list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        ports = (int(row["orig_port"]), int(row["resp_port"]))
        wanted[_key(int(row["protocol"]), row["originator"], ports[0], row["responder"], ports[1])].append(row)
    head = (folder / "capture.pcap").open("rb").read(24)
    pieces, packets = [head], 0
    sent: Counter[tuple[int, str]] = Counter()
    for time, data, wire in _packets(folder / "capture.pcap"):
        found = _ends(data)
        if found is None:
            continue
        protocol, source, port, target, other = found
        row = next(
            (
                row
                for row in wanted.get(_key(protocol, source, port, target, other), ())
                if float(row["start"]) - SLACK_SECONDS <= time <= float(row["end"]) + SLACK_SECONDS
            ),
            None,
        )
        if row is None:
            continue
        kept = _trimmed(data, protocol, sent, (id(row), source))
        micro = round(time * 1e6)
        pieces.append(struct.pack("<IIII", micro // 1_000_000, micro % 1_000_000, len(kept), wire) + kept)
        packets += 1
    pcap = lzma.compress(b"".join(pieces), preset=9 | lzma.PRESET_EXTREME)
    (out / f"{cut.name}.pcap.xz").write_bytes(pcap)
    _write_truth(out / f"{cut.name}.truth.csv", rows)
    counts = Counter(row["label"] for row in rows)
    told = ", ".join(f"{count} {label}" for label, count in counts.most_common())
    return f"{cut.name}.pcap.xz: {len(pcap) / 1e6:.2f} MB, {packets} packets; connections: {told}"


def _kept(truth: list[dict[str, str]], cut: Cut) -> list[dict[str, str]]:
    """The connections of the truth that the cut takes; those of which nobody knows the label are taken by nobody."""
    zero = min(float(row["start"]) for row in truth)
    rows = []
    bulky: Counter[str] = Counter()
    for row in truth:
        inside = zero + cut.begin_seconds <= float(row["start"]) and float(row["end"]) <= zero + cut.end_seconds
        if not inside or row["label"] not in ("benign", *cut.threats):
            continue
        if row["label"] == "benign" and int(row["packets"]) > cut.most_packets:
            # Of each service the first few.
            if bulky[row["resp_port"]] >= cut.bulky // 4 or bulky.total() >= cut.bulky:
                continue
            bulky[row["resp_port"]] += 1
        rows.append(row)
    return rows


def _write_truth(path: Path, rows: list[dict[str, str]]) -> None:
    """Attacks alone: what is not listed is benign."""
    columns = [
        "start", "end", "originator", "orig_port", "responder", "resp_port", "protocol", "threat", "tool", "part",
    ]  # fmt: skip
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, "threat": row["label"]} for row in rows if row["label"] != "benign")


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
        return protocol, source, *struct.unpack_from(">H", frame, body), target, *struct.unpack_from(">H", frame, body + 2)
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
