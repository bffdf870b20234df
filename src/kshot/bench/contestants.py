"""Who takes part: learners by name, and on which corpora they may be scored."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from kshot.errors import MissingExtraError, UserError
from kshot.learners import LEARNERS, Learner, learner_names
from kshot.learners.registry import CLASSICS, learner_class

OWN = {
    "kshot": "kshot.bench.detector:KshotDetector",
    "kshot-prior": "kshot.bench.detector:KshotWithPrior",
    "lightgbm": "kshot.bench.boosting:LightGbm",
    "catboost": "kshot.bench.boosting:CatBoost",
    "anomaly": "kshot.bench.outliers:Control",
    "isolation-forest": "kshot.bench.outliers:IsolationForestPeer",
    "ecod": "kshot.bench.outliers:Ecod",
    "one-class-svm": "kshot.bench.outliers:OneClassSvm",
}
"""Contestants that are no learners of their own: name -> module:class. `anomaly` here also works without a shot."""
_PRIOR = {"kshot-prior": "in-context"}
"""Contestants that make use of another learner's weights."""
WITHOUT_SHOTS = ("anomaly", "isolation-forest", "ecod", "one-class-svm", "kshot")
"""Those that rank without a shot."""
BLIND = frozenset(WITHOUT_SHOTS) - {"kshot"}
"""Those that never look at a shot: controls, not few-shot learners."""
PEERS = ("extra-trees", "random-forest", "logistic", "knn", "lightgbm", "catboost", "fine-tuning")
"""What a few-shot learner has to beat."""
DEFAULT = ("extra-trees", "random-forest", "logistic", "knn", "anomaly", "kshot")
_NEEDS = {"lightgbm": "lightgbm", "catboost": "catboost"}
_MADE_OF = {
    "lightgbm": ("lightgbm",),
    "catboost": ("catboost",),
    "kshot": ("scikit-learn", "numpy"),
    "kshot-prior": ("scikit-learn", "numpy"),
}
_MANIFEST, _WEIGHTS = "manifest.json", "weights.safetensors"
_DEPTH = 3
"""Folders of trained learners are looked for so deep under --weights: FOLD/LEARNER/manifest.json."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """A learner as it is scored; everything that its figures depend on is in it."""

    name: str
    version: str
    """Digest of the code that it is made of, its packages' releases, and its weights."""
    settings: str
    """Its parameters, as JSON."""
    weights: str = ""
    """Folder of what was learned across tasks; "" for none."""
    corpora: tuple[str, ...] = ()
    """Corpora that it was trained on."""
    chosen: str = "{}"
    """Of its settings, those that were asked for, as JSON."""
    training: Training | None = None
    """How it was trained; None where it was not, or by a kshot that did not say."""

    def learner(self) -> Learner:
        """Make it, once a process."""
        return _made(self.name, self.weights, self.version, self.chosen)


@dataclass(frozen=True, slots=True)
class Training:
    """What the weights of a contestant say of their training."""

    steps: int
    cpu_minutes: float | None
    converged: bool | None
    """Whether validation had stopped getting better; None where nothing validated."""


def known_learners() -> list[str]:
    """Every name that can be asked for."""
    return [*dict.fromkeys([*learner_names(), *OWN])]


class Roster:
    """The learners asked for, and the weights to choose from."""

    def __init__(
        self, names: Sequence[str], weights: Path | None = None, settings: Mapping[str, Any] | None = None
    ) -> None:
        """Find what was asked for.

        Args:
            names: of learners.
            weights: folder of what was trained.
            settings: "KEY", of every learner that has it, or "LEARNER.KEY" -> value.

        Raises:
            UserError: an unknown learner, one whose weights are not there, or a setting that none has.
            MissingExtraError: one whose package is not installed.
        """
        self.names = tuple(dict.fromkeys(names))
        known = known_learners()
        for name in self.names:
            if name not in known:
                near = get_close_matches(name, known, 1)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
                raise UserError(f"there is no learner named {name}; {hint}")
            if name in _NEEDS and importlib.util.find_spec(_NEEDS[name]) is None:
                raise MissingExtraError(f"the learner {name}", "bench")
        trained = [name for name in self.names if name not in OWN and name not in CLASSICS]
        self._folders = {name: _folders_of(name, weights) for name in trained if name in LEARNERS}
        self._folders |= {name: _folders_of(_PRIOR[name], weights) for name in self.names if name in _PRIOR}
        self._where = weights
        self._chosen = _settings_of(self.names, settings or {})

    def contestant(self, name: str, corpora: Collection[str], data: str) -> Contestant:
        """Return a learner that was never trained on any of `corpora`.

        Raises:
            UserError: all its weights were; says so by name.
        """
        if name not in self._folders:
            return _untrained(name, self._chosen[name])
        seen: set[str] = set()
        for folder in self._folders[name]:
            found = _trained(name, folder, self._chosen[name])
            overlap = set(corpora) & set(found.corpora)
            if not overlap:
                return found
            seen |= overlap
        raise UserError(
            f"{name} in {self._where} was trained on corpus {sorted(seen)[0]} and is not scored on {data}; "
            "leave that table out, or give weights trained without it"
        )


def makes_use_of_pool(name: str) -> bool:
    """Whether a learner makes something of unlabelled records."""
    return _class_of(name).uses_pool


@cache
def _made(name: str, weights: str, version_: str, chosen: str) -> Learner:
    if name in _PRIOR:
        return _class_of(name)(**{**json.loads(chosen), "prior": weights})
    if weights:
        from kshot.learners.weights import unpack
        from kshot.store.folders import read_folder

        return unpack(read_folder(Path(weights)), weights, expect=name, settings=json.loads(chosen))[0]
    return _class_of(name)(**json.loads(chosen))


def _settings_of(names: Sequence[str], told: Mapping[str, Any]) -> dict[str, str]:
    """The settings asked for of each learner, as JSON.

    Raises:
        UserError: one that no learner of the run has, or of another kind than its default.
    """
    out: dict[str, dict[str, Any]] = {name: {} for name in names}
    for key, value in told.items():
        learner, dot, setting = key.rpartition(".")
        if dot and learner not in out:
            raise UserError(f"--set {key}: {learner} takes no part; the learners are {', '.join(names)}")
        known = {name: _class_of(name)().settings() for name in ([learner] if dot else names)}
        having = [name for name in known if setting in known[name]]
        if not having:
            some = "; ".join(f"{name} has {', '.join(sorted(has))}" for name, has in [*known.items()][:2])
            raise UserError(f"--set {key}: there is no such setting; {some}")
        for name in having:
            default = known[name][setting]
            if not _is_like(value, default):
                raise UserError(f"--set {key}={value}: {name} takes a value such as {default}")
            out[name][setting] = value
    return {name: json.dumps(chosen, sort_keys=True) for name, chosen in out.items()}


def _is_like(value: Any, default: Any) -> bool:
    if default is None or isinstance(default, bool) or isinstance(value, bool):
        return default is None or type(value) is type(default)
    return isinstance(value, int | float) if isinstance(default, float) else isinstance(value, type(default))


def _class_of(name: str) -> type[Learner]:
    if name not in OWN:
        return learner_class(name)
    module, _, attribute = OWN[name].partition(":")
    found: type[Learner] = getattr(importlib.import_module(module), attribute)
    return found


@cache
def _untrained(name: str, chosen: str) -> Contestant:
    made = _class_of(name)
    settings = json.dumps(made(**json.loads(chosen)).settings(), sort_keys=True, default=str)
    return Contestant(name, _version(name, made), settings, chosen=chosen)


@cache
def _trained(name: str, folder: Path, chosen: str) -> Contestant:
    from kshot.learners.manifest import read_manifest
    from kshot.store.folders import read_folder

    files = read_folder(folder)
    manifest = read_manifest(files, str(folder), _PRIOR.get(name, name))
    corpora = tuple(manifest.get("corpora", ()))
    told = hashlib.sha256(_version(name, _class_of(name)).encode() + files[_MANIFEST]).hexdigest()[:16]
    settings = json.dumps({**manifest.get("settings", {}), **json.loads(chosen)}, sort_keys=True)
    return Contestant(name, told, settings, str(folder), corpora, chosen, _training_in(manifest))


def _training_in(manifest: Mapping[str, Any]) -> Training | None:
    told = manifest.get("training", {})
    if "steps_done" not in told:
        return None
    minutes = told.get("cpu_minutes")
    converged = told.get("converged")
    return Training(int(told["steps_done"]), None if minutes is None else float(minutes), converged)


def _folders_of(name: str, weights: Path | None) -> list[Path]:
    if importlib.util.find_spec("safetensors") is None:
        raise MissingExtraError(f"the learner {name}", "train")
    advice = f"train it with: kshot train --learner {name} --data ... --out DIR, then give --weights DIR"
    if weights is None:
        raise UserError(f"{name} is meta-learned and needs weights; {advice}")
    if not weights.is_dir():
        raise UserError(f"{weights}: is no folder of trained learners; {advice}")
    patterns = ["/".join(["*"] * depth + [_MANIFEST]) for depth in range(_DEPTH)]
    found = sorted({path for pattern in patterns for path in weights.glob(pattern)})
    folders = [path.parent for path in found if _learner_in(path) == name]
    if not folders:
        raise UserError(f"{weights}: holds no trained {name}; {advice}")
    return folders


def _learner_in(manifest: Path) -> str:
    try:
        told = json.loads(manifest.read_bytes())
        # A checkpoint has a manifest too; it holds no learner to score.
        return str(told["learner"]) if _WEIGHTS in told["files"] else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _version(name: str, made: type[Learner]) -> str:
    """What a learner's figures hold for: its sources, and the releases of what it is made of."""
    module = importlib.import_module(made.__module__)
    source = Path(str(module.__file__))
    files = [source]
    if name in ("kshot", *_PRIOR):
        import kshot.detection

        files += sorted(Path(str(kshot.detection.__file__)).parent.glob("*.py"))
    elif name in LEARNERS and name not in CLASSICS:
        files = sorted(source.parent.glob("*.py"))
    elif name in OWN:
        files += [Path(str(importlib.import_module("kshot.learners.classics").__file__))]
    packages = _MADE_OF.get(name, ("torch",) if name in LEARNERS and name not in CLASSICS else ("scikit-learn",))
    return digest_of(files, [f"{package} {_release(package)}" for package in packages])


def digest_of(files: Sequence[Path], words: Sequence[str] = ()) -> str:
    """Digest of some sources and words."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.read_bytes())
    digest.update("\n".join(words).encode())
    return digest.hexdigest()[:16]


def _release(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
