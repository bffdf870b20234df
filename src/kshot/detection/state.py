"""A fitted detector as plain numbers and names, and back; nothing is ever executed."""

from __future__ import annotations

import dataclasses
from io import BytesIO
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars.exceptions import PolarsError

from kshot.detection.blend import Blend, Standard
from kshot.detection.calibration import Calibration, TailMap
from kshot.detection.columns import Cell, Columns, Plan
from kshot.detection.detector import Detector
from kshot.detection.forest import Forest
from kshot.detection.forest_kernels import NODE
from kshot.detection.linear import Logistic
from kshot.detection.model import Model, Scores
from kshot.detection.neighbours import Neighbours
from kshot.detection.reference import ReferenceScale

_CLASSES = {
    kind.__name__: kind
    for kind in (
        Blend,
        Calibration,
        Cell,
        Columns,
        Detector,
        Forest,
        Logistic,
        Model,
        Neighbours,
        Plan,
        ReferenceScale,
        Scores,
        Standard,
        TailMap,
    )
}
Arrays = list[NDArray[Any]]


class NotPlainError(TypeError):
    """Something in a detector has no plain form (what texts are read by, for one)."""


def to_plain(detector: Detector) -> tuple[Any, Arrays]:
    """Return a tree that JSON can carry, and the arrays that it points to; not the rows held back to calibrate.

    Raises:
        NotPlainError: it has not calibrated yet, or holds what has no plain form.
    """
    arrays: Arrays = []
    parts = vars(detector) | {"_held_back": None}
    if detector._benign_scores is None:
        raise NotPlainError("a detector that has not calibrated has rows yet to judge")
    return {"is": "Detector", "of": {key: _plain(part, arrays) for key, part in parts.items()}}, arrays


def from_plain(tree: Any, arrays: Arrays) -> Detector:
    """Return the detector that `to_plain` was given.

    Raises:
        NotPlainError: these are not its tree and arrays.
    """
    try:
        detector = _whole(tree, arrays)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError, PolarsError) as error:
        raise NotPlainError("no state of a detector") from error
    if not isinstance(detector, Detector):
        raise NotPlainError("no state of a detector")
    return detector


def _plain(value: Any, arrays: Arrays) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        # numpy's float64 is a float too; JSON wants the plain one.
        return float(value) if isinstance(value, np.floating) else value
    if isinstance(value, np.bool_ | np.integer | np.floating):
        return value.item()
    if isinstance(value, np.ndarray):
        return {"is": "array", "at": _put(value, arrays), "order": "C" if value.flags.c_contiguous else "F"}
    if isinstance(value, pl.DataFrame):
        buffer = BytesIO()
        value.rechunk().write_ipc(buffer)
        return {"is": "frame", "at": _put(np.frombuffer(buffer.getvalue(), np.uint8), arrays)}
    if isinstance(value, list):
        return [_plain(part, arrays) for part in value]
    if isinstance(value, tuple):
        return {"is": "tuple", "of": [_plain(part, arrays) for part in value]}
    if isinstance(value, dict):
        return {"is": "dict", "of": [[_plain(k, arrays), _plain(v, arrays)] for k, v in value.items()]}
    name = type(value).__name__
    if _CLASSES.get(name) is not type(value):
        raise NotPlainError(f"{name} has no plain form")
    return {"is": name, "of": {key: _plain(part, arrays) for key, part in _parts(value).items()}}


def _parts(value: Any) -> dict[str, Any]:
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return dict(vars(value))


def _put(array: NDArray[Any], arrays: Arrays) -> int:
    """Trees' nodes go as rows of four words: NODE is ours to know."""
    if array.dtype == NODE:
        array = np.ascontiguousarray(array).view(np.uint32).reshape(len(array), -1)
    elif array.dtype.hasobject or array.dtype.names is not None:
        raise NotPlainError(f"an array of {array.dtype} has no plain form")
    arrays.append(array)
    return len(arrays) - 1


def _whole(tree: Any, arrays: Arrays) -> Any:
    if isinstance(tree, list):
        return [_whole(part, arrays) for part in tree]
    if not isinstance(tree, dict):
        return tree
    kind = tree["is"]
    if kind == "array":
        # Memory order is kept: sums over columns differ in the last digit by it.
        array = arrays[tree["at"]]
        return np.asfortranarray(array) if tree["order"] == "F" else array
    if kind == "frame":
        return pl.read_ipc(BytesIO(arrays[tree["at"]].tobytes()))
    of = tree["of"]
    if kind == "tuple":
        return tuple(_whole(part, arrays) for part in of)
    if kind == "dict":
        return {_whole(key, arrays): _whole(part, arrays) for key, part in of}
    made = object.__new__(_CLASSES[kind])
    for key, part in of.items():
        object.__setattr__(made, key, _whole(part, arrays))
    if isinstance(made, Forest):
        object.__setattr__(made, "nodes", made.nodes.view(NODE)[:, 0])
    return made
