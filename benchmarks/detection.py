"""Few-shot detection against its peers, on the reference protocol of the tables beside the checkout."""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import importlib.util
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl

SHARED = Path(__file__).resolve().parents[1] / ".." / "shared"
METRICS = ("auroc", "ap", "r1", "r01", "seconds")
KEY = ("split", "k", "rep", "table", "family", "method")
SPLITS = ("blocked", "iid")
_SAVE_EVERY_S = 30.0


def reference_script() -> ModuleType | None:
    path = SHARED / "evaluate" / "fewshot.py"
    if not path.exists():
        return None
    spec = importlib.util.spec_from_file_location("fewshot", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Rows:
    """One row an episode and method; saved now and then, so that an interrupted run still says what it found.

    A file a method and version: a changed detector is measured anew, its peers are not.
    """

    def __init__(self, folder: Path | None, split: str, methods: Sequence[str]) -> None:
        """Take up what `folder` holds of `split` by these `methods` as they are now."""
        self._paths = {name: folder / f"detection_{split}_{name}_{version(name)}.parquet" for name in methods if folder}
        self.rows: list[dict[str, object]] = []
        for path in self._paths.values():
            if path.exists():
                self.rows += pl.read_parquet(path).to_dicts()
        self._done = {tuple(row[name] for name in KEY) for row in self.rows}
        self._saved = time.monotonic()

    def __contains__(self, key: tuple[object, ...]) -> bool:
        return key in self._done

    def add(self, row: dict[str, object]) -> None:
        """Keep one more."""
        self.rows.append(row)
        if time.monotonic() - self._saved > _SAVE_EVERY_S:
            self.save()

    def save(self) -> None:
        """Write each file beside the old one, then in its place."""
        self._saved = time.monotonic()
        for name, path in self._paths.items():
            mine = [row for row in self.rows if row["method"] == name]
            if mine:
                path.parent.mkdir(parents=True, exist_ok=True)
                beside = path.with_suffix(".part")
                pl.DataFrame(mine, infer_schema_length=None).write_parquet(beside)
                beside.rename(path)


@cache
def version(method: str) -> str:
    """What a method's figures hold for: the sources of the detector, or the release of what the peers are made of."""
    if method != "kshot":
        return importlib.metadata.version("scikit-learn")
    import kshot.detection

    digest = hashlib.sha256()
    for path in sorted(Path(kshot.detection.__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def measure(
    script: ModuleType,
    tables: dict[str, tuple[pl.DataFrame, np.ndarray, str]],
    methods: dict[str, Callable[..., np.ndarray]],
    cell: tuple[str, int, int],
    into: Rows,
) -> None:
    """Score every method on the episodes of one (split, K, repetition) that `into` lacks."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    split, k, wanted = cell
    for table, corpus, family, rep, S, ys, Q, yq in script.episodes(tables, k, wanted + 1, split):
        keys = {m: (split, k, rep, table, family, m) for m in methods}
        if rep != wanted or all(key in into for key in keys.values()):
            continue
        weight = np.where(yq == 1, (yq == 0).sum() / 10 / max(1, yq.sum()), 1.0)
        for name, score in methods.items():
            if keys[name] in into:
                continue
            start = time.process_time()  # of one process: peers measured on another day, or beside other work, compare
            s = np.asarray(score(S, ys, Q), float)
            seconds = time.process_time() - start
            into.add(
                {
                    **dict(zip(KEY, keys[name], strict=True)),
                    "corpus": corpus,
                    "seconds": seconds,
                    "auroc": roc_auc_score(yq, s),
                    "ap": average_precision_score(yq, s, sample_weight=weight),
                    "r1": script.recall_at(yq, s, 0.01),
                    "r01": script.recall_at(yq, s, 0.001) if (yq == 0).sum() >= 4000 else None,
                }
            )
    into.save()


def ratio(rows: pl.DataFrame, metric: str, peers: list[str], draws: int = 1000) -> str:
    """kshot over the better peer, with a 95 % paired bootstrap interval over corpora, families and episodes."""
    methods = ["kshot", *peers]
    wide = rows.pivot("method", index=["corpus", "table", "family", "rep"], values=metric).drop_nulls(methods)
    corpora = [
        [
            [family.select(methods).to_numpy() for _, family in table.group_by("family", maintain_order=True)]
            for _, table in corpus.group_by("table", maintain_order=True)
        ]
        for _, corpus in wide.sort("corpus", "table", "family", "rep").group_by("corpus", maintain_order=True)
    ]
    if not corpora:
        return "-"
    rng = np.random.default_rng(0)

    def some(n: int) -> np.ndarray:
        return rng.integers(n, size=n)

    def of(means: list[np.ndarray]) -> float:
        mean = np.mean(means, axis=0)
        return float(mean[0] / mean[1:].max())

    drawn = []
    for _ in range(draws):
        means = []
        for c in some(len(corpora)):
            tables = [np.mean([t[f][some(len(t[f]))].mean(0) for f in some(len(t))], axis=0) for t in corpora[c]]
            means.append(np.mean(tables, axis=0))
        drawn.append(of(means))
    low, high = np.percentile(drawn, [2.5, 97.5])
    point = of([np.mean([np.mean([f.mean(0) for f in t], axis=0) for t in c], axis=0) for c in corpora])
    return f"{point:.3f} [{low:.3f}, {high:.3f}]"


def report(script: ModuleType, rows: pl.DataFrame) -> str:
    """Markdown: a table for every split and K, the ratios, and R@1% table by table."""
    lines: list[str] = []
    for split in rows["split"].unique(maintain_order=True).sort():
        for k in sorted(rows["k"].unique()):
            part = rows.filter((pl.col("split") == split) & (pl.col("k") == k))
            names = part["method"].unique(maintain_order=True).to_list()
            # Episodes on which every method has its say.
            key = ["table", "family", "rep"]
            whole = part.group_by(key).agg(pl.col("method").n_unique().alias("n")).filter(pl.col("n") == len(names))
            part = part.join(whole.select(key), on=key, how="semi")
            if not len(part):
                continue
            n_families = part.select("table", "family").n_unique()
            said = f"{len(whole)} episodes, {n_families} families of {part['table'].n_unique()} tables"
            lines += [
                f"\n### {split}, K = {k} ({said})\n",
                "| method | AUROC | AP | R@1% | R@0.1% | s |",
                "|---|---|---|---|---|---|",
            ]
            for row in script.summary(part).sort("method").iter_rows(named=True):
                cells = ["-" if row[m] is None else f"{row[m]:.3f}" for m in METRICS]
                lines.append(f"| {row['method']} | {' | '.join(cells)} |")
            peers = [p for p in ("et", "rf") if p in names]
            if "kshot" in names and peers:
                said = "; ".join(f"{m} {ratio(part, m, peers)}" for m in ("auroc", "ap", "r1", "r01"))
                lines.append(f"\nkshot over the better of {' and '.join(peers)}, 95 % interval: {said}")
                seconds = part.group_by("method").agg(pl.col("seconds").sum()).rows()
                spent = dict(seconds)
                lines.append(f"\nSeconds of kshot over those of {peers[0]}: {spent['kshot'] / spent[peers[0]]:.2f}")
            per = part.group_by("table", "family", "method").agg(pl.col("r1").mean())
            per = per.group_by("table", "method").agg(pl.col("r1").mean())
            wide = per.pivot("method", index="table", values="r1", maintain_order=True).sort("table")
            lines += ["\n| R@1% of | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
            for row in wide.iter_rows(named=True):
                lines.append(f"| {row['table']} | " + " | ".join(f"{row[m]:.3f}" for m in names) + " |")
    return "\n".join(lines).strip() + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", default="et,rf,lr,anomaly,kshot")
    parser.add_argument("--k", type=int, nargs="+", default=[1, 5, 10])
    parser.add_argument("--reps", type=int, default=2)
    parser.add_argument("--first", type=int, default=1, help="report repetitions from this one on, counted from 1")
    parser.add_argument("--split", nargs="*", default=[*SPLITS], help="none: only report the checkpoint")
    parser.add_argument("--checkpoint", type=Path, help="folder that keeps what was measured; taken up again")
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    script = reference_script()
    if script is None:
        print("skipped: no shared/evaluate/fewshot.py beside the checkout")
        return 0
    names = args.methods.split(",")
    measured: dict[str, Rows] = {}

    def write() -> None:
        rest = [split for split in SPLITS if split not in measured]
        others = [Rows(args.checkpoint, split, names) for split in rest] if args.checkpoint else []
        all_rows = [row for part in [*measured.values(), *others] for row in part.rows]
        rows = [row for row in all_rows if int(str(row["rep"])) >= args.first - 1]
        text = report(script, pl.DataFrame(rows, infer_schema_length=None)) if rows else "nothing measured\n"
        if args.output:
            args.output.write_text(text)
        else:
            print(text)

    if args.split:
        # Tables of few families first: what is stopped early has heard most corpora.
        tables = script.load(str(SHARED / "data" / "tables"), script.DEV)
        tables = dict(sorted(tables.items(), key=lambda item: len(set(item[1][1]))))
        methods = script.methods(names)
        _, _, _, _, S, ys, Q, _ = next(script.episodes(tables, 1, 1, "iid"))
        for score in methods.values():  # imports and compiled code are nobody's seconds
            score(S, ys, Q[:100])
        measured = {split: Rows(args.checkpoint, split, names) for split in args.split}
        try:
            # Repetitions outermost: whenever it is stopped, every cell has about as many.
            for rep in range(args.reps):
                for k in args.k:
                    for split in args.split:
                        start = time.monotonic()
                        measure(script, tables, methods, (split, k, rep), measured[split])
                        took = time.monotonic() - start
                        print(f"{split} K = {k} repetition {rep + 1}: {took:.0f} s", file=sys.stderr, flush=True)
        except KeyboardInterrupt:
            print("interrupted: reporting what was measured", file=sys.stderr)
            for part in measured.values():
                part.save()
    write()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
