"""Free text as numbers: statistics of its bytes, and hashed character n-grams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

TEXT_STATISTICS = (
    "length",
    "entropy",
    "distinct share",
    "digit share",
    "upper-case share",
    "vowel share",
    "special share",
    "encoded share",
    "non-ASCII share",
    "word count",
    "longest word",
    "longest consonant run",
)
"""What `text_statistics` measures, in order; "special" is neither letter, digit nor space, "encoded" is % or \\x."""

_DIGIT, _UPPER, _VOWEL, _SPECIAL, _ENCODED, _WIDE, _CONSONANT, _BREAK = range(8)
_CHUNK_ROWS = 20_000


def _byte_classes() -> NDArray[np.bool_]:
    """(256, 8) which byte is what."""
    table = np.zeros((256, 8), bool)
    for byte in range(256):
        char = chr(byte)
        ascii_ = byte < 128
        letter = ascii_ and char.isalpha()
        vowel = letter and char.lower() in "aeiou"
        table[byte, _DIGIT] = ascii_ and char.isdigit()
        table[byte, _UPPER] = ascii_ and char.isupper()
        table[byte, _VOWEL] = vowel
        table[byte, _CONSONANT] = letter and not vowel
        table[byte, _SPECIAL] = ascii_ and not char.isalnum() and not char.isspace()
        table[byte, _ENCODED] = char in "%\\"
        table[byte, _WIDE] = not ascii_
        table[byte, _BREAK] = ascii_ and not char.isalnum()
    return table


_CLASSES = _byte_classes()


def text_statistics(texts: Sequence[str]) -> NDArray[np.float64]:
    """Return (n, 12) `TEXT_STATISTICS` of each text; shares of an empty text are 0."""
    parts = [_statistics(texts[i : i + _CHUNK_ROWS]) for i in range(0, len(texts), _CHUNK_ROWS)]
    return np.concatenate(parts) if parts else np.empty((0, len(TEXT_STATISTICS)))


def _statistics(texts: Sequence[str]) -> NDArray[np.float64]:
    encoded = [t.encode("utf-8", "replace") for t in texts]
    lengths = np.array([len(b) for b in encoded], dtype=np.int64)
    data = np.frombuffer(b"".join(encoded), dtype=np.uint8)
    row = np.repeat(np.arange(len(texts)), lengths)
    counts = np.bincount(row * 256 + data, minlength=256 * len(texts)).reshape(-1, 256).astype(np.float64)
    n = np.maximum(lengths, 1)[:, None]
    share = counts / n
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -np.where(share > 0, share * np.log2(share), 0.0).sum(1)
    by_class = counts @ _CLASSES.astype(np.float64)
    letters = np.maximum(by_class[:, _VOWEL] + by_class[:, _CONSONANT], 1.0)
    breaks = _CLASSES[data, _BREAK]
    return np.column_stack(
        [
            lengths,
            entropy,
            (counts > 0).sum(1) / n[:, 0],
            by_class[:, _DIGIT] / n[:, 0],
            by_class[:, _UPPER] / n[:, 0],
            by_class[:, _VOWEL] / letters,
            by_class[:, _SPECIAL] / n[:, 0],
            by_class[:, _ENCODED] / n[:, 0],
            by_class[:, _WIDE] / n[:, 0],
            by_class[:, _BREAK] + 1.0,
            _longest_run(~breaks, row, len(texts)),
            _longest_run(_CLASSES[data, _CONSONANT], row, len(texts)),
        ]
    )


def _longest_run(inside: NDArray[np.bool_], row: NDArray[np.int64], n_rows: int) -> NDArray[np.float64]:
    """(n_rows,) length of the longest run of True within each row of the concatenated bytes."""
    longest = np.zeros(n_rows)
    if not len(inside):
        return longest
    starts = np.flatnonzero(np.concatenate([[True], (inside[1:] != inside[:-1]) | (row[1:] != row[:-1])]))
    sizes = np.diff(np.append(starts, len(inside)))
    keep = inside[starts]
    np.maximum.at(longest, row[starts[keep]], sizes[keep].astype(np.float64))
    return longest


class NGrams:
    """Hashed character n-grams of all text columns, weighted by how rare they are in the support rows."""

    def __init__(self, n_features: int = 2**18, ngram_range: tuple[int, int] = (1, 4)) -> None:
        from sklearn.feature_extraction.text import HashingVectorizer  # slow to import, and only texts need it

        self._hasher = HashingVectorizer(
            analyzer="char",
            ngram_range=ngram_range,
            n_features=n_features,
            alternate_sign=False,
            norm=None,
            lowercase=True,
        )
        self._columns: list[str] = []
        self._weights: dict[str, NDArray[np.float64]] = {}

    def fit(self, texts: Mapping[str, Sequence[str]]) -> NGrams:
        """Learn the weight of every n-gram: log((1 + rows) / (1 + rows with it)) + 1, Spaerck Jones' idf."""
        self._columns = list(texts)
        for name, rows in texts.items():
            counts = self._hasher.transform(rows)
            seen = np.bincount(counts.indices, minlength=counts.shape[1])
            self._weights[name] = np.log((1.0 + len(rows)) / (1.0 + seen)) + 1.0
        return self

    def transform(self, texts: Mapping[str, Sequence[str]]) -> Any:
        """Return (n, columns * n_features) sparse rows; each column's part has length 1, or 0 where empty."""
        parts = []
        for name in self._columns:
            counts = self._hasher.transform(texts[name])
            counts.data = (1.0 + np.log(counts.data)) * self._weights[name][counts.indices]
            norm = np.sqrt(np.asarray(counts.multiply(counts).sum(1)).ravel())
            parts.append(sparse.diags_array(1.0 / np.where(norm > 0, norm, 1.0)) @ counts)
        return sparse.hstack(parts, format="csr")
