"""States on disk: read back as written, or as if not there; never more than there is room."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from kshot.store import FittedStore

KEY = "0" * 64
_ARRAYS = st.lists(
    npst.arrays(
        st.sampled_from(["<f8", "<f4", "<i8", "|u1", "|b1"]), npst.array_shapes(min_dims=1, max_dims=3, min_side=0)
    ),
    max_size=4,
)


@given(arrays=_ARRAYS, tree=st.recursive(st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(), st.lists))
def test_what_was_written_is_read(tmp_path_factory: pytest.TempPathFactory, arrays: list[Any], tree: Any) -> None:
    store = FittedStore(tmp_path_factory.mktemp("home"))
    store.write(KEY, tree, arrays)
    read = store.read(KEY)
    assert read is not None and read[0] == tree and len(read[1]) == len(arrays)
    for before, after in zip(arrays, read[1], strict=True):
        assert after.dtype == before.dtype and after.shape == before.shape
        assert after.tobytes() == before.tobytes()
        assert after.flags.writeable and after.flags.aligned


def test_nothing_that_holds_objects_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not plain"):
        FittedStore(tmp_path).write(KEY, None, [np.array([object()])])


@pytest.mark.parametrize("at", [0, 20, 44, 60, 200, -1])
def test_a_damaged_file_is_as_if_it_were_not_there(tmp_path: Path, at: int) -> None:
    store = FittedStore(tmp_path)
    store.write(KEY, {"a": 1}, [np.arange(100.0)])
    path = next(store.folder.iterdir())
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    assert store.read(KEY) is None
    path.write_bytes(data[: abs(at)])
    assert store.read(KEY) is None


def test_a_home_that_cannot_be_written_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    store = FittedStore(tmp_path)
    store.write(KEY, None, [np.arange(3)])
    assert store.read(KEY) is None


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    store = FittedStore(tmp_path, most_bytes=20_000)
    for number in range(3):
        store.write(str(number), number, [np.zeros(1_000)])
        os.utime(store.folder / f"{number}.fit", (number, number))
    assert store.read("0") is None and store.read("1") is not None
    os.utime(store.folder / "2.fit", (9, 9))
    store.write("3", 3, [np.zeros(1_000)])
    assert store.read("1") is not None and store.read("2") is None
    assert [path.suffix for path in store.folder.iterdir()] == [".fit", ".fit"]
