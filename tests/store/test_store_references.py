"""References on disk: whole or refused, by name."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from kshot.errors import InputError, UserError
from kshot.store.references import KeptReference, ReferenceStore

FRAME, FEATURES = pl.DataFrame({"originator": ["a", "b"]}), pl.DataFrame({"x": [0.5, None]})


@pytest.fixture
def store(tmp_path: Path) -> ReferenceStore:
    store = ReferenceStore(tmp_path)
    store.save("office", KeptReference(FRAME, FEATURES, {"fingerprint": "f"}))
    return store


def test_what_was_saved_is_read_back(store: ReferenceStore) -> None:
    kept = store.load("office")
    assert kept.frame.equals(FRAME) and kept.features.equals(FEATURES)
    assert kept.about["fingerprint"] == "f"
    store.save("office", KeptReference(FRAME[:1], FEATURES[:1], {"fingerprint": "g"}))
    assert store.load("office").frame.height == 1
    assert store.names() == ["office"]
    store.remove("office")
    assert store.names() == []


def test_what_is_damaged_is_refused(store: ReferenceStore) -> None:
    with pytest.raises(UserError, match="there are: office"):
        store.load("shop")
    with pytest.raises(UserError, match="cannot name a reference"):
        store.load("../office")
    with pytest.raises(UserError, match="no reference shop"):
        store.remove("shop")
    path = store.folder / "office" / "features.parquet"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(InputError, match="torn or was altered"):
        store.load("office")
    (store.folder / "office" / "reference.json").write_text("[")
    with pytest.raises(InputError, match="is damaged"):
        store.about("office")
    (store.folder / "office" / "reference.json").write_text('{"format": 9, "sha256": {}}')
    with pytest.raises(InputError, match="newer kshot"):
        store.about("office")
