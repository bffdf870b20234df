"""Follows a network interface: its frames as they come, and what was lost of them."""

from __future__ import annotations

import contextlib
import functools
import select
import socket
import threading
import time
from collections import Counter

from kshot.errors import InputError
from kshot.records.frames import FrameBatch
from kshot.sources.packet_socket import (
    LOOPBACK,
    Interface,
    check_interface,
    error_of,
    hear,
    interface_named,
    share,
    statistics,
    take_bytes,
)
from kshot.sources.ring import RETIRE_MILLISECONDS, PacketRing
from kshot.sources.ring_walk import HEARD, JOINED, LEFT_OUT, TAGGED

RING_BYTES = 128 << 20
"""Half a second of a million small frames a second."""
SNAP_BYTES = 2_048
"""Enough for all headers and what is kept of payloads; frames of a network of 1,500 bytes are whole."""
_LINK_HEADER_BYTES = 14 + 2 * 4  # Ethernet's and two VLAN tags
_COUNT_SECONDS = 1.0
"""The kernel counts in 32 bits until it is asked."""
_LOOK_SECONDS = 0.2
"""Between two looks for an interface that is gone."""
_LAST_SECONDS = 5 * RETIRE_MILLISECONDS / 1e3
"""After so long with nothing to read, nothing more comes of what was heard before `stop`."""
_MOST_MEMBERS = 256


class LiveInterface:
    """The frames of one interface through a ring; it waits for an interface that goes, and tells.

    packets: from `open_packet_socket`. ring_bytes: what may wait to be read before the kernel drops.
    fanout_group: share the flows with the other processes of that number on this interface.
    """

    def __init__(
        self, interface: str, packets: socket.socket, ring_bytes: int = RING_BYTES, fanout_group: int | None = None
    ) -> None:
        self.interface = interface
        self._packets = packets
        self._ring = PacketRing(ring_bytes)
        self._fanout_group = fanout_group
        self._member: socket.socket | None = None
        self._at: Interface | None = None
        self._is_here = True
        self._is_stopping = False
        self._told: set[str] = set()
        self._problems: list[str] = []
        self._poll = select.poll()
        self._next_count = 0.0
        self._next_look = 0.0
        self._counting = threading.Lock()
        self._counts: Counter[str] = Counter(kernel_seen=0, kernel_drops=0, ring_freezes=0)

    @functools.cached_property
    def name(self) -> str:
        """What it follows; of a group, each process has a number of its own, the lowest that is free."""
        if self._fanout_group is None:
            return f"interface:{self.interface}"
        return f"interface:{self.interface}:fanout {self._fanout_group}/{self._take_number()}"

    def _take_number(self) -> int:
        here = interface_named(self._packets, self.interface)
        for number in range(_MOST_MEMBERS):
            # A name in the kernel's own space: it is free again when its holder ends, however it ends.
            member = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                member.bind(f"\0kshot fanout {here.index if here else 0} {self._fanout_group} {number}")
            except OSError:
                member.close()
                continue
            self._member = member
            return number
        raise InputError(self.interface, f"group {self._fanout_group} has {_MOST_MEMBERS} processes", "stop some")

    def start(self) -> None:
        """Begin to hear.

        Raises:
            InputError: there is no such interface, it is down, or its frames are none that we read.
        """
        at = check_interface(self._packets, self.interface)
        self._ring.open(self._packets, self.interface)
        try:
            take_bytes(self._packets, SNAP_BYTES)
            hear(self._packets, self.interface, at)
            if self._fanout_group is not None:
                share(self._packets, self._fanout_group)
        except OSError as error:
            what = f"cannot join group {self._fanout_group}" if self._fanout_group is not None else "cannot be heard"
            raise InputError(self.interface, f"{what}: {error.strerror}", "choose another") from error
        self._at = at
        self._poll.register(self._packets, select.POLLIN | select.POLLERR)

    def batch(self, seconds: float) -> FrameBatch | None:
        """Return the next frames, waiting up to `seconds`; None if none came. They hold until the next call."""
        at = self._at
        assert at is not None, "not started"
        self._count_now_and_then()
        frames = self._taken(at)
        if frames is not None:
            return frames
        if not self._is_here:
            self._look_for_it(seconds)
            return None
        for _, events in self._poll.poll(seconds * 1e3):
            if events & ~select.POLLIN:
                self._note_error()
        return self._taken(at)

    def _taken(self, at: Interface) -> FrameBatch | None:
        most = at.mtu + _LINK_HEADER_BYTES
        frames = self._ring.take(at.link_type, most, leave_outgoing=at.hardware == LOOPBACK)
        if self._ring.tally[JOINED] and "joined" not in self._told:
            self._told.add("joined")
            name = self.interface
            self._problems.append(
                f"{name}: frames longer than its MTU of {at.mtu}: packets were joined before they got here, which "
                f"shifts counts and sizes; switch that off: ethtool -K {name} gro off lro off tso off gso off"
            )
        return frames

    def _note_error(self) -> None:
        """The interface went down or away, or the socket failed."""
        what = error_of(self._packets)
        if not what:
            return
        if what != "ENETDOWN":
            raise InputError(self.interface, f"can no longer be read: {what}", "start again")
        self._is_here = False
        now = interface_named(self._packets, self.interface)
        gone = "was removed" if now is None or (self._at and now.index != self._at.index) else "went down"
        self._problems.append(
            f"{self.interface}: {gone}; nothing is read until it is back: ip link set {self.interface} up"
        )

    def _look_for_it(self, seconds: float) -> None:
        time.sleep(min(seconds, _LOOK_SECONDS))
        now = interface_named(self._packets, self.interface)
        if now is None or not now.is_up or self._at is None:
            return
        if now.index != self._at.index:
            if self._fanout_group is not None:
                # The kernel lets no socket of a group go to another interface, and we may make no other socket.
                raise InputError(self.interface, "was made anew, and a fan-out group stays with the old", "start again")
            now = check_interface(self._packets, self.interface)
            try:
                hear(self._packets, self.interface, now)
            except OSError:
                return  # gone again
        self._at, self._is_here = now, True
        self._problems.append(f"{self.interface}: is back")

    def stop(self) -> None:
        """Hear no more; `rest` gives what was heard."""
        if self._at is not None and not self._is_stopping:
            self._is_stopping = True
            with contextlib.suppress(OSError):
                take_bytes(self._packets, 0)

    def rest(self) -> FrameBatch | None:
        """After `stop`: the next of the frames heard before it; None when that was all."""
        frames = self._taken(self._at) if self._at is not None else None
        until = time.monotonic() + _LAST_SECONDS
        while frames is None and self._at is not None and time.monotonic() < until:
            # The last block is handed over only when its time is up.
            time.sleep(RETIRE_MILLISECONDS / 1e3)
            frames = self._taken(self._at)
        return frames

    def problems(self) -> list[str]:
        """Take what happened to the interface since the last call, a line each."""
        told, self._problems = self._problems, []
        return told

    @property
    def waiting_bytes(self) -> int:
        """Of the ring, what the kernel has handed over and nobody has read."""
        return self._ring.waiting_bytes if self._at is not None else 0

    def counters(self) -> dict[str, int]:
        """kernel_seen = packets_read + kernel_drops + outgoing_left_out, when nothing waits in the ring."""
        self._count()
        tally = self._ring.tally
        return {
            "packets_read": int(tally[HEARD]),
            **self._counts,
            "outgoing_left_out": int(tally[LEFT_OUT]),
            "vlan_tags": int(tally[TAGGED]),
            "super_packets": int(tally[JOINED]),
        }

    def _count_now_and_then(self) -> None:
        now = time.monotonic()
        if now >= self._next_count:
            self._next_count = now + _COUNT_SECONDS
            self._count()

    def _count(self) -> None:
        if self._at is None:
            return
        with self._counting, contextlib.suppress(OSError):  # closed: what was counted stays
            seen, dropped, freezes = statistics(self._packets)
            self._counts.update(kernel_seen=seen, kernel_drops=dropped, ring_freezes=freezes)

    def close(self) -> None:
        """Let go of the socket."""
        self._count()
        self._packets.close()
        if self._member is not None:
            self._member.close()
