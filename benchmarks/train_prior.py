"""Meta-train the general threat model: for folds that it is tested on, or on all corpora.

usage: python -m benchmarks.train_prior --out DIR [--hold a,c] [--steps 2000] [--resume]

Half of the tasks are made up, half are drawn from the imported data sets (kshot data import) that are not of a fold
held out (benchmarks/folds.toml): random and blocked splits, all columns and some, a few pseudo-threats. Nothing is
validated on, so nothing of a held-out fold is ever looked at; a running average of the weights is kept. This file is
the configuration of the prior that ships: content/prior/ holds what it wrote.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks.train_folds import read_folds
from kshot.cli.messages import Messages
from kshot.cli.train_run import Run
from kshot.datasets import Library
from kshot.episodes import EpisodeSampler, SyntheticTasks, TaskMixture
from kshot.episodes.samplers import TRAINING
from kshot.errors import UserError
from kshot.learners.in_context import InContext
from kshot.learners.outer_loop import OuterLoop
from kshot.store import kshot_home

SHOTS = (1, 1, 1, 2, 3, 5, 10)
"""One shot is the hardest and the commonest case."""
SHAPE = replace(TRAINING, n_reference=400, n_benign_queries=200, n_family_queries=40)
COLUMN_SHARES = ((1.0, 1.0), (0.3, 0.9))
PSEUDO_SHARE = 0.15
SYNTHETIC_SHARE = 0.52
MOST_SYNTHETIC_COLUMNS = 40
LEARNER = InContext(max_columns=32, max_support=64)
LOOP = OuterLoop(
    steps=2000, tasks_per_step=8, warmup_steps=100, averaging=0.998, replay_share=0.5, replay_capacity=3000, l2=1e-6
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--hold", default="", metavar="FOLD,...", help="folds whose corpora are left out")
    parser.add_argument("--steps", type=int, default=LOOP.steps)
    parser.add_argument("--resume", action="store_true")
    told = parser.parse_args()
    try:
        train(told.out, [fold for fold in told.hold.split(",") if fold], told.steps, resume=told.resume)
    except UserError as error:
        sys.exit(f"train_prior: {error}")


def train(out: Path, hold: list[str], steps: int, *, resume: bool) -> None:
    """Train on the corpora of every fold but `hold`.

    Raises:
        UserError: an unknown fold, or no data set imported.
    """
    folds = read_folds()
    if unknown := sorted(set(hold) - set(folds)):
        raise UserError(f"there is no fold {unknown[0]}; there are: {', '.join(folds)}")
    held = {corpus for fold in hold for corpus in folds[fold]}
    library = Library(kshot_home())
    tables = [table for table in map(library.load, library.names()) if table.corpus not in held]
    if not tables:
        raise UserError("no data set is imported; do: kshot data import --from FOLDER")
    real = [
        EpisodeSampler(
            tables,
            replace(SHAPE, split=split),
            k_shots=SHOTS,
            pseudo_share=PSEUDO_SHARE,
            column_share=share,
        )
        for split in ("iid", "blocked")
        for share in COLUMN_SHARES
    ]
    made_up = SyntheticTasks(shape=SHAPE, k_shots=SHOTS, most_columns=MOST_SYNTHETIC_COLUMNS)
    weights = [(1.0 - SYNTHETIC_SHARE) / len(real)] * len(real) + [SYNTHETIC_SHARE]
    tasks = [asdict(SHAPE), SHOTS, COLUMN_SHARES, PSEUDO_SHARE, SYNTHETIC_SHARE, MOST_SYNTHETIC_COLUMNS]
    inputs = {table.name: library.manifest(table.name).records_sha256 for table in tables}
    inputs["tasks"] = json.dumps(tasks)
    run = Run(out, LEARNER, replace(LOOP, steps=steps), inputs, sorted({table.corpus for table in tables}), "", {})
    run.go(TaskMixture([*real, made_up], weights), None, resume, False, None, 100, None, Messages(quiet=False))


if __name__ == "__main__":
    main()
