"""What is told beside the means: who did not converge, and how learners were trained."""

from __future__ import annotations

import polars as pl

from kshot.bench import RESULTS, as_markdown, sections_of
from kshot.bench.results import MEASURES, TRAININGS
from kshot.bench.summary import NOT_CONVERGED


def results(*learners: str) -> pl.DataFrame:
    rows = [
        (name, data, data, "worm", 1, seed, "iid", 0.9, 0.5, 0.4 + 0.1 * place, None, 0.1, 0.1)
        for place, name in enumerate(learners)
        for data in ("one", "two")
        for seed in range(2)
    ]
    return pl.DataFrame(rows, schema=RESULTS, orient="row")


def told_of(trainings: pl.DataFrame | None) -> str:
    frames = results("logistic", "maml", "anil"), pl.DataFrame(schema=MEASURES)
    return as_markdown(sections_of(*frames, ["headline"], trainings))


def test_who_did_not_converge_is_marked_wherever_it_is_named() -> None:
    rows = [
        ("maml", "priors/a/maml", ["x", "y"], 400, 5.0, False),
        ("maml", "priors/b/maml", ["z"], 900, 5.0, True),
        ("anil", "priors/a/anil", ["x"], None, None, None),
    ]
    text = told_of(pl.DataFrame(rows, schema=TRAININGS, orient="row"))
    lines = [line for line in text.splitlines() if line.startswith("| maml")]
    assert lines and all(line.startswith(f"| maml{NOT_CONVERGED} ") or "b/maml" in line for line in lines)
    assert f"| maml{NOT_CONVERGED}  | a/maml  | 400   | 5.0         | no        | x, y         |" in text
    assert "| anil    | a/anil  | -     | -           | -         | x            |" in text
    assert f"maml{NOT_CONVERGED} |" in next(line for line in text.splitlines() if line.startswith("| table"))
    assert f"anil{NOT_CONVERGED}" not in text


def test_without_trained_learners_nothing_is_said_of_training() -> None:
    assert told_of(None) == told_of(pl.DataFrame(schema=TRAININGS))
    assert "trained" not in told_of(None) and NOT_CONVERGED not in told_of(None)
