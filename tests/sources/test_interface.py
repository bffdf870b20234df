"""A live interface: every frame once, tags put back, drops counted, an interface that goes and comes."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.veth import FAR, NEAR, Frames, Wire, why_not

from kshot.errors import InputError
from kshot.sources.interface import SNAP_BYTES, LiveInterface
from kshot.sources.packet_socket import check_interface, open_packet_socket
from kshot.sources.ring_walk import HEARD, JOINED, LEFT_OUT, TAGGED, walk_block

WHY_NOT = why_not()
needs_wire = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "a wire can be made")
PATIENCE_SECONDS = 20.0
MACS = b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01"


def udp(port: int, payload: bytes = b"x" * 20, tag: bytes = b"") -> bytes:
    datagram = struct.pack(">HHHH", port, 53, 8 + len(payload), 0) + payload
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(datagram), 0, 0, 64, 17, 0, b"\x0a\t\0\1", b"\x0a\t\0\2")
    return MACS + tag + b"\x08\0" + head + datagram


@pytest.fixture
def wire() -> Iterator[Wire]:
    with Wire() as wire:
        yield wire


@pytest.fixture
def listen(wire: Wire) -> Iterator[Callable[..., LiveInterface]]:
    """Interfaces that are heard, and closed at the end."""
    made: list[LiveInterface] = []

    def begin(name: str = FAR, **settings: int) -> LiveInterface:
        with wire.inside():
            live = LiveInterface(name, open_packet_socket(name), **{"ring_bytes": 8 << 20, **settings})
            assert live.name
        live.start()
        made.append(live)
        return live

    yield begin
    for live in made:
        live.close()


def taken(live: LiveInterface, count: int | None = None) -> list[bytes]:
    """Frames as they come, `count` of them, or all that were heard until `stop`."""
    frames: list[bytes] = []
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until and (count is None or len(frames) < count):
        batch = live.rest() if count is None else live.batch(0.1)
        if batch is None:
            if count is None:
                break
            continue
        for begin, size in zip(batch.offsets, batch.captured_bytes, strict=True):
            frames.append(batch.buffer[begin : begin + size].tobytes())
        assert set(batch.link_types) <= {1}
        assert np.all(np.abs(batch.times_nanoseconds - time.time_ns()) < 60 * 10**9)
    return frames


def send(wire: Wire, frames: list[bytes]) -> None:
    sender = wire.sender()
    assert sender.send(Frames(frames)) == len(frames)
    sender.close()


@needs_wire
def test_every_frame_comes_once_and_is_counted(wire: Wire, listen: Callable[..., LiveInterface]) -> None:
    live = listen()
    frames = [udp(port, bytes([port & 0xFF]) * (1 + port % 1_400)) for port in range(20_000)]
    got: list[bytes] = []
    for begin in range(0, 20_000, 2_500):  # more than the ring holds, so that it is gone round
        send(wire, frames[begin : begin + 2_500])
        if begin < 17_500:
            got += taken(live, 2_500)
    live.stop()
    send(wire, frames[:100])
    got += taken(live)
    same = got == frames  # pytest would look for hours for what differs
    assert same
    counters = live.counters()
    assert counters["kernel_seen"] == counters["packets_read"] == 20_000
    assert (counters["kernel_drops"], counters["ring_freezes"], live.waiting_bytes) == (0, 0, 0)


@needs_wire
def test_a_tag_that_the_kernel_takes_off_is_put_back(wire: Wire, listen: Callable[..., LiveInterface]) -> None:
    live = listen()
    frames = [
        udp(1),
        udp(2, tag=struct.pack(">HH", 0x8100, 0x6007)),
        udp(3, tag=struct.pack(">HHHH", 0x88A8, 100, 0x8100, 200)),
        udp(4, tag=struct.pack(">HH", 0x8100, 0)),
    ]
    send(wire, frames)
    assert taken(live, len(frames)) == frames
    assert live.counters()["vlan_tags"] == 3


@needs_wire
def test_what_the_host_sends_itself_is_heard_and_on_loopback_once(
    wire: Wire, listen: Callable[..., LiveInterface]
) -> None:
    wire.set("lo", "up")
    near, loopback = listen(NEAR), listen("lo")
    with wire.inside(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as host:
        host.bind((NEAR, 0))
        host.send(udp(7))
    assert taken(near, 1) == [udp(7)]
    with wire.inside():
        for _ in range(5):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.sendto(b"hello", ("127.0.0.1", 9))
    loopback.stop()
    frames = taken(loopback)
    questions = [frame for frame in frames if frame[23] == 17]
    assert len(questions) == 5 and len(frames) == 10  # and as many answers: nobody listens there
    counters = loopback.counters()
    assert counters["kernel_seen"] == counters["packets_read"] + counters["outgoing_left_out"]


@needs_wire
def test_what_nobody_reads_is_dropped_and_counted(wire: Wire, listen: Callable[..., LiveInterface]) -> None:
    live = listen(ring_bytes=2 << 20)
    frames = Frames([udp(port, b"y" * 1_000) for port in range(10_000)])
    sender = wire.sender()
    assert sender.send(frames) == 10_000
    sender.close()
    assert live.waiting_bytes > 0
    live.stop()
    got = taken(live)
    counters = live.counters()
    assert 0 < len(got) < 10_000
    assert counters["packets_read"] == len(got)
    assert counters["packets_read"] + counters["kernel_drops"] == counters["kernel_seen"] == 10_000
    assert counters["ring_freezes"] > 0


@needs_wire
def test_long_frames_are_cut_and_said_to_be_joined(wire: Wire, listen: Callable[..., LiveInterface]) -> None:
    live = listen()
    send(wire, [udp(1, b"z" * 8_000), udp(2, b"z" * 8_000)])
    live.stop()
    got = taken(live)
    assert [len(frame) for frame in got] == [SNAP_BYTES, SNAP_BYTES]
    assert live.problems() == []
    wire.set(NEAR, "mtu", "1500")
    other = listen(NEAR)
    with wire.inside():
        super_packets(NEAR, 2)
    assert len(taken(other, 2)) == 2
    (line,) = other.problems()
    assert f"ethtool -K {NEAR} gro off" in line
    assert other.counters()["super_packets"] == 2


def super_packets(interface: str, count: int) -> None:
    """Send frames that are to be cut into segments only later, as offloading does (virtio_net_hdr)."""
    sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sender.bind((interface, 0))
    sender.setsockopt(263, 15, 1)  # PACKET_VNET_HDR
    payload = b"p" * 4_000
    segment = struct.pack(">HHIIBBHHH", 1_000, 80, 1, 1, 0x50, 0x18, 1_000, 0, 0) + payload
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(segment), 0, 0, 64, 6, 0, b"\x0a\t\0\1", b"\x0a\t\0\2")
    # Checksum wanted at byte 16 behind the IP header; TCP over IPv4, 54 bytes of headers, segments of 1,400.
    offload = struct.pack("<BBHHHH", 1, 1, 54, 1_400, 34, 16)
    for _ in range(count):
        sender.send(offload + MACS + b"\x08\0" + head + segment)
    sender.close()


@needs_wire
def test_an_interface_that_goes_is_told_and_waited_for(wire: Wire, listen: Callable[..., LiveInterface]) -> None:
    live = listen()
    send(wire, [udp(1)])
    assert len(taken(live, 1)) == 1
    wire.set(FAR, "down")
    assert told(live) == [f"{FAR}: went down; nothing is read until it is back: ip link set {FAR} up"]
    wire.set(FAR, "up")
    assert told(live) == [f"{FAR}: is back"]
    wire.cut()
    assert "was removed" in told(live)[0]
    wire.lay()
    assert told(live) == [f"{FAR}: is back"]
    send(wire, [udp(2)])
    assert taken(live, 1) == [udp(2)]


def told(live: LiveInterface) -> list[str]:
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        live.batch(0.05)
        lines = live.problems()
        if lines:
            return lines
    return []


@needs_wire
def test_processes_of_a_group_share_the_flows(wire: Wire, listen: Callable[..., LiveInterface]) -> None:
    first, second = listen(fanout_group=7), listen(fanout_group=7)
    assert (first.name, second.name) == (f"interface:{FAR}:fanout 7/0", f"interface:{FAR}:fanout 7/1")
    frames = [udp(port) for port in range(1_000)]
    send(wire, frames + frames)
    for live in (first, second):
        live.stop()
    mine, others = taken(first), taken(second)
    assert len(mine) + len(others) == 2_000
    assert min(len(mine), len(others)) > 500
    assert not set(mine) & set(others), "all frames of a flow go to one process"
    first.close()
    with wire.inside():
        third = LiveInterface(FAR, open_packet_socket(FAR), fanout_group=7)
        assert third.name == f"interface:{FAR}:fanout 7/0", "a number is free again when its holder ends"
        third.close()


@needs_wire
def test_what_cannot_be_heard_is_one_clear_line(wire: Wire) -> None:
    with wire.inside(), open_packet_socket("x") as packets:
        with pytest.raises(InputError, match=f"nope: is no network interface; there are: {FAR}, lo, {NEAR}"):
            check_interface(packets, "nope")
        for name in ("", "a-name-of-too-many-bytes", "eth0\0"):
            with pytest.raises(InputError, match="is no network interface"):
                check_interface(packets, name)
        wire.set(FAR, "down")
        with pytest.raises(InputError, match=f"{FAR}: is down; bring it up: ip link set {FAR} up"):
            check_interface(packets, FAR)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be without the right and then with it")
def test_rights_are_needed_and_given_up() -> None:
    child = (
        "import socket, sys\n"
        "from kshot.errors import InputError\n"
        "from kshot.sources.packet_socket import open_packet_socket\n"
        "from kshot.sources.rights import drop_rights\n"
        "open_packet_socket('lo'); drop_rights()\n"
        "status = open('/proc/self/status').read().split('\\n')\n"
        "print(*(line.split()[1] for line in status if line.startswith(('CapEff', 'CapPrm', 'CapBnd', 'NoNew'))))\n"
        "try: open_packet_socket('lo')\n"
        "except InputError as error: print(error)\n"
    )
    ran = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, timeout=60, check=True)
    rights, line = ran.stdout.splitlines()
    assert rights.split() == ["0" * 16, "0" * 16, "0" * 16, "1"]
    assert line.startswith("lo: no right to read packets; run as root or give it CAP_NET_RAW")


frames_of_a_block = st.lists(
    st.tuples(st.binary(min_size=14, max_size=80), st.sampled_from([0, 4]), st.sampled_from([0, 0x10, 0x50, 0x100])),
    max_size=12,
)


@pytest.mark.kernel
@given(frames=frames_of_a_block, leave=st.booleans())
def test_a_block_is_walked_as_the_kernel_lays_it(frames: list[tuple[bytes, int, int]], leave: bool) -> None:
    block = bytearray(48)
    for number, (data, direction, status) in enumerate(frames):
        size = -(-(82 + 4 + len(data)) // 8) * 8
        head = struct.pack(
            "<6I2HIIHH8x", size, 100 + number, number, len(data), len(data) + 9, status | 1, 86, 100, 0, 42, 0x88A8, 0
        )
        block += (head + bytes(10) + bytes([direction])).ljust(86, b"\0") + data + bytes(size - 86 - len(data))
    struct.pack_into("<5I", block, 0, 1, 0, 1, len(frames), 48)
    octets = np.frombuffer(bytes(64) + bytes(block), np.uint8).copy()
    arrays = (np.empty(16, np.int64), np.empty(16, np.int32), np.empty(16, np.int32), np.empty(16, np.int64))
    links, tally = np.empty(16, np.int32), np.zeros(4, np.int64)
    given_ones = (octets, octets.view(np.uint16), octets.view(np.uint32), 64, 1, 60, leave)
    found = walk_block(*given_ones, *arrays, links, tally)
    wanted = [
        (
            data[:12] + (b"\x88\xa8" if status & 0x40 else b"\x81\0") + b"\0\x2a" + data[12:]
            if status & 0x10
            else data,
            len(data) + 9 + (4 if status & 0x10 else 0),
            (100 + number) * 10**9 + number,
        )
        for number, (data, direction, status) in enumerate(frames)
        if not (leave and direction == 4)
    ]
    offsets, captured, lengths, times = (array[:found].tolist() for array in arrays)
    got = [octets[at : at + size].tobytes() for at, size in zip(offsets, captured, strict=True)]
    assert list(zip(got, lengths, times, strict=True)) == wanted
    kept = [(data, status) for data, direction, status in frames if not (leave and direction == 4)]
    assert tally[HEARD] == len(kept) and tally[LEFT_OUT] == len(frames) - len(kept)
    assert tally[TAGGED] == sum(status & 0x10 != 0 for _, status in kept)
    assert tally[JOINED] == sum(len(data) + 9 > 60 or status & 0x100 != 0 for data, status in kept)
