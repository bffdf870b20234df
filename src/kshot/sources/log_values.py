"""Turns the spans that a line scanner found into numbers and times; says which value is bad."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kshot.jit import njit, njit_bare, njit_step
from kshot.sources.line_spans import CONTAINER, LITERAL, Spans, byte_at
from kshot.sources.log_numbers import (
    BAD,
    read_address,
    read_count,
    read_hex,
    read_iso_nanoseconds,
    read_nanoseconds,
    read_tags,
)

TEXT, COUNT, PORT, TIME, SECONDS, HEX, ADDRESS, WORD, OPEN_WORD, TAGS = range(10)
"""Kinds of field. COUNT: a whole number from 0; PORT: one below 65,536; TIME: epoch seconds (from 1e11 on
milliseconds) or ISO 8601, to nanoseconds; SECONDS: a length of time, to nanoseconds, 0 if negative; HEX: TCP flags;
ADDRESS: 4 if it is a dotted quad, 6 if it may be IPv6; WORD: the index of a listed word; OPEN_WORD: likewise, other
words are -2; TAGS: VLAN ids as Suricata lists them, to outer * 4096 + inner."""

UNSET = -1
"""What a number is where the line has no value."""
OTHER = -2
"""What an OPEN_WORD is that is not listed."""


@dataclass(frozen=True, slots=True)
class Field:
    """One value wanted of each line."""

    name: str
    """As in the log, for messages."""
    kind: int
    needed: bool = False
    """Whether a line without it is bad."""
    words: tuple[str, ...] = ()
    """Of a WORD or OPEN_WORD."""
    logs: int = 1
    """Bit k: wanted of lines of log k."""


class FieldTraits(NamedTuple):
    """What a kernel knows of fields."""

    traits: NDArray[np.int64]
    """(fields, 5) kind, needed, logs, first and last + 1 of its words."""
    words: NDArray[np.int64]
    """(words, 2) where each begins and ends in `letters`."""
    letters: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class FieldTable:
    """The fields of a family of logs; their order is that of the columns."""

    fields: tuple[Field, ...]
    traits: FieldTraits

    @classmethod
    def of(cls, fields: Sequence[Field]) -> FieldTable:
        """Lay the fields out."""
        letters = bytearray()
        words: list[tuple[int, int]] = []
        traits = []
        for field in fields:
            first = len(words)
            for word in field.words:
                words.append((len(letters), len(letters) + len(word)))
                letters += word.encode()
            traits.append((field.kind, field.needed, field.logs, first, len(words)))
        laid_out = FieldTraits(
            np.array(traits, np.int64),
            np.array(words or [(0, 0)], np.int64),
            np.frombuffer(bytes(letters) or b"\0", np.uint8),
        )
        return cls(tuple(fields), laid_out)

    def index(self, name: str) -> int:
        """Return the column of the field called `name`."""
        return next(i for i, field in enumerate(self.fields) if field.name == name)


@njit_step
def _word(buffer: NDArray[np.uint8], begin: int, end: int, column: int, table: FieldTraits) -> int:
    found = OTHER
    first = table.traits[column, 3]
    for k in range(first, table.traits[column, 4]):
        start = table.words[k, 0]
        if table.words[k, 1] - start == end - begin:
            same = True
            for i in range(end - begin):
                if byte_at(buffer, begin + i) != table.letters[start + i]:
                    same = False
                    break
            if same:
                found = k - first
                break
    return found


@njit_step
def _read_value(
    buffer: NDArray[np.uint8], begin: int, end: int, value_kind: int, column: int, table: FieldTraits
) -> int:
    """Read one value that is no text; BAD if it cannot be."""
    kind = table.traits[column, 0]
    value = BAD
    if value_kind == LITERAL or (value_kind == CONTAINER and kind != TAGS):
        value = BAD
    elif kind == COUNT:
        value = read_count(buffer, begin, end)
    elif kind == PORT:
        value = read_count(buffer, begin, end)
        if value > 65_535:
            value = BAD
    elif kind == TIME:
        if end - begin > 7 and (byte_at(buffer, begin + 4) == 45 or byte_at(buffer, begin + 7) == 45):
            value = read_iso_nanoseconds(buffer, begin, end)
        else:
            value = read_nanoseconds(buffer, begin, end, True)
    elif kind == SECONDS:
        value = read_nanoseconds(buffer, begin, end, False)
    elif kind == ADDRESS:
        value = read_address(buffer, begin, end)
    elif kind == HEX:
        value = read_hex(buffer, begin, end)
    elif kind == TAGS:
        value = read_tags(buffer, begin, end)
    else:
        value = _word(buffer, begin, end, column, table)
        if value == OTHER and kind == WORD:
            value = BAD
    return value


@njit_bare
def read_values(
    buffer: NDArray[np.uint8],
    spans: Spans,
    logs: NDArray[np.int64],
    table: FieldTraits,
    values: NDArray[np.int64],
    faults: NDArray[np.int16],
) -> None:
    """Read every field of the lines whose log (`logs`, -1 for none) wants it.

    values: (fields, n) what was read, UNSET without; of TEXT nothing is. faults: (n,) 0, or column + 1 of the first
    bad value, or -(column + 1) of the first that is missing.
    """
    traits = table.traits
    for row in range(len(logs)):
        faults[row] = 0
        log = logs[row]
        if log < 0:
            continue
        for column in range(len(traits)):
            value = UNSET
            if (traits[column, 2] >> log) & 1:
                begin, end, value_kind = spans.begins[row, column], spans.ends[row, column], spans.kinds[row, column]
                missing = begin < 0
                if begin >= 0 and traits[column, 0] != TEXT:
                    value = _read_value(buffer, begin, end, value_kind, column, table)
                elif begin >= 0:
                    if value_kind == LITERAL or value_kind == CONTAINER:
                        value = BAD
                    missing = begin == end
                if faults[row] == 0:
                    if value == BAD:
                        faults[row] = column + 1
                    elif missing and traits[column, 1]:
                        faults[row] = -(column + 1)
            values[column, row] = value


@njit
def words_of(buffer: NDArray[np.uint8], spans: Spans, column: int, table: FieldTraits) -> NDArray[np.int64]:
    """Return the index of each line's word in a WORD or OPEN_WORD column, ahead of `read_values`."""
    found = np.full(len(spans.begins), UNSET, np.int64)
    for row in range(len(spans.begins)):
        if spans.begins[row, column] >= 0:
            found[row] = _word(buffer, spans.begins[row, column], spans.ends[row, column], column, table)
    return found
