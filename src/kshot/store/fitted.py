"""What took seconds to learn, kept as plain arrays under KSHOT_HOME/cache: a second run reads it back."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kshot.errors import OutputError
from kshot.store.atomic import whole_file

_MAGIC = b"kshotfit"
_HASH_BYTES = 32
_HEAD_BYTES = len(_MAGIC) + _HASH_BYTES + 8
_ALIGNMENT = 64
_KINDS = "biuf"
"""Numpy's truth values, whole numbers and fractions: nothing that holds objects."""
MOST_BYTES = 256 << 20
"""Of all that is kept; what was not used for longest goes first."""


class FittedStore:
    """States by key, each in a file of its own; one that is torn, altered or unreadable is as if it were not there.

    A file is magic, sha256 of all that follows, length of the head, the head (JSON: the tree, and each array's type,
    shape and place), the arrays. The hash tells damage, not malice: who may write here may also teach threats.

    >>> import tempfile, pathlib
    >>> FittedStore(pathlib.Path(tempfile.mkdtemp())).read("0" * 64) is None
    True
    """

    def __init__(self, home: Path, most_bytes: int = MOST_BYTES) -> None:
        self.folder = home / "cache" / "fitted"
        """Holds a file a key."""
        self._most_bytes = most_bytes

    def read(self, key: str) -> tuple[Any, list[NDArray[Any]]] | None:
        """Return what was written under `key`: a tree, and the arrays that it points to; None where there is nothing.

        The arrays may be written to: kernels compiled for such are used again.
        """
        path = self._path(key)
        try:
            data = np.fromfile(path, np.uint8)
        except OSError:
            return None
        head = data[:_HEAD_BYTES].tobytes()
        at = _HEAD_BYTES + int.from_bytes(head[-8:], "little")
        digest = hashlib.sha256(data[_HEAD_BYTES - 8 :].data).digest()
        if head[: len(_MAGIC)] != _MAGIC or head[len(_MAGIC) : -8] != digest or at > len(data):
            return None
        told = json.loads(data[_HEAD_BYTES:at].tobytes())
        with contextlib.suppress(OSError):
            os.utime(path)
        return told["tree"], [_array(data[at:], *one) for one in told["arrays"]]

    def write(self, key: str, tree: Any, arrays: Sequence[NDArray[Any]]) -> None:
        """Keep a tree that JSON can carry and its arrays; a disk that is full or read-only keeps nothing."""
        places, blocks, at = [], [], 0
        for array in arrays:
            if array.dtype.kind not in _KINDS:
                raise ValueError(f"an array of {array.dtype} is not plain")
            block = np.ascontiguousarray(array).tobytes()
            places.append((array.dtype.str, array.shape, at))
            blocks.append(block + bytes(-len(block) % _ALIGNMENT))
            at += len(blocks[-1])
        head = json.dumps({"tree": tree, "arrays": places}).encode()
        head += b" " * (-(len(head) + _HEAD_BYTES) % _ALIGNMENT)
        digest = hashlib.sha256(len(head).to_bytes(8, "little") + head)
        for block in blocks:
            digest.update(block)
        path = self._path(key)
        with contextlib.suppress(OSError, OutputError):
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as whole, whole.path.open("wb") as file:
                file.write(_MAGIC + digest.digest() + len(head).to_bytes(8, "little") + head)
                file.writelines(blocks)
            self._prune()

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.fit"

    def _prune(self) -> None:
        """Keep what was used last, as far as there is room."""
        room = self._most_bytes
        for path in sorted(self.folder.glob("*.fit"), key=lambda path: path.stat().st_mtime, reverse=True):
            room -= path.stat().st_size
            if room < 0:
                path.unlink()


def _array(data: NDArray[np.uint8], kind: str, shape: Sequence[int], at: int) -> NDArray[Any]:
    dtype = np.dtype(kind)
    size = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
    return data[at : at + size].view(dtype).reshape(shape)
