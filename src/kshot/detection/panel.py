"""All active threats over one reference: one fit, one calibration, on the columns that they share with the queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.detection.case import explain_rows
from kshot.detection.counterfactual import Alarms
from kshot.detection.detector import Detector, Judged
from kshot.detection.distill import Distilled, distill
from kshot.detection.explain import Explainer, Explanation
from kshot.detection.frames import BadInputError

MAX_REFERENCE = 2_000
N_TREES = 1_000
_SCREENED_AT_ONCE = 50_000


class Panel:
    """One detector for all threats, with their names."""

    def __init__(self, names: Sequence[str], detector: Detector) -> None:
        self.names = list(names)
        self.detector = detector
        self.screens: dict[bool, Distilled | None] = {}
        """Of what is judged without and with "unknown", what looks first; None where too few rows measure one."""
        self._explainer: Explainer | None = None

    @classmethod
    def fit(
        cls,
        threats: Mapping[str, pl.DataFrame],
        reference: pl.DataFrame,
        columns: Sequence[str],
        rng: np.random.Generator,
    ) -> Panel:
        """Learn `threats` (name -> shots) against `reference`, from those of `columns` that all of them have."""
        support, labels = stack(threats, reference, columns)
        return cls([*threats], Detector(support, labels, rng, n_trees=N_TREES, max_reference=MAX_REFERENCE))

    def judge(self, queries: pl.DataFrame, *, unknown: bool) -> Judged:
        """Score and calibrate `queries`; where there is a screen, those that it does not let pass by that alone."""
        screen = self.screens.get(unknown)
        if screen is None:
            return self.detector.judge(queries, unknown=unknown)
        parts = [
            _judge_what_passes(self.detector, screen, queries[at : at + _SCREENED_AT_ONCE], unknown)
            for at in range(0, max(1, len(queries)), _SCREENED_AT_ONCE)
        ]
        return Judged(*(np.concatenate([getattr(part, name) for part in parts]) for name in Judged.__slots__))

    def distill(self, rng: np.random.Generator, *, unknown: bool) -> None:
        """Let a screen look first from now on, where there are enough benign rows to measure its loss."""
        try:
            self.screens[unknown] = distill(self.detector, rng, unknown=unknown)
        except BadInputError:
            self.screens[unknown] = None

    def attainable(self, *, unknown: bool) -> float:
        """The least false-alarm rate that can be promised; nan where nothing calibrates."""
        calibration = self.detector.calibration(unknown=unknown)
        return calibration.attainable if calibration else float("nan")

    def case(
        self,
        row: pl.DataFrame,
        *,
        top: int,
        unknown: bool = False,
        rate: float | None = None,
        alarms: Alarms | None = None,
    ) -> Explanation:
        """All there is to say of one row: why, what it is like, and what would have to change for it not to alarm.

        At the false-alarm `rate`, or as `alarms` has it. Rows like it are told by their place: reference rows as they
        were given to `fit`, shots counted on from the last of them, threat by threat.
        """

        def at_rate(rows: pl.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
            judged = self.detector.judge(rows, unknown=unknown)
            allowed = max(rate or 0.0, self.attainable(unknown=unknown)) * (1.0 + 1e-12)
            return judged.surprises.max(1), judged.p_values <= allowed

        asked = alarms if rate is None else at_rate
        shared = row.select(self.detector.support.columns)
        return explain_rows(
            self.detector, self._explaining(), shared, self.names, top=top, unknown=unknown, alarms=asked
        )[0]

    def explain(self, rows: pl.DataFrame, threats: Sequence[str], top: int) -> list[list[str]]:
        """The `top` reasons why each row looks like `threats[i]`, one line each."""
        numbers = np.array([self.names.index(t) + 1 if t in self.names else 0 for t in threats], dtype=np.intp)
        return [[reason.text for reason in reasons] for reasons in self._explaining().reasons(rows, numbers, top)]

    def _explaining(self) -> Explainer:
        if self._explainer is None:
            model = self.detector.model
            self._explainer = Explainer(model.columns, model.scale, self.detector.support, self.detector.labels)
        return self._explainer


def _judge_what_passes(detector: Detector, screen: Distilled, queries: pl.DataFrame, unknown: bool) -> Judged:
    """Judge what passes the screen; the rest has the screen's p-value, is as surprising as that says, and no more."""
    looks = screen.scores(screen.read(queries))
    passing = screen.passes(looks)
    found = detector.judge(queries.filter(pl.Series(passing)), unknown=unknown)
    n, n_threats = len(queries), found.scores.shape[1]
    p_values, surprise = screen.p_values(looks), screen.surprises(looks)
    out = Judged(
        np.full((n, n_threats), np.nan),
        np.full(n, np.nan),
        np.repeat(surprise[:, None], found.surprises.shape[1], axis=1),
        np.zeros(n, np.intp),
        np.full((n, n_threats), -np.inf),
        p_values,
    )
    for name in Judged.__slots__:
        getattr(out, name)[passing] = getattr(found, name)
    return out


def stack(
    threats: Mapping[str, pl.DataFrame], reference: pl.DataFrame, columns: Sequence[str]
) -> tuple[pl.DataFrame, NDArray[np.intp]]:
    """Reference rows, then the shots of each threat, on the `columns` that all have; labels 0, 1, ... with them.

    Raises:
        BadInputError: a threat without shots, or no column in common.
    """
    for name, shots in threats.items():
        if not len(shots):
            raise BadInputError(f"threat {name}", "has no shots", "teach it again")
    tables = [reference, *threats.values()]
    shared = [c for c in columns if all(c in table.columns for table in tables)]
    if not shared:
        raise BadInputError("threats", "share no column with the queries and the reference", "check the input")
    joined = [pl.concat(_alike([table[name] for table in tables])) for name in shared]
    return pl.DataFrame(joined), np.repeat(np.arange(len(tables)), [len(table) for table in tables])


def _alike(parts: list[pl.Series]) -> list[pl.Series]:
    """One type for all: an enum of other values, or a whole number read as a fraction, is no obstacle."""
    types = [part.dtype for part in parts if part.dtype != pl.Null]
    if all(dtype == types[0] for dtype in types[1:]):
        return [part.cast(types[0]) for part in parts] if types else parts
    if all(dtype.is_numeric() or dtype == pl.Boolean for dtype in types):
        return [part.cast(pl.Float64) for part in parts]
    return [part.cast(pl.String) for part in parts]
