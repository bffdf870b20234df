"""Three benign look-alikes of a threat, one label each: what that silences and what recall costs.

Takes a folder of the range's runs (range/run). A finding run that holds a threat is watched, with half of its benign
flows as reference. Three look-alikes are made of flows of the run that the threat was taught from, which are no shots:
in each a share of the columns is that of benign flows of the site, half of these the same in every flow. The loudest
ten flows of a look-alike's first half are labelled false-positive; false alarms are counted on the second halves,
recall on the finding run's attack, by another tool.
Run: python -m benchmarks.feedback FOLDER [--seed 0] [--most 4] [--output FILE]
"""

from __future__ import annotations

import argparse
import datetime
import json
import time
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.hidden import draw, pairs, run
from kshot.features import fingerprint
from kshot.records.kept import Label
from kshot.records.threats import Threat
from kshot.store import builtin_reference
from kshot.stream.laboratory import Laboratory
from kshot.stream.pipeline import Records, ScanOptions
from kshot.stream.standing import StandingDetector, Teaching

LOOK_ALIKES, FLOWS, SHARE = 3, 60, 0.35
EVIDENCE = 10
NOON = datetime.datetime(2026, 3, 2, 12, tzinfo=datetime.UTC)


def look_alike(attack: pl.DataFrame, benign: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Flows of one benign service that resembles the attack: some columns, always the same ones, are benign."""
    columns = [name for name in attack.columns if rng.random() < SHARE]
    host = benign[int(rng.integers(benign.height))]
    rows = attack[rng.integers(0, attack.height, FLOWS).tolist()]
    near = benign[rng.integers(0, benign.height, FLOWS).tolist()]
    # Half of what is benign about it is the same in each of its flows: one program, one server.
    steady = [name for name in columns if rng.random() < 0.5]
    return rows.with_columns(near[name] for name in columns).with_columns(
        pl.lit(host[name][0], dtype=attack.schema[name]).alias(name) for name in steady
    )


def label(rows: pl.DataFrame, number: int, threat: str) -> Label:
    """As an analyst gives it to an alert with these records."""
    told = tuple(
        json.dumps({name: None if value != value else value for name, value in row.items()}) for row in rows.to_dicts()
    )
    return Label(number, number, "false-positive", threat, "", "ada", NOON, False, told, fingerprint())


def measure(threat: str, teach: Path, find: Path, seed: int) -> dict[str, float] | None:
    """Alarms of the look-alikes' second halves and of the attack, before and after the labels; seconds; undo."""
    rng = np.random.default_rng(seed)
    shots_of, shots_are = run(teach)
    features, what = run(find)
    benign = features.filter(pl.Series(what == "benign"))
    attack = features.filter(pl.Series(what == threat))
    half = rng.permutation(benign.height)
    reference = benign[np.sort(half[: benign.height // 2]).tolist()]
    fresh = benign[np.sort(half[benign.height // 2 :]).tolist()]
    chosen = draw(shots_are, threat, 10, seed)
    shots = Threat(threat, shots_of[chosen.tolist()], "flow", fingerprint())
    taught_from = shots_of[np.setdiff1d(np.flatnonzero(shots_are == threat), chosen).tolist()]
    if taught_from.height < FLOWS // 2:
        return None
    records = Records("flow", pl.DataFrame({"x": range(reference.height)}), reference)
    options = ScanOptions(false_alarm_rate=0.001)
    laboratory = Laboratory([], builtin_reference()[0])
    detector = StandingDetector(Teaching([shots], laboratory, records, (), options), features.columns)
    before = detector.judge(attack)
    hosts: list[tuple[pl.DataFrame, pl.DataFrame]] = []
    for _ in range(200):
        rows = look_alike(taught_from, fresh, rng)
        told = detector.judge(rows)
        if told.alarm[: FLOWS // 2].sum() >= EVIDENCE and told.alarm[FLOWS // 2 :].sum() >= EVIDENCE:
            loudest = np.argsort(-np.where(told.alarm, told.score, -np.inf)[: FLOWS // 2], kind="stable")[:EVIDENCE]
            hosts.append((rows[loudest.tolist()], rows[FLOWS // 2 :]))
        if len(hosts) == LOOK_ALIKES:
            break
    if len(hosts) < LOOK_ALIKES or before.alarm.sum() < 4:
        return None
    labels = [label(rows, number + 1, threat) for number, (rows, _) in enumerate(hosts)]
    later = pl.concat([rows for _, rows in hosts])
    began, cpu = time.monotonic(), time.process_time()
    taught = detector.relabelled(labels)
    taught.judge(later[:1])
    seconds, cpu = time.monotonic() - began, time.process_time() - cpu
    undone = taught.relabelled([]).judge(attack)
    exact = np.array_equal(undone.score, before.score) and np.array_equal(undone.alarm, before.alarm)
    return {
        "false alarms before": float(detector.judge(later).alarm.sum()),
        "after": float(taught.judge(later).alarm.sum()),
        "recall before": float(before.alarm.mean()),
        "recall after": float(taught.judge(attack).alarm.mean()),
        "benign alarms before": float(detector.judge(fresh).alarm.mean()),
        "benign alarms after": float(taught.judge(fresh).alarm.mean()),
        "seconds": seconds,
        "CPU seconds": cpu,
        "undo exact": float(exact),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--most", type=int, default=4)
    parser.add_argument("--threats", help="only these, by commas")
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    rows: list[tuple[str, str, dict[str, float]]] = []
    done = set()
    wanted = args.threats.split(",") if args.threats else None
    for threat, teach, find in pairs(args.folder):
        if threat in done or (wanted and threat not in wanted) or len(rows) >= args.most:
            continue
        told = measure(threat, teach, find, args.seed)
        if told is not None:
            done.add(threat)
            rows.append((threat, find.name, told))
            print(threat, find.name, told, flush=True)
    lines = [
        "| threat | in | false alarms of 3 look-alikes | after 3 labels | cut | recall | after | s (CPU) | undo |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for threat, name, told in rows:
        cut = 1.0 - told["after"] / told["false alarms before"]
        lines.append(
            f"| {threat} | {name} | {told['false alarms before']:.0f} | {told['after']:.0f} | {cut:.0%} | "
            f"{told['recall before']:.1%} | {told['recall after']:.1%} | {told['seconds']:.2f} "
            f"({told['CPU seconds']:.2f}) | "
            f"{'exact' if told['undo exact'] else 'NOT exact'} |"
        )
    if rows:
        total = [sum(told[name] for _, _, told in rows) for name in ("false alarms before", "after")]
        recall = [np.mean([told[name] for _, _, told in rows]) for name in ("recall before", "recall after")]
        lines.append(
            f"| all | | {total[0]:.0f} | {total[1]:.0f} | {1 - total[1] / total[0]:.0%} | {recall[0]:.1%} | "
            f"{recall[1]:.1%} | | |"
        )
    text = "\n".join(lines)
    print(text)
    if args.output:
        args.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
