"""What a person and a log see of a training: a bar, a JSON line a step, MLflow, checkpoints."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kshot.cli.messages import Messages
from kshot.errors import InputError, MissingExtraError
from kshot.learners.outer_loop import Watcher
from kshot.learners.training import Progress, Training
from kshot.store import output_error

METRICS = "metrics.jsonl"
_LOGGED_EVERY = 10


class TrainingWatcher(Watcher):
    """Writes metrics and checkpoints, tells the bar, and stops when the time is up."""

    def __init__(
        self,
        metrics: Path,
        save: Callable[[Training], None],
        *,
        save_every: int,
        seconds: float | None = None,
        cpu_seconds: float | None = None,
        messages: Messages,
        show: Callable[[Progress, float], None] | None,
        log: Callable[[dict[str, float], int], None] | None,
        done: int = 0,
    ) -> None:
        """Watch a training that has `done` steps behind it; lines of later ones are taken out of `metrics`.

        It stops after so many `seconds` of now, or when all its steps, those before a resume too, took `cpu_seconds`
        of this process's CPU time: that means the same on a busy machine.
        """
        self._metrics, self._save, self._save_every = metrics, save, save_every
        self._seconds, self._messages, self._show, self._log = seconds, messages, show, log
        self._cpu_seconds, self._cpu_spent = cpu_seconds, 0.0
        self._began, self._cpu_then = time.monotonic(), time.process_time()
        self._tasks = 0
        _keep_until(metrics, done)

    def on_progress(self, training: Training, progress: Progress) -> None:
        """Write it down."""
        self._tasks += progress.tasks
        cpu_now = time.process_time()
        training.cpu_seconds += cpu_now - self._cpu_then
        self._cpu_then, self._cpu_spent = cpu_now, training.cpu_seconds
        seconds = time.monotonic() - self._began
        speed = self._tasks / max(seconds, 1e-9)
        record = {
            "step": progress.step,
            "loss": progress.loss,
            "gradient_norm": progress.gradient_norm if math.isfinite(progress.gradient_norm) else None,
            "learning_rate": progress.learning_rate,
            "tasks": progress.tasks,
            "replayed": progress.replayed,
            "episodes_per_second": round(speed, 3),
        }
        if progress.validation_loss is not None:
            record |= {"validation_loss": progress.validation_loss, "best": progress.best}
            mark = ", the best so far" if progress.best else ""
            if self._show is None:
                self._messages.note(
                    f"step {progress.step}: loss {progress.loss:.4f}, validation {progress.validation_loss:.4f}{mark}; "
                    f"{speed:.1f} episodes/s"
                )
        try:
            with self._metrics.open("a") as out:
                out.write(json.dumps(record) + "\n")
        except OSError as error:
            raise output_error(self._metrics, error) from error
        if self._show is not None:
            self._show(progress, speed)
        if self._log is not None and (progress.step % _LOGGED_EVERY == 0 or progress.validation_loss is not None):
            numbers = {key: float(value) for key, value in record.items() if isinstance(value, float | int)}
            self._log(numbers, progress.step)
        if progress.step % self._save_every == 0 or self.should_stop():
            self._save(training)

    def should_stop(self) -> bool:
        """Whether the time is up."""
        late = self._seconds is not None and time.monotonic() - self._began >= self._seconds
        return late or (self._cpu_seconds is not None and self._cpu_spent >= self._cpu_seconds)


@contextlib.contextmanager
def training_bar(total: int, done: int, messages: Messages) -> Iterator[Callable[[Progress, float], None] | None]:
    """Show a bar with losses, episodes/s and the time left, to a person; None when nobody watches."""
    if not messages.watched:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    told = TextColumn("loss {task.fields[loss]:.3f}  best {task.fields[best]}  {task.fields[speed]:.1f} episodes/s")
    columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), told, TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total, completed=done, loss=math.nan, best="-", speed=0.0)
        best = ["-"]

        def show(progress: Progress, speed: float) -> None:
            if progress.best and progress.validation_loss is not None:
                best[0] = f"{progress.validation_loss:.4f}"
            bar.update(task, completed=progress.step, loss=progress.loss, best=best[0], speed=speed)

        yield show


@contextlib.contextmanager
def mlflow_log(
    where: str | None, parameters: dict[str, Any], messages: Messages
) -> Iterator[Callable[[dict[str, float], int], None] | None]:
    """Log to the MLflow tracking server `where`; None without one.

    A server that fails later on ends the logging, not the training.

    Raises:
        MissingExtraError: MLflow is not installed.
        InputError: nothing can be logged there.
    """
    if where is None:
        yield None
        return
    try:
        import mlflow
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise MissingExtraError("--mlflow", "mlflow") from error
    failed: list[bool] = []

    def log(numbers: dict[str, float], step: int) -> None:
        try:
            if not failed:
                mlflow.log_metrics(numbers, step=step)
        except (MlflowException, OSError) as error:
            failed.append(True)
            messages.fault(f"--mlflow {where}: {_one_line(error)}; goes on without")

    try:
        mlflow.set_tracking_uri(where)
        mlflow.start_run()
        mlflow.log_params(parameters)
    except (MlflowException, OSError) as error:
        raise InputError(f"--mlflow {where}", _one_line(error)) from error
    try:
        yield log
    finally:
        with contextlib.suppress(MlflowException, OSError):
            mlflow.end_run()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _keep_until(metrics: Path, done: int) -> None:
    """Take out the lines of steps after `done`: they are about to be done again."""
    kept = []
    with contextlib.suppress(FileNotFoundError):
        for line in metrics.read_text().splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):  # a line torn by a kill is of no use
                if int(json.loads(line)["step"]) <= done:
                    kept.append(line + "\n")
    try:
        metrics.write_text("".join(kept))
    except OSError as error:
        raise output_error(metrics, error) from error
