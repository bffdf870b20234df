"""A packet socket of Linux and what is asked of it, by the standard library alone."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import socket
import struct
from dataclasses import dataclass

from kshot.errors import InputError

LOOPBACK = 772
"""Hardware types and packet types after linux/if_arp.h and linux/if_packet.h."""
OUTGOING = 4
_LINK_TYPES = {1: 1, LOOPBACK: 1, 65534: 101, 768: 101, 769: 101, 776: 101, 512: 101}
"""Hardware type -> LINKTYPE: Ethernet, and what hands over bare IP (tun, WireGuard, IP-in-IP, SIT, PPP)."""

_SOL_PACKET = 263
_ADD_MEMBERSHIP, _STATISTICS, _VERSION, _RESERVE, _FANOUT, _IGNORE_OUTGOING = 1, 6, 10, 12, 18, 23
_RX_RING = 5
_PROMISCUOUS = 1
_TPACKET_V3 = 2
_FANOUT_HASH, _FANOUT_DEFRAGMENT = 0, 0x8000
_ETH_P_ALL = 3
_SO_ATTACH_FILTER = 26
_GET_FLAGS, _GET_MTU, _GET_HARDWARE, _GET_INDEX = 0x8913, 0x8921, 0x8927, 0x8933
_UP = 1
_NAME_BYTES = 15
_RETURN = 0x06  # BPF_RET | BPF_K: take so many bytes of the frame


@dataclass(frozen=True, slots=True)
class Interface:
    """What the kernel says of a network interface."""

    index: int
    mtu: int
    hardware: int
    is_up: bool
    link_type: int
    """LINKTYPE_* of its frames; -1 for one that we do not read."""


def open_packet_socket(name: str) -> socket.socket:
    """A socket that hears nothing yet: all that takes CAP_NET_RAW.

    Raises:
        InputError: interface `name` is not to be read here, or not by us.
    """
    if not hasattr(socket, "AF_PACKET"):
        raise InputError(name, "live interfaces are read on Linux only", "capture to a file: tcpdump -i IF -w FILE")
    try:
        return socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
    except PermissionError as error:
        raise InputError(
            name, "no right to read packets", "run as root or give it CAP_NET_RAW; docs/watch.md says how"
        ) from error
    except OSError as error:
        raise InputError(name, f"packets cannot be read here: {error.strerror}") from error


def interface_named(packets: socket.socket, name: str) -> Interface | None:
    """The interface called `name`; None if there is none."""
    raw = name.encode()
    if not 0 < len(raw) <= _NAME_BYTES or b"\0" in raw:
        return None

    def ask(what: int) -> bytes:
        return fcntl.ioctl(packets.fileno(), what, struct.pack("16s24x", raw))

    try:
        (index,) = struct.unpack_from("i", ask(_GET_INDEX), 16)
        (flags,) = struct.unpack_from("H", ask(_GET_FLAGS), 16)
        (mtu,) = struct.unpack_from("i", ask(_GET_MTU), 16)
        (hardware,) = struct.unpack_from("H", ask(_GET_HARDWARE), 16)
    except OSError:
        return None
    return Interface(index, mtu, hardware, bool(flags & _UP), _LINK_TYPES.get(hardware, -1))


def check_interface(packets: socket.socket, name: str) -> Interface:
    """The interface called `name`, if it can be heard now.

    Raises:
        InputError: there is no such interface, it is down, or its frames are none that we read.
    """
    found = interface_named(packets, name)
    if found is None:
        known = ", ".join(sorted(other for _, other in socket.if_nameindex()))
        raise InputError(name, "is no network interface", f"there are: {known}")
    if found.link_type < 0:
        raise InputError(name, f"its link layer (ARPHRD {found.hardware}) is not read", "take an Ethernet interface")
    if not found.is_up:
        raise InputError(name, "is down", f"bring it up: ip link set {name} up")
    return found


def make_ring(packets: socket.socket, blocks: int, block_bytes: int, retire_milliseconds: int) -> None:
    """Have the kernel lay frames into a ring (TPACKET_V3), which is then mapped. Raises `OSError`.

    A block is handed over when it is full, or `retire_milliseconds` after its first frame.
    """
    packets.setsockopt(_SOL_PACKET, _VERSION, _TPACKET_V3)
    # Room before each frame to put a VLAN tag back.
    packets.setsockopt(_SOL_PACKET, _RESERVE, 4)
    frame_bytes = 2048  # of no meaning in this version, but it must divide the blocks
    frames = block_bytes // frame_bytes * blocks
    request = struct.pack("7I", block_bytes, blocks, frame_bytes, frames, retire_milliseconds, 0, 0)
    packets.setsockopt(_SOL_PACKET, _RX_RING, request)


def take_bytes(packets: socket.socket, most: int) -> None:
    """Take the first `most` bytes of each frame from now on; 0: no frame at all, which then counts nowhere."""
    program = ctypes.create_string_buffer(struct.pack("HBBI", _RETURN, 0, 0, most))
    packets.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", 1, ctypes.addressof(program)))


def hear(packets: socket.socket, name: str, interface: Interface) -> None:
    """Hear all frames of an interface, also those for others. Raises `OSError`.

    On loopback each frame passes twice, out and in; the way out is left out. On every other interface what goes out
    is the host's own traffic, seen once.
    """
    with contextlib.suppress(OSError):  # older than Linux 4.20: the walk leaves them out
        packets.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, int(interface.hardware == LOOPBACK))
    packets.bind((name, _ETH_P_ALL))
    with contextlib.suppress(OSError):  # what cannot be promiscuous, such as a tunnel, hears all as it is
        membership = struct.pack("iHH8s", interface.index, _PROMISCUOUS, 0, b"")
        packets.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, membership)


def share(packets: socket.socket, group: int) -> None:
    """Share what is heard with the other sockets of `group`, each flow to one of them. Raises `OSError`.

    The hash is of both endpoints, in either direction alike (since Linux 4.7). Fragments are joined first: a later
    fragment shows no ports, and would go to another socket than its flow.
    """
    packets.setsockopt(_SOL_PACKET, _FANOUT, struct.pack("HH", group, _FANOUT_HASH | _FANOUT_DEFRAGMENT))


def statistics(packets: socket.socket) -> tuple[int, int, int]:
    """(frames seen, of these dropped, times the ring was full) since the last call: what is told is forgotten."""
    seen, dropped, freezes = struct.unpack("3I", packets.getsockopt(_SOL_PACKET, _STATISTICS, 12))
    return seen, dropped, freezes


def error_of(packets: socket.socket) -> str:
    """What happened to the socket, such as "Network is down"; the kernel forgets it; empty if nothing."""
    number = packets.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    return errno.errorcode.get(number, str(number)) if number else ""
