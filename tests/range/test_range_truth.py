"""The range's ground truth: plans that repeat, labels by owner, and the join with flows."""

import json
import random
import socket
import struct
import sys
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

RANGE = Path(__file__).resolve().parents[2] / "range"
sys.path.insert(0, str(RANGE))

import attack  # noqa: E402
import label  # noqa: E402
import plan as plans  # noqa: E402
import truth  # noqa: E402
import wire  # noqa: E402


def checksum(header: bytes) -> int:
    total = sum(struct.unpack(f">{len(header) // 2}H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def packet(source: str, target: str, protocol: int, body: bytes, ttl: int = 64) -> bytes:
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 7, 0, ttl, protocol, 0)
    head += socket.inet_aton(source) + socket.inet_aton(target)
    return bytes(12) + b"\x08\x00" + head[:10] + struct.pack(">H", checksum(head)) + head[12:] + body


def tcp(source: str, sport: int, target: str, dport: int, flags: int) -> bytes:
    return packet(source, target, 6, struct.pack(">HHIIBBHHH", sport, dport, 1, 1, 0x50, flags, 1000, 0, 0))


def udp(source: str, sport: int, target: str, dport: int) -> bytes:
    return packet(source, target, 17, struct.pack(">HHHH", sport, dport, 8, 0))


def capture(path: Path, frames: list[tuple[float, bytes]]) -> Path:
    data = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 256, 1)
    for seconds, frame in frames:
        data += struct.pack("<IIII", int(seconds), round(seconds % 1 * 1e6), len(frame), len(frame)) + frame
    path.write_bytes(data)
    return path


Opened = tuple[str, int, int, float]


def owners(intruder: list[Opened], owner: list[Opened]) -> tuple[str, float]:
    """As nft tells at Unix time 200: far address, own port, far port and when."""
    sets = []
    for name, items in (("intruder_tcp", intruder), ("owner_tcp", owner)):
        elements = [{"elem": {"val": {"concat": list(item[:3])}, "expires": 3600 - 200 + item[3]}} for item in items]
        sets.append({"set": {"name": name, "timeout": 3600, "elem": elements}})
    return json.dumps({"nftables": [{"metainfo": {}}, *sets, {"set": {"name": "intruder_udp", "timeout": 3600}}]}), 200


def judge(
    plan: dict, shared: dict[str, tuple[str, float]] | None = None, forged: list[dict] | None = None
) -> truth.Judge:
    log = [
        {"threat": "port-scan-syn", "tool": "nmap", "on": "attacker", "start": 90.0, "end": 130.0},
        {"threat": "sql-injection", "tool": "sqlmap", "on": "desk1", "start": 90.5, "end": 130.0},
    ]
    return truth.Judge(plan, forged or [], shared or {}, log)


@pytest.mark.parametrize("seed", range(20))
def test_plan_repeats_and_its_addresses_differ(seed: int) -> None:
    plan = plans.make_plan(seed, "outside")
    assert plan == plans.make_plan(seed, "outside")
    assert plan != plans.make_plan(seed + 1, "outside")
    addresses = [host["address"] for host in plan["hosts"]]
    assert len(set(addresses)) == len(addresses)
    assert not {host["gateway"] for host in plan["hosts"]} & set(addresses)


def test_every_scenario_can_be_filled_in_and_differs_between_its_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = tmp_path / "common.txt"
    words.write_text("a\nb\n")
    monkeypatch.setattr(attack, "HOME", tmp_path)
    monkeypatch.setattr(attack, "COMMON_PATHS", words)
    monkeypatch.setattr(attack, "WFUZZ", tmp_path)
    for name in (
        "Injections/All_attack.txt",
        "Injections/Traversal.txt",
        "Injections/SQL.txt",
        "vulns/dirTraversal-nix.txt",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(";id\n../../etc/passwd\n' or 1=1\n")
    plan = plans.make_plan(3)
    known = attack.values(plan, "python3")
    hosts = {host["name"] for host in plan["hosts"]}
    scenarios = attack.scenarios()
    assert len(scenarios) >= 12
    for scenario in scenarios.values():
        commands = {}
        for which in ("teach", "find"):
            steps = [step for step in scenario.get(which, []) if not step.get("serve")]
            assert {step.get("on", "attacker") for step in scenario.get(which, [])} <= hosts
            assert all(step.get("seconds", attack.LIMIT_SECONDS) <= 120 for step in steps)
            commands[which] = {" ".join(attack.command_of(step, known)) for step in steps}
        assert commands["teach"]
        assert commands["find"] or "find" not in scenario
        assert not commands["teach"] & commands["find"]


@pytest.mark.parametrize("hops", [1, 7, 63])
def test_lower_ttl_keeps_the_checksum_right(hops: int) -> None:
    rng = random.Random(hops)
    for _ in range(200):
        source, target = socket.inet_ntoa(rng.randbytes(4)), socket.inet_ntoa(rng.randbytes(4))
        frame = bytearray(packet(source, target, rng.choice((1, 6, 17)), b"", ttl=rng.randint(64, 255)))
        assert wire.lower_ttl(frame, hops)
        assert checksum(bytes(frame[14:34])) == 0
    assert not wire.lower_ttl(bytearray(packet("10.0.0.1", "10.0.0.2", 6, b"", ttl=hops)), hops)


def test_connections_are_told_apart_and_turned_the_right_way(tmp_path: Path) -> None:
    a, b = "10.0.0.1", "10.0.0.2"
    frames = [
        (1.0, tcp(a, 5000, b, 80, 0x02)),
        (1.1, tcp(b, 80, a, 5000, 0x12)),
        (1.2, tcp(a, 5000, b, 80, 0x11)),
        (1.3, tcp(b, 80, a, 5000, 0x11)),
        (2.0, tcp(a, 5000, b, 80, 0x02)),  # the same ports again, after the end: another connection
        (3.0, tcp(b, 21, a, 6000, 0x12)),  # its SYN was lost
        (4.0, packet(a, b, 1, bytes([8, 0]) + bytes(6))),
        (4.1, packet(b, a, 1, bytes(8))),
        (5.0, udp(a, 99, b, 53)),
        (200.0, udp(a, 99, b, 53)),  # after a long silence
    ]
    rows = truth.connections(capture(tmp_path / "c.pcap", frames))
    told = [(row.originator, row.orig_port, row.responder, row.resp_port, row.protocol, row.packets) for row in rows]
    assert told == [
        (a, 5000, b, 80, 6, 4),
        (a, 5000, b, 80, 6, 1),
        (a, 6000, b, 21, 6, 1),
        (a, 8, b, 0, 1, 2),
        (a, 99, b, 53, 17, 1),
        (a, 99, b, 53, 17, 1),
    ]


def test_labels_come_from_namespaces_forged_sources_and_socket_owners() -> None:
    plan = plans.make_plan(5)
    at = {host["name"]: host["address"] for host in plan["hosts"]}
    web = at["web"]
    intruders = [(web, 4000, 80, 100), (web, 4001, 80, 100), (web, 4003, 80, 100), (web, 4004, 80, 50)]
    shared = {"desk1": owners(intruders, [(web, 4001, 80, 101), (web, 4003, 80, 40), (web, 4004, 80, 100)])}
    forged = [{"address": "198.18.9.9", "host": "attacker"}]
    decide = judge(plan, shared, forged)

    def label_of(source: str, sport: int, target: str, dport: int, protocol: int = 6) -> tuple[str, str]:
        return decide.label(truth.Connection(100, 101, source, sport, target, dport, protocol))[:2]

    assert label_of(at["desk2"], 4000, at["web"], 80) == ("benign", "")
    assert label_of(at["attacker"], 4000, at["web"], 80) == ("port-scan-syn", "attack")
    assert label_of("198.18.9.9", 4000, at["web"], 80) == ("port-scan-syn", "attack")
    assert label_of(at["desk1"], 4000, at["web"], 80) == ("sql-injection", "attack")
    assert label_of(at["desk1"], 4002, at["web"], 80) == ("benign", "")
    assert label_of(at["desk1"], 4001, at["web"], 80) == ("ambiguous", "")
    assert label_of(at["desk1"], 4003, at["web"], 80) == ("sql-injection", "attack")
    assert label_of(at["desk1"], 4004, at["web"], 80) == ("benign", "")
    assert label_of(at["attacker"], 4000, at["dns"], 53, 17) == ("port-scan-syn", "support")
    assert label_of(at["web"], 80, at["attacker"], 4000) == ("port-scan-syn", "answer")
    complaint = truth.Connection(100, 100, at["web"], 3, at["desk1"], 3, 1)
    complaint.about = (at["desk1"], 4000, at["web"], 80, 6)
    assert decide.label(complaint) == ("sql-injection", "answer", "sqlmap")
    complaint.about = (at["desk1"], 4002, at["web"], 80, 6)
    assert decide.label(complaint) == ("benign", "", "")


def test_flows_join_their_connection_even_cut_and_turned(tmp_path: Path) -> None:
    plan = plans.make_plan(5)
    at = {host["name"]: host["address"] for host in plan["hosts"]}
    attacker, web, desk = at["attacker"], at["web"], at["desk2"]
    frames = [
        (100.0, tcp(attacker, 5000, web, 80, 0x02)),
        (100.5, tcp(web, 80, attacker, 5000, 0x14)),
        (101.0, tcp(desk, 5000, web, 80, 0x02)),
        (140.0, tcp(desk, 5000, web, 80, 0x10)),
        (150.0, packet(desk, web, 1, bytes([8, 0]) + bytes(6))),
    ]
    counts = truth.write_truth(capture(tmp_path / "c.pcap", frames), tmp_path / "truth.csv", judge(plan))
    assert counts == {"port-scan-syn": 1, "benign": 2}

    def when(seconds: float) -> datetime:
        return datetime.fromtimestamp(seconds, UTC)

    rows = [
        (web, attacker, 80, 5000, 6, when(100.0), when(100.5)),  # as a meter that missed the SYN would turn it
        (desk, web, 5000, 80, 6, when(101.0), when(120.0)),
        (desk, web, 5000, 80, 6, when(120.0), when(140.0)),
        (desk, web, 8, 0, 1, when(150.0), when(150.0)),
        (desk, web, 5001, 80, 6, when(150.0), when(150.0)),
    ]
    schema = {
        "originator": pl.String, "responder": pl.String, "orig_port": pl.UInt16, "resp_port": pl.UInt16,
        "protocol": pl.UInt8, "first_time": pl.Datetime("ns", "UTC"), "last_time": pl.Datetime("ns", "UTC"),
    }  # fmt: skip
    flows = pl.DataFrame(rows, schema=schema, orient="row")
    known = label.read_truth(tmp_path / "truth.csv")
    labelled = label.label_flows(flows, known)
    assert labelled["label"].to_list() == ["port-scan-syn", "benign", "benign", "benign", None]
    assert labelled["tool"].to_list() == ["nmap", "", "", "", None]
    told = label.agreement(labelled, known)
    assert told["flows unmatched"] == 1
    assert told["connections unmatched"] == 0
    assert told["flows the other way round"] == 1
