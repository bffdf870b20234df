"""A learner as files: safetensors, and a JSON manifest of their hashes; reading them runs no code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from kshot.learners.encoding import CHANNELS
from kshot.learners.learner import Learner
from kshot.learners.manifest import FORMAT, MANIFEST, WEIGHTS, Files, read_manifest, sha256, to_json
from kshot.learners.reading import LearnerInputError
from kshot.learners.registry import make_learner
from kshot.learners.torch_learner import TorchLearner


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a trained learner says of where it comes from."""

    corpora: tuple[str, ...] = ()
    """Corpora whose tasks it was trained on; it is never scored on them."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Input -> sha256."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """How it was trained: the outer loop's settings, steps done, best validation loss."""
    model: str = ""
    """`package:Class` of a network that is not the learner's own."""
    model_settings: Mapping[str, Any] = field(default_factory=dict)


def pack(learner: TorchLearner, provenance: Provenance | None = None) -> Files:
    """Return the files of a learner."""
    provenance = provenance or Provenance()
    weights = pack_tensors({name: value.detach() for name, value in learner.module.state_dict().items()})
    settings = {name: value for name, value in learner.settings().items() if name != "network"}
    manifest = {
        "format": FORMAT,
        "learner": learner.name,
        "settings": settings,
        "model": provenance.model or ("" if learner.network is None else "own"),
        "model_settings": dict(provenance.model_settings),
        "channels": list(CHANNELS),
        "corpora": sorted(provenance.corpora),
        "inputs": dict(sorted(provenance.inputs.items())),
        "training": dict(provenance.training),
        "files": {WEIGHTS: sha256(weights)},
    }
    return {WEIGHTS: weights, MANIFEST: to_json(manifest)}


def unpack(
    files: Files,
    where: str,
    *,
    expect: str | None = None,
    network: nn.Module | None = None,
    settings: Mapping[str, Any] | None = None,
) -> tuple[TorchLearner, Provenance]:
    """Make the learner that `files` hold.

    Args:
        files: as `pack` returns them.
        where: the folder's name, for messages.
        expect: the learner that it must be.
        network: the network to load the weights into, where the learner was trained with one of somebody else's:
            no code is imported on the word of a file.
        settings: used in place of those that it was trained with.

    Raises:
        LearnerInputError: another learner, a torn or altered file, another encoding, a network that does not fit.
    """
    manifest = read_manifest(files, where, expect)
    if manifest.get("channels") != list(CHANNELS):
        raise LearnerInputError(f"{where}: trained on another encoding of cells; train it anew with this kshot")
    if manifest.get("model") and network is None:
        raise LearnerInputError(f"{where}: trained with a network of its own ({manifest['model']}); name it by --model")
    tensors = unpack_tensors(files[WEIGHTS], f"{where}/{WEIGHTS}")
    given = {**manifest.get("settings", {}), **(settings or {})}
    made: Learner = make_learner(str(manifest["learner"]), **given, **({"network": network} if network else {}))
    if not isinstance(made, TorchLearner):
        raise LearnerInputError(f"{where}: {made.name} has no weights")
    load_into(made.module, tensors, where)
    provenance = Provenance(
        tuple(manifest.get("corpora", ())),
        manifest.get("inputs", {}),
        manifest.get("training", {}),
        str(manifest.get("model", "")),
        manifest.get("model_settings", {}),
    )
    return made, provenance


def load_into(module: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Put tensors into a module.

    Raises:
        LearnerInputError: names or shapes differ.
    """
    own = module.state_dict()
    wrong = sorted(set(own) ^ set(tensors)) or [name for name in own if own[name].shape != tensors[name].shape]
    if wrong:
        raise LearnerInputError(f"{where}: the weights do not fit the network (first difference: {wrong[0]})")
    module.load_state_dict(dict(tensors))


def pack_tensors(tensors: Mapping[str, Tensor]) -> bytes:
    """Return tensors as safetensors bytes."""
    return save({name: value.contiguous().cpu() for name, value in tensors.items()})


def unpack_tensors(data: bytes, where: str) -> dict[str, Tensor]:
    """Return the tensors in safetensors bytes.

    Raises:
        LearnerInputError: they are torn.
    """
    try:
        loaded: dict[str, Tensor] = load(data)
    except (SafetensorError, ValueError) as error:
        raise LearnerInputError(f"{where}: torn or no safetensors file") from error
    return loaded
