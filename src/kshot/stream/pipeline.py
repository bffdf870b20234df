"""The one place that wires the stages: captures and tables in, flows, features, verdicts, alerts out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.detection import Explanation
from kshot.errors import ThreatError, UserError
from kshot.features import columns_for_tier, encode_to_tier, fingerprint, untold_columns
from kshot.features.tiers import tier_of_features
from kshot.intel import fit_threats
from kshot.records.alerts import ALERT_SCHEMA
from kshot.records.columns import Tier
from kshot.records.threats import Threat
from kshot.stream.budget import rate_for_budget
from kshot.stream.grouping import group_alerts
from kshot.stream.judging import Judgement, judge_all
from kshot.stream.keeping import Keeper
from kshot.stream.laboratory import Laboratory
from kshot.stream.metering import meter
from kshot.stream.reading import Records, featurize, read_records

MOST_NAMED = 20
"""Threats named one by one in a note."""
DEFAULT_RATE = 0.001
"""False alarms a benign record, unless told otherwise: 1 in 1,000."""


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """How loud a scan may be."""

    false_alarm_rate: float | None = None
    """The chance that a benign record raises any alert; default `DEFAULT_RATE`, or the attainable if that is more."""
    alerts_per_day: float | None = None
    """Instead: how many grouped alerts a day of benign traffic may raise."""
    unknown: bool = False
    """Also report what is like no threat and unlike the reference."""
    ranked: int = 20
    """How many records to report when nothing calibrates their scores."""
    random_state: int = 0
    screen: bool = False
    """Whether distilled trees look first: several times faster where little alarms, and loses some."""


@dataclass(frozen=True, slots=True)
class ScanResult:
    """What a scan found."""

    alerts: pl.DataFrame
    """ALERT_SCHEMA, the loudest first; the top of a ranking, not alerts, where `is_ranking`."""
    verdicts: pl.DataFrame
    """A row a record judged: row (from 1, in the whole input), threat, score, p_value, alarm."""
    calibrated: str
    """"site", "capture" or "none"."""
    false_alarm_rate: float | None
    """The rate that was kept, where nothing else calibrates in the laboratory; None where there is but a ranking."""
    notes: list[str]
    """Lines for the user: what was skipped, and which promise could not be kept."""
    is_ranking: bool = False
    """Whether nothing told alerts from the rest, so that these are the top ranked records."""
    case: Callable[[int], Explanation] | None = None
    """A row of `verdicts`, from 0 -> everything about it, and what would have to change for it not to alarm."""


def scan(
    records: Records,
    threats: Sequence[Threat],
    *,
    reference: Records | None = None,
    laboratory: Laboratory | None = None,
    where: str | None = None,
    options: ScanOptions = ScanOptions(),
) -> ScanResult:
    """Judge records for threats and group what alarms.

    Parameters:
        reference: benign records of the same network; without them the records calibrate themselves.
        laboratory: built-in threats, if any, to look for beside `threats` in flows. With a reference they are judged
            like any other; without, against the laboratory's own benign traffic, which also tells which records may be
            the attack, and steps in where the records are too few to calibrate `threats`.
        where: only judge records for which this SQL expression holds; the reference is narrowed alike, so that
            like is compared with like.

    Raises:
        UserError: no threat fits, no record is left, the reference is of another kind, or no times for a budget.
    """
    chosen = records.where(where)
    rows = chosen.arg_true()
    if rows.len() == 0:
        raise UserError(f"--where {where!r} holds for none of the {len(records):,} records; nothing to scan")
    judged = records.filter(chosen)
    narrowed = _narrowed(reference, records.kind, where)
    notes: list[str] = []
    keeper = None if laboratory is None else laboratory.keeper
    if records.kind != "flow":
        laboratory = None
    builtin = laboratory.threats if laboratory is not None else ()
    if not threats and not builtin and not options.unknown:
        raise ThreatError("no threat has been taught; teach one: kshot learn NAME --shots FILE --where EXPR")
    if laboratory is not None and narrowed is not None:
        taught = {threat.name for threat in threats}
        threats = [*threats, *(threat for threat in builtin if threat.name not in taught)]
        laboratory, builtin = None, ()
    everything = [*threats, *builtin]
    if judged.kind == "flow":
        judged, narrowed, threats = _cut_to_one_tier(judged, narrowed, threats, notes, len(everything))
    groups = _fitting(threats, judged, notes, must=not builtin and not options.unknown)
    told = _Told(len(judged))
    if groups or options.unknown:
        _judge(told, groups, judged, narrowed, laboratory, options, notes, keeper)
    own = [threat for group in groups for threat in group] if told.calibrated == "none" else []
    if laboratory is not None and (builtin or own):
        _sight(told, laboratory, own, judged, options, notes)
    verdicts = pl.DataFrame(
        {
            "row": rows.cast(pl.UInt64) + 1,
            "threat": pl.Series(told.threat.tolist(), dtype=pl.String),
            "score": told.score,
            "p_value": pl.Series(told.p_value).fill_nan(None),
            "alarm": told.alarm,
        }
    )
    alerts = _alerts(verdicts, judged, everything, told)
    return ScanResult(alerts, verdicts, told.calibrated, told.rate, notes, told.is_ranking, told.case)


class _Told:
    """What is known of n records so far: a verdict each, and who explains it."""

    def __init__(self, count: int) -> None:
        self.threat = np.full(count, "", dtype=object)
        self.score = np.full(count, -np.inf)
        self.p_value = np.full(count, np.nan)
        self.alarm = np.zeros(count, dtype=bool)
        self.by_laboratory = np.ones(count, dtype=bool)
        self.calibrated = "none"
        self.rate: float | None = None
        self.is_ranking = False
        self.explain: Callable[[Sequence[int]], list[list[str]]] = lambda rows: [[] for _ in rows]
        self.explain_laboratory = self.explain
        self.case_judged: Callable[[int], Explanation] | None = None
        self.case_laboratory: Callable[[int], Explanation] | None = None

    def case(self, row: int) -> Explanation:
        """Everything about one record."""
        ask = self.case_laboratory if self.by_laboratory[row] else self.case_judged
        if ask is None:
            raise UserError("nothing judged this record")
        return ask(row)

    def reasons(self, rows: Sequence[int]) -> list[list[str]]:
        """Why each of `rows` alarmed."""
        told: dict[int, list[str]] = {}
        for by_laboratory, explain in ((False, self.explain), (True, self.explain_laboratory)):
            mine = [row for row in rows if self.by_laboratory[row] == by_laboratory]
            told.update(zip(mine, explain(mine), strict=True) if mine else ())
        return [told[row] for row in rows]


def _judge(
    told: _Told,
    groups: list[list[Threat]],
    judged: Records,
    reference: Records | None,
    laboratory: Laboratory | None,
    options: ScanOptions,
    notes: list[str],
    keeper: Keeper | None,
) -> None:
    """Judge by the reference, or by the records' own traffic; where neither calibrates, rank them if that is all."""
    judgement = judge_all(
        groups,
        judged.judged_columns(),
        None if reference is None else reference.judged_columns(),
        unknown=options.unknown,
        random_state=options.random_state,
        laboratory=laboratory,
        screen=options.screen,
        keep=None if keeper is None else keeper.fitted,
    )
    if judgement.kept_by_screen < 1.0:
        notes.append(
            f"the screen keeps {judgement.kept_by_screen:.1%} of what alarms at 1 % on made variants of the shots"
        )
    rate = _rate(judgement, options, reference or judged, notes)
    if rate is None and laboratory is not None and (groups or laboratory.threats):
        if options.unknown:
            notes.append("too few records to say which are like none of the others: unknown ones are not looked for")
        return  # it judges them all
    if rate is not None and judgement.kept_out > rate:
        notes.append(
            f"{judgement.kept_out:.2g} of the records were taken for an attack and kept out of what calibrates; "
            "if they are normal here they are false alarms: give --reference FILE of quiet traffic"
        )
    told.threat, told.score, told.p_value = judgement.threat, judgement.score, judgement.p_value
    told.by_laboratory[:] = False
    told.calibrated, told.rate, told.explain = judgement.calibrated, rate, judgement.explain
    told.case_judged = lambda row: judgement.case(row, rate)
    told.is_ranking = rate is None
    told.alarm = judgement.alarms(rate) if rate is not None else _top(judgement.score, options.ranked)
    if rate is None:
        count = int(told.alarm.sum())
        notes.append(f"nothing calibrates the scores: these are the {count:,} top ranked records, not alerts")


def _sight(
    told: _Told, laboratory: Laboratory, own: list[Threat], judged: Records, options: ScanOptions, notes: list[str]
) -> None:
    """Judge by the laboratory what did not alarm before."""
    bench = laboratory.bench(judged.features.columns, own, options.random_state)
    sighting = bench.judge(judged.features)
    asked = DEFAULT_RATE if options.false_alarm_rate is None else options.false_alarm_rate
    if options.alerts_per_day is not None:
        asked = rate_for_budget(judged.parties(), options.alerts_per_day)
    rate = max(asked, sighting.attainable)
    seen = sighting.alarms(rate) & ~told.alarm
    mine = seen | (told.by_laboratory & ~told.alarm)
    told.threat[mine], told.score[mine] = sighting.threat[mine], sighting.score[mine]
    told.p_value[mine] = np.nan
    told.by_laboratory = mine
    told.alarm |= seen
    told.rate = rate if told.rate is None else told.rate
    told.explain_laboratory = lambda rows: bench.explain(
        judged.features[list(rows)], [told.threat[row] for row in rows]
    )
    told.case_laboratory = lambda row: bench.case(judged.features[row : row + 1], rate)
    whose = " and ".join(["built-in threats"] * bool(laboratory.threats) + ["so few records"] * bool(own))
    notes.append(
        f"{whose} are measured on kshot's laboratory, not on your network: no false-alarm rate is promised; "
        "give --reference FILE of quiet traffic"
    )


def _narrowed(reference: Records | None, kind: str, where: str | None) -> Records | None:
    if reference is None:
        return None
    if reference.kind != kind:
        ours, theirs = ("flows", "table rows") if kind == "flow" else ("table rows", "flows")
        raise UserError(f"--reference holds {theirs}, the input {ours}; give a reference of the same kind")
    narrowed = reference.filter(reference.where(where))
    if len(narrowed) == 0:
        raise UserError(
            f"--where {where!r} holds for none of the {len(reference):,} reference records; give another --reference"
        )
    return narrowed


def at_one_tier(inputs: Sequence[Records]) -> list[Records]:
    """Cut flows of several inputs to the features that all of them can tell; tables stay as they are."""
    if any(records.kind != "flow" for records in inputs):
        return list(inputs)
    tier, untold = _told_by_all(inputs)
    return [replace(records, features=_encoded(records.features, tier, untold)) for records in inputs]


def _told_by_all(inputs: Sequence[Records]) -> tuple[Tier, list[str]]:
    """The poorest input's tier, and what is of that tier and yet untold by logs that were not given whole."""
    tier = min(tier_of_features(records.features.columns) for records in inputs)
    untold = [name for records in inputs for name in untold_columns(records.frame, records.features)]
    return tier, list(dict.fromkeys(untold))


def _encoded(features: pl.DataFrame, tier: Tier, untold: Sequence[str]) -> pl.DataFrame:
    return encode_to_tier(features, tier).drop(untold, strict=False)


def _cut_to_one_tier(
    judged: Records, reference: Records | None, threats: Sequence[Threat], notes: list[str], asked_for: int
) -> tuple[Records, Records | None, list[Threat]]:
    """Cut records, reference and flow threats to the features that both inputs can tell; say so by name."""
    inputs = [judged] if reference is None else [judged, reference]
    tier, untold = _told_by_all(inputs)
    judged, *others = at_one_tier(inputs)
    fitting = [
        replace(threat, shots=_encoded(threat.shots, tier, untold)) if threat.kind == "flow" else threat
        for threat in threats
    ]
    if asked_for and tier < Tier.PACKETS:
        told = {Tier.NETFLOW: "counters", Tier.ZEEK: "what connection logs tell"}[tier]
        names = [threat.name for threat in threats[:MOST_NAMED]]
        more = asked_for - len(names)
        names += [f"{more} {'more' if names else 'threats'}"] if more else []
        notes.append(
            f"judged by {told} only ({judged.features.width} of {len(columns_for_tier(Tier.PACKETS))} features; "
            f"without payload and packet sizes they may miss or confuse more): {', '.join(names)}"
        )
    if untold:
        notes.append(
            f"the logs lack {', '.join(untold)}, which are not compared; "
            "give http.log, dns.log and ssl.log beside conn.log, or EVE's http, dns and tls events"
        )
    return judged, others[0] if others else None, fitting


def _fitting(threats: Sequence[Threat], judged: Records, notes: list[str], *, must: bool) -> list[list[Threat]]:
    """The threats that fit the input, in groups of the same columns; the others are named in `notes`."""
    fitted = fit_threats(threats, judged.kind, judged.judged_columns().schema, fingerprint())
    lines = [f"threat {name} is skipped: {why}" for name, why in fitted.skipped.items()]
    if not fitted.groups and threats and must:
        more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
        raise ThreatError(f"no threat fits this input: {lines[0]}{more}")
    notes += lines
    return fitted.groups


def _rate(judgement: Judgement, options: ScanOptions, reference: Records, notes: list[str]) -> float | None:
    """The false-alarm rate to keep: what was asked for, or the least that the reference can promise."""
    if judgement.calibrated == "none":
        return None
    asked = options.false_alarm_rate
    words = f"a false-alarm rate of {asked:g}" if asked is not None else ""
    if options.alerts_per_day is not None:
        asked = rate_for_budget(reference.parties(), options.alerts_per_day)
        words = f"{options.alerts_per_day:g} alerts a day (a false-alarm rate of {asked:.2g})"
    if asked is not None and asked >= judgement.attainable:
        return asked
    rate = max(judgement.attainable, asked if asked is not None else DEFAULT_RATE)
    if rate > (asked if asked is not None else DEFAULT_RATE):
        words = words or f"the default false-alarm rate of {DEFAULT_RATE:g}"
        notes.append(
            f"{words} needs a larger reference; with these {len(reference):,} records {rate:.2g} is attainable and used"
        )
    return rate


def _top(scores: NDArray[np.float64], count: int) -> NDArray[np.bool_]:
    top = np.zeros(len(scores), dtype=bool)
    top[np.argsort(-scores, kind="stable")[:count]] = True
    return top


def _alerts(verdicts: pl.DataFrame, judged: Records, threats: Sequence[Threat], told: _Told) -> pl.DataFrame:
    at = verdicts["alarm"].arg_true()
    alarmed = verdicts[at]
    grouped = group_alerts(alarmed.hstack(judged.parties()[at]))
    # Verdicts hold rows of the input; reasons are asked for by place among the judged.
    place = {row: index for index, row in enumerate(verdicts["row"])} if grouped.height else {}
    at_place = [place[row] for row in grouped["row"]]
    reasons = told.reasons(at_place)
    calibrated = ["none" if told.by_laboratory[row] else told.calibrated for row in at_place]
    attack = {threat.name: list(threat.attack) for threat in reversed(threats)}
    # Whole columns at once: polars takes a second to look at each of 50,000 lists.
    attack_of = _lists([attack.get(name, []) for name in grouped["threat"]])
    return pl.DataFrame(
        {
            **{
                name: grouped[name]
                for name in ("threat", "originator", "responder", "first_time", "last_time", "flows")
            },
            "score": grouped["score"],
            "p_value": grouped["p_value"],
            "calibrated": calibrated,
            "attack": attack_of,
            "reasons": _lists(reasons),
            "first_record": grouped["row"],
        },
        schema=ALERT_SCHEMA,
    )


def _lists(rows: list[list[str]]) -> pl.Series:
    """Lists of strings as one column."""
    at = pl.DataFrame({"row": np.arange(len(rows))})
    of = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    flat = pl.DataFrame({"row": of, "value": pl.Series([v for row in rows for v in row], dtype=pl.String)})
    grouped = flat.group_by("row", maintain_order=True).agg("value")
    return at.join(grouped, on="row", how="left", maintain_order="left")["value"].fill_null([])


__all__ = ["Records", "ScanOptions", "ScanResult", "at_one_tier", "featurize", "meter", "read_records", "scan"]
