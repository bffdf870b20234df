"""A detector's plain form, and back to one that judges to the last bit alike."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from kshot.detection.detector import Detector
from kshot.detection.panel import Panel, stack
from kshot.detection.state import NotPlainError, from_plain, to_plain


def _frame(rng: np.random.Generator, n: int, shift: float) -> pl.DataFrame:
    numbers = pl.DataFrame(rng.normal(shift, 1.0, size=(n, 3)), schema=["a", "b", "c"])
    kinds = pl.Series("kind", [("x", "y", None)[i] for i in rng.integers(0, 3, n)], dtype=pl.Enum(["x", "y"]))
    flags = pl.Series("flag", rng.random(n) < 0.3)
    return numbers.with_columns(kinds, flags, pl.when(flags).then("a").alias("a"))


def _fitted(calibrated: bool = True) -> tuple[Detector, pl.DataFrame]:
    rng = np.random.default_rng(3)
    threats = {"one": _frame(rng, 5, 2.0), "two": _frame(rng, 2, -2.0)}
    support, labels = stack(threats, _frame(rng, 400, 0.0), ["a", "b", "c", "kind", "flag"])
    detector = Detector(support, labels, rng, n_trees=40, max_reference=200)
    if calibrated:
        detector.calibration(unknown=False)
    return detector, _frame(rng, 60, 1.0)


def test_it_judges_and_explains_as_before() -> None:
    detector, queries = _fitted()
    tree, arrays = to_plain(detector)
    back = from_plain(json.loads(json.dumps(tree)), [array.copy() for array in arrays])
    before, after = detector.judge(queries, unknown=False), back.judge(queries, unknown=False)
    for part in ("scores", "unusual", "surprises", "best", "likeness", "p_values"):
        assert np.array_equal(getattr(before, part), getattr(after, part)), part
    names = ["one", "two"] * 30
    assert Panel(["one", "two"], back).explain(queries, names, 3) == Panel(["one", "two"], detector).explain(
        queries, names, 3
    )
    assert back.judge(queries, unknown=True).best.tolist() == detector.judge(queries, unknown=True).best.tolist()


def test_nothing_but_plain_arrays_leave() -> None:
    _, arrays = to_plain(_fitted()[0])
    assert all(array.dtype.kind in "biuf" for array in arrays)


def test_what_has_no_plain_form_is_refused() -> None:
    with pytest.raises(NotPlainError, match="has not calibrated"):
        to_plain(_fitted(calibrated=False)[0])
    detector, _ = _fitted()
    detector.model.stranger = object()  # type: ignore[attr-defined]
    with pytest.raises(NotPlainError, match="object has no plain form"):
        to_plain(detector)


@pytest.mark.parametrize(
    "tree",
    [None, 7, {}, {"is": "Detector"}, {"is": "os.system", "of": {}}, {"is": "array", "at": 9, "order": "C"},
     {"is": "Plan", "of": {"name": "x"}}, {"is": "tuple", "of": [1]}],
)  # fmt: skip
def test_another_tree_is_refused(tree: object) -> None:
    with pytest.raises(NotPlainError, match="no state of a detector"):
        from_plain(tree, [])
