"""Few-shot detection against its peers, on the reference protocol of the tables beside the checkout."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl

SHARED = Path(__file__).resolve().parents[1] / ".." / "shared"
METRICS = ("auroc", "ap", "r1", "r01", "seconds")


def reference_script() -> ModuleType | None:
    path = SHARED / "evaluate" / "fewshot.py"
    if not path.exists():
        return None
    spec = importlib.util.spec_from_file_location("fewshot", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ratios(rows: pl.DataFrame, metric: str, peers: list[str], draws: int = 1000) -> str:
    """kshot over the better peer, with a 95 % paired bootstrap interval over corpora, then families."""
    per = rows.group_by("corpus", "table", "family", "method").agg(pl.col(metric).mean())
    wide = per.pivot("method", index=["corpus", "table", "family"], values=metric).sort("corpus", "table", "family")
    corpora = [part for _, part in wide.group_by("corpus", maintain_order=True)]
    rng = np.random.default_rng(0)

    def ratio(parts: list[pl.DataFrame]) -> float:
        means = {
            m: np.mean([p.group_by("table").agg(pl.col(m).mean())[m].mean() for p in parts]) for m in ["kshot", *peers]
        }
        return float(means["kshot"] / max(means[p] for p in peers))

    drawn = []
    for _ in range(draws):
        parts = [corpora[i] for i in rng.integers(len(corpora), size=len(corpora))]
        drawn.append(ratio([p[rng.integers(len(p), size=len(p))] for p in parts]))
    low, high = np.percentile(drawn, [2.5, 97.5])
    return f"{ratio(corpora):.3f} [{low:.3f}, {high:.3f}]"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", default="et,rf,lr,anomaly,kshot")
    parser.add_argument("--k", type=int, nargs="+", default=[1, 5, 10])
    parser.add_argument("--reps", type=int, default=2)
    parser.add_argument("--split", nargs="+", default=["blocked", "iid"])
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    script = reference_script()
    if script is None:
        print("skipped: no shared/evaluate/fewshot.py beside the checkout")
        return 0
    from sklearn.metrics import average_precision_score, roc_auc_score

    names = args.methods.split(",")
    tables, methods = script.load(str(SHARED / "data" / "tables"), script.DEV), script.methods(names)
    import time

    lines = []
    for split in args.split:
        for k in args.k:
            rows = []
            for table, corpus, family, rep, S, ys, Q, yq in script.episodes(tables, k, args.reps, split):
                weight = np.where(yq == 1, (yq == 0).sum() / 10 / max(1, yq.sum()), 1.0)
                for name, score in methods.items():
                    start = time.perf_counter()
                    s = np.asarray(score(S, ys, Q), float)
                    rows.append(
                        {
                            "corpus": corpus,
                            "table": table,
                            "family": family,
                            "rep": rep,
                            "k": k,
                            "method": name,
                            "seconds": time.perf_counter() - start,
                            "auroc": roc_auc_score(yq, s),
                            "ap": average_precision_score(yq, s, sample_weight=weight),
                            "r1": script.recall_at(yq, s, 0.01),
                            "r01": script.recall_at(yq, s, 0.001) if (yq == 0).sum() >= 4000 else None,
                        }
                    )
            frame = pl.DataFrame(rows, infer_schema_length=None)
            lines += [
                f"\n### {split}, K = {k}\n",
                "| method | AUROC | AP | R@1% | R@0.1% | s |",
                "|---|---|---|---|---|---|",
            ]
            for row in script.summary(frame).sort("method").iter_rows(named=True):
                lines.append(f"| {row['method']} | " + " | ".join(f"{row[m]:.3f}" for m in METRICS) + " |")
            peers = [p for p in ("et", "rf") if p in names]
            if "kshot" in names and peers:
                lines.append(
                    "\nkshot over the better of "
                    + " and ".join(peers)
                    + ": "
                    + "; ".join(f"{m} {ratios(frame, m, peers)}" for m in ("auroc", "ap", "r1"))
                )
            print("\n".join(lines[-20:]), file=sys.stderr)
    text = "\n".join(lines) + "\n"
    if args.output:
        args.output.write_text(text)
    else:
        print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
