"""Free text: few shots and 500 benign rows, against TF-IDF character n-grams with logistic regression."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks.detection import SHARED, reference_script
from kshot import FewShotClassifier

TABLES = {
    "web_csic2010": ("label", "normal", ["method", "url", "body", "content_type"]),
    "web_httpparams": ("attack_type", "norm", ["payload"]),
    "phish_urls4": ("type", "benign", ["url"]),
    "dga_baderj": ("family", "benign", ["domain"]),
}


def peer(S: pl.DataFrame, y: np.ndarray, Q: pl.DataFrame) -> np.ndarray:
    joined = pl.concat_str(pl.all().cast(pl.String).fill_null(""), separator=" ")
    support, queries = (frame.select(joined).to_series().to_list() for frame in (S, Q))
    words = TfidfVectorizer(analyzer="char", ngram_range=(1, 4), sublinear_tf=True, max_features=50_000)
    model = LogisticRegression(C=10, class_weight="balanced", max_iter=500).fit(words.fit_transform(support), y)
    return np.asarray(model.decision_function(words.transform(queries)))


def ours(S: pl.DataFrame, y: np.ndarray, Q: pl.DataFrame) -> np.ndarray:
    return FewShotClassifier(random_state=0).fit(S, y).decision_function(Q)


def command_line(S: pl.DataFrame, y: np.ndarray, Q: pl.DataFrame) -> np.ndarray:
    """Teach and scan CSV files with the commands that a user types; rows are ranked by the p-value, then the score."""
    with tempfile.TemporaryDirectory() as folder:
        for name, frame in (
            ("shots", S.filter(pl.Series(y == 1))),
            ("benign", S.filter(pl.Series(y == 0))),
            ("new", Q),
        ):
            frame.write_csv(Path(folder, f"{name}.csv"))
        _kshot(folder, "learn", "attack", "--shots", "shots.csv", "--reference", "benign.csv")
        out = ("--verdicts", "verdicts.csv", "--output", "alerts.jsonl")
        _kshot(folder, "scan", "new.csv", "--reference", "benign.csv", *out)
        verdicts = pl.read_csv(Path(folder, "verdicts.csv")).sort("row")
    assert verdicts.height == Q.height
    order = verdicts.select(pl.struct(-pl.col("p_value"), "score").rank("average")).to_series()
    return order.to_numpy()


def _kshot(folder: str, *arguments: str) -> None:
    environment = os.environ | {"KSHOT_HOME": str(Path(folder, "home"))}
    command = [sys.executable, "-m", "kshot", *arguments]
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise SystemExit(f"kshot {arguments[0]} ended with {ran.returncode}: {ran.stderr.strip()}")


def episodes(
    k: int, reps: int, families_a_table: int = 4
) -> Iterator[tuple[str, str, pl.DataFrame, np.ndarray, pl.DataFrame, np.ndarray]]:
    for name, (label, benign, columns) in TABLES.items():
        frame = pl.read_parquet(SHARED / "data" / "tables" / f"{name}.parquet").with_columns(
            pl.col(label).cast(pl.String)
        )
        if name == "phish_urls4":  # the prefix gives the label away
            frame = frame.with_columns(pl.col("url").str.replace("^https?://", ""))
        frame = frame.unique(subset=[*columns, label], maintain_order=True)
        families = sorted(f for f, n in frame[label].value_counts().rows() if f not in (benign, None) and n >= 40)
        normal = frame.filter(pl.col(label) == benign).select(columns)
        for family in families[:: max(1, len(families) // families_a_table)][:families_a_table]:
            attack = frame.filter(pl.col(label) == family).select(columns)
            for rep in range(reps):
                rng = np.random.default_rng([rep, k, len(family)])
                b, p = rng.permutation(len(normal))[:2500], rng.permutation(len(attack))[: k + 100]
                support, queries = (
                    pl.concat([normal[b[:500]], attack[p[:k]]]),
                    pl.concat([normal[b[500:]], attack[p[k:]]]),
                )
                truth = np.repeat([0, 1], [len(b) - 500, len(p) - k])
                yield name, family, support, np.repeat([0, 1], [500, k]), queries, truth


def report(rows: list[tuple[object, ...]]) -> str:
    """Mean over episodes of a family, then families of a table; and over tables."""
    names = ["AUROC", "AP", "R@1%", "seconds"]
    frame = pl.DataFrame(rows, schema=["k", "table", "family", "method", *names], orient="row")
    means = [pl.col(n).mean() for n in names]
    counts = frame.group_by("k", "table").agg((pl.len() // frame["method"].n_unique()).alias("episodes"))
    per = frame.group_by("k", "table", "family", "method").agg(means).group_by("k", "table", "method").agg(means)
    per = per.join(counts, on=["k", "table"]).sort("k", "table", "method")
    every = per.group_by("k", "method").agg(*means, pl.col("episodes").sum()).sort("k", "method")
    lines = ["| K | table | episodes | method | " + " | ".join(names) + " |", "|---|---|---|---|---|---|---|---|"]
    for row in [*per.iter_rows(named=True), *every.iter_rows(named=True)]:
        cells = " | ".join(f"{row[n]:.3f}" for n in names)
        lines.append(f"| {row['k']} | {row.get('table', 'mean')} | {row['episodes']} | {row['method']} | {cells} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--k", type=int, nargs="+", default=[5, 1, 10])
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--families", type=int, default=4, help="so many of each table at most")
    parser.add_argument("--cli", action="store_true", help="through `kshot learn` and `kshot scan`, on CSV files")
    parser.add_argument("--output", type=Path, help="written anew after every episode")
    args = parser.parse_args()
    script = reference_script()
    if script is None:
        print("skipped: no shared/ beside the checkout")
        return 0
    rows: list[tuple[object, ...]] = []
    methods = [("tf-idf + logistic", peer), ("kshot, command line", command_line) if args.cli else ("kshot", ours)]
    for k in args.k:
        for name, family, S, y, Q, truth in episodes(k, args.reps, args.families):
            weight = np.where(truth == 1, (truth == 0).sum() / 10 / truth.sum(), 1.0)
            for method, learn in methods:
                start = time.perf_counter()
                score = learn(S, y, Q)
                took = time.perf_counter() - start
                ap = average_precision_score(truth, score, sample_weight=weight)
                recall = script.recall_at(truth, score, 0.01)
                rows.append((k, name, family, method, roc_auc_score(truth, score), ap, recall, took))
            if args.output:
                args.output.write_text(report(rows))
    if not args.output:
        print(report(rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
