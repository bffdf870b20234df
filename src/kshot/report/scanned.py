"""From a scan to its report: what to count, which alerts to look behind, what to draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.records.threats import Threat
from kshot.report.contents import Evidence, Lane, Report, Scores, Tally
from kshot.report.evidence import Exhibit, gather_evidence
from kshot.report.truth import tallies
from kshot.stream.pipeline import Records, ScanResult

_MOST_EVIDENCE = 6
_LEAST_REFERENCE = 20


@dataclass(frozen=True, slots=True)
class Known:
    """What is known beside a scan: the truth, and how it was before a threat was taught."""

    truth: pl.DataFrame
    """(n) as `truth_of` gives it, of every record of the input."""
    before: ScanResult | None = None
    taught: str = ""


def report_of_scan(
    records: Records,
    threats: Sequence[Threat],
    result: ScanResult,
    *,
    reference: Records | None = None,
    title: str,
    lead: str = "",
    made_by: str = "",
    known: Known | None = None,
) -> Report:
    """Count and choose everything that a report shows of a scan.

    Parameters:
        records: the input that was scanned, whole.
        threats: what was looked for.
        reference: what it was calibrated on; without one, records that did not alarm stand for normal life.
    """
    seen = _Seen(records, result)
    truth = known.truth[seen.rows] if known else None
    before = known.before.verdicts["alarm"].to_numpy() if known and known.before else None
    counted = tallies(truth, seen.alarm, seen.names, before) if truth is not None else []
    taught = known.taught if known else ""
    return Report(
        title=title,
        lead=lead or _lead(result),
        facts=_facts(records, result, seen),
        alerts=result.alerts,
        ranked=result.is_ranking,
        taught=taught,
        tallies=counted,
        moments=seen.moments,
        lanes=_lanes(seen, result, truth, before, counted, taught) if len(seen.moments) else (),
        evidence=_evidence(records, threats, result, reference, taught),
        scores=_scores(seen, result, truth, counted),
        notes=result.notes,
        made_by=made_by,
    )


class _Seen:
    """The records that were judged, and what was said of each."""

    def __init__(self, records: Records, result: ScanResult) -> None:
        self.rows: NDArray[np.int64] = result.verdicts["row"].to_numpy().astype(np.int64) - 1
        self.alarm: NDArray[np.bool_] = result.verdicts["alarm"].to_numpy()
        self.names = result.verdicts["threat"]
        self.scores: NDArray[np.float64] = result.verdicts["score"].to_numpy()
        times = records.parties()["first_time"][self.rows]
        self.moments: NDArray[np.int64] = (
            times.dt.epoch("ns").to_numpy() if times.null_count() == 0 and len(times) else np.empty(0, np.int64)
        )


_WHERE = {"site": "the reference", "capture": "the input itself", "none": "kshot's laboratory"}


def _lead(result: ScanResult) -> str:
    if result.is_ranking:
        return "Nothing calibrates the scores of this input, so these are the top of a ranking and not alerts."
    count, threats = result.alerts.height, result.alerts["threat"].n_unique()
    told = f"{count:,} alert{'s' * (count != 1)} of {threats} threat{'s' * (threats != 1)}"
    if result.calibrated == "none":
        return f"{told}, measured on {_WHERE['none']}: no rate of false alarms is promised on this network."
    rate = 1.0 / (result.false_alarm_rate or 1.0)
    return f"{told}, at one false alarm in {rate:,.0f} benign records, calibrated on {_WHERE[result.calibrated]}."


def _facts(records: Records, result: ScanResult, seen: _Seen) -> list[tuple[str, str]]:
    what = "flows" if records.kind == "flow" else "records"
    facts = [(f"{what} judged", f"{len(seen.rows):,}"), (f"{what} alarmed", f"{int(seen.alarm.sum()):,}")]
    facts.append(("alerts", f"{result.alerts.height:,}"))
    if len(seen.moments):
        facts.append(("time covered", f"{(seen.moments.max() - seen.moments.min()) / 1e9:,.0f} s"))
    if result.false_alarm_rate is not None and result.calibrated != "none":
        facts.append(("false alarms promised", f"1 in {1 / result.false_alarm_rate:,.0f}"))
    facts.append(("calibrated on", "nothing" if result.is_ranking else _WHERE[result.calibrated]))
    return facts


def _lanes(
    seen: _Seen,
    result: ScanResult,
    truth: pl.DataFrame | None,
    before: NDArray[np.bool_] | None,
    counted: Sequence[Tally],
    taught: str,
) -> list[Lane]:
    spans: dict[str, list[tuple[int, int]]] = {}
    for threat, first, last in result.alerts.select(
        "threat", pl.col("first_time", "last_time").dt.epoch("ns")
    ).iter_rows():
        if first is not None and last is not None:
            spans.setdefault(threat, []).append((first, last))
    if truth is None:
        names = seen.names.to_numpy()
        return [Lane(name, name, seen.moments[seen.alarm & (names == name)], spans=spans[name]) for name in spans]
    attack = (truth["part"] == "attack").to_numpy()
    threats = truth["threat"].to_numpy()
    lanes = []
    order = sorted((tally.threat for tally in counted if tally.threat), key=lambda name: name != taught)
    for name in order:
        mine = attack & (threats == name)
        if name == taught and before is not None:
            lanes.append(Lane(f"{name}, before", name, seen.moments[mine & before], seen.moments[mine & ~before]))
        lanes.append(
            Lane(
                f"{name}, after" if name == taught and before is not None else name,
                name,
                seen.moments[mine & seen.alarm],
                seen.moments[mine & ~seen.alarm],
                spans.get(name, []),
            )
        )
    false = (threats == "") & seen.alarm
    return [*lanes, Lane("false alarms", "", seen.moments[false])]


def _scores(seen: _Seen, result: ScanResult, truth: pl.DataFrame | None, counted: Sequence[Tally]) -> Scores:
    groups: dict[str, NDArray[np.bool_]]
    if truth is None:
        names = seen.names.to_numpy()
        groups = {"no alarm": ~seen.alarm}
        for name in dict.fromkeys(result.alerts["threat"]):
            groups[name] = seen.alarm & (names == name)
    else:
        threats, attack = truth["threat"].to_numpy(), (truth["part"] == "attack").to_numpy()
        groups = {"benign": threats == ""}
        for tally in counted:
            if tally.threat:
                groups[tally.threat] = attack & (threats == tally.threat)
    threshold = None
    if not result.is_ranking and seen.alarm.any():
        threshold = float(seen.scores[seen.alarm].min())
    return Scores(seen.scores, groups, threshold)


def _evidence(
    records: Records, threats: Sequence[Threat], result: ScanResult, reference: Records | None, taught: str
) -> list[Evidence]:
    """The loudest alert of each threat, the one just taught first."""
    benign = records.filter(~_alarmed(records, result)) if reference is None else reference
    if len(benign) < _LEAST_REFERENCE:
        return []
    by_name = {threat.name: threat for threat in threats}
    loudest = result.alerts.unique("threat", keep="first", maintain_order=True)
    loudest = loudest.sort(pl.col("threat") != taught, maintain_order=True).filter(
        pl.col("threat").is_in(list(by_name))
    )
    chosen = list(loudest.head(_MOST_EVIDENCE).iter_rows(named=True))
    told = [by_name[alert["threat"]] for alert in chosen]
    columns, normal = records.judged_columns(), benign.judged_columns()
    shared = [
        name for name in columns.columns if all(name in table.columns for table in (normal, *(t.shots for t in told)))
    ]
    rows = [alert["first_record"] - 1 for alert in chosen]
    exhibits = [
        Exhibit(
            f"{alert['originator'] or '?'} → {alert['responder'] or '?'}",
            _time_of(records, row),
            _facts_of(records, row),
        )
        for alert, row in zip(chosen, rows, strict=True)
    ]
    return gather_evidence(told, columns.select(shared)[rows], normal.select(shared), exhibits) if chosen else []


def _alarmed(records: Records, result: ScanResult) -> pl.Series:
    alarmed = np.zeros(len(records), bool)
    alarmed[result.verdicts.filter("alarm")["row"].to_numpy().astype(np.int64) - 1] = True
    return pl.Series(alarmed)


def _time_of(records: Records, row: int) -> datetime | None:
    moment: datetime | None = records.parties()["first_time"][row]
    return moment


def _facts_of(records: Records, row: int) -> tuple[tuple[str, str], ...]:
    """What a person looks at first in a flow."""
    if records.kind != "flow":
        return (("row", f"{row + 1:,}"),)
    flow = records.frame.row(row, named=True)
    protocol = {6: "TCP", 17: "UDP", 1: "ICMP"}.get(flow["protocol"], f"IP protocol {flow['protocol']}")
    port = f" port {flow['resp_port']}" if flow["protocol"] in (6, 17) else ""
    facts = [
        ("service", f"{protocol}{port}"),
        ("state", str(flow.get("conn_state") or "")),
        ("lasted", f"{flow['duration_seconds']:.3g} s" if flow.get("duration_seconds") is not None else ""),
        ("packets", f"{flow['orig_packets']:,} out, {flow['resp_packets']:,} back"),
        ("payload", f"{flow.get('orig_bytes') or 0:,} B out, {flow.get('resp_bytes') or 0:,} B back"),
    ]
    return tuple((what, value) for what, value in facts if value)
