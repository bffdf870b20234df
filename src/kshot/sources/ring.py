"""The kernel's packet ring, mapped: frames are metered where the kernel laid them."""

from __future__ import annotations

import mmap
import socket

import numpy as np

from kshot.errors import InputError
from kshot.records.frames import FrameBatch
from kshot.sources.packet_socket import make_ring
from kshot.sources.ring_walk import BLOCK_STATUS, LEAST_FRAME_BYTES, walk_block

BLOCK_BYTES = 1 << 20
RETIRE_MILLISECONDS = 10
"""A frame waits no longer for its block to fill."""
_KERNELS, _OURS = 0, 1


class PacketRing:
    """Blocks of frames, handed back and forth between the kernel and us."""

    def __init__(self, ring_bytes: int) -> None:
        """ring_bytes: how much may wait to be read, rounded up to whole blocks."""
        self._blocks = max(2, -(-ring_bytes // BLOCK_BYTES))
        self._next = 0
        self._held = -1
        self._map: mmap.mmap | None = None
        self.tally = np.zeros(4, np.int64)
        """What `ring_walk` counts."""

    def open(self, packets: socket.socket, name: str) -> None:
        """Have the kernel make the ring, and map it. Raises `InputError` if there is no room for it."""
        try:
            make_ring(packets, self._blocks, BLOCK_BYTES, RETIRE_MILLISECONDS)
            self._map = mmap.mmap(packets.fileno(), self._blocks * BLOCK_BYTES)
        except OSError as error:
            size = self._blocks * BLOCK_BYTES >> 20
            raise InputError(
                name, f"no ring of {size} MiB can be made: {error.strerror}", "make it smaller with --ring"
            ) from error
        self._octets = np.frombuffer(self._map, np.uint8)
        self._halves, self._words = self._octets.view(np.uint16), self._octets.view(np.uint32)
        most = BLOCK_BYTES // LEAST_FRAME_BYTES
        self._offsets, self._times = np.empty(most, np.int64), np.empty(most, np.int64)
        self._captured, self._wire, self._links = (np.empty(most, np.int32) for _ in range(3))

    @property
    def waiting_bytes(self) -> int:
        """Of the blocks that the kernel has handed over and nobody has read."""
        return int((self._words[BLOCK_STATUS :: BLOCK_BYTES // 4] & _OURS).sum()) * BLOCK_BYTES

    def take(self, link_type: int, most_wire_bytes: int, *, leave_outgoing: bool) -> FrameBatch | None:
        """Return the frames of the next block, None if it is not ready; they hold until the next call."""
        self._give_back()
        at = self._next * BLOCK_BYTES
        if not self._words[at // 4 + BLOCK_STATUS] & _OURS:
            return None
        found = walk_block(
            self._octets, self._halves, self._words, at, link_type, most_wire_bytes, leave_outgoing,
            self._offsets, self._captured, self._wire, self._times, self._links, self.tally,
        )  # fmt: skip
        self._held = self._next
        self._next = (self._next + 1) % self._blocks
        return FrameBatch(
            self._octets, self._offsets[:found], self._captured[:found], self._wire[:found], self._times[:found],
            self._links[:found],
        )  # fmt: skip

    def _give_back(self) -> None:
        if self._held >= 0:
            self._words[self._held * BLOCK_BYTES // 4 + BLOCK_STATUS] = _KERNELS
            self._held = -1
