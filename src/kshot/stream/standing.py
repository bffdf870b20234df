"""A detector fitted once as a scan would; it judges batch after batch, each record by itself."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.detection.detector import Detector
from kshot.detection.panel import MAX_REFERENCE, N_TREES, Panel, stack
from kshot.errors import UserError
from kshot.features import FEATURE_COLUMNS, encode_to_tier, fingerprint, settle, untold_columns
from kshot.features.tiers import tier_of_features
from kshot.intel import fit_threats
from kshot.records.kept import Label
from kshot.records.threats import Threat
from kshot.stream.budget import GroupSizes
from kshot.stream.feedback import LOUD, LookAlike, Taught
from kshot.stream.keeping import Fitted, Keeper
from kshot.stream.laboratory import Bench, Laboratory
from kshot.stream.pipeline import DEFAULT_RATE, Records, ScanOptions

_QUICK_TREES = 200
_TYPES = {column.name: column.dtype for column in FEATURE_COLUMNS}


@dataclass(frozen=True, slots=True)
class Verdicts:
    """n records, judged."""

    threat: NDArray[np.object_]
    score: NDArray[np.float64]
    p_value: NDArray[np.float64]
    """nan where nothing calibrates."""
    alarm: NDArray[np.bool_]
    muted: int
    """Records that would have alarmed, but for a label."""
    explain: Callable[[Sequence[int]], list[list[str]]]
    """Rows of the batch -> the three features that speak loudest for each."""
    harmless: NDArray[np.bool_] | None = None
    """Which of them a label mutes."""
    loudness: NDArray[np.float64] | None = None
    """-ln of the p-value, continued beyond the least that is attainable; None where nothing calibrates."""
    segment: NDArray[np.object_] | None = None
    """The segment that each lies in, "" for the rest; None where there are no segments."""


class Judge(Protocol):
    """What a watch asks of a detector."""

    @property
    def notes(self) -> Sequence[str]:
        """Lines for the user."""

    @property
    def attack(self) -> Mapping[str, Sequence[str]]:
        """Technique ids by threat."""

    @property
    def rate(self) -> float:
        """The false-alarm rate that is kept."""

    def judge(self, features: pl.DataFrame, flows: pl.DataFrame) -> Verdicts:
        """Judge n records, whose parties `flows` tells, row for row."""


@dataclass(frozen=True, slots=True)
class Teaching:
    """What a detector is to be fitted from."""

    threats: Sequence[Threat]
    """The user's own."""
    laboratory: Laboratory | None = None
    reference: Records | None = None
    labels: Sequence[Label] = ()
    """Standing labels, in the order in which they were given."""
    options: ScanOptions = field(default_factory=ScanOptions)
    sizes: GroupSizes | None = None
    """Of the reference's groups, where its records are a sample of what was seen."""


class StandingDetector:
    """Judges flows for threats against a reference, or on the laboratory without one, as `scan` does."""

    def __init__(self, teaching: Teaching, columns: Sequence[str]) -> None:
        """Fit on the feature columns of the stream.

        Raises:
            UserError: no threat fits, or there is nothing to calibrate on.
        """
        self.notes: list[str] = []
        """Lines for the user: what was skipped, and which promise cannot be kept."""
        self._judge: Callable[[pl.DataFrame], Verdicts]
        reference, laboratory = teaching.reference, teaching.laboratory
        own = {threat.name for threat in teaching.threats}
        builtin = [threat for threat in (laboratory.threats if laboratory else ()) if threat.name not in own]
        self.attack = {threat.name: threat.attack for threat in [*builtin, *teaching.threats]}
        """Technique ids by threat."""
        inputs = [columns] if reference is None else [columns, reference.features.columns]
        self._tier = min(tier_of_features(names) for names in inputs)
        self._untold = [] if reference is None else untold_columns(reference.frame, reference.features)
        schema = {
            name: _TYPES[name] for name in self._cut(pl.DataFrame(schema={n: _TYPES[n] for n in columns})).columns
        }
        mine = [replace(one, shots=self._cut(one.shots)) for one in teaching.threats if one.kind == "flow"]
        others = [replace(one, shots=self._cut(one.shots)) for one in builtin]
        self._known = {threat.name: threat for threat in [*others, *mine]}
        self._schema = schema
        self._teaching = teaching
        self._groups: list[_Group] = []
        self._benign = pl.DataFrame()
        """What normal records look like here, or in the laboratory."""
        self.calibrated = "none" if reference is None else "site"
        """What the p-values were measured on: "site" or "none"."""
        if reference is not None:
            self._benign = self._cut(reference.features)
            self._stand_on_reference(self._fitting([*mine, *others]), laboratory)
        elif laboratory is not None:
            self._benign = encode_to_tier(laboratory.reference, self._tier)
            self._stand_on_laboratory(laboratory, self._fitting(mine))
        else:
            raise UserError("there is nothing to calibrate on; give --reference FILE of quiet traffic")
        self._told_without_labels = list(self.notes)
        self._learn(teaching.labels)

    def relabelled(self, labels: Sequence[Label]) -> StandingDetector:
        """The same detector, taught by these labels and no others."""
        other = copy.copy(self)
        other.notes = list(self._told_without_labels)
        other._learn(labels)
        return other

    def judge(self, features: pl.DataFrame, flows: pl.DataFrame | None = None) -> Verdicts:
        """Judge n records; what one is told does not depend on the others, nor on who spoke to whom."""
        return self._judge(self._cut(features))

    def _cut(self, features: pl.DataFrame) -> pl.DataFrame:
        return encode_to_tier(features, self._tier).drop(self._untold, strict=False)

    def _fitting(self, threats: Sequence[Threat]) -> list[list[Threat]]:
        """The threats that fit, in groups of the same columns."""
        fitted = fit_threats(threats, "flow", self._schema, fingerprint())
        self.notes += [f"threat {name} is skipped: {why}" for name, why in fitted.skipped.items()]
        return sorted(fitted.groups, key=len, reverse=True)

    def _stand_on_reference(self, groups: list[list[Threat]], laboratory: Laboratory | None) -> None:
        keeper = None if laboratory is None else laboratory.keeper
        seed = self._teaching.options.random_state
        self._groups = [_Group(group, self._benign, seed, keeper) for group in groups]

    def _stand_on_laboratory(self, laboratory: Laboratory, groups: list[list[Threat]]) -> None:
        if self._teaching.options.alerts_per_day is not None:
            raise UserError("--alerts-per-day needs --reference FILE: nothing else tells what a day is here")
        mine = [threat for group in groups for threat in group]
        if not mine and not laboratory.threats:
            raise UserError("no threat has been taught; teach one: kshot learn NAME --shots FILE --where EXPR")
        self._bench = laboratory.bench(list(self._schema), mine, self._teaching.options.random_state)
        self.notes.append(
            "threats are measured on kshot's laboratory, not on your network: no false-alarm rate is promised; "
            "give --reference FILE of quiet traffic"
        )

    def _learn(self, labels: Sequence[Label]) -> None:
        """Stand on what labels say beside what is known without them."""
        seed = self._teaching.options.random_state
        taught = Taught(self._known, labels, self._schema)
        self.notes += taught.notes
        anew = self._fitting(taught.threats)
        shots = self._known | {threat.name: threat for threat in taught.threats}
        look_alikes: dict[str, LookAlike] = {}
        for name, harmless in taught.look_alikes.items():
            if name not in shots:
                self.notes.append(f"threat {name}, which labels are about, is not looked for")
                continue
            columns = [column for column in shots[name].shots.columns if column in self._benign.columns]
            mine, normal, *theirs = (frame.select(columns) for frame in (shots[name].shots, self._benign, *harmless))
            look_alikes[name] = LookAlike(mine, theirs, normal, seed)
        if self.calibrated == "site":
            groups = [*self._groups, *(_Group(group, self._benign, seed, quick=True) for group in anew)]
            rate = self._choose_rate(groups)
            self._judge = lambda features: _muted(_loudest(groups, features, rate), features, look_alikes)
            return
        asked = self._teaching.options.false_alarm_rate
        self.rate = rate = DEFAULT_RATE if asked is None else asked
        """The false-alarm rate that is kept."""
        laboratory, bench = self._teaching.laboratory, self._bench
        assert laboratory is not None
        benches = [bench, *(laboratory.alone(group, list(self._schema), seed) for group in anew)]
        self._judge = lambda features: _muted(_sighted(benches, features, rate), features, look_alikes)

    def _choose_rate(self, groups: Sequence[_Group]) -> float:
        options, reference = self._teaching.options, self._teaching.reference
        assert reference is not None
        if not groups:
            raise UserError("no threat fits this input; see: kshot threats list")
        attainable = max(group.panel.attainable(unknown=False) for group in groups) * len(groups)
        if np.isnan(attainable):
            raise UserError(f"--reference holds {len(reference):,} records, too few to calibrate; give more")
        asked = options.false_alarm_rate
        if options.alerts_per_day is not None:
            # Below the least rate that a p-value can tell, loudness goes on: what the stream shows decides there.
            sizes = self._teaching.sizes or GroupSizes.of(reference.parties())
            asked, attainable = sizes.rate_for(options.alerts_per_day), 0.0
        self.rate = max(DEFAULT_RATE if asked is None else asked, attainable)
        if asked is not None and asked < attainable:
            self.notes.append(
                f"a false-alarm rate of {asked:.2g} needs a larger reference; with these {len(reference):,} records "
                f"{self.rate:.2g} is attainable and used"
            )
        return self.rate


class _Group:
    """Threats of the same columns, learned against the reference."""

    def __init__(
        self,
        group: Sequence[Threat],
        reference: pl.DataFrame,
        random_state: int,
        keeper: Keeper | None = None,
        *,
        quick: bool = False,
    ) -> None:
        """`quick`: with fewer trees, for what a label changes while traffic waits."""
        self._schema = group[0].shots.schema
        self._benign = self._like(reference)
        shots = {threat.name: settle(threat.shots, self._benign) for threat in group}
        support, labels = stack(shots, settle(self._benign, self._benign), [*self._schema])

        def fit() -> Fitted:
            rng = np.random.default_rng(random_state)
            trees = _QUICK_TREES if quick else N_TREES
            detector = Detector(support, labels, rng, n_trees=trees, max_reference=MAX_REFERENCE)
            detector.calibration(unknown=False)
            return detector, np.empty(0)

        settings = (random_state, N_TREES, MAX_REFERENCE)
        fitted = fit() if keeper is None else keeper.fitted({**shots, "": self._benign}, settings, fit)
        self.panel = Panel([*shots], fitted[0])
        self.names = np.array([*shots], dtype=object)
        calibration = self.panel.detector.calibration(unknown=False)
        self.loudest = float("inf") if calibration is None else float(calibration.benign[-1])
        """The greatest surprise of a benign record that calibrates: beyond it p-values say no more."""

    def asked(self, features: pl.DataFrame) -> pl.DataFrame:
        """Records as the panel judges them."""
        return settle(self._like(features), self._benign)

    def _like(self, frame: pl.DataFrame) -> pl.DataFrame:
        return frame.select(pl.col(name).cast(dtype, strict=False) for name, dtype in self._schema.items())


def quick_panel(threats: Sequence[Threat], reference: pl.DataFrame) -> tuple[Panel, list[str]]:
    """What judges for a few threats of the same columns alone, with the columns that it wants.

    Raises:
        UserError: there is no threat.
    """
    if not threats:
        raise UserError("there is nothing to learn from: the label is of another version of the features")
    group = _Group(threats, reference, 0, quick=True)
    return group.panel, [*threats[0].shots.columns]


def _loudest(groups: Sequence[_Group], features: pl.DataFrame, rate: float) -> Verdicts:
    """As `judge_all`: each record's loudest verdict, each p-value counted once a group (Bonferroni)."""
    asked = [group.asked(features) for group in groups]
    judged = [group.panel.judge(rows, unknown=False) for group, rows in zip(groups, asked, strict=True)]
    p_values = np.stack([one.p_values for one in judged])
    scores = np.stack([one.surprises.max(1) for one in judged])
    order = np.lexsort((-scores, np.nan_to_num(p_values, nan=2.0)), axis=0)[0]
    at = (order, np.arange(features.height))
    threat = np.stack([group.names[one.best] for group, one in zip(groups, judged, strict=True)])[at]
    p_value = np.minimum(p_values[at] * len(groups), 1.0)

    def explain(rows: Sequence[int]) -> list[list[str]]:
        told: dict[int, list[str]] = {}
        for number, group in enumerate(groups):
            mine = [row for row in rows if order[row] == number]
            if mine:
                reasons = group.panel.explain(asked[number][mine], [threat[row] for row in mine], 3)
                told.update(zip(mine, reasons, strict=True))
        return [told[row] for row in rows]

    beyond = np.maximum(scores[at] - np.array([group.loudest for group in groups])[order], 0.0)
    alarm = p_value <= rate * (1.0 + 1e-12)
    return Verdicts(threat, scores[at], p_value, alarm, 0, explain, loudness=beyond - np.log(p_value))


def _sighted(benches: Sequence[Bench], features: pl.DataFrame, asked: float) -> Verdicts:
    sightings = [bench.judge(features) for bench in benches]
    named = np.stack([one.named for one in sightings])
    # What alarms goes before what does not; else the first bench, which knows all threats.
    alarms = np.stack([one.alarms(max(asked, one.attainable)) for one in sightings])
    order = np.lexsort((named, ~alarms), axis=0)[0] if len(benches) > 1 else np.zeros(features.height, np.intp)
    at = (order, np.arange(features.height))
    threat = np.stack([one.threat for one in sightings])[at]
    score = np.stack([one.score for one in sightings])[at]

    def explain(rows: Sequence[int]) -> list[list[str]]:
        told: dict[int, list[str]] = {}
        for number, bench in enumerate(benches):
            mine = [row for row in rows if order[row] == number]
            if mine:
                told.update(zip(mine, bench.explain(features[mine], [threat[row] for row in mine]), strict=True))
        return [told[row] for row in rows]

    return Verdicts(threat, score, np.full(features.height, np.nan), alarms[at], 0, explain)


def _muted(verdicts: Verdicts, features: pl.DataFrame, look_alikes: Mapping[str, LookAlike]) -> Verdicts:
    """Take back the alarms of what analysts called harmless."""
    harmless = np.zeros(features.height, bool)
    loud = verdicts.alarm | (verdicts.p_value <= LOUD)
    for name, look_alike in look_alikes.items():
        rows = np.flatnonzero(loud & (verdicts.threat == name))
        harmless[rows] = look_alike.is_harmless(features[rows.tolist()])
    muted = int((verdicts.alarm & harmless).sum())
    return replace(verdicts, alarm=verdicts.alarm & ~harmless, muted=muted, harmless=harmless)
