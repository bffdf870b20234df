"""`kshot train`: a learner meta-trained on labelled data sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from kshot.cli import flags
from kshot.cli.messages import Messages

_TASKS, _TRAINING, _RUN = "Tasks", "Training", "The run"


def train(
    learner: Annotated[str, typer.Option("--learner", metavar="NAME", help="What to train; see docs/learners.md.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the trained learner goes.")],
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data", metavar="NAME,...", help="Imported data sets; `all` for every one.", rich_help_panel=_TASKS
        ),
    ] = None,
    table: Annotated[
        list[Path] | None,
        typer.Option("--table", metavar="FILE", help="A table of your own, with --label.", rich_help_panel=_TASKS),
    ] = None,
    label: Annotated[
        str | None, typer.Option("--label", metavar="COLUMN", help="Its label column.", rich_help_panel=_TASKS)
    ] = None,
    benign: Annotated[
        list[str] | None,
        typer.Option("--benign", metavar="VALUE,...", help="Its label of normal life.", rich_help_panel=_TASKS),
    ] = None,
    validate: Annotated[
        str | None,
        typer.Option(
            "--validate",
            metavar="CORPUS,...",
            help="Corpora that tell when to stop, never trained on; `none`; default: one in five.",
            rich_help_panel=_TASKS,
        ),
    ] = None,
    corpus: Annotated[
        str | None,
        typer.Option("--corpus", metavar="NAME", help="Train inside this one corpus only.", rich_help_panel=_TASKS),
    ] = None,
    k: Annotated[
        str, typer.Option("--k", metavar="N,...", help="Shots of a task, drawn from these.", rich_help_panel=_TASKS)
    ] = "1,2,3,5,10",
    n_way: Annotated[int, typer.Option("--n-way", min=1, help="Threats of a task.", rich_help_panel=_TASKS)] = 1,
    pseudo_share: Annotated[
        float,
        typer.Option(
            "--pseudo-share", min=0.0, max=1.0, help="Tasks cut out of benign rows, in one.", rich_help_panel=_TASKS
        ),
    ] = 0.2,
    synthetic_share: Annotated[
        float,
        typer.Option("--synthetic-share", min=0.0, max=0.99, help="Made-up tasks, in one.", rich_help_panel=_TASKS),
    ] = 0.0,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", metavar="PACKAGE:CLASS", help="A torch.nn.Module of yours as network.", rich_help_panel=_TRAINING
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting of the learner.", rich_help_panel=_TRAINING),
    ] = None,
    model_settings: Annotated[
        list[str] | None,
        typer.Option("--model-set", metavar="KEY=VALUE", help="An argument of --model.", rich_help_panel=_TRAINING),
    ] = None,
    loop: Annotated[
        list[str] | None,
        typer.Option("--loop", metavar="KEY=VALUE", help="A setting of the outer loop.", rich_help_panel=_TRAINING),
    ] = None,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Outer steps.", rich_help_panel=_TRAINING)] = 2000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of tasks and weights.", rich_help_panel=_TRAINING)] = 0,
    device: Annotated[
        str, typer.Option("--device", help="cpu, cuda, ...; auto: CUDA when present.", rich_help_panel=_TRAINING)
    ] = "auto",
    minutes: Annotated[
        float | None, typer.Option("--minutes", min=0.0, help="Stop after so long.", rich_help_panel=_RUN)
    ] = None,
    checkpoint_every: Annotated[
        int, typer.Option("--checkpoint-every", min=1, metavar="STEPS", help="Save to go on.", rich_help_panel=_RUN)
    ] = 100,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the training in --out.", rich_help_panel=_RUN)
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Begin anew where --out exists.", rich_help_panel=_RUN)
    ] = False,
    mlflow: Annotated[
        str | None, typer.Option("--mlflow", metavar="URI", help="Log to MLflow as well.", rich_help_panel=_RUN)
    ] = None,
    quiet: flags.Quiet = False,
) -> int:
    """Meta-train a learner on the tasks of labelled data sets.

    Each task shows a reference and a few shots of one family; what is learned across tasks is written to --out with
    a manifest of what it was trained on. A run that was killed goes on with --resume as if nothing had happened.

    [bold]Examples[/]

    kshot train --learner maml --data all --out prior/

    kshot train --learner prototypical --data net_nsl_kdd_train20,web_xss --steps 500 --validate none --out prior/

    kshot train --learner in-context --data all --synthetic-share 0.5 --loop averaging=0.998 --out prior/

    kshot train --learner anil --data all --model mynets:Wide --set inner_steps=3 --minutes 30 --out prior/
    """
    from kshot.errors import UserError
    from kshot.learners import make_learner
    from kshot.learners.registry import CLASSICS

    if resume and replace:
        raise UserError("--resume and --replace exclude each other; give one")
    if learner in CLASSICS:
        raise UserError(f"{learner} learns nothing across tasks; there is nothing to train")
    chosen = make_learner(learner, **{"seed": seed, **key_values(settings, "--set"), **_network(model, model_settings)})
    from kshot.cli.train_run import Run
    from kshot.cli.train_tasks import corpora_of, divide, sampler, tables_of, with_synthetic
    from kshot.learners.outer_loop import OuterLoop
    from kshot.learners.torch_learner import TorchLearner

    if not isinstance(chosen, TorchLearner):
        raise UserError(f"{learner} is not trained by this outer loop; use its own package's command")
    told = {"steps": steps, "seed": seed, "device": device, **key_values(loop, "--loop")}
    try:
        config = OuterLoop(**told)
    except TypeError as error:
        known = ", ".join(OuterLoop.__dataclass_fields__)
        raise UserError(f"--loop: {str(error).split('__init__() ')[-1]}; there are {known}") from error
    messages = Messages(quiet)
    tables, inputs = tables_of(data, table, label, benign, messages)
    seen, held = divide(tables, validate, corpus, seed, messages)
    shape = {"k_shots": _whole_numbers(k, "--k"), "n_way": n_way, "pseudo_share": pseudo_share}
    source = sampler(seen, shape, messages, corpus)
    validation = sampler(held, {**shape, "pseudo_share": 0.0}, messages) if held else None
    told_tasks = {**shape, "synthetic_share": synthetic_share} if synthetic_share else shape
    inputs |= {"tasks": json.dumps([told_tasks, sorted(t.name for t in seen), sorted(t.name for t in held)])}
    corpora = corpora_of(source) | (corpora_of(validation) if validation else set())
    run = Run(out, chosen, config, inputs, sorted(corpora), model or "", key_values(model_settings, "--model-set"))
    return run.go(
        with_synthetic(source, synthetic_share),
        validation,
        resume,
        replace,
        minutes,
        checkpoint_every,
        mlflow,
        messages,
    )


def _network(model: str | None, settings: list[str] | None) -> dict[str, Any]:
    """The network that --model names; modules of the current folder are found too."""
    if model is None:
        return {}
    import importlib.util
    import os
    import sys

    from kshot.errors import MissingExtraError

    if importlib.util.find_spec("torch") is None:
        raise MissingExtraError("--model", "train")
    from kshot.learners.networks import network_from

    if os.getcwd() not in sys.path:  # noqa: PTH109
        sys.path.insert(0, os.getcwd())  # noqa: PTH109
    return {"network": network_from(model, key_values(settings, "--model-set"))}


def key_values(told: list[str] | None, flag: str) -> dict[str, Any]:
    """KEY=VALUE texts; a value is read as JSON where it is some."""
    from kshot.errors import UserError

    out: dict[str, Any] = {}
    for text in told or []:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise UserError(f"{flag} {text}: write it as KEY=VALUE")
        try:
            out[key] = json.loads(value)
        except ValueError:
            out[key] = value
    return out


def _whole_numbers(text: str, flag: str) -> tuple[int, ...]:
    from kshot.errors import UserError

    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise UserError(f"{flag} {text}: give whole numbers, such as 1,5,10") from error
    if not numbers or min(numbers) < 1:
        raise UserError(f"{flag} {text}: every task needs at least one shot")
    return numbers
