"""What was meta-learned, read without torch: one more member of the blend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.detection.frames import BadInputError
from kshot.learners.encoding import CHANNELS, Cells, RelativeEncoder
from kshot.learners.manifest import WEIGHTS, Files, read_manifest

Array = NDArray[np.float32]
Floats = NDArray[np.float64]
_HEADS = 4
_FAR = np.float32(-1e4)
_CHUNK_CELLS = 24_000
"""Cells worked on at a time: what is computed of them stays in the cache."""


@dataclass(frozen=True)
class Prior:
    """The weights of a trained in-context learner (learners/in_context.py), and what they were trained on."""

    weights: Mapping[str, Array]
    manifest: Mapping[str, Any]

    @classmethod
    def read(cls, files: Files, where: str) -> Prior:
        """Read the files of a folder that `kshot train --learner in-context` wrote.

        Raises:
            LearnerInputError: another learner, a torn or altered file, a newer format.
            BadInputError: trained on another encoding, or no safetensors file.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        manifest = read_manifest(files, where, "in-context")
        if manifest.get("channels") != list(CHANNELS):
            raise BadInputError(
                "prior", f"{where} was trained on another encoding of cells", "train it with this kshot"
            )
        try:
            tensors = load(files[WEIGHTS])
        except (SafetensorError, ValueError) as error:
            raise BadInputError("prior", f"{where} holds no whole safetensors file", "copy the folder again") from error
        return cls({name: np.ascontiguousarray(value, np.float32) for name, value in tensors.items()}, manifest)

    @property
    def corpora(self) -> tuple[str, ...]:
        """Corpora that it was trained on; on their tables its figures mean nothing."""
        return tuple(self.manifest.get("corpora", ()))

    def context(self, reference: pl.DataFrame, shots: pl.DataFrame) -> Context:
        """Read the benign rows and the shots of one threat, at least one of each."""
        settings = self.manifest.get("settings", {})
        encoder = RelativeEncoder(
            reference, shots, int(settings.get("max_columns", 32)), int(settings.get("max_support", 64))
        )
        return Context(self, encoder)

    def linear(self, name: str, rows: Array) -> Array:
        """(..., a) -> (..., b)."""
        out: Array = rows @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]
        return out

    def norm(self, name: str, rows: Array) -> Array:
        """Layer norm over the last axis."""
        centred = rows - rows.mean(-1, keepdims=True)
        spread = np.sqrt((centred * centred).mean(-1, keepdims=True) + np.float32(1e-5))
        out: Array = centred / spread * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]
        return out

    def think(self, name: str, rows: Array) -> Array:
        """Two layers with a ReLU between."""
        return self.linear(f"{name}.2", np.maximum(self.linear(f"{name}.0", rows), np.float32(0.0)))

    @cached_property
    def depth(self) -> tuple[int, int]:
        """Layers over columns, layers over rows."""
        columns, rows = (
            {name.split(".")[1] for name in self.weights if name.startswith(f"{of}.")} for of in ("columns", "rows")
        )
        return len(columns), len(rows)


class Context:
    """One threat against one reference, read once; scores rows one by one. The network is learners/in_context.py's."""

    def __init__(self, prior: Prior, encoder: RelativeEncoder) -> None:
        self._prior, self._encoder = prior, encoder
        self.n_shots = len(encoder.shots)
        support = np.concatenate([encoder.shots, encoder.reference])
        cells = prior.think("cell", support)
        of_shots = cells[: self.n_shots]
        told = [of_shots.mean(0), cells[self.n_shots :].mean(0), of_shots.max(0)]
        columns = prior.linear("column", np.concatenate(told, -1))
        for layer in range(prior.depth[0]):
            columns = self._of_columns(f"columns.{layer}", columns)
        self._offset = prior.linear("offset", columns)
        self._gate = prior.linear("column_gate", columns)
        role = prior.weights["role"]
        rows = self._pool(cells)
        rows[: self.n_shots] += role[0]
        rows[self.n_shots :] += role[1]
        self._layers = [rows]
        alone = ~np.eye(len(rows), dtype=bool)
        for layer in range(prior.depth[1] - 1):
            rows = self._attend(f"rows.{layer}", rows, rows, alone)
            self._layers.append(rows)

    def scores(self, frame: pl.DataFrame) -> Floats:
        """(n,) log-odds of rows that are in neither reference nor shots, up to a shift."""
        return self._score(self._encoder.encode(frame), None)

    def held_out(self, n_reference: int) -> tuple[Floats, Floats]:
        """(n_reference,) scores of the reference's rows and (k,) of the shots, each as if it had not been shown."""
        at = np.full(n_reference, -1, np.intp)
        at[self._encoder.shown] = self.n_shots + np.arange(len(self._encoder.shown))
        reference = self._score(self._encoder.members(np.arange(n_reference)), at)
        return reference, self._score(self._encoder.shots, np.arange(self.n_shots))

    def _score(self, cells: Cells, own: NDArray[np.intp] | None) -> Floats:
        """`own`: which row of the support each is, -1 for none: it does not see itself."""
        parts = []
        step = max(1, _CHUNK_CELLS // max(1, cells.shape[1]))
        for start in range(0, len(cells), step):
            rows = self._pool(self._prior.think("cell", cells[start : start + step])) + self._prior.weights["role"][2]
            may_see = np.ones((len(rows), len(self._layers[0])), bool)
            if own is not None:
                mine = own[start : start + step]
                may_see[np.flatnonzero(mine >= 0), mine[mine >= 0]] = False
            for layer, support in enumerate(self._layers):
                rows = self._attend(f"rows.{layer}", rows, support, may_see)
            parts.append(self._prior.linear("score", self._prior.norm("last", rows))[:, 0])
        return np.concatenate(parts).astype(np.float64) if parts else np.empty(0)

    def _pool(self, cells: Array) -> Array:
        """(n, d, W) -> (n, E)."""
        hidden = np.maximum(cells + self._offset, np.float32(0.0))
        shares = _softmax(self._prior.linear("gate", hidden) + self._gate, 1)
        pooled = shares.transpose(0, 2, 1) @ hidden
        return self._prior.think("row", np.concatenate([pooled.reshape(len(cells), -1), hidden.mean(1)], -1))

    def _of_columns(self, name: str, columns: Array) -> Array:
        query, key, value = np.split(
            self._prior.linear(f"{name}.query", self._prior.norm(f"{name}.before", columns)), 3, -1
        )
        columns = columns + self._prior.linear(f"{name}.join", _look(query, key, value, None))
        return columns + self._prior.think(f"{name}.think", self._prior.norm(f"{name}.between", columns))

    def _attend(self, name: str, rows: Array, support: Array, may_see: NDArray[np.bool_]) -> Array:
        prior, k = self._prior, self.n_shots
        to_shots, to_reference = np.split(prior.linear(f"{name}.query", prior.norm(f"{name}.before", rows)), 2, -1)
        shown = prior.norm(f"{name}.before", support)
        nothing = prior.weights[f"{name}.nothing"]
        seen: list[Array] = []
        for query, part, told, mask in (
            (to_shots, "of_shots", shown[:k], may_see[:, :k]),
            (to_reference, "of_reference", shown[k:], may_see[:, k:]),
        ):
            both = np.concatenate([nothing[len(seen)][None], prior.linear(f"{name}.{part}", told)])
            key, value = np.split(both, 2, -1)
            seen.append(_look(query, key, value, np.concatenate([np.ones((len(mask), 1), bool), mask], 1)))
        rows = rows + prior.linear(f"{name}.join", np.concatenate(seen, -1))
        return rows + prior.think(f"{name}.think", prior.norm(f"{name}.between", rows))


def _look(query: Array, key: Array, value: Array, mask: NDArray[np.bool_] | None) -> Array:
    """(m, E) queries over (n, E) keys and values, in heads (Vaswani et al. 2017, equation 1)."""
    width = query.shape[-1] // _HEADS

    def heads(x: Array) -> Array:
        return x.reshape(len(x), _HEADS, width).transpose(1, 0, 2)

    logits = heads(query) @ heads(key).transpose(0, 2, 1) / np.float32(np.sqrt(width))
    if mask is not None:
        logits = np.where(mask, logits, _FAR)
    seen: Array = (_softmax(logits, -1) @ heads(value)).transpose(1, 0, 2).reshape(len(query), -1)
    return seen


def _softmax(logits: Array, axis: int) -> Array:
    powers = np.exp(logits - logits.max(axis, keepdims=True))
    out: Array = powers / powers.sum(axis, keepdims=True)
    return out
