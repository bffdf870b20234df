"""Small attacks hidden in a capture that calibrates itself, against one with a clean reference.

Takes a folder of the range's runs (range/run). For every threat with a run of its own to teach from and every run that
also holds it: five shots are taught, and sought among the benign flows of the other run with a few of its attack's
flows between them, first without any reference, then with half of these benign flows, known to be benign, as reference,
and with --foreign against a benign run of another network. Tools, hosts, addresses and ports differ from run to run.
Run: python -m benchmarks.hidden FOLDER [--most 60] [--rate 0.001] [--foreign] [--output FILE]
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl

from kshot.features import FeatureExtractor, fingerprint
from kshot.records.threats import Threat
from kshot.store import builtin_reference
from kshot.stream.judging import Judgement, judge_all
from kshot.stream.laboratory import Laboratory

SHOTS = 5
_LEAST = 4
"""Flows of an attack, or recall says nothing."""


@cache
def labeller() -> ModuleType:
    """The range's own script that joins flows to what was done."""
    path = Path(__file__).resolve().parents[1] / "range" / "label.py"
    spec = importlib.util.spec_from_file_location("range_label", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def run(folder: Path) -> tuple[pl.DataFrame, np.ndarray]:
    """Features of a run's flows, and what each is: "benign", a threat, or "" for what prepares or answers one."""
    flows = labeller().label_flows(
        labeller().meter(folder / "capture.pcap"), labeller().read_truth(folder / "truth.csv")
    )
    is_told = (pl.col("label") == "benign") | (pl.col("part") == "attack")
    what = flows.select(pl.when(is_told).then("label").otherwise(pl.lit(""))).to_series().fill_null("")
    return FeatureExtractor().transform(flows.drop("label", "part", "tool", "connection")), what.to_numpy()


def pairs(folder: Path) -> Iterator[tuple[str, Path, Path]]:
    """Threat, the run to teach it from, another that holds it."""
    finds = sorted(path for path in folder.iterdir() if "-find-" in path.name)
    for teach in sorted(folder.iterdir()):
        threat = teach.name.rsplit("-teach-", 1)[0]
        if "-teach-" in teach.name and threat != "mixed":
            yield from ((threat, teach, find) for find in finds if (run(find)[1] == threat).sum() >= _LEAST)


def draw(what: np.ndarray, threat: str, most: int, seed: int) -> np.ndarray:
    """Rows of at most so many flows of a threat, in their order."""
    rows = np.flatnonzero(what == threat)
    return np.sort(np.random.default_rng(seed).choice(rows, min(most, len(rows)), replace=False))


@cache
def laboratory() -> Laboratory:
    """What a scan knows of benign traffic elsewhere."""
    return Laboratory([], builtin_reference()[0])


def judged(
    shots: dict[str, pl.DataFrame], queries: pl.DataFrame, reference: pl.DataFrame | None, args: argparse.Namespace
) -> Judgement:
    """Judge as a scan does, with and without a reference."""
    threats = [Threat(name, rows, "flow", fingerprint()) for name, rows in shots.items()]
    known = None if args.alone or reference is not None else laboratory()
    return judge_all([threats], queries, reference, unknown=False, random_state=args.seed, laboratory=known)


def measure(threat: str, teach: Path, find: Path, benign: Path, args: argparse.Namespace) -> dict[str, object]:
    """One row: recall and false alarms of every way, and those of the same flows without the attack."""
    shots_of, shots_are = run(teach)
    shots = {threat: shots_of[draw(shots_are, threat, SHOTS, args.seed)]}
    features, what = run(find)
    hidden = draw(what, threat, args.most, args.seed)
    normal = np.flatnonzero(what == "benign")
    clean = np.random.default_rng(args.seed).permutation(normal)[: len(normal) // 2]
    ways: dict[str, tuple[np.ndarray, pl.DataFrame | None]] = {
        "own": (normal, None),
        "clean": (np.setdiff1d(normal, clean), features[np.sort(clean)]),
    }
    if args.own_only:
        del ways["clean"]
    if args.foreign:
        ways["foreign"] = (normal, run(benign)[0])
    out: dict[str, object] = {"threat": threat, "run": find.name, "attack": len(hidden), "benign": len(normal)}
    for way, (others, reference) in ways.items():
        rows = np.sort(np.concatenate([others, hidden]))
        alarm = judged(shots, features[rows], reference, args).alarms(args.rate)
        is_attack = np.isin(rows, hidden)
        out[f"recall, {way}"], out[f"false, {way}"] = float(alarm[is_attack].mean()), float(alarm[~is_attack].mean())
    if not args.skip_quiet:
        out["quiet"] = float(judged(shots, features[normal], None, args).alarms(args.rate).mean())
    return out


def report(rows: list[dict[str, object]], args: argparse.Namespace) -> str:
    """Markdown."""
    ways = ["own", *([] if args.own_only else ["clean"]), *(["foreign"] if args.foreign else [])]
    lines = [
        f"{SHOTS} shots, at most {args.most} flows of the attack left in, promised {args.rate:.2%} of benign flows.",
        "Own: no reference. Clean: half of the run's benign flows as reference. Foreign: another network's benign run.",
        "",
        f"| threat | hidden in | flows | benign | {' | '.join(f'recall, {way} | false, {way}' for way in ways)} |",
        "|---|---|---|---|" + "---|---|" * len(ways),
    ]
    frame = pl.DataFrame(rows)
    means = frame.select(pl.col(pl.Float64).mean()).row(0, named=True)
    for row in [*rows, {"threat": "mean", "run": "", "attack": "", "benign": "", **means}]:
        cells = [f"{row[f'recall, {way}']:.2f} | {row[f'false, {way}']:.2%}" for way in ways]
        lines.append(f"| {row['threat']} | {row['run']} | {row['attack']} | {row['benign']} | {' | '.join(cells)} |")
    if "quiet" in means:
        told = f"{means['quiet']:.3%} of flows alarm, mean of {len(rows)} scans"
        lines += ["", f"The same flows without the attack, by themselves: {told}; greatest {frame['quiet'].max():.2%}."]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", help="of the range's runs; nothing is measured without")
    parser.add_argument("--most", type=int, default=60, help="flows of the attack that are left in")
    parser.add_argument("--rate", type=float, default=0.001)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, default=1, help="only every so many pairs")
    parser.add_argument("--foreign", action="store_true", help="also against a benign run of another network")
    parser.add_argument("--skip-quiet", action="store_true", help="leave out the scans without any attack")
    parser.add_argument("--own-only", action="store_true", help="leave out the clean reference")
    parser.add_argument("--alone", action="store_true", help="without the laboratory's benign flows")
    parser.add_argument("--output", type=Path, help="written anew after every pair")
    args = parser.parse_args()
    if args.folder is None or not args.folder.exists():
        sys.exit("skipped: no folder of range runs given (make some with range/run)")
    benign = sorted(path for path in args.folder.iterdir() if path.name.startswith("benign-"))
    rows: list[dict[str, object]] = []
    for number, (threat, teach, find) in enumerate(pairs(args.folder)):
        if number % args.every:
            continue
        rows.append(measure(threat, teach, find, benign[number % len(benign)], args))
        print(rows[-1], file=sys.stderr, flush=True)
        if args.output:
            args.output.write_text(report(rows, args))
    if not args.output:
        sys.stdout.write(report(rows, args))


if __name__ == "__main__":
    main()
