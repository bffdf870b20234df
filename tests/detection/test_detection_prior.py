"""A trained in-context learner read without torch: the same scores, and no torn or foreign file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

torch = pytest.importorskip("torch", reason="torch is the [train] extra")

from kshot import FewShotClassifier  # noqa: E402
from kshot.detection.frames import BadInputError  # noqa: E402
from kshot.detection.prior import Prior  # noqa: E402
from kshot.errors import UserError  # noqa: E402
from kshot.learners.in_context import InContext  # noqa: E402
from kshot.learners.manifest import WEIGHTS, Files  # noqa: E402
from kshot.learners.prototypical import Prototypical  # noqa: E402
from kshot.learners.weights import Provenance, pack  # noqa: E402
from kshot.store.folders import write_folder  # noqa: E402


def learner(**settings: int) -> InContext:
    made = InContext(**settings)  # type: ignore[arg-type]
    with torch.no_grad():  # away from what zero weights would hide
        for parameter in made.module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made


def frames(n: int, k: int, d: int) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    rng = np.random.default_rng(n + k + d)

    def frame(rows: int, shift: float) -> pl.DataFrame:
        numbers = {f"x{j}": rng.normal(shift, 1.0, rows).round(1) for j in range(d - 1)}
        return pl.DataFrame({**numbers, "kind": rng.choice(["a", "b", "c"], rows)})

    return frame(n, 0.0), frame(k, 2.0), frame(40, 1.0)


@pytest.mark.parametrize("n, k, d", [(30, 1, 2), (200, 3, 9), (90, 12, 70)])
def test_scores_are_those_of_the_learner(n: int, k: int, d: int) -> None:
    trained = learner(max_support=50)
    reference, shots, queries = frames(n, k, d)
    prior = Prior.read(pack(trained, Provenance(corpora=("east",))), "prior")
    context = prior.context(reference, shots)
    wanted = trained.adapt(reference, shots).score(queries)
    np.testing.assert_allclose(context.scores(queries), wanted, atol=2e-4)
    np.testing.assert_allclose(context.scores(queries[7:8])[0], context.scores(queries)[7], atol=1e-5)
    assert prior.corpora == ("east",)


def test_rows_of_the_reference_and_shots_are_scored_as_if_left_out() -> None:
    rng = np.random.default_rng(0)
    reference = pl.DataFrame({f"x{j}": rng.normal(size=60) for j in range(4)})
    shots = pl.DataFrame({f"x{j}": rng.normal(size=3) + 2.0 for j in range(4)})
    context = Prior.read(pack(learner(max_support=500)), "prior").context(reference, shots)
    benign, own = context.held_out(60)
    without = Prior.read(pack(learner(max_support=500)), "prior")
    assert benign.shape == (60,) and own.shape == (3,) and np.isfinite(benign).all() and np.isfinite(own).all()
    # Each alone differs from a row equal to it that is asked for: that one sees its double.
    assert np.abs(context.scores(reference) - benign).max() > 1e-4
    assert without.corpora == ()


@pytest.mark.parametrize("k", [1, 4])
def test_a_detector_hears_a_prior_where_shots_are_few(k: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    X = np.vstack([rng.normal(size=(200, 6)), rng.normal(1.5, 1.0, (k, 6)), rng.normal(-3.0, 1.0, (12, 6))])
    y = [0] * 200 + [1] * k + [2] * 12
    queries = rng.normal(0.7, 1.2, (50, 6))
    write_folder(tmp_path / "prior", pack(learner()))
    plain = FewShotClassifier(random_state=0, prior=None).fit(X, y)
    told = FewShotClassifier(random_state=0, prior=tmp_path / "prior").fit(X, y)
    apart = np.abs(told.threat_scores(queries) - plain.threat_scores(queries)).max(0)
    assert apart[0] > 0.01 and apart[1] == 0.0, "the second threat has shots enough of its own"
    alone = told.threat_scores(queries[3:4])
    np.testing.assert_allclose(alone[0], told.threat_scores(queries)[3], atol=1e-4)
    assert np.isfinite(told.p_values(queries)).all()


def broken(files: Files) -> Files:
    return {**files, WEIGHTS: files[WEIGHTS][:-10]}


def test_other_learners_and_torn_files_are_refused() -> None:
    with pytest.raises(UserError, match="holds the learner prototypical, not in-context"):
        Prior.read(pack(Prototypical()), "there")
    with pytest.raises(UserError, match="torn or altered"):
        Prior.read(broken(pack(learner())), "there")
    files = pack(learner())
    files["manifest.json"] = files["manifest.json"].replace(b'"absent"', b'"gone"')
    with pytest.raises(BadInputError, match="another encoding"):
        Prior.read(files, "there")
