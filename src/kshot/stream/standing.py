"""A detector fitted once as a scan would; it judges batch after batch, each record by itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.detection.panel import Panel
from kshot.errors import UserError
from kshot.features import FEATURE_COLUMNS, encode_to_tier, fingerprint, settle, untold_columns
from kshot.features.tiers import tier_of_features
from kshot.intel import fit_threats
from kshot.records.kept import Label
from kshot.records.threats import Threat
from kshot.stream.budget import GroupSizes
from kshot.stream.laboratory import Bench, Laboratory
from kshot.stream.pipeline import DEFAULT_RATE, Records, ScanOptions

LOOK_ALIKE = "benign look-alike of "
"""Begins the name of what analysts called harmless: a record most like that does not alarm."""
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
        threats = [
            replace(threat, shots=self._cut(threat.shots)) for threat in teaching.threats if threat.kind == "flow"
        ]
        builtin = [replace(threat, shots=self._cut(threat.shots)) for threat in builtin]
        if reference is not None:
            taught = self._taught([*threats, *builtin], teaching.labels, schema)
            self._stand_on_reference(taught, self._cut(reference.features), reference, teaching)
        elif laboratory is not None:
            # Only what is the user's, or was changed by a label, is learned beside what the laboratory keeps learned.
            changed = {label.threat for label in teaching.labels}
            mine = [*threats, *(threat for threat in builtin if threat.name in changed)]
            taught = self._taught(mine, teaching.labels, schema)
            self._stand_on_laboratory(laboratory, taught, schema, teaching.options)
        else:
            raise UserError("there is nothing to calibrate on; give --reference FILE of quiet traffic")

    def judge(self, features: pl.DataFrame) -> Verdicts:
        """Judge n records; what one is told does not depend on the others."""
        return self._judge(self._cut(features))

    def _cut(self, features: pl.DataFrame) -> pl.DataFrame:
        return encode_to_tier(features, self._tier).drop(self._untold, strict=False)

    def _taught(
        self, threats: list[Threat], labels: Sequence[Label], schema: Mapping[str, pl.DataType]
    ) -> list[Threat]:
        """The threats that fit, with what labels add to them."""
        found = {threat.name: threat for threat in threats}
        for label in labels:
            if label.fingerprint != fingerprint():
                self.notes.append(
                    f"the label of alert {label.alert} is of another version of the features; it is left out"
                )
                continue
            name = label.threat if label.verdict == "malicious" else LOOK_ALIKE + label.threat
            old = found.get(name)
            shots = _shots(label, schema)
            columns = schema if old is None else old.shots.schema
            if not set(columns) <= set(shots.columns):
                self.notes.append(f"the label of alert {label.alert} lacks columns of threat {name}; it is left out")
                continue
            shots = shots.select(pl.col(column).cast(columns[column]) for column in columns)
            if old is not None:
                shots = pl.concat([old.shots, shots]).unique(maintain_order=True, keep="first")
            found[name] = Threat(name, shots, "flow", fingerprint()) if old is None else replace(old, shots=shots)
        fitted = fit_threats(found.values(), "flow", schema, fingerprint())
        self.notes += [f"threat {name} is skipped: {why}" for name, why in fitted.skipped.items()]
        self._groups = sorted(fitted.groups, key=len, reverse=True)
        return [threat for group in self._groups for threat in group]

    def _stand_on_reference(
        self,
        taught: list[Threat],
        features: pl.DataFrame,
        reference: Records,
        teaching: Teaching,
    ) -> None:
        options = teaching.options
        if not taught:
            raise UserError("no threat fits this input; see: kshot threats list")
        self.calibrated = "site"
        """What the p-values were measured on: "site" or "none"."""
        standing = [_Group(group, features, options.random_state) for group in self._groups]
        attainable = max(group.panel.attainable(unknown=False) for group in standing) * len(standing)
        if np.isnan(attainable):
            raise UserError(f"--reference holds {len(reference):,} records, too few to calibrate; give more")
        asked = options.false_alarm_rate
        if options.alerts_per_day is not None:
            # Below the least rate that a p-value can tell, loudness goes on: what the stream shows decides there.
            sizes = teaching.sizes or GroupSizes.of(reference.parties())
            asked, attainable = sizes.rate_for(options.alerts_per_day), 0.0
        self.rate = max(DEFAULT_RATE if asked is None else asked, attainable)
        """The false-alarm rate that is kept."""
        if asked is not None and asked < attainable:
            self.notes.append(
                f"a false-alarm rate of {asked:.2g} needs a larger reference; with these {len(reference):,} records "
                f"{self.rate:.2g} is attainable and used"
            )
        self._judge = lambda asked: _loudest(standing, asked, self.rate)

    def _stand_on_laboratory(
        self, laboratory: Laboratory, taught: list[Threat], schema: Mapping[str, pl.DataType], options: ScanOptions
    ) -> None:
        if options.alerts_per_day is not None:
            raise UserError("--alerts-per-day needs --reference FILE: nothing else tells what a day is here")
        if not taught and not laboratory.threats:
            raise UserError("no threat has been taught; teach one: kshot learn NAME --shots FILE --where EXPR")
        self.calibrated = "none"
        bench = laboratory.bench(list(schema), taught, options.random_state)
        asked = DEFAULT_RATE if options.false_alarm_rate is None else options.false_alarm_rate
        self.rate = asked
        self.notes.append(
            "threats are measured on kshot's laboratory, not on your network: no false-alarm rate is promised; "
            "give --reference FILE of quiet traffic"
        )
        self._judge = lambda features: _sighted(bench, features, asked)


class _Group:
    """Threats of the same columns, learned against the reference."""

    def __init__(self, group: Sequence[Threat], reference: pl.DataFrame, random_state: int) -> None:
        self._schema = group[0].shots.schema
        self._benign = self._like(reference)
        shots = {threat.name: settle(threat.shots, self._benign) for threat in group}
        rng = np.random.default_rng(random_state)
        self.panel = Panel.fit(shots, settle(self._benign, self._benign), [*self._schema], rng)
        self.names = np.array([*shots], dtype=object)
        calibration = self.panel.detector.calibration(unknown=False)
        self.loudest = float("inf") if calibration is None else float(calibration.benign[-1])
        """The greatest surprise of a benign record that calibrates: beyond it p-values say no more."""

    def asked(self, features: pl.DataFrame) -> pl.DataFrame:
        """Records as the panel judges them."""
        return settle(self._like(features), self._benign)

    def _like(self, frame: pl.DataFrame) -> pl.DataFrame:
        return frame.select(pl.col(name).cast(dtype, strict=False) for name, dtype in self._schema.items())


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
    told = _unmuted(threat, scores[at], p_value, p_value <= rate * (1.0 + 1e-12), explain)
    return replace(told, loudness=beyond - np.log(p_value))


def _sighted(bench: Bench, features: pl.DataFrame, asked: float) -> Verdicts:
    sighting = bench.judge(features)
    alarm = sighting.alarms(max(asked, sighting.attainable))

    def explain(rows: Sequence[int]) -> list[list[str]]:
        return bench.explain(features[list(rows)], [sighting.threat[row] for row in rows])

    return _unmuted(sighting.threat, sighting.score, np.full(features.height, np.nan), alarm, explain)


def _unmuted(
    threat: NDArray[np.object_],
    score: NDArray[np.float64],
    p_value: NDArray[np.float64],
    alarm: NDArray[np.bool_],
    explain: Callable[[Sequence[int]], list[list[str]]],
) -> Verdicts:
    harmless = np.array([str(name).startswith(LOOK_ALIKE) for name in threat], dtype=bool)
    return Verdicts(threat, score, p_value, alarm & ~harmless, int((alarm & harmless).sum()), explain, harmless)


def _shots(label: Label, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """The records that a label holds, in the columns of the stream that they have."""
    rows = [json.loads(told) for told in label.features]
    names = [name for name in schema if all(name in row for row in rows)]
    return pl.DataFrame(
        [[row[name] for name in names] for row in rows], schema={n: schema[n] for n in names}, orient="row"
    )
