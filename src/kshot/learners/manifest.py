"""The manifest of a trained learner: the hashes of its files, and what it says of itself."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from kshot.learners.reading import LearnerInputError

FORMAT = 1
WEIGHTS, MANIFEST = "weights.safetensors", "manifest.json"
"""The two files of a trained learner."""
Files = dict[str, bytes]
"""Name -> content, of one folder."""


def read_manifest(files: Files, where: str, expect: str | None = None) -> dict[str, Any]:
    """Return the manifest after checking every file that it names by hash.

    Raises:
        LearnerInputError: another learner, a torn or altered file, a newer format.
    """
    if MANIFEST not in files:
        raise LearnerInputError(f"{where}: there is no {MANIFEST}; it is no folder of a trained learner")
    try:
        manifest = json.loads(files[MANIFEST])
        named = dict(manifest["files"])
        learner, number = str(manifest["learner"]), int(manifest["format"])
    except (ValueError, KeyError, TypeError) as error:
        raise LearnerInputError(f"{where}/{MANIFEST}: torn or not a manifest of kshot") from error
    if number > FORMAT:
        raise LearnerInputError(f"{where}: written by a newer kshot (format {number}); update kshot")
    if expect is not None and learner != expect:
        raise LearnerInputError(f"{where}: holds the learner {learner}, not {expect}; name another folder or learner")
    for name, digest in named.items():
        if name not in files:
            raise LearnerInputError(f"{where}: {name} is missing; copy the folder again")
        if sha256(files[name]) != digest:
            raise LearnerInputError(f"{where}/{name}: torn or altered, its hash does not match; copy it again")
    return dict(manifest)


def to_json(value: Any) -> bytes:
    """Return JSON for people to read."""
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()


def sha256(data: bytes) -> str:
    """Hash a file's content."""
    return hashlib.sha256(data).hexdigest()
