"""FewShotClassifier: the estimator's contract, its laws, and one clear line for bad input."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.utils.estimator_checks import check_estimator

from kshot import FewShotClassifier
from kshot.errors import UserError


def _task(n_shots: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = np.vstack([rng.normal(size=(300, 5)), rng.normal(3.0, 1.0, size=(n_shots, 5))])
    y = np.r_[np.zeros(300, int), np.ones(n_shots, int)]
    Q = np.vstack([rng.normal(size=(400, 5)), rng.normal(3.0, 1.0, size=(50, 5))])
    return X, y, Q, np.r_[np.zeros(400, int), np.ones(50, int)]


def _model(**kwargs: object) -> FewShotClassifier:
    return FewShotClassifier(random_state=0, n_trees=100, **kwargs)


def test_scikit_learn_accepts_it() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_estimator(FewShotClassifier(n_trees=60))


def test_it_finds_the_rest_of_the_attack() -> None:
    X, y, Q, truth = _task()
    found = _model().fit(X, y).predict(Q)
    assert found[truth == 1].mean() > 0.9
    assert found[truth == 0].mean() < 0.03


def test_a_score_does_not_depend_on_the_other_queries() -> None:
    X, y, Q, _ = _task()
    model = _model().fit(X, y)
    whole = model.decision_function(Q)
    alone = np.concatenate([model.decision_function(Q[i : i + 1]) for i in range(20)])
    np.testing.assert_allclose(alone, whole[:20], atol=1e-6)


def test_the_same_seed_gives_the_same_scores() -> None:
    X, y, Q, _ = _task()
    np.testing.assert_array_equal(_model().fit(X, y).decision_function(Q), _model().fit(X, y).decision_function(Q))


def test_without_shots_it_ranks_by_distance_from_the_reference() -> None:
    X, y, Q, truth = _task()
    score = _model().fit(X[y == 0], y[y == 0]).decision_function(Q)
    assert score[truth == 1].min() > np.median(score[truth == 0])


def test_frames_of_every_kind_agree() -> None:
    X, y, Q, _ = _task()
    names = list("abcde")
    from_polars = _model().fit(pl.DataFrame(X, schema=names), y).decision_function(pl.DataFrame(Q, schema=names))
    from_pandas = _model().fit(pd.DataFrame(X, columns=names), y).decision_function(pd.DataFrame(Q, columns=names))
    np.testing.assert_allclose(from_polars, from_pandas)
    np.testing.assert_allclose(from_polars, _model().fit(X.tolist(), y.tolist()).decision_function(Q.tolist()))


def test_columns_are_matched_by_name_when_scoring() -> None:
    X, y, Q, _ = _task()
    names = list("abcde")
    model = _model().fit(pl.DataFrame(X, schema=names), y)
    queries = pl.DataFrame(Q, schema=names)
    np.testing.assert_array_equal(
        model.decision_function(queries), model.decision_function(queries.select(names[::-1]))
    )


def test_missing_infinite_and_null_columns_are_no_obstacle() -> None:
    X, y, Q, _ = _task()
    X[::7, 0], X[3, 1], Q[0, 0], Q[1, 1] = np.nan, np.inf, np.nan, -np.inf
    frame = pl.DataFrame(X, schema=list("abcde")).with_columns(
        nothing=pl.lit(None), service=pl.Series(["dns"] * len(X))
    )
    queries = pl.DataFrame(Q, schema=list("abcde")).with_columns(nothing=pl.lit(None), service=pl.lit("never seen"))
    assert np.isfinite(_model().fit(frame, y).decision_function(queries)).all()


def test_text_is_read() -> None:
    rng = np.random.default_rng(0)
    benign = [f"/shop/item?id={rng.integers(1e6)}&page={rng.integers(30)}" for _ in range(200)]
    attacks = [f"/shop/item?id={i}' union select password from users--" for i in range(30)]
    model = _model().fit(pl.DataFrame({"url": benign[:150] + attacks[:2]}), [0] * 150 + [1] * 2)
    score = model.decision_function(pl.DataFrame({"url": benign[150:] + attacks[2:]}))
    assert score[50:].min() > score[:50].max()


def test_several_threats_and_the_unknown_keep_their_names() -> None:
    rng = np.random.default_rng(1)
    X = np.vstack([rng.normal(size=(300, 4)), rng.normal(5, 0.5, (4, 4)), rng.normal(-5, 0.5, (4, 4))])
    y = np.array(["normal"] * 300 + ["up"] * 4 + ["down"] * 4)
    model = _model().fit(X, y)
    assert model.predict([[5.0] * 4, [-5.0] * 4, [0.0] * 4]).tolist() == ["up", "down", "normal"]
    assert model.predict_open([[5.0, -5.0, 5.0, -5.0]] * 1)[0] != "normal"
    assert model.threats_.tolist() == ["down", "up"]


def test_an_odd_shot_scores_lower_than_its_fellows() -> None:
    X, y, _, _ = _task(n_shots=6)
    X[-1] = 0.0
    scores = _model().fit(X, y).shot_scores_
    assert scores[-1] < scores[:-1].min()


def test_reasons_name_the_column_that_sets_the_attack_apart() -> None:
    rng = np.random.default_rng(2)
    X = rng.normal(size=(305, 4))
    X[300:, 2] = 9.0
    names = ["a", "b", "sent_bytes", "d"]
    model = _model().fit(pl.DataFrame(X, schema=names), [0] * 300 + [1] * 5)
    why = model.explain(pl.DataFrame([[0.0, 0.0, 9.0, 0.0]], schema=names, orient="row"))[0]
    assert why.reasons[0].column == "sent_bytes"
    assert why.reasons[0].text == "sent_bytes 9 bytes: above all of the reference, as the shots"
    assert set(why.nearest_shots) <= set(range(300, 305))


@pytest.mark.parametrize(
    ("kwargs", "y", "said"),
    [
        ({"prior": "nowhere"}, [0, 0, 1], "nowhere: is no folder; name one that kshot train wrote"),
        ({"benign_label": "clean"}, ["a", "a", "b"], "no row is labelled 'clean'"),
        ({"false_alarm_rate": 2.0}, [0, 0, 1], "not between 0 and 1"),
    ],
)
def test_bad_input_is_one_clear_line(kwargs: dict[str, object], y: list[object], said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        FewShotClassifier(**kwargs).fit([[0.0], [1.0], [9.0]], y)
    assert "\n" not in str(error.value)


def test_a_column_missing_at_scoring_is_named() -> None:
    X, y, Q, _ = _task()
    model = _model().fit(pl.DataFrame(X, schema=list("abcde")), y)
    with pytest.raises(UserError, match="lacks e, which fit saw"):
        model.predict(pl.DataFrame(Q, schema=list("abcde")).drop("e"))


def test_a_value_where_the_reference_has_none_tells_even_if_it_is_zero() -> None:
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({"a": rng.normal(size=303), "only_shots": [None] * 300 + [0.0] * 3})
    model = FewShotClassifier(n_trees=100, random_state=0).fit(frame, [0] * 300 + [1] * 3)
    queries = pl.DataFrame(
        {"a": [0.0, 0.0], "only_shots": [None, 0.0]}, schema={"a": pl.Float64, "only_shots": pl.Float64}
    )
    absent, present = model.decision_function(queries)
    assert present > absent + 10.0
