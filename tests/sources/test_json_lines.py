"""JSON lines are held against Python's own parser: what it takes is taken, and gives the same values."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kshot.sources.json_lines import BLANK, GOOD, MOST_DEPTH, TOO_DEEP, JsonPaths, scan_lines
from kshot.sources.log_text import text_frame

PATHS = JsonPaths.of({("a",): 0, ("b", "c"): 1, ("id.x",): 2, ("id", "x"): 2, ("tags",): 3}, whole=(3,))


def scan(lines: bytes) -> tuple[list[int], list[list[bytes | None]], Any]:
    buffer = np.frombuffer(lines + bytes(64), np.uint8)
    n = lines.count(b"\n")
    begins, ends = np.empty((n, 4), np.int32), np.empty((n, 4), np.int32)
    kinds, spans, statuses = np.empty((n, 4), np.uint8), np.empty((n, 2), np.int32), np.empty(n, np.uint8)
    assert scan_lines(buffer, 0, len(lines), PATHS, begins, ends, kinds, spans, statuses) == (n, len(lines))
    found = [
        [lines[begins[i, k] : ends[i, k]] if statuses[i] == GOOD and begins[i, k] >= 0 else None for k in range(4)]
        for i in range(n)
    ]
    return statuses.tolist(), found, (buffer, begins, ends, kinds)


def strict(line: str) -> Any:
    def refuse(word: str) -> None:
        raise ValueError(word)

    return json.loads(line, parse_constant=refuse)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abcx") | st.text(), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["a", "b", "id.x", "id", "tags"]) | st.text(), values, max_size=8), st.booleans()
)
def test_objects_are_taken_and_their_values_found(record: dict[str, Any], only_ascii: bool) -> None:
    line = json.dumps(record, ensure_ascii=only_ascii)
    if "\x7f" in line or not line.isprintable():
        return
    try:
        raw = line.encode() + b"\n"
    except UnicodeEncodeError:
        return
    statuses, found, spans = scan(raw)
    assert statuses == [GOOD]
    a = record.get("a")
    if isinstance(a, str) and a.isprintable() and not any(0xD800 <= ord(c) < 0xE000 for c in a):
        text = text_frame(*spans, np.array([0]), {"a": 0, "c": 1})
        assert text["a"][0] == (a or None)
    elif isinstance(a, int | float):
        assert json.loads(found[0][0] or b"null") == a
    elif a is None or isinstance(a, dict):
        assert found[0][0] is None
    if isinstance(record.get("tags"), list | dict):
        assert json.loads(found[0][3] or b"null") == record["tags"]


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_damage_is_seen_exactly_where_python_sees_it(data: st.DataObject) -> None:
    line = list('{"a": [1, -2.5e+3, "x\\u00e9\\n"], "b": {"c": true, "d": null}, "tags": [{}, []], "e": 0}')
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(line) - 1))
        line[at : at + data.draw(st.integers(0, 2))] = data.draw(
            st.text('{}[]",:\\ 0123456789.eE+-truefalsn\t\x00\x1f', max_size=2)
        )
    text = "".join(line)
    try:
        good = isinstance(strict(text), dict)
    except ValueError:
        good = False
    statuses, _, _ = scan(text.encode() + b"\n")
    assert statuses == ([GOOD] if good else [BLANK] if not text.strip(" \t\r") else statuses)
    assert (statuses[0] == GOOD) == good


def test_a_nesting_bomb_is_refused_and_the_next_line_read() -> None:
    deepest = '{"a":' * (MOST_DEPTH) + "{}" + "}" * (MOST_DEPTH)
    bomb = '{"a":' + "[" * 1_000_000
    statuses, found, _ = scan(f'{deepest}\n{{"q":{deepest}}}\n{bomb}\n{{"a":7}}\n'.encode())
    assert statuses == [GOOD, TOO_DEEP, TOO_DEEP, GOOD]
    assert found[3][0] == b"7"


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ('{"a":1,"a":2}', b"1"),
        ('{"a":[3,4]}', b"3"),
        ('{"a":{"a":5}}', None),
        ('{"z":{"a":6}}', None),
        ('{"a":null}', None),
        ('{"\\u0061":8}', None),
    ],
)
def test_which_value_a_column_takes(line: str, values: bytes | None) -> None:
    statuses, found, _ = scan(line.encode() + b"\n")
    assert statuses == [GOOD]
    assert found[0][0] == values


def test_paths_with_and_without_dots_lead_to_one_column() -> None:
    _, found, _ = scan(b'{"id.x":"p"}\n{"id":{"x":"q"}}\n{"b":{"c":[{"x":1},9]}}\n')
    assert [found[0][2], found[1][2], found[2][1]] == [b"p", b"q", b"9"]


def test_text_is_unescaped_and_printable() -> None:
    *_, spans = scan(rb'{"a":"\ud83d\ude00 \ud800 \u001b[0m \t \/ \"","b":{"c":""}}' + b"\n")
    frame = text_frame(*spans, np.array([0]), {"a": 0, "c": 1})
    assert frame.row(0) == ('\N{GRINNING FACE} \ufffd \\x1b[0m \\x09 / "', None)
