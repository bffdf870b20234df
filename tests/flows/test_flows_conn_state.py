"""conn_state and end_reason of short conversations, by Zeek's rules."""

from __future__ import annotations

import pytest
from frame_builders import ACK, FIN, PSH, RST, SYN, conversation, ethernet, icmp, ip, metered, udp
from frame_builders import batch as frames

HANDSHAKE = (("o", SYN), ("r", SYN | ACK), ("o", ACK))


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("segments", "state", "reason"),
    [
        ((("o", SYN),), "S0", "end"),
        ((("o", SYN), ("o", SYN)), "S0", "end"),
        ((("o", SYN), ("r", RST | ACK)), "REJ", "rst"),
        (HANDSHAKE, "S1", "end"),
        ((*HANDSHAKE, ("o", FIN | ACK), ("r", FIN | ACK), ("o", ACK)), "SF", "fin"),
        ((*HANDSHAKE, ("o", FIN | ACK), ("r", FIN | ACK), ("o", RST)), "SF", "fin"),
        ((*HANDSHAKE, ("o", FIN | ACK), ("r", ACK)), "S2", "end"),
        ((*HANDSHAKE, ("r", FIN | ACK), ("o", ACK)), "S3", "end"),
        ((*HANDSHAKE, ("o", RST)), "RSTO", "rst"),
        ((*HANDSHAKE, ("r", RST)), "RSTR", "rst"),
        ((("o", SYN), ("o", RST)), "RSTOS0", "rst"),
        ((("o", SYN), ("r", SYN | ACK), ("o", RST)), "RSTO", "rst"),
        ((("r", SYN | ACK), ("r", RST)), "RSTRH", "rst"),
        ((("o", SYN), ("o", FIN)), "SH", "end"),
        ((("r", SYN | ACK), ("r", FIN | ACK)), "SHR", "end"),
        ((("o", PSH | ACK), ("r", ACK), ("o", ACK)), "OTH", "end"),
    ],
)
def test_tcp(segments: tuple[tuple[str, int], ...], state: str, reason: str) -> None:
    flows = metered(frames(conversation(*segments)))
    assert flows["conn_state"].to_list() == [state]
    assert flows["end_reason"].to_list() == [reason]
    assert flows["originator"].to_list() == ["10.0.0.1"]
    assert flows["orig_packets"].to_list() == [sum(who == "o" for who, _ in segments)]


@pytest.mark.kernel
def test_other_protocols() -> None:
    def there(packet: bytes) -> bytes:
        return ethernet(ip("10.0.0.1", "10.0.0.2", 17, packet))

    def back(packet: bytes) -> bytes:
        return ethernet(ip("10.0.0.2", "10.0.0.1", 17, packet))

    flows = metered(
        frames(
            [
                there(udp(1000, 53, b"?")),
                there(udp(2000, 53, b"?")),
                back(udp(53, 2000, b"!")),
                ethernet(ip("10.0.0.1", "10.0.0.2", 1, icmp(8))),
            ]
        )
    )
    assert dict(flows.select("orig_port", "conn_state").iter_rows()) == {1000: "S0", 2000: "SF", 8: "OTH"}
