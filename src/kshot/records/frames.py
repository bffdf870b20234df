"""Captured frames on their way from a source to the meter, in batches that share one buffer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class FrameBatch:
    """n frames lying in one buffer.

    A source reuses the buffer and the arrays: they hold until the next batch is asked for.
    """

    buffer: NDArray[np.uint8]
    """The bytes of all frames, with whatever stands between them."""
    offsets: NDArray[np.int64]
    """(n,) where each frame begins in `buffer`."""
    captured_bytes: NDArray[np.int32]
    """(n,) how many bytes of each frame are in `buffer`."""
    wire_bytes: NDArray[np.int32]
    """(n,) how long each frame was on the wire."""
    times_nanoseconds: NDArray[np.int64]
    """(n,) since the Unix epoch."""
    link_types: NDArray[np.int32]
    """(n,) LINKTYPE_* numbers of tcpdump.org/linktypes.html (1 = Ethernet)."""

    def __len__(self) -> int:
        return len(self.offsets)
