"""Tables of every kind, and what is wrong with the ones that cannot be read."""

from __future__ import annotations

import gzip
import io
import sys
from pathlib import Path

import polars as pl
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kshot.errors import InputError
from kshot.sources.tables import read_table

FRAME = pl.DataFrame({"a": [1, 2], "b": ["x", "ü,y"], "c": [0.5, None]})


def written(form: str) -> bytes:
    buffer = io.BytesIO()
    if form == "parquet":
        FRAME.write_parquet(buffer)
    elif form == "jsonl":
        FRAME.write_ndjson(buffer)
    elif form == "json":
        FRAME.write_json(buffer)
    else:
        FRAME.write_csv(buffer, separator={"csv": ",", "tsv": "\t", "semicolon": ";", "pipe": "|"}[form])
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["csv", "tsv", "semicolon", "pipe", "parquet", "jsonl", "json"])
@pytest.mark.parametrize("packed", ["", "gzip", "zstd"])
def test_every_form_by_content(tmp_path: Path, form: str, packed: str) -> None:
    pack = {"": bytes, "gzip": gzip.compress, "zstd": zstandard.ZstdCompressor().compress}[packed]
    path = tmp_path / "table.with.any.name"
    path.write_bytes(pack(written(form)))
    assert read_table(path).equals(FRAME)


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(written("csv"))))
    assert read_table("-").equals(FRAME)


def test_nested_objects_become_columns(tmp_path: Path) -> None:
    (tmp_path / "t").write_text('{"a": {"b": 1, "c": {"d": "x"}}, "e": 2}\n{"a": {"b": 3, "c": null}, "e": null}\n')
    frame = read_table(tmp_path / "t")
    assert frame.columns == ["a.b", "a.c.d", "e"]
    assert frame.rows() == [(1, "x", 2), (3, None, None)]


def test_types_may_show_late(tmp_path: Path) -> None:
    lines = "a,b\n" + "1,2\n" * 20_000 + "1.5,late\n"
    (tmp_path / "t.csv").write_text(lines)
    frame = read_table(tmp_path / "t.csv")
    assert dict(frame.schema) == {"a": pl.Float64, "b": pl.String}
    assert frame.row(-1) == (1.5, "late")


def test_a_byte_order_mark_and_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbfa,b\n1,\xff\xfe\n")
    assert read_table(tmp_path / "t.csv").rows() == [(1, "\ufffd\ufffd")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"a,b\n", "a header and no records"),
        (b"a,b\n1,2\n3,4,5\n", "line 3: has 3 fields, the header 2"),
        (b"a,b,a\n1,2,3\n", "line 1: two columns are named 'a'"),
        (b'{"a": 1}\n{"a": \n', "line 2: is not JSON"),
        (b'{"a": 1}\n[1]\n', "line 2: is not a JSON object"),
        (b"[1, 2", "is not JSON"),
        (b"\x7fELF\x00\x00\x01", "is neither a capture nor a table"),
        (b"PAR1 and then nothing", "is a damaged Parquet file"),
        (gzip.compress(written("csv"), mtime=0)[:-12], "the gzip stream is cut"),
    ],
)
def test_what_is_wrong_is_one_line_that_names_the_place(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_table(path)
    assert said in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_absent_and_folder(tmp_path: Path) -> None:
    for path, said in ((tmp_path / "no.csv", "no such file"), (tmp_path, "is a folder")):
        with pytest.raises(InputError, match=said):
            read_table(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=200),
        st.text(max_size=200).map(str.encode),
        # Not Parquet: polars aborts the whole process on some damaged pages (an open fault, see docs/benchmarks.md).
        st.sampled_from(["csv", "jsonl"]).map(written),
    ),
    st.integers(0, 200),
    st.integers(0, 255),
)
def test_no_input_raises_anything_else(tmp_path: Path, content: bytes, at: int, byte: int) -> None:
    mutant = bytearray(content)
    if mutant:
        mutant[at % len(mutant)] = byte
    (tmp_path / "t").write_bytes(mutant)
    try:
        assert read_table(tmp_path / "t").height > 0
    except InputError as error:
        assert "\n" not in str(error)
