"""Rows of any schema become cells, in no order of rows or columns."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kshot.learners.encoding import CHANNELS, N_CHANNELS, RelativeEncoder
from kshot.learners.reading import LearnerInputError, Reader, plain_numbers


def channel(cells: np.ndarray, name: str) -> np.ndarray:
    return cells[..., CHANNELS.index(name)]


def encoder(reference: pl.DataFrame, shots: pl.DataFrame, max_columns: int = 32) -> RelativeEncoder:
    return RelativeEncoder(reference, shots, max_columns, max_support=64)


def test_a_value_is_told_by_its_rank_among_the_reference() -> None:
    made = encoder(pl.DataFrame({"x": np.arange(101.0)}), pl.DataFrame({"x": [200.0]}))
    cells = made.encode(pl.DataFrame({"x": [50.0, -1.0, 500.0, None, 50.5]}))
    assert channel(cells, "rank")[0, 0] == pytest.approx(0.0, abs=0.03)
    assert channel(cells, "below")[:, 0].tolist() == [0, 1, 0, 0, 0]
    assert channel(cells, "above")[:, 0].tolist() == [0, 0, 1, 0, 0]
    assert channel(cells, "missing")[:, 0].tolist() == [0, 0, 0, 1, 0]
    assert channel(cells, "tail")[2, 0] > channel(cells, "tail")[0, 0]
    # A tie with one reference row is likelier than a value that none has.
    assert channel(cells, "ties")[0, 0] > channel(cells, "ties")[4, 0]


def test_a_reference_row_is_described_as_if_it_were_not_in_the_reference() -> None:
    made = encoder(pl.DataFrame({"x": [1.0, 2.0, 3.0, 4.0]}), pl.DataFrame({"x": [2.5]}))
    below, above = channel(made.reference, "below")[:, 0], channel(made.reference, "above")[:, 0]
    assert sorted(below.tolist()) == [0, 0, 0, 1], "its own least value is below all the others"
    assert sorted(above.tolist()) == [0, 0, 0, 1]


def test_a_shot_is_compared_with_the_other_shots() -> None:
    reference = pl.DataFrame({"x": np.linspace(0, 1, 50)})
    made = encoder(reference, pl.DataFrame({"x": [0.2, 0.2, 0.9]}))
    assert channel(made.shots, "nearest_rank")[:, 0].tolist() == [0.0, 0.0, pytest.approx(2.1, abs=0.5)]
    assert channel(made.shots, "equal")[:, 0].tolist() == [0.5, 0.5, 0.0]
    query = made.encode(pl.DataFrame({"x": [0.2]}))
    assert channel(query, "equal")[0, 0] == pytest.approx(2 / 3)


def test_the_column_where_the_shots_are_farthest_out_comes_first() -> None:
    rng = np.random.default_rng(0)
    reference = pl.DataFrame({"dull": rng.normal(size=200), "telling": rng.normal(size=200), "c": rng.normal(size=200)})
    made = encoder(reference, pl.DataFrame({"dull": [0.0], "telling": [9.0], "c": [1.0]}), max_columns=2)
    assert made.columns[0] == "telling"
    assert made.shots.shape == (1, 2, N_CHANNELS)


def test_categories_and_texts_are_read_by_what_the_reference_holds() -> None:
    reference = pl.DataFrame(
        {"service": ["http"] * 8 + ["dns"] * 2, "path": [f"/item/{i}" for i in range(10)], "ok": [True] * 10}
    )
    # Ten distinct paths are few enough to be a category; a hundred would be text.
    reader = Reader(reference, reference[:1].with_columns(service=pl.lit("irc")))
    assert "share of service" in reader.columns and "service = irc" in reader.columns
    rows = reader.read(pl.DataFrame({"service": ["http", "irc", None], "path": ["/x"] * 3, "ok": [True, False, None]}))
    at = reader.columns.index("share of service")
    assert rows[:, at].tolist() == [0.8, 0.0, 0.0]
    assert rows[:, reader.columns.index("service = irc")].tolist() == [0.0, 1.0, 0.0]
    assert np.isnan(rows[2, reader.columns.index("ok")])
    many = pl.DataFrame({"path": [f"/item/{i}" for i in range(100)]})
    assert Reader(many, many[:1]).columns == ["path length", "path digits", "path letters", "path distinct"]
    assert Reader(many, many[:1]).read(pl.DataFrame({"path": ["ab12"]})).tolist() == [[4.0, 0.5, 0.5, 1.0]]


def test_numbers_written_as_text_are_numbers() -> None:
    frame = pl.DataFrame({"bytes": ["1", "20", "300"]})
    assert Reader(frame, frame[:1]).read(frame).tolist() == [[1.0], [20.0], [300.0]]


def test_the_first_packets_of_a_flow_are_known_by_name() -> None:
    frame = pl.DataFrame({"data_1_bytes": [1.0], "data_2_pause_seconds": [0.5], "data_9_bytes": [1.0], "other": [1.0]})
    assert Reader(frame, frame).packets.tolist() == [1, 10, 0, 0]


def test_columns_that_differ_are_told() -> None:
    frame = pl.DataFrame({"a": [1.0], "b": [1.0]})
    with pytest.raises(LearnerInputError, match="the shots have other columns"):
        Reader(frame, frame[["a"]])
    with pytest.raises(LearnerInputError, match="the rows lack the column b"):
        Reader(frame, frame).read(frame[["a"]])
    with pytest.raises(LearnerInputError, match="no column holds"):
        Reader(pl.DataFrame({"t": [None]}, schema={"t": pl.Date}), pl.DataFrame({"t": [None]}, schema={"t": pl.Date}))
    with pytest.raises(LearnerInputError, match="column t holds no numbers"):
        plain_numbers(pl.DataFrame({"t": ["x"]}))


values = st.floats(-1e12, 1e12) | st.sampled_from([0.0, 1.0, float("nan"), float("inf"), -float("inf")])


@settings(max_examples=60)
@given(st.lists(st.tuples(values, values, values), min_size=2, max_size=30), st.randoms())
def test_cells_are_numbers_and_orders_say_nothing(rows: list[tuple[float, float, float]], random: object) -> None:
    frame = pl.DataFrame(rows, schema=["a", "b", "c"], orient="row")
    shots, reference = frame[:1], frame[1:]
    cells = encoder(reference, shots).encode(frame)
    assert np.isfinite(cells).all()
    names = ["a", "b", "c"]
    random.shuffle(names)  # type: ignore[attr-defined]
    turned = encoder(reference.reverse().select(names), shots.select(names)).encode(frame.select(names))
    np.testing.assert_allclose(cells, turned, atol=1e-5)


def test_the_classics_need_no_torch() -> None:
    program = (
        "import sys; from kshot.learners import make_learner; make_learner('knn'); "
        "import kshot.learners.encoding; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
