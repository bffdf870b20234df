"""Who takes part: learners by name, and on which corpora they may be scored."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from kshot.errors import MissingExtraError, UserError
from kshot.learners import LEARNERS, Learner, learner_names
from kshot.learners.registry import CLASSICS, learner_class

OWN = {
    "kshot": "kshot.bench.detector:KshotDetector",
    "lightgbm": "kshot.bench.boosting:LightGbm",
    "catboost": "kshot.bench.boosting:CatBoost",
    "anomaly": "kshot.bench.outliers:Control",
    "isolation-forest": "kshot.bench.outliers:IsolationForestPeer",
    "ecod": "kshot.bench.outliers:Ecod",
    "one-class-svm": "kshot.bench.outliers:OneClassSvm",
}
"""Contestants that are no learners of their own: name -> module:class. `anomaly` here also works without a shot."""
WITHOUT_SHOTS = ("anomaly", "isolation-forest", "ecod", "one-class-svm", "kshot")
"""Those that rank without a shot."""
BLIND = frozenset(WITHOUT_SHOTS) - {"kshot"}
"""Those that never look at a shot: controls, not few-shot learners."""
PEERS = ("extra-trees", "random-forest", "logistic", "knn", "lightgbm", "catboost", "fine-tuning")
"""What a few-shot learner has to beat."""
DEFAULT = ("extra-trees", "random-forest", "logistic", "knn", "anomaly", "kshot")
_NEEDS = {"lightgbm": "lightgbm", "catboost": "catboost"}
_MADE_OF = {"lightgbm": ("lightgbm",), "catboost": ("catboost",), "kshot": ("scikit-learn", "numpy")}
_MANIFEST = "manifest.json"
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

    def learner(self) -> Learner:
        """Make it, once a process."""
        return _made(self.name, self.weights, self.version)


def known_learners() -> list[str]:
    """Every name that can be asked for."""
    return [*dict.fromkeys([*learner_names(), *OWN])]


class Roster:
    """The learners asked for, and the weights to choose from."""

    def __init__(self, names: Sequence[str], weights: Path | None = None) -> None:
        """Find what was asked for.

        Raises:
            UserError: an unknown learner, or one whose weights are not there.
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
        self._where = weights

    def contestant(self, name: str, corpora: Collection[str], data: str) -> Contestant:
        """Return a learner that was never trained on any of `corpora`.

        Raises:
            UserError: all its weights were; says so by name.
        """
        if name not in self._folders:
            return _untrained(name)
        seen: set[str] = set()
        for folder in self._folders[name]:
            found = _trained(name, folder)
            overlap = set(corpora) & set(found.corpora)
            if not overlap:
                return found
            seen |= overlap
        raise UserError(
            f"{name} in {self._where} was trained on corpus {sorted(seen)[0]} and is not scored on {data}; "
            "leave that table out, or give weights trained without it"
        )


@cache
def _made(name: str, weights: str, version_: str) -> Learner:
    if weights:
        from kshot.learners.weights import unpack
        from kshot.store.folders import read_folder

        return unpack(read_folder(Path(weights)), weights, expect=name)[0]
    return _class_of(name)()


def _class_of(name: str) -> type[Learner]:
    if name not in OWN:
        return learner_class(name)
    module, _, attribute = OWN[name].partition(":")
    found: type[Learner] = getattr(importlib.import_module(module), attribute)
    return found


@cache
def _untrained(name: str) -> Contestant:
    made = _class_of(name)
    settings = json.dumps(made().settings(), sort_keys=True, default=str)
    return Contestant(name, _version(name, made), settings)


@cache
def _trained(name: str, folder: Path) -> Contestant:
    from kshot.learners.weights import read_manifest
    from kshot.store.folders import read_folder

    files = read_folder(folder)
    manifest = read_manifest(files, str(folder), name)
    corpora = tuple(manifest.get("corpora", ()))
    told = hashlib.sha256(_version(name, _class_of(name)).encode() + files[_MANIFEST]).hexdigest()[:16]
    settings = json.dumps(manifest.get("settings", {}), sort_keys=True)
    return Contestant(name, told, settings, str(folder), corpora)


def _folders_of(name: str, weights: Path | None) -> list[Path]:
    if importlib.util.find_spec("torch") is None:
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
        return str(told["learner"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _version(name: str, made: type[Learner]) -> str:
    """What a learner's figures hold for: its sources, and the releases of what it is made of."""
    module = importlib.import_module(made.__module__)
    source = Path(str(module.__file__))
    files = [source]
    if name == "kshot":
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
