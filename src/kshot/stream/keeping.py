"""Detectors fitted once are read back, while all that they were learned from is the same."""

from __future__ import annotations

import contextlib
import hashlib
import sys
from collections.abc import Callable, Mapping
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.detection.detector import Detector
from kshot.detection.state import NotPlainError, from_plain, to_plain
from kshot.store.fitted import FittedStore

Fitted = tuple[Detector, NDArray[np.float64]]
"""A detector, and what was measured with it."""


class Keeper:
    """Keeps detectors in a store, by all that they were learned from."""

    def __init__(self, store: FittedStore) -> None:
        self._store = store

    def fitted(
        self, learned_from: Mapping[str, pl.DataFrame], settings: tuple[int, ...], fit: Callable[[], Fitted]
    ) -> Fitted:
        """Return what was fitted on these frames with these settings, or fit it, calibrated, and keep it."""
        key = _key(learned_from, settings)
        kept = self._store.read(key)
        if kept is not None:
            tree, (scores, *arrays) = kept
            with contextlib.suppress(NotPlainError):
                return from_plain(tree, arrays), scores
        detector, scores = fit()
        with contextlib.suppress(NotPlainError):  # what reads texts is not kept
            tree, arrays = to_plain(detector)
            self._store.write(key, tree, [scores, *arrays])
        return detector, scores


def _key(learned_from: Mapping[str, pl.DataFrame], settings: tuple[int, ...]) -> str:
    digest = hashlib.sha256(f"{_code()} {settings}".encode())
    for name, frame in learned_from.items():
        buffer = BytesIO()
        frame.rechunk().write_ipc(buffer)
        digest.update(f"{len(name)} {name} {buffer.tell()}".encode() + buffer.getbuffer())
    return digest.hexdigest()


@cache
def _code() -> str:
    """What else a detector depends on: every line of ours that is loaded by now, and the libraries under it."""
    digest = hashlib.sha256(f"{sys.version} {np.__version__} {pl.__version__}".encode())
    for room in ("detection", "features", "records"):
        for path in sorted((Path(__file__).resolve().parents[1] / room).glob("*.py")):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()
