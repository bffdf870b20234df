"""What a late tap and a one-way tap leave of a run's capture."""

import socket
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "range"))

from edges import capture_of

HEAD = bytes.fromhex("d4c3b2a10200040000000000000000000000040001000000")


def packet(second: int, source: str) -> bytes:
    """A frame whose only content is its IPv4 source."""
    frame = bytes(26) + socket.inet_aton(source) + bytes(10 + second)
    return struct.pack("<IIII", second, 0, len(frame), len(frame)) + frame


def test_each_tap_keeps_its_part(tmp_path: Path) -> None:
    run = tmp_path / "benign-1"
    run.mkdir()
    prefixes = '{ people = "10.1.2.0/24", servers = "10.9.9.0/24", machines = "10.1.3.0/24" }'
    (run / "scenario.toml").write_text(f"[plan]\nprefixes = {prefixes}\n")
    sent = [packet(100, "10.1.2.7"), packet(130, "10.9.9.1"), packet(180, "10.1.3.200"), packet(200, "192.0.2.1")]
    (run / "capture.pcap").write_bytes(HEAD + b"".join(sent))
    assert capture_of(run) == run / "capture.pcap"
    assert capture_of(tmp_path / "benign-1:late").read_bytes() == HEAD + sent[2] + sent[3]
    one_way = capture_of(tmp_path / "benign-1:one-way")
    assert one_way.read_bytes() == HEAD + sent[0] + sent[2]
    assert one_way.parent == run
