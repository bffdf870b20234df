"""Ground truth of a run: one row a connection in the capture, labelled by who opened it.

Known are: each namespace's address and that the wire lets no address through unnoticed that is not its namespace's
(forged ones are listed with the namespace that sent them); and, on hosts that the intruder shares with their owner,
which connections each user's sockets opened, as the kernel noted them. Ports and payloads are never looked at for it.
"""

from __future__ import annotations

import csv
import json
import socket
import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from plan import ATTACK, address_of

IDLE_SECONDS = 120.0
REUSE_SECONDS = 6.0
"""How far apart two uses of the same five numbers must be for the kernel's note to tell them apart."""
ICMP, TCP, UDP = 1, 6, 17
ICMP_ERRORS = (3, 4, 5, 11, 12)
PAIRS = {0: 8, 14: 13, 16: 15, 18: 17}
"""ICMP answers and the type that asked."""
COLUMNS = (
    "start", "end", "originator", "orig_port", "responder", "resp_port", "protocol", "label", "tool", "threat", "part",
    "packets",
)  # fmt: skip


@dataclass(slots=True)
class Connection:
    """One connection as the capture shows it."""

    start: float
    end: float
    originator: str
    orig_port: int
    responder: str
    resp_port: int
    protocol: int
    packets: int = 0
    closed: bool = False
    about: tuple[str, int, str, int, int] | None = None
    """What an ICMP error complains of."""


def _tuple(data: bytes, at: int) -> tuple[str, int, str, int, int, int] | None:
    """Source, port, destination, port, protocol and TCP flags of the IPv4 packet that begins at `at`."""
    if len(data) < at + 20 or data[at] >> 4 != 4:
        return None
    protocol, header = data[at + 9], (data[at] & 15) * 4
    source, target = socket.inet_ntoa(data[at + 12 : at + 16]), socket.inet_ntoa(data[at + 16 : at + 20])
    if struct.unpack_from(">H", data, at + 6)[0] & 0x1FFF:
        return None  # a later fragment
    body = at + header
    if protocol in (TCP, UDP) and len(data) >= body + 4:
        ports = struct.unpack_from(">HH", data, body)
        flags = data[body + 13] if protocol == TCP and len(data) > body + 13 else 0
        return source, ports[0], target, ports[1], protocol, flags
    if protocol == ICMP and len(data) >= body + 2:
        return source, data[body], target, data[body + 1], protocol, 0
    return source, 0, target, 0, protocol, 0


def connections(path: Path) -> list[Connection]:
    """All IPv4 connections of a capture that tcpdump wrote, in the order of their first packets."""
    data = path.read_bytes()
    order = "<" if data[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    fraction = 1e-9 if data[:4] in (b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d") else 1e-6
    read_head = struct.Struct(order + "IIII").unpack_from
    open_ones: dict[object, Connection] = {}
    found: list[Connection] = []
    at, size = 24, len(data)
    while at + 16 <= size:
        seconds, part, captured, _ = read_head(data, at)
        packet = at + 30  # past the record's head and Ethernet's
        at += 16 + captured
        if at > size:
            break
        now = seconds + part * fraction
        body = packet + (data[packet] & 15) * 4
        protocol = data[packet + 9]
        if protocol in (TCP, UDP):
            if data[packet + 6] & 0x1F or data[packet + 7]:
                continue  # a later fragment
            one = data[packet + 12 : packet + 16] + data[body : body + 2]
            other = data[packet + 16 : packet + 20] + data[body + 2 : body + 4]
            flags = data[body + 13] if protocol == TCP else 0
            key: object = (protocol, one, other) if one < other else (protocol, other, one)
        else:
            flags = 0
            seen = _tuple(data[packet:at], 0)
            if seen is None:
                continue
            source, kind, target, code = seen[:4]
            if protocol == ICMP and kind in PAIRS:
                source, target = target, source
            kind = PAIRS.get(kind, kind)
            pair = tuple(sorted((source, target))) if kind == 8 else (source, target)
            key = (protocol, *pair, kind, code)
        row = open_ones.get(key)
        opens = flags & 0x12 == 0x02
        if row is None or now - row.end > IDLE_SECONDS or (opens and (row.closed or now - row.start > 60)):
            row = _opened(data[packet:at], now, flags)
            if row is None:
                continue
            open_ones[key] = row
            found.append(row)
        row.end = now
        row.packets += 1
        if flags & 0x05:
            row.closed = True
    return found


def _opened(packet: bytes, now: float, flags: int) -> Connection | None:
    """The connection that this packet is the first of, turned so that its opener comes first."""
    seen = _tuple(packet, 0)
    if seen is None:
        return None
    source, source_port, target, target_port, protocol, _ = seen
    if protocol == ICMP and source_port in PAIRS:
        return Connection(now, now, target, PAIRS[source_port], source, target_port, protocol)
    if protocol == TCP and flags & 0x12 == 0x12:
        return Connection(now, now, target, target_port, source, source_port, protocol)
    row = Connection(now, now, source, source_port, target, target_port, protocol)
    if protocol == ICMP and source_port in ICMP_ERRORS:
        inner = _tuple(packet, (packet[0] & 15) * 4 + 8)
        row.about = inner[:5] if inner else None
    return row


def read_owners(text: str, asked: float) -> dict[str, dict[tuple, float]]:
    """When the "intruder" and the "owner" opened what, from nft's JSON as it was at the Unix time `asked`.

    Keys are (protocol, far address, own port, far port); times are good to a second or so.
    """
    sides: dict[str, dict[tuple, float]] = {"intruder": {}, "owner": {}}
    for item in json.loads(text)["nftables"]:
        if "set" not in item:
            continue
        who, protocol = item["set"]["name"].split("_")
        for element in item["set"].get("elem", []):
            address, own, far = element["elem"]["val"]["concat"]
            age = item["set"]["timeout"] - element["elem"]["expires"]
            sides[who][(TCP if protocol == "tcp" else UDP, address, int(own), int(far))] = asked - age
    return sides


class Judge:
    """Says whose a connection is, and which threat's.

    log: what `attack.carry_out` returned: which threat's step ran on which host and when; on one host at a time there
    are steps of one threat only.
    """

    def __init__(self, plan: dict, forged: list[dict], owners: dict[str, tuple[str, float]], log: list[dict]) -> None:
        self.address = {address_of(plan, name): name for name in (host["name"] for host in plan["hosts"])}
        self.attack = {address_of(plan, name) for name in ATTACK} | {
            entry["address"] for entry in forged if entry["host"] in ATTACK and entry["address"] not in self.address
        }
        self.opened: dict[str, dict[tuple, float]] = {"intruder": {}, "owner": {}}
        for name, (text, asked) in owners.items():
            own = address_of(plan, name)
            for who, items in read_owners(text, asked).items():
                self.opened[who].update({(own, *item): when for item, when in items.items()})
        self.log = sorted(log, key=lambda entry: entry["start"])

    def _is_intruders(self, ends: tuple[str, int, str, int, int], when: float) -> str:
        """ "yes", "no" or "both", for a connection from a shared host, or to one for FTP's active data.

        Where both had the same five numbers, each in its time, the time decides if it is clear.
        """
        a, a_port, b, b_port, protocol = ends
        for one in ((a, protocol, b, a_port, b_port), (b, protocol, a, b_port, a_port)):
            if one not in self.opened["intruder"]:
                continue
            if one not in self.opened["owner"]:
                return "yes"
            away = {who: abs(self.opened[who][one] - when) for who in self.opened}
            if min(away.values()) > REUSE_SECONDS or max(away.values()) < REUSE_SECONDS:
                return "both"
            return "yes" if away["intruder"] < away["owner"] else "no"
        return "no"

    def step(self, row: Connection, about: tuple[str, int, str, int, int] | None = None) -> dict:
        """The step that ran on one of its ends when it began: the last one started there.

        What the site's resolver asks the attacker's server for others is of the DNS threat that runs at the time.
        """
        addresses = {row.originator, row.responder, *((about[0], about[2]) if about else ())}
        names = {self.address.get(address, "attacker") for address in addresses}
        before = [entry for entry in self.log if entry["start"] <= row.start + 0.02]
        active = [entry for entry in before if not entry.get("serve")]
        here = [entry for entry in active if entry["on"] in names]
        if not here and "dns" in names:
            here = [entry for entry in active if entry["threat"].startswith("dns-")]
        for fits in (here, active, before, self.log):
            if fits:
                return fits[-1]
        return {}

    def label(self, row: Connection) -> tuple[str, str, str]:
        """(label, part, tool): part is "attack", "support" (name look-ups) or "answer" (ICMP errors, late segments)."""
        ends = (row.originator, row.orig_port, row.responder, row.resp_port, row.protocol)
        inner = row.about
        if inner is not None:
            known = {inner[0], inner[2], row.originator, row.responder}
            ours = bool(known & self.attack) or self._is_intruders(inner, row.start) == "yes"
            step = self.step(row, inner) if ours else {}
            return (step["threat"], "answer", step["tool"]) if step else ("benign", "", "")
        by_address = row.originator in self.attack or row.responder in self.attack
        owned = self._is_intruders(ends, row.start)
        if not by_address and owned == "both":
            return "ambiguous", "", ""
        step = self.step(row) if by_address or owned == "yes" else {}
        if not step:
            return "benign", "", ""
        threat, tool = step["threat"], step["tool"]
        is_look_up = self.address.get(row.responder) == "dns" and row.protocol == UDP and row.resp_port == 53
        if is_look_up and not threat.startswith("dns-"):
            return threat, "support", tool
        c2 = "c2" in (self.address.get(row.responder), self.address.get(row.originator))
        if by_address and not c2 and row.originator not in self.attack:
            return threat, "answer", tool
        return threat, "attack", tool


def write_truth(capture: Path, target: Path, judge: Judge) -> Counter[str]:
    """Label every connection of the capture; returns how many there are of each label."""
    counts: Counter[str] = Counter()
    with target.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in connections(capture):
            label, part, tool = judge.label(row)
            counts[label if part in ("", "attack") else f"{label} ({part})"] += 1
            is_threat = label not in ("benign", "ambiguous")
            writer.writerow(
                (f"{row.start:.6f}", f"{row.end:.6f}", row.originator, row.orig_port, row.responder, row.resp_port,
                 row.protocol, label, tool, label if is_threat else "", part, row.packets)
            )  # fmt: skip
    return counts
