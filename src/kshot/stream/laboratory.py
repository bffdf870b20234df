"""The first day on a stranger's network: threats judged against the laboratory's traffic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.detection import Explanation
from kshot.detection.detector import Detector
from kshot.detection.panel import Panel, stack
from kshot.features import encode_to_tier, settle
from kshot.features.behaviour import COLUMNS as HISTORY_COLUMNS
from kshot.features.tiers import tier_of_features
from kshot.intel import are_of_kinds
from kshot.records.columns import Tier
from kshot.records.threats import Threat
from kshot.stream.keeping import Fitted, Keeper

Floats = NDArray[np.float64]
_TREES = 400
_REFERENCE = 1_000
"""Fewer than where the user's own reference calibrates: nothing here is worth the last digit."""
_EACH = 0.0004
"""Share of the benign records that may bear a name and alarm, at least: the loudest few may be as odd as an attack, and
a greatest value is no measure."""
_HISTORY = tuple(column.name for column in HISTORY_COLUMNS)
_SIGNS_OF_HISTORY = ("orig_peers_100", "resp_peers_100")


@dataclass(frozen=True, slots=True)
class Sighting:
    """What the laboratory makes of n records."""

    threat: NDArray[np.object_]
    """(n,) the threat whose name each would bear."""
    score: Floats
    """(n,) surprise among the laboratory's benign records; ranks all records."""
    p_value: Floats
    """(n,) the chance that one of the laboratory's benign records looks so much like a threat and is of a kind with its
    examples: no promise for another network. 1 where the record itself is of no kind with them."""
    named: Floats
    """(n,) the same for that threat's name alone, times the number of names; decides on alarms."""
    attainable: float
    """The least rate that can be asked for."""

    def alarms(self, rate: float) -> NDArray[np.bool_]:
        """(n,) which records are to be told of."""
        return self.named <= max(rate, self.attainable) * (1.0 + 1e-12)


class Laboratory:
    """Built-in threats and the benign traffic of the place where they were taught."""

    def __init__(self, threats: Sequence[Threat], reference: pl.DataFrame, keeper: Keeper | None = None) -> None:
        self.threats = tuple(threats)
        """They share one schema with `reference`; there may be none."""
        self.reference = reference
        self.keeper = keeper
        """Keeps what was learned, if anything does."""
        self._fitted: dict[tuple[str, ...], Bench] = {}

    def bench(self, columns: Sequence[str], own: Sequence[Threat] = (), random_state: int = 0) -> Bench:
        """Learn the built-in threats and `own` (which go before those of the same name) on these feature columns.

        What was learned without `own` is kept for the next input of the same columns.
        """
        key = tuple(columns)
        if key in self._fitted and not own:
            return self._fitted[key]
        names = {threat.name for threat in own}
        threats = [*own, *(threat for threat in self.threats if threat.name not in names)]
        bench = self._bench(threats, key, random_state)
        if not own:
            self._fitted[key] = bench
        return bench

    def sighting(self, features: pl.DataFrame, own: Sequence[Threat], random_state: int = 0) -> Sighting:
        """What the laboratory makes of records that may be one of `own`, and of no built-in threat."""
        return self.alone(own, features.columns, random_state).judge(features)

    def alone(self, own: Sequence[Threat], columns: Sequence[str], random_state: int = 0) -> Bench:
        """Learn `own` on these feature columns, and no built-in threat."""
        return self._bench(own, columns, random_state)

    def _bench(self, threats: Sequence[Threat], columns: Sequence[str], random_state: int) -> Bench:
        told = [_as_told(threat, columns) for threat in threats]
        return Bench(told, _told(self.reference, columns), random_state, self.keeper)


def _told(features: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """What an input with only `columns` could tell of `features`, which came from packets."""
    if tier_of_features(columns) < Tier.PACKETS:
        features = encode_to_tier(features, Tier.ZEEK)
    return features.select(name for name in columns if name in features.columns)


def _as_told(threat: Threat, columns: Sequence[str]) -> Threat:
    return replace(threat, shots=_told(threat.shots, columns))


class Bench:
    """Threats learned once against the laboratory's reference; judges any number of inputs of its columns."""

    def __init__(
        self,
        threats: Sequence[Threat],
        reference: pl.DataFrame,
        random_state: int = 0,
        keeper: Keeper | None = None,
    ) -> None:
        """Learn from `threats`, at least one, on the columns that all of them and `reference` have."""
        shared = set.intersection(*(set(threat.shots.columns) for threat in threats))
        self.columns = [name for name in reference.columns if name in shared]
        self.names = [threat.name for threat in threats]
        self._threats = threats
        self._reference = reference
        self._random_state = random_state
        self._keeper = keeper
        self._stands: dict[bool, _Stand] = {}

    def judge(self, features: pl.DataFrame) -> Sighting:
        """Judge each record by itself; where nothing is known of either end's past, by what it tells alone.

        A missing past would else count for the usual one, and a capture of one flow would hold benign flows only.
        """
        n = features.height
        threat = np.full(n, "", dtype=object)
        score, p_value, named = np.zeros(n), np.ones(n), np.ones(n)
        has_past = self._has_past(features)
        attainable = 0.0
        for past in (True, False):
            rows = np.flatnonzero(has_past == past)
            if not len(rows):
                continue
            stand = self._stand(past)
            threat[rows], score[rows], p_value[rows], named[rows] = stand.judge(features[rows])
            attainable = max(attainable, stand.attainable)
        return Sighting(threat, score, p_value, named, attainable)

    def explain(self, features: pl.DataFrame, threats: Sequence[str], top: int = 3) -> list[list[str]]:
        """The `top` reasons why each record looks like its threat, one line each."""
        out: list[list[str]] = [[] for _ in threats]
        has_past = self._has_past(features)
        for past in (True, False):
            rows = np.flatnonzero(has_past == past)
            if len(rows):
                reasons = self._stand(past).explain(features[rows], [threats[int(row)] for row in rows], top)
                for row, lines in zip(rows, reasons, strict=True):
                    out[row] = lines
        return out

    def case(self, features: pl.DataFrame, rate: float) -> Explanation:
        """Everything about one record (one row), and what would have to change for it not to alarm at `rate`."""
        return self._stand(bool(self._has_past(features)[0])).case(features, rate)

    def _has_past(self, features: pl.DataFrame) -> NDArray[np.bool_]:
        signs = [name for name in _SIGNS_OF_HISTORY if name in self.columns]
        if not signs:
            return np.ones(features.height, bool)
        return features.select(pl.any_horizontal(pl.col(name).is_not_null() for name in signs)).to_series().to_numpy()

    def _stand(self, past: bool) -> _Stand:
        """What judges records with a known past, or without; learned when the first one comes."""
        if past not in self._stands:
            columns = self.columns if past else [name for name in self.columns if name not in _HISTORY]
            reference = self._reference.select(columns)
            self._stands[past] = _Stand(self._threats, reference, self._random_state, self._keeper)
        return self._stands[past]


def _at_least(risen: Floats, score: Floats) -> Floats:
    """How many of `risen`, in rising order, are as great as each score."""
    return np.asarray(len(risen) - np.searchsorted(risen, score, side="left"), dtype=np.float64)


class _Stand:
    """Threats learned on one set of columns."""

    def __init__(
        self, threats: Sequence[Threat], reference: pl.DataFrame, random_state: int, keeper: Keeper | None
    ) -> None:
        self._reference = reference
        shots = {threat.name: threat.shots.select(reference.columns) for threat in threats}
        # All at once: the reference's middle values are the same for each.
        settled = settle(pl.concat(shots.values()), reference)
        ends = np.cumsum([len(frame) for frame in shots.values()])
        self._shots = [settled[end - len(frame) : end] for end, frame in zip(ends, shots.values(), strict=True)]
        self._names = [*shots]
        self._random_state = random_state
        settings = (random_state, _TREES, _REFERENCE)
        fitted = self._fit() if keeper is None else keeper.fitted({**shots, "": reference}, settings, self._fit)
        detector, (unseen, *benign) = fitted
        self._panel = Panel(self._names, detector)
        self._unseen = int(unseen)
        self._least = len(self._names) / (unseen + 1.0)
        self.attainable = max(_EACH * len(self._names), self._least)
        score, best = np.array(benign).reshape(2, -1)
        self._benign = [np.sort(score[best == number]) for number in range(len(self._names))]

    def _fit(self) -> Fitted:
        """Learn; count unseen benign records, then what those of a kind with a threat score, and which threat's."""
        support, labels = stack(
            dict(zip(self._names, self._shots, strict=True)),
            settle(self._reference, self._reference),
            self._reference.columns,
        )
        rng = np.random.default_rng(self._random_state)
        detector = Detector(support, labels, rng, n_trees=_TREES, max_reference=_REFERENCE)
        unseen = np.setdiff1d(np.flatnonzero(labels == 0), detector.rows)
        best, score, of_kind = self._look(detector, support[unseen])
        return detector, np.concatenate([[len(unseen)], score[of_kind], best[of_kind]])

    def judge(self, features: pl.DataFrame) -> tuple[NDArray[np.object_], Floats, Floats, Floats]:
        """Threat, score and p-value of each record, over all names and over its own.

        A record of a stranger's network may be unlike the laboratory in a hundred ways and no attack: one that is of
        no kind with the threat's examples has p-value 1. The others are conformal over both questions together; the
        second p-value among the benign records that would bear the same name (Mondrian conformal prediction; Vovk et
        al. 2005), and the names share the rate (Bonferroni): what is usual for one threat must not hide another.
        """
        settled = settle(features.select(self._reference.columns), self._reference)
        best, score, of_kind = self._look(self._panel.detector, settled)
        pooled = np.sort(np.concatenate(self._benign))
        as_loud, as_loud_named = _at_least(pooled, score), np.zeros(len(score))
        for number, benign in enumerate(self._benign):
            rows = best == number
            as_loud_named[rows] = _at_least(benign, score[rows])
        threat = np.array(self._names, dtype=object)[best]
        p_value = np.where(of_kind, (1.0 + as_loud) / (self._unseen + 1.0), 1.0)
        named = np.where(of_kind, np.minimum((1.0 + as_loud_named) * self._least, 1.0), 1.0)
        return threat, score, p_value, named

    def _look(self, detector: Detector, settled: pl.DataFrame) -> tuple[NDArray[np.intp], Floats, NDArray[np.bool_]]:
        """Of each record the threat whose name it would bear, how surprising it is as that, and whether of a kind.

        It bears the name under which it is the most surprising, of those with whose examples it is of a kind: one
        figure names it and decides on it. As what it can not be, it may be as surprising as it likes.
        """
        surprises = detector.judge(settled, unknown=False).surprises
        of_kind = are_of_kinds(self._shots, settled)
        is_any = np.asarray(of_kind.any(1))
        # Of no kind with any: named by all of them, and silent.
        surprises = np.where(of_kind | ~is_any[:, None], surprises, -np.inf)
        return surprises.argmax(1), surprises.max(1), is_any

    def case(self, features: pl.DataFrame, rate: float, top: int = 3) -> Explanation:
        def alarms(rows: pl.DataFrame) -> tuple[Floats, NDArray[np.bool_]]:
            _, score, _, named = self.judge(rows)
            return score, named <= max(rate, self.attainable) * (1.0 + 1e-12)

        settled = settle(features.select(self._reference.columns), self._reference)
        told = self._panel.case(settled, top=top, alarms=alarms)
        p_value = float(self.judge(settled)[2][0])
        return replace(told, p_value=p_value, measured_on=self._unseen)

    def explain(self, features: pl.DataFrame, threats: Sequence[str], top: int) -> list[list[str]]:
        queries = settle(features.select(self._reference.columns), self._reference)
        return self._panel.explain(queries, threats, top)
