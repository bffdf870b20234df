"""False alarms delivered over those promised, with the recall beside them, on tables beside the checkout."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from benchmarks.detection import SHARED, reference_script
from kshot.detection import judge

TABLES = ("net_nsl_kdd_train20", "net_unsw_nb15_82k", "fraud_fdh", "net_sdn_ddos")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--resamplings", type=int, default=200)
    parser.add_argument("--reference", type=int, nargs="+", default=[500, 5000])
    parser.add_argument("--rate", type=float, default=0.01)
    parser.add_argument("--shots", type=int, default=5)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    script = reference_script()
    if script is None:
        print("skipped: no shared/evaluate/fewshot.py beside the checkout")
        return 0
    data = script.load(str(SHARED / "data" / "tables"), {t: script.DEV[t] for t in TABLES})
    lines = ["| split | reference | table | delivered / promised | recall |", "|---|---|---|---|---|"]
    for split in ("iid", "blocked"):
        for size in args.reference:
            every = []
            for table, (X, y, _) in data.items():
                benign = np.flatnonzero(y == "__benign")
                families = [f for f in sorted(set(y) - {"__benign"}) if (y == f).sum() >= 40]
                ratio, recall = [], []
                for r in range(args.resamplings // len(data)):
                    rng = np.random.default_rng([r, size])
                    rows = np.flatnonzero(y == families[r % len(families)])
                    if split == "iid":
                        b, p = rng.permutation(benign), rng.permutation(rows)
                        reference, others = b[:size], b[size : size + 2000]
                        shots, rest = p[: args.shots], p[args.shots :][:100]
                    else:
                        reference = rng.permutation(benign[: len(benign) // 2])[:size]
                        others = rng.permutation(benign[int(0.6 * len(benign)) :])[:2000]
                        shots = rng.permutation(rows[: len(rows) // 2])[: args.shots]
                        rest = rng.permutation(rows[int(0.6 * len(rows)) :])[:100]
                    queries = np.concatenate([others, rest])
                    verdicts = judge({"threat": X[shots]}, X[queries], reference=X[reference], random_state=r)
                    alarm = verdicts.alarms(args.rate)
                    ratio.append(alarm[: len(others)].mean() / args.rate)
                    recall.append(alarm[len(others) :].mean())
                every.append(np.mean(ratio))
                lines.append(f"| {split} | {size} | {table} | {np.mean(ratio):.2f} | {np.mean(recall):.2f} |")
            lines.append(f"| {split} | {size} | mean | {np.mean(every):.2f} | |")
    text = "\n".join(lines) + "\n"
    if args.output:
        args.output.write_text(text)
    else:
        print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
