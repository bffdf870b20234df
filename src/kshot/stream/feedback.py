"""What analysts' labels teach: threats with more shots, and benign look-alikes that no longer alarm."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.detection.detector import Detector
from kshot.detection.panel import stack
from kshot.features import fingerprint, settle
from kshot.records.kept import Label
from kshot.records.threats import Threat

LOUD = 0.05
"""Records with a p-value beyond this are not asked about: no budget makes them alarm."""
_TREES = 150
_REFERENCE = 300
"""Benign records beside the look-alikes: they give the scale, and an answer within a second."""
_AS_FAR = 1.25
"""A look-alike is at most so many times as far from the nearest record of a label as these are from each other: of ten
records, the farthest is exceeded by one new record in eleven (Papadopoulos 2008), with this by fewer."""


class Taught:
    """What labels say: `threats` with more shots than before, records of `look_alikes` by the threat they are not."""

    def __init__(self, known: Mapping[str, Threat], labels: Sequence[Label], schema: Mapping[str, pl.DataType]) -> None:
        """`known`: threats on the columns of `schema`, by name. Labels stand in the order in which they were given."""
        self.notes: list[str] = []
        """A line for each label that is left out."""
        self.look_alikes: dict[str, list[pl.DataFrame]] = {}
        found: dict[str, Threat] = {}
        for label in labels:
            name = label.threat
            old = found.get(name) or known.get(name)
            columns = dict(schema) if old is None else dict(old.shots.schema)
            rows = _rows(label, columns)
            if label.fingerprint != fingerprint():
                why = "is of another version of the features"
            elif rows.width < len(columns):
                why = f"lacks columns of threat {name}"
            elif label.verdict == "malicious":
                shots = rows if old is None else pl.concat([old.shots, rows]).unique(maintain_order=True, keep="first")
                found[name] = Threat(name, shots, "flow", fingerprint()) if old is None else replace(old, shots=shots)
                continue
            else:
                self.look_alikes.setdefault(name, []).append(rows)
                continue
            self.notes.append(f"the label of alert {label.alert} {why}; it is left out")
        self.threats = list(found.values())


def _rows(label: Label, columns: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """The records that a label holds, in those of `columns` that all of them have."""
    told = [json.loads(one) for one in label.features]
    names = [name for name in columns if all(name in row for row in told)]
    return pl.DataFrame(
        [[row[name] for name in names] for row in told], schema={n: columns[n] for n in names}, orient="row"
    )


class LookAlike:
    """Tells a threat from what analysts called harmless, for records that would alarm as that threat."""

    def __init__(
        self, shots: pl.DataFrame, harmless: Sequence[pl.DataFrame], reference: pl.DataFrame, random_state: int
    ) -> None:
        """Learn from the threat's shots, harmless records by label, and normal ones; all of the same columns."""
        rng = np.random.default_rng(random_state)
        at = np.sort(rng.permutation(reference.height)[:_REFERENCE])
        self._reference = reference[at.tolist()]
        whole = pl.concat(harmless)
        told = {"shots": settle(shots, self._reference), "harmless": settle(whole, self._reference)}
        support, labels = stack(told, settle(self._reference, self._reference), shots.columns)
        self._columns = shots.columns
        self._detector = Detector(support, labels, rng, n_trees=_TREES, max_reference=_REFERENCE)
        places = self._detector.model.gauss(told["harmless"].select(support.columns))
        cuts = np.cumsum([len(rows) for rows in harmless])[:-1]
        self._labels = [(part, _AS_FAR * _farthest(part)) for part in np.split(places, cuts)]

    def is_harmless(self, features: pl.DataFrame) -> NDArray[np.bool_]:
        """(n,) which records are more like the harmless ones than like the shots, and as near to those of a label."""
        if not features.height:
            return np.zeros(0, bool)
        rows = settle(features.select(self._columns), self._reference)
        likeness = self._detector.judge(rows, unknown=False).likeness
        places = self._detector.model.gauss(rows.select(self._detector.support.columns))
        near = [_distances(places, label).min(1) <= allowed for label, allowed in self._labels]
        return np.asarray((likeness[:, 1] > likeness[:, 0]) & np.any(near, axis=0))


def _distances(rows: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.sqrt(((rows[:, None, :] - others[None, :, :]) ** 2).sum(2)))


def _farthest(places: NDArray[np.float64]) -> float:
    """How far a record of a label is from its nearest, at most; of a single one nothing is known, and any is near."""
    if len(places) < 2:
        return float("inf")
    far = _distances(places, places)
    np.fill_diagonal(far, np.inf)
    return float(far.min(1).max())
