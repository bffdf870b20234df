"""A simulated week that drifts, watched with and without a budget of alerts a day.

Takes a folder of the range's runs (range/run). Each hour replays a stretch of a benign run; from the fourth day on
other runs come in, and in the end everything is larger. Attacks of the finding runs are injected at random hours. The
reference is two days of the first two runs. Printed: alerts delivered each day, and which attacks were found, with the
budget and without it (a fixed false-alarm rate, the reference never renewed).
Run: python -m benchmarks.week FOLDER [--alerts 50] [--hourly 900] [--seed 1] [--output FILE]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.hidden import labeller
from kshot.features import columns_for_tier
from kshot.records.columns import Tier
from kshot.records.streams import Bookmark, Piece
from kshot.store import FittedStore, builtin_reference, builtin_threats, kshot_home
from kshot.store.alerts import AlertStore
from kshot.stream.budget import GroupSizes
from kshot.stream.growing import growing_for
from kshot.stream.keeping import Keeper
from kshot.stream.laboratory import Laboratory
from kshot.stream.pipeline import Records, ScanOptions, featurize
from kshot.stream.standing import StandingDetector, Teaching
from kshot.stream.steering import Steering
from kshot.stream.watching import Watch, WatchOptions

HOUR = 3_600 * 10**9
MONDAY = 1_772_409_600 * 10**9
FIRST = ("benign-301", "benign-302")
LATER = ("benign-303", "benign-304", "benign-305")
LAST = ("mixed-find-402", "mixed-find-404")
LARGER = 1.5
MOST_FLOWS = 60
"""Of an attack: a flood is told by its first flows."""


@cache
def run(folder: Path) -> pl.DataFrame:
    """Flows of a run, labelled."""
    return labeller().label_flows(
        labeller().meter(folder / "capture.pcap"), labeller().read_truth(folder / "truth.csv")
    )


def retimed(flows: pl.DataFrame, begin: int, length: int) -> pl.DataFrame:
    """The same flows, their beginnings spread over `length` nanoseconds from `begin`."""
    first = flows["first_time"].cast(pl.Int64)
    span = max(1, int(first.max() - first.min()))  # type: ignore[operator, arg-type]
    new = begin + ((first - int(first.min())) * (length / span)).cast(pl.Int64)  # type: ignore[arg-type]
    lasted = flows["last_time"].cast(pl.Int64) - first
    time_type = pl.Datetime("ns", "UTC")
    return flows.with_columns(
        new.cast(time_type).alias("first_time"), (new + lasted).cast(time_type).alias("last_time")
    )


def larger(flows: pl.DataFrame, factor: float) -> pl.DataFrame:
    """As if everybody sent more."""
    names = [f"{side}_{what}" for side in ("orig", "resp") for what in ("bytes", "wire_bytes")]
    return flows.with_columns((pl.col(name) * factor).round().cast(flows.schema[name]) for name in names)


def hours(folder: Path, day: int, hourly: int, rng: np.random.Generator) -> pl.DataFrame:
    """A day of benign traffic; each hour a stretch of one run."""
    parts = []
    for hour in range(24):
        pool = FIRST
        if day >= 3 and rng.random() < min(1.0, (day - 2) / 2):
            pool = LATER if day < 5 or rng.random() < 0.5 else LAST
        flows = run(folder / str(rng.choice(pool))).filter(pl.col("label") == "benign")
        busy = 0.6 + 0.4 * np.sin((hour - 6) / 24 * 2 * np.pi)
        count = min(flows.height, round(hourly * busy))
        at = int(rng.integers(0, flows.height - count + 1))
        part = retimed(flows[at : at + count], MONDAY + (day * 24 + hour) * HOUR, HOUR)
        parts.append(larger(part, LARGER) if day >= 5 else part)
    return pl.concat(parts)


def attacks(folder: Path, rng: np.random.Generator) -> list[tuple[str, pl.DataFrame]]:
    """Each attack of each finding run, at a random hour of the week."""
    found = []
    for place in sorted(path for path in folder.iterdir() if "-find-" in path.name):
        flows = run(place).filter(pl.col("part") == "attack")
        for name in sorted(flows["label"].unique()):
            mine = flows.filter(pl.col("label") == name)[:MOST_FLOWS]
            if mine.height >= 4:
                begin = MONDAY + int(rng.integers(6, 7 * 24 - 1)) * HOUR + int(rng.integers(0, HOUR // 2))
                span = int((mine["first_time"].max() - mine["first_time"].min()).total_seconds() * 1e9)  # type: ignore[operator, union-attr]
                found.append((f"{name} in {place.name}", retimed(mine, begin, max(1, span))))
    return found


class Replay:
    """A source that gives a frame in pieces."""

    name, backlog_bytes = "replay", 0

    def __init__(self, flows: pl.DataFrame, step: int = 4_096) -> None:
        self._flows, self._step, self._at = flows, step, 0

    @property
    def ended(self) -> bool:
        """Whether all of it was given."""
        return self._at >= self._flows.height

    def resume(self, bookmark: Bookmark | None) -> None:
        """Begin."""

    def read(self) -> Piece | None:
        """Give the next flows."""
        piece = self._flows[self._at : self._at + self._step]
        self._at += piece.height
        return Piece(piece, Bookmark(str(self._at))) if piece.height else None

    def problems(self) -> list[str]:
        """None."""
        return []

    def counters(self) -> dict[str, int]:
        """None."""
        return {}

    def close(self) -> None:
        """Nothing is open."""


def watched(
    flows: pl.DataFrame, teaching: Teaching, alerts_a_day: float | None, told: list[str]
) -> tuple[pl.DataFrame, np.ndarray]:
    """Alerts of a watch over `flows`, and which records alarmed."""

    def log(event: str, **facts: Any) -> None:
        if event in ("drift", "drift_over", "recalibrated"):
            told.append(f"{event} {facts}")

    sizes = GroupSizes.of(teaching.reference.parties()) if teaching.reference is not None else None
    options = ScanOptions(alerts_per_day=alerts_a_day)
    alarm: list[np.ndarray] = []

    def fit(columns: Sequence[str], fresh: pl.DataFrame | None = None) -> StandingDetector:
        assert teaching.reference is not None
        reference = teaching.reference if fresh is None else replace(teaching.reference, features=fresh)
        return StandingDetector(replace(teaching, reference=reference, options=options, sizes=sizes), columns)

    steering = Steering(log, alerts_a_day=alerts_a_day, sizes=sizes)
    steer = steering.steer

    def noting(verdicts: Any, frame: pl.DataFrame) -> Any:
        steered = steer(verdicts, frame)
        alarm.append(steered.alarm)
        return steered

    steering.steer = noting  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        store = AlertStore(f"sqlite:///{folder}/watch.sqlite")
        watch = Watch(
            Replay(flows), store, fit, log=log, steering=steering,  # type: ignore[arg-type]
            columns=columns_for_tier(Tier.PACKETS), options=WatchOptions(growing=growing_for(1_000, alerts_a_day)),
        )  # fmt: skip
        watch.prepare()
        watch.run()
        alerts = pl.DataFrame(
            [(one.threat, one.first_nanoseconds) for one in store.alerts()], schema=["threat", "first"], orient="row"
        )
        store.close()
    return alerts, np.concatenate(alarm)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--alerts", type=float, default=50.0)
    parser.add_argument("--hourly", type=int, default=900)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--threats", help="only these built-in ones, by commas, and their attacks")
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    frame = pl.concat([hours(args.folder, -1, args.hourly, rng), hours(args.folder, 0, args.hourly, rng)]).drop(
        "label", "part", "tool", "connection"
    )
    reference = Records("flow", frame, featurize(frame))
    benign = pl.concat([hours(args.folder, day, args.hourly, rng) for day in range(args.days)])
    injected = [one for one in attacks(args.folder, rng) if one[1]["first_time"].max() < benign["first_time"].max()]  # type: ignore[operator]
    wanted = args.threats.split(",") if args.threats else None
    injected = [one for one in injected if wanted is None or one[0].split(" in ")[0] in wanted]
    parts = [benign.with_columns(pl.lit("").alias("attack"))] + [
        flows.with_columns(pl.lit(name).alias("attack")) for name, flows in injected
    ]
    week = pl.concat(parts).sort("last_time", maintain_order=True)
    what = week["attack"].to_numpy()
    flows = week.drop("attack", "label", "part", "tool", "connection")
    threats = [one for one in builtin_threats() if wanted is None or one.name in wanted]
    laboratory = Laboratory(threats, builtin_reference()[0], Keeper(FittedStore(kshot_home())))
    teaching = Teaching([], laboratory, reference)
    lines = [
        f"{flows.height:,} records in {args.days} days, {len(injected)} attacks of {(what != '').sum():,} flows; "
        f"{len(threats)} threats; reference "
        f"{len(reference):,} records; promise {args.alerts:g} alerts a day; seed {args.seed}", "",
        "| | alerts a day | mean | of the promise | attack flows found | attacks found | benign that alarm | CPU s |",
        "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    found = {}
    for name, budget in (("without a budget", None), ("with the budget", args.alerts)):
        told: list[str] = []
        began = time.process_time()
        alerts, alarm = watched(flows, teaching, budget, told)
        days = np.bincount((alerts["first"].to_numpy() - MONDAY) // (24 * HOUR), minlength=args.days)[: args.days]
        hit = {attack for attack in np.unique(what[alarm]) if attack}
        found[name] = alarm
        lines.append(
            f"| {name} | {', '.join(map(str, days))} | {days.mean():.0f} | {days.mean() / args.alerts:.2f} | "
            f"{alarm[what != ''].mean():.1%} | {len(hit)} of {len(injected)} | {alarm[what == ''].mean():.3%} | "
            f"{time.process_time() - began:.0f} |"
        )
        for line in told:
            print(name, line, file=sys.stderr)
    lines += ["", "| attack | flows | without | with |", "|---|---|---|---|"]
    for attack in sorted({one for one in what if one}):
        rows = what == attack
        shares = " | ".join(f"{alarm[rows].mean():.0%}" for alarm in found.values())
        lines.append(f"| {attack} | {rows.sum()} | {shares} |")
    text = "\n".join(lines)
    print(text)
    if args.output:
        args.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
