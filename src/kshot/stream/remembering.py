"""A feature extractor whose memory outlives its process, by snapshot and journal."""

from __future__ import annotations

import json
from collections.abc import Iterable
from io import BytesIO

import numpy as np
import polars as pl
import zstandard
from polars.exceptions import PolarsError

from kshot.features import FeatureExtractor
from kshot.features.memory import Memory, new_memory

_LEVEL = 1
"""Of zstandard: a memory is mostly zeros, and written while traffic waits."""
_MOST_BYTES = 1 << 30


class RememberingExtractor(FeatureExtractor):
    """Features of a stream that goes on behind a restart as if there had been none."""

    def snapshot(self) -> bytes:
        """All that is remembered."""
        memory = self._memory if self._memory is not None else new_memory()
        head = json.dumps([(name, array.dtype.str, array.shape) for name, array in memory._asdict().items()]).encode()
        blocks = [np.ascontiguousarray(array).tobytes() for array in memory]
        packer = zstandard.ZstdCompressor(level=_LEVEL)
        return packer.compress(b"".join([len(head).to_bytes(8, "little"), head, *blocks]))

    def restore(self, snapshot: bytes, journal: Iterable[bytes]) -> bool:
        """Remember what `snapshot` (empty: nothing) and then the flows of `journal` tell; False if one is unfit."""
        memory = new_memory()
        if snapshot and not _fill(memory, snapshot):
            return False
        self._memory = memory
        try:
            for told in journal:
                self.transform(pl.read_ipc(BytesIO(told)))
        except (PolarsError, OSError):
            self._memory = None
            return False
        return True


def _fill(memory: Memory, snapshot: bytes) -> bool:
    """Copy a snapshot into a memory of the same layout; False if it is of another one."""
    try:
        data = zstandard.ZstdDecompressor().decompress(snapshot, max_output_size=_MOST_BYTES)
        size = int.from_bytes(data[:8], "little")
        head = json.loads(data[8 : 8 + size])
    except (zstandard.ZstdError, ValueError, MemoryError):
        return False
    wanted = [[name, array.dtype.str, list(array.shape)] for name, array in memory._asdict().items()]
    if head != wanted or len(data) != 8 + size + sum(array.nbytes for array in memory):
        return False
    at = 8 + size
    for array in memory:
        array[...] = np.frombuffer(data, array.dtype, array.size, at).reshape(array.shape)
        at += array.nbytes
    return True


def journal_entry(flows: pl.DataFrame) -> bytes:
    """Flows as `restore` reads them back."""
    buffer = BytesIO()
    flows.write_ipc(buffer, compression="zstd")
    return buffer.getvalue()
