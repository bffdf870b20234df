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


def damaged(path: Path, content: bytes, at: int, byte: int) -> None:
    mutant = bytearray(content)
    if mutant:
        mutant[at % len(mutant)] = byte
    path.write_bytes(mutant)
    try:
        assert read_table(path).height > 0
    except InputError as error:
        assert "\n" not in str(error)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode), st.just(written("csv"))),
    st.integers(0, 200),
    st.integers(0, 255),
)
def test_no_input_raises_anything_else(tmp_path: Path, content: bytes, at: int, byte: int) -> None:
    damaged(tmp_path / "t", content, at, byte)


# Few, for each is a process; the mutants of `python -m benchmarks.hostile --kind tables` are many.
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["parquet", "jsonl", "json"]).map(written), st.integers(0, 1200), st.integers(0, 255))
def test_no_damage_to_what_is_decoded_apart_raises_anything_else(
    tmp_path: Path, content: bytes, at: int, byte: int
) -> None:
    damaged(tmp_path / "t", content, at, byte)


def test_a_page_that_makes_polars_abort_is_one_line() -> None:
    # One byte of it is changed: polars 2.1 asks for 2 EiB on it, and ends the process.
    with pytest.raises(InputError, match="is a damaged Parquet file"):
        read_table(Path(__file__).with_name("parquet_abort.parquet"))


def test_a_parquet_bomb_is_refused(tmp_path: Path) -> None:
    pl.select(pl.repeat(1, 40_000_000, dtype=pl.Int64).alias("a")).write_parquet(tmp_path / "t")
    assert (tmp_path / "t").stat().st_size < 1 << 20
    with pytest.raises(InputError, match="swells past 256 MiB: it looks like a decompression bomb"):
        read_table(tmp_path / "t")


@pytest.mark.parametrize("opening", ['{"a":', "[", '{"a":[', '[{"a":'])
def test_a_nesting_bomb_is_one_line(tmp_path: Path, opening: str) -> None:
    closing = "".join({"{": "}", "[": "]"}.get(letter, "") for letter in reversed(opening))
    for text in (opening * 50_000, opening * 50_000 + "1" + closing * 50_000):
        (tmp_path / "t").write_text(text)
        with pytest.raises(InputError) as caught:
            read_table(tmp_path / "t")
        assert "\n" not in str(caught.value)


def test_ever_new_keys_are_refused_before_they_take_long(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("".join(f'{{"k{i}":1}}\n' for i in range(20_000)))
    with pytest.raises(InputError, match="takes more than 5 s"):
        read_table(tmp_path / "t")


def test_a_wide_header_over_short_lines_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t").write_text(",".join(f"c{i}" for i in range(20_000)) + "\n" + "1\n" * 20_000)
    with pytest.raises(InputError, match="20,000 columns and hardly a value"):
        read_table(tmp_path / "t")


def test_a_wide_table_that_is_full_is_read(tmp_path: Path) -> None:
    header, row = ",".join(f"c{i}" for i in range(2000)), ",".join("1" * 2000)
    (tmp_path / "t").write_text(f"{header}\n" + f"{row}\n" * 50)
    assert read_table(tmp_path / "t").shape == (50, 2000)


def test_modules_in_the_folder_we_are_started_in_are_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("polars.py", "kshot.py", "subprocess.py"):
        (tmp_path / name).write_text("raise SystemExit('run')")
    (tmp_path / "t").write_bytes(written("parquet"))
    monkeypatch.chdir(tmp_path)
    assert read_table("t").equals(FRAME)
