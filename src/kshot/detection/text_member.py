"""Logistic regression over hashed character n-grams, all threats over one hashing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from kshot.detection.linear import fit_kernel_logistic
from kshot.detection.text import NGrams

Floats = NDArray[np.float64]
_PENALTY = 0.1
_CHUNK_ROWS = 5_000
_MOST_ROWS = 1_000
"""Of the reference that it learns from: the cost grows with the cube."""


class TextMember:
    """What the letters say, for all threats over one hashing."""

    def __init__(self, ngrams: NGrams, weights: Floats, intercepts: Floats) -> None:
        self._ngrams = ngrams
        self._weights = weights
        self._intercepts = intercepts

    @classmethod
    def fit(cls, texts: Mapping[str, Sequence[str]], labels: NDArray[np.intp]) -> tuple[TextMember, Floats]:
        """Learn from the texts of rows labelled 0 (benign) to T; also return (n, T) held-out scores."""
        ngrams = NGrams().fit(texts)
        rows = ngrams.transform(texts)
        benign = np.flatnonzero(labels == 0)
        fitted_on = benign[:_MOST_ROWS]
        n_threats = int(labels.max())
        weights = np.empty((n_threats, rows.shape[1]))
        intercepts = np.empty(n_threats)
        held_out = np.empty((len(labels), n_threats))
        for threat in range(1, n_threats + 1):
            chosen = np.concatenate([fitted_on, np.flatnonzero(labels == threat)])
            part = rows[chosen]
            gram = np.asarray((part @ part.T).todense(), dtype=np.float64)
            dual, intercepts[threat - 1], held = fit_kernel_logistic(gram, labels[chosen] == threat, _PENALTY)
            weights[threat - 1] = part.T @ dual
            held_out[:, threat - 1] = rows @ weights[threat - 1] + intercepts[threat - 1]
            held_out[chosen, threat - 1] = held
        return cls(ngrams, weights, intercepts), held_out

    def scores(self, texts: Mapping[str, Sequence[str]]) -> Floats:
        """(n, T) log-odds."""
        n = len(next(iter(texts.values())))
        out = np.empty((n, len(self._weights)))
        for start in range(0, n, _CHUNK_ROWS):
            part = {name: rows[start : start + _CHUNK_ROWS] for name, rows in texts.items()}
            out[start : start + _CHUNK_ROWS] = self._ngrams.transform(part) @ self._weights.T + self._intercepts
        return out
