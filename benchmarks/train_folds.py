"""Meta-train every learner on every fold, so that none is scored on a corpus that it saw.

usage: python -m benchmarks.train_folds --out priors [--learners maml,anil] [--folds a,b] [--minutes 5]

Trains on the imported data sets (kshot data import) of three folds of benchmarks/folds.toml and writes
priors/FOLD/LEARNER, where `kshot bench --weights priors` finds it. Of each training fold the last corpus that can
give a task tells when to stop; it is not trained on, and the tested fold is not looked at. Minutes are of this
process's CPU, so that a busy machine changes nothing. Killed and started again it goes on where it was; with more
minutes, what was not done goes on.

The rate is as good as constant, and a running average of the weights is validated and kept: so a training is as
long as it is given, and "converged" means that ten validations in a row found nothing better, not that a schedule
has come to its end.
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kshot.cli.messages import Messages
from kshot.cli.train_run import CHECKPOINT, Run
from kshot.cli.train_tasks import corpora_of, sampler
from kshot.datasets import Library
from kshot.episodes import EpisodeError, EpisodeSampler, LabelledTable, split_by_corpus
from kshot.errors import UserError
from kshot.learners import make_learner
from kshot.learners.manifest import MANIFEST
from kshot.learners.outer_loop import OuterLoop
from kshot.learners.registry import CLASSICS, LEARNERS
from kshot.learners.torch_learner import TorchLearner
from kshot.store import kshot_home

FOLDS = Path(__file__).with_name("folds.toml")
FIRST = (
    "prototypical", "maml", "fine-tuning", "forest-in-the-loop", "ridge-head", "conv-mixture", "anil", "reptile",
    "meta-sgd", "relation", "lstm-learner",
)  # fmt: skip
"""In this order, and then the others: all folds of one before the next, so that whatever is done can be scored."""
LOOP = OuterLoop(steps=100_000, averaging=0.99, validate_every=20, patience=10, device="cpu", precision="float32")
SHAPE: dict[str, Any] = {"k_shots": (1, 2, 3, 5, 10), "n_way": 1, "pseudo_share": 0.2}
_SAVE_EVERY = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--learners", default=",".join(meta_learners()), metavar="NAME,...")
    parser.add_argument("--folds", default=",".join(read_folds()), metavar="NAME,...")
    parser.add_argument("--minutes", type=float, default=5.0, help="of CPU, for each training")
    told = parser.parse_args()
    try:
        train_all(told.out, told.learners.split(","), told.folds.split(","), told.minutes)
    except UserError as error:
        sys.exit(f"train_folds: {error}")


def meta_learners() -> list[str]:
    """Return every learner that is trained across tasks."""
    return [*FIRST, *(name for name in LEARNERS if name not in CLASSICS and name not in FIRST)]


def read_folds() -> dict[str, list[str]]:
    """Return the corpora of each fold."""
    folds: dict[str, list[str]] = tomllib.loads(FOLDS.read_text())
    return folds


def train_all(out: Path, learners: Sequence[str], folds: Sequence[str], minutes: float) -> None:
    """Train what is not trained yet, learner by learner.

    Raises:
        UserError: an unknown learner or fold, or no data of a fold.
    """
    dealt = read_folds()
    strange = sorted(set(folds) - set(dealt))
    if strange:
        raise UserError(f"there is no fold {strange[0]}; there are {', '.join(dealt)}")
    made = {name: _learner(name) for name in learners}
    library = Library(kshot_home())
    tables = [library.load(name) for name in library.names()]
    if not tables:
        raise UserError("no data set is imported; do: kshot data import --from DIR")
    inputs = {name: library.manifest(name).records_sha256 for name in library.names()}
    messages = Messages(quiet=True)
    tasks = {fold: Tasks(tables, dealt, fold, messages) for fold in folds}
    for name in made:
        for fold in folds:
            train_one(out / fold / name, name, tasks[fold], inputs, minutes, messages)


class Tasks:
    """What a fold's learners are trained on, and what tells when to stop."""

    def __init__(
        self, tables: Sequence[LabelledTable], folds: dict[str, list[str]], fold: str, messages: Messages
    ) -> None:
        others = {name: corpora for name, corpora in folds.items() if name != fold}
        mine = [table for table in tables if any(table.corpus in corpora for corpora in others.values())]
        held = [corpus for corpora in others.values() if (corpus := _last_usable(mine, corpora, messages))]
        seen, unseen = split_by_corpus(mine, held)
        self.source = sampler(seen, SHAPE, messages)
        self.validation = sampler(unseen, {**SHAPE, "pseudo_share": 0.0}, messages)
        self.corpora = sorted(corpora_of(self.source) | corpora_of(self.validation))
        self.held = sorted(held)
        overlap = set(self.corpora) & set(folds[fold])
        if overlap:
            raise UserError(f"fold {fold}: corpus {sorted(overlap)[0]} is in another fold too; mend {FOLDS.name}")

    def drawn_from(self) -> str:
        """What the tasks depend on beside the tables, as JSON."""
        names = [sorted(table.name for table in source.tables) for source in (self.source, self.validation)]
        return json.dumps([SHAPE, *names])


def train_one(
    out: Path, name: str, tasks: Tasks, inputs: dict[str, str], minutes: float, messages: Messages
) -> dict[str, Any]:
    """Train one learner on one fold, or go on with it, and return what its manifest says of the training."""
    told = _training(out)
    going_on = (out / CHECKPOINT / MANIFEST).exists()
    if told is None or (going_on and told["cpu_minutes"] < 0.99 * minutes):
        used = {table.name for source in (tasks.source, tasks.validation) for table in source.tables}
        seen = {name: sha for name, sha in inputs.items() if name in used} | {"tasks": tasks.drawn_from()}
        run = Run(out, _learner(name), LOOP, seen, tasks.corpora, "", {})
        # Without a checkpoint nothing is lost by beginning anew: what a kill left is of no step yet.
        run.go(
            tasks.source, tasks.validation, going_on, not going_on, None, _SAVE_EVERY, None, messages,
            cpu_minutes=minutes,
        )  # fmt: skip
        told = _training(out)
        assert told is not None
    mark = "converged" if told["converged"] else "not converged"
    print(
        f"{out.parent.name}/{name}: {told['steps_done']} steps in {told['cpu_minutes']:.1f} CPU minutes, validation "
        f"{told['validation_loss']} on {', '.join(tasks.held)}, {mark}",
        flush=True,
    )
    return told


def _training(out: Path) -> dict[str, Any] | None:
    """What a folder says of how it was trained; None where nothing is trained yet."""
    try:
        told: dict[str, Any] = json.loads((out / MANIFEST).read_bytes())["training"]
    except FileNotFoundError:
        return None
    return told


def _learner(name: str) -> TorchLearner:
    made = make_learner(name)
    if not isinstance(made, TorchLearner):
        raise UserError(f"{name} learns nothing across tasks; there is nothing to train")
    return made


def _last_usable(tables: Sequence[LabelledTable], corpora: Sequence[str], messages: Messages) -> str | None:
    """The last of `corpora` that can give a task."""
    for corpus in reversed(corpora):
        own = [table for table in tables if table.corpus == corpus]
        try:
            made: EpisodeSampler | None = sampler(own, {**SHAPE, "pseudo_share": 0.0}, messages) if own else None
        except EpisodeError:
            continue
        if made is not None:
            return corpus
    return None


if __name__ == "__main__":
    main()
