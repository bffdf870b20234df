"""A training under way as files, so that one that was killed goes on exactly where it was."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

import torch
from torch import Tensor

from kshot.learners.manifest import FORMAT, MANIFEST, Files, read_manifest, to_json
from kshot.learners.reading import LearnerInputError
from kshot.learners.torch_learner import TorchLearner
from kshot.learners.training import Training
from kshot.learners.weights import load_into, pack_tensors, unpack_tensors

STATE = "training.safetensors"
"""Weights, moments of the optimiser, averaged and best weights."""


def save_training(training: Training, learner: TorchLearner, inputs: dict[str, str] | None = None) -> Files:
    """Return the files of a checkpoint; `inputs` (name -> sha256) must be the same when it goes on."""
    tensors = {f"module.{name}": value.detach() for name, value in training.module.state_dict().items()}
    for name, parameter in training.trained.items():
        for key, value in training.optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer.{key}.{name}"] = torch.as_tensor(value)
    for part, values in (("average", training.average), ("best", training.best)):
        tensors.update({f"{part}.{name}": value for name, value in (values or {}).items()})
    state = pack_tensors({name: value.clone() for name, value in tensors.items()})
    manifest = {
        "format": FORMAT,
        "learner": learner.name,
        "settings": _settings(learner),
        "outer_loop": dataclasses.asdict(training.config),
        "inputs": dict(sorted((inputs or {}).items())),
        "step": training.step,
        "best_loss": training.best_loss if training.best is not None else None,
        "stale": training.stale,
        "curve": [list(point) for point in training.curve],
        "cpu_seconds": training.cpu_seconds,
        "remembered": [list(key) for key in training.stream.remembered],
        "seen": training.stream.seen,
        "files": {STATE: hashlib.sha256(state).hexdigest()},
    }
    return {STATE: state, MANIFEST: to_json(manifest)}


def restore_training(
    training: Training, learner: TorchLearner, files: Files, where: str, inputs: dict[str, str] | None = None
) -> None:
    """Put a checkpoint's state into a new `training` of the same learner, settings and inputs.

    Raises:
        LearnerInputError: a checkpoint of another learner, other settings or inputs, or a torn file.
    """
    manifest = read_manifest(files, where, learner.name)
    if STATE not in files:
        raise LearnerInputError(f"{where}: holds a trained learner, not a training to go on with")
    told = {
        "settings": _settings(learner),
        "outer_loop": dataclasses.asdict(training.config),
        "inputs": dict(sorted((inputs or {}).items())),
    }
    for what, now in told.items():
        was = manifest.get(what)
        if was != json.loads(to_json(now)):
            changed = sorted(k for k in {*now, *(was or {})} if (was or {}).get(k) != json.loads(to_json(now)).get(k))
            raise LearnerInputError(
                f"{where}: was trained with another {changed[0]} ({what}); give the same as then, or begin anew"
            )
    _restore(training, unpack_tensors(files[STATE], f"{where}/{STATE}"), where)
    training.step = int(manifest["step"])
    training.stale = int(manifest["stale"])
    training.curve = [(int(step), float(loss)) for step, loss in manifest.get("curve", [])]
    training.cpu_seconds = float(manifest.get("cpu_seconds", 0.0))
    if manifest["best_loss"] is not None:
        training.best_loss = float(manifest["best_loss"])
    training.stream.restore([(int(a), int(b)) for a, b in manifest["remembered"]], int(manifest["seen"]))


def _restore(training: Training, tensors: dict[str, Tensor], where: str) -> None:
    def part(prefix: str) -> dict[str, Tensor]:
        return {
            name.removeprefix(prefix): value.to(training.device)
            for name, value in tensors.items()
            if name.startswith(prefix)
        }

    load_into(training.module, part("module."), where)
    for name, parameter in training.trained.items():
        state = {
            key.split(".")[1]: value
            for key, value in tensors.items()
            if key.startswith("optimizer.") and key.split(".", 2)[2] == name
        }
        if state:
            # Adam counts its steps on the CPU; its moments lie beside the weights.
            training.optimizer.state[parameter] = {
                key: value if value.ndim == 0 else value.to(training.device) for key, value in state.items()
            }
    training.average = part("average.") or None
    training.best = part("best.") or None


def _settings(learner: TorchLearner) -> dict[str, Any]:
    return {name: value for name, value in learner.settings().items() if name != "network"}
