"""Maps: what is told is read, and every mistake is named with its key in one line."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from data_maps import MAP
from hypothesis import given
from hypothesis import strategies as st

from kshot.datasets import parse_declaration, read_declaration
from kshot.datasets.declaration import matches
from kshot.errors import InputError


def test_a_map_is_read_whole() -> None:
    told = parse_declaration(tomllib.loads(MAP), "map")
    assert (told.name, told.corpus, told.label, told.order) == ("desk-logins", "desk", "verdict", "when")
    assert told.benign == ("ok",) and told.group == ("session",) and told.exclude == ("unclear",)
    assert told.dropped == {"row", "tool"} and told.kept_aside == {"tool"}
    assert told.family_of("brute-ssh").name == "brute-force"
    assert told.family_of("other").name == ""
    assert told.licence == "not stated" and told.shortcut is None


def test_a_plain_list_of_columns_to_drop_will_do() -> None:
    told = parse_declaration({"name": "a", "corpus": "c", "label": "y", "drop": ["u", "v"]}, "map")
    assert told.dropped == {"u", "v"}


def test_a_number_or_truth_value_may_stand_for_its_text() -> None:
    told = parse_declaration(
        {"name": "a", "corpus": "c", "label": "y", "benign": [0, False, "ok"], "group": "g"}, "map"
    )
    assert told.benign == ("0", "false", "ok") and told.group == ("g",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lable": "x"}, "map, lable: is no key of a map; did you mean label"),
        ({"name": 3}, "map, name: is not a text"),
        ({"name": "../up"}, "map, name: '../up' cannot name a data set"),
        ({"corpus": ""}, "map: tells no corpus"),
        ({"label": ""}, "map: tells no label"),
        ({"benign": [0.5]}, "map, benign: is not a list of texts"),
        ({"sha256": "abc"}, "map, sha256: is not 64 hexadecimal digits"),
        ({"fold": "y"}, "map, fold: is the column of label too"),
        ({"reader": "xml"}, "map, reader: is 'xml', not table"),
        ({"drop": {"nonsense": ["a"]}}, "map, drop.nonsense: is none of address"),
        ({"drop": {"time": [1.5]}}, "map, drop.time: is not a list of texts"),
        ({"mask": ["a"]}, "map, mask: is not a table"),
        ({"families": ["a"]}, "map, families: is not a table"),
        ({"families": {"a": {"colour": "red"}}}, "map, families.a: tells more than name and tactic"),
        ({"families": {"a": {"tactic": "mischief"}}}, "map, families.a.tactic: 'mischief' is no ATT&CK tactic"),
        ({"shortcut": {"column": "a"}}, "map, shortcut: is not"),
        ({"unlabelled": "yes"}, "map, unlabelled: is neither true nor false"),
    ],
)
def test_mistakes_are_named(change: dict, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_declaration({"name": "a", "corpus": "c", "label": "y", **change}, "map")
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


def test_a_file_that_is_no_map_is_named(tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text("name = ")
    with pytest.raises(InputError, match=r"bad\.toml: is not TOML"):
        read_declaration(bad)
    bad.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"bad\.toml: is not TOML"):
        read_declaration(bad)
    bad.write_bytes(b"#" * (1 << 21))
    with pytest.raises(InputError, match="larger than 1 MiB"):
        read_declaration(bad)
    with pytest.raises(InputError, match="no such file"):
        read_declaration(tmp_path / "none.toml")


@given(st.text(max_size=8), st.text(max_size=8))
def test_a_star_stands_for_any_text_and_nothing_else_does(first: str, second: str) -> None:
    assert matches(first, [first]) and matches(first + second, [first.replace("*", "") + "*", first + second])
    if "*" not in first and first != second:
        assert not matches(second, [first])
    assert matches("a[b].c", ["a[b]*"]) and not matches("ab.c", ["a[b]*"])
