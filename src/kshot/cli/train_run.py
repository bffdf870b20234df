"""One run of `kshot train`: its folder, its checkpoints, and what it leaves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kshot.cli.messages import Messages

if TYPE_CHECKING:
    from kshot.learners.learner import TaskSource
    from kshot.learners.outer_loop import OuterLoop
    from kshot.learners.torch_learner import TorchLearner

CHECKPOINT = "checkpoint"
"""Folder inside --out of a training that has not ended."""


class Run:
    """One training and its folder."""

    def __init__(
        self,
        out: Path,
        learner: TorchLearner,
        config: OuterLoop,
        inputs: dict[str, str],
        corpora: list[str],
        model: str,
        model_settings: dict[str, Any],
    ) -> None:
        self.out, self.learner, self.config, self.inputs, self.corpora = out, learner, config, inputs, corpora
        self.model, self.model_settings = model, model_settings

    def go(
        self,
        source: TaskSource,
        validation: TaskSource | None,
        resume: bool,
        replace: bool,
        minutes: float | None,
        checkpoint_every: int,
        mlflow: str | None,
        messages: Messages,
        *,
        cpu_minutes: float | None = None,
    ) -> int:
        """Train to the end, or until the time is up, and write what was learned."""
        import dataclasses

        from kshot.cli.train_watch import METRICS, TrainingWatcher, mlflow_log, training_bar
        from kshot.learners.checkpoint import restore_training, save_training
        from kshot.learners.outer_loop import meta_train
        from kshot.learners.training import Training
        from kshot.store.folders import read_folder, write_folder

        place = self.out / CHECKPOINT
        self._prepare(resume, replace)
        training = Training(self.learner, source, self.config, validation)
        if resume:
            restore_training(training, self.learner, read_folder(place), str(place), self.inputs)
            messages.note(f"going on after step {training.step}")

        def save(state: Training) -> None:
            write_folder(place, save_training(state, self.learner, self.inputs))

        parameters = {"learner": self.learner.name, **dataclasses.asdict(self.config)}
        with (
            training_bar(self.config.steps, training.step, messages) as show,
            mlflow_log(mlflow, parameters, messages) as log,
        ):
            watcher = TrainingWatcher(
                self.out / METRICS,
                save,
                save_every=checkpoint_every,
                seconds=None if minutes is None else 60.0 * minutes,
                cpu_seconds=None if cpu_minutes is None else 60.0 * cpu_minutes,
                messages=messages,
                show=show,
                log=log,
                done=training.step,
            )
            ended = training.finished
            meta_train(self.learner, source, self.config, validation=validation, watcher=watcher, training=training)
            ended = training.finished or ended
        self._write(training, ended)
        best = f", best validation loss {training.best_loss:.4f}" if training.best is not None else ""
        rest = "" if ended else "; --resume goes on"
        messages.note(f"{self.learner.name} trained for {training.step} steps{best}: {self.out}{rest}")
        return 0

    def _prepare(self, resume: bool, replace: bool) -> None:
        """Make --out, and refuse to write over what somebody may want."""
        import shutil

        from kshot.errors import UserError
        from kshot.learners.manifest import MANIFEST
        from kshot.store import output_error

        place = self.out / CHECKPOINT
        try:
            there = place.exists() or (self.out / MANIFEST).exists()
            if resume and not place.exists():
                raise UserError(f"{self.out}: holds no training to go on with; leave out --resume")
            if there and not (resume or replace):
                raise UserError(
                    f"{self.out}: holds a training already; give --resume to go on or --replace to begin anew"
                )
            self.out.mkdir(parents=True, exist_ok=True)
            if replace and place.exists():
                shutil.rmtree(place)
        except OSError as error:
            raise output_error(self.out, error) from error

    def _write(self, training: Any, ended: bool) -> None:
        """Write the learner; a training that ended needs no checkpoint any more."""
        import dataclasses
        import shutil

        from kshot.learners.weights import Provenance, pack
        from kshot.store import whole_file

        told = {
            **dataclasses.asdict(self.config),
            "steps_done": training.step,
            "cpu_minutes": round(training.cpu_seconds / 60.0, 2),
            "validation_loss": training.best_loss if training.best is not None else None,
            "validation_curve": [[step, round(loss, 6)] for step, loss in training.curve],
            "converged": training.converged,
        }
        provenance = Provenance(tuple(self.corpora), self.inputs, told, self.model, self.model_settings)
        # The manifest last: until it is there the folder is that of a training that has not ended.
        for name, content in pack(self.learner, provenance).items():
            with whole_file(self.out / name) as whole:
                whole.path.write_bytes(content)
        if ended:
            shutil.rmtree(self.out / CHECKPOINT, ignore_errors=True)
