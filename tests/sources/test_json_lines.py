"""JSON lines are held against Python's own parser: what it takes is taken, and gives the same values."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kshot.sources.json_lines import scan_json
from kshot.sources.json_paths import JsonPaths
from kshot.sources.line_spans import BLANK, GOOD, MOST_DEPTH, TOO_DEEP, Spans
from kshot.sources.log_text import text_frame

PATHS = JsonPaths.of({("a",): 0, ("b", "c"): 1, ("id.x",): 2, ("id", "x"): 2, ("tags",): 3}, whole=(3,))


def scan(lines: bytes) -> tuple[list[int], list[list[bytes | None]], Any]:
    buffer = np.frombuffer(lines + bytes(64), np.uint8)
    n = lines.count(b"\n")
    spans = Spans.of(n, 4)
    assert scan_json(buffer, 0, len(lines), PATHS, spans) == (n, len(lines))
    found = [
        [
            lines[spans.begins[i, k] : spans.ends[i, k]]
            if spans.statuses[i] == GOOD and spans.begins[i, k] >= 0
            else None
            for k in range(4)
        ]
        for i in range(n)
    ]
    return spans.statuses.tolist(), found, (buffer, spans)


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


@pytest.mark.kernel
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


def dumped(record: dict[str, Any], separators: tuple[str, str]) -> str:
    return json.dumps(record, separators=separators)


records = st.dictionaries(st.sampled_from(["a", "b", "id.x", "tags", "z", "a_key_of_many_letters"]), values, max_size=6)


@settings(max_examples=200, deadline=None)
@given(st.lists(records, min_size=1, max_size=5), st.randoms(use_true_random=False), st.data())
def test_a_line_means_the_same_whatever_stood_before_it(
    shapes: list[dict[str, Any]], chance: random.Random, data: st.DataObject
) -> None:
    """Lines of few shapes with ever other values, some damaged, so that most are read along a path that is known."""
    lines = []
    for _ in range(data.draw(st.integers(2, 12))):
        line = dumped(other_values(chance.choice(shapes), chance), chance.choice([(",", ":"), (", ", ": ")]))
        if chance.random() < 0.3:
            at = chance.randrange(len(line))
            line = line[:at] + chance.choice('{}[]",:\\ 0.-e\x1f') + line[at + chance.randrange(2) :]
        lines.append(line.encode() + b"\n")
    statuses, found, (_, spans) = scan(b"".join(lines))
    start = 0
    for row, line in enumerate(lines):
        alone, values_alone, (_, spans_alone) = scan(line)
        assert (statuses[row], found[row]) == (alone[0], values_alone[0]), line
        if alone[0] == GOOD:
            has = spans_alone.begins[0] >= 0
            assert (spans.begins[row][has] - start == spans_alone.begins[0][has]).all()
            assert (spans.kinds[row][has] == spans_alone.kinds[0][has]).all()
        start += len(line)


def other_values(value: Any, chance: random.Random) -> Any:
    if isinstance(value, dict):
        return {key: other_values(inner, chance) for key, inner in value.items()}
    if isinstance(value, list):
        return [other_values(inner, chance) for inner in value]
    return chance.choice(
        [None, True, 0, -1.5, 10 ** chance.randrange(30), "", "x" * chance.randrange(20), 'a"\\b', "é"]
    )


def test_damage_to_any_byte_of_a_key_is_seen_along_a_known_path() -> None:
    line = b'{"a":1,"a_key_of_many_letters":2,"b":{"c":"x"}}\n'
    for at in range(len(line) - 1):
        damaged = line[:at] + b"\x01" + line[at + 1 :]
        statuses, _, _ = scan(line + damaged + line)
        assert statuses[0] == statuses[2] == GOOD
        assert statuses[1] != GOOD, damaged


def test_lines_of_ever_new_shapes_are_read_when_no_room_is_left_to_learn_them() -> None:
    lines = [f'{{"k{i}":{i},"a":{i},"j{i % 7}":[{i}],"b":{{"c":"{i}"}}}}\n'.encode() for i in range(6000)]
    statuses, found, _ = scan(b"".join(lines * 2))
    assert set(statuses) == {GOOD}
    assert [row[:2] for row in found] == 2 * [[b"%d" % i, b"%d" % i] for i in range(6000)]


@pytest.mark.kernel
def test_arrays_wanted_whole_along_a_known_path() -> None:
    lines = ['{"tags":[1,[2]],"a":1}', '{"tags":[[],3],"a":2}', '{"tags":[],"a":3}', '{"q":0,"tags":[{}],"tags":[4]}']
    _, found, _ = scan("".join(line + "\n" for line in lines * 3).encode())
    assert [row[3] for row in found] == 3 * [b"[1,[2]]", b"[[],3]", b"[]", b"[{}]"]


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


@pytest.mark.kernel
def test_paths_with_and_without_dots_lead_to_one_column() -> None:
    _, found, _ = scan(b'{"id.x":"p"}\n{"id":{"x":"q"}}\n{"b":{"c":[{"x":1},9]}}\n')
    assert [found[0][2], found[1][2], found[2][1]] == [b"p", b"q", b"9"]


@pytest.mark.kernel
def test_text_is_unescaped_and_printable() -> None:
    *_, spans = scan(rb'{"a":"\ud83d\ude00 \ud800 \u001b[0m \t \/ \"","b":{"c":""}}' + b"\n")
    frame = text_frame(*spans, np.array([0]), {"a": 0, "c": 1})
    assert frame.row(0) == ('\N{GRINNING FACE} \ufffd \\x1b[0m \\x09 / "', None)
