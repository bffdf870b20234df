"""Finds the wanted fields of lines as Zeek's ASCII writer writes them: one byte between fields."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kshot.jit import njit_bare
from kshot.sources.line_spans import BLANK, GOOD, PLAIN_TEXT, WRONG_FIELDS, ZERO_BYTE, Spans, byte_at


class TabLayout(NamedTuple):
    """How the lines below one header lie."""

    separator: int
    column_of_field: NDArray[np.int32]
    """(fields,) the column that each fills; -1 for none."""
    unset: NDArray[np.uint8]
    """What a field without a value reads."""
    empty: NDArray[np.uint8]
    """What an empty one reads."""


@njit_bare
def _is_word(buffer: NDArray[np.uint8], begin: int, word: NDArray[np.uint8]) -> bool:
    same = True
    for i in range(len(word)):
        if byte_at(buffer, begin + i) != word[i]:
            same = False
            break
    return same


@njit_bare
def scan_tabs(buffer: NDArray[np.uint8], at: int, end: int, layout: TabLayout, spans: Spans) -> tuple[int, int]:
    """Do with separated lines as `scan_json` does with JSON; a field that reads `unset` has no value."""
    separator, column_of_field, unset, empty = layout
    row = 0
    begins, ends, kinds, lines, statuses = spans
    fields = len(column_of_field)
    begins[:] = -1
    # Most fields are told from both words by these alone.
    unset_bytes, empty_bytes = len(unset), len(empty)
    unset_first = unset[0] if unset_bytes else byte_at(buffer, at)
    empty_first = empty[0] if empty_bytes else byte_at(buffer, at)
    while at < end and row < len(statuses):
        line = at
        status = GOOD
        field = 0
        begin = at
        while True:
            byte = byte_at(buffer, at)
            while byte != separator and byte != 10:
                if byte == 0:
                    status = ZERO_BYTE
                at += 1
                byte = byte_at(buffer, at)
            if field < fields:
                column = column_of_field[np.uintp(field)]
                if column >= 0:
                    stop = at
                    if byte == 10 and stop > begin and byte_at(buffer, stop - 1) == 13:
                        stop -= 1
                    length = stop - begin
                    first = byte_at(buffer, begin)
                    is_unset = length == unset_bytes and (length == 0 or first == unset_first)
                    if not is_unset or not _is_word(buffer, begin, unset):
                        is_empty = length == empty_bytes and (length == 0 or first == empty_first)
                        if is_empty and _is_word(buffer, begin, empty):
                            stop = begin
                        begins[row, column] = begin
                        ends[row, column] = stop
                        kinds[row, column] = PLAIN_TEXT
            if byte == 10:
                break
            field += 1
            at += 1
            begin = at
        if (
            at == line or (at == line + 1 and byte_at(buffer, line) == 13) or byte_at(buffer, line) == 35
        ):  # a header's or a comment
            status = BLANK
        elif status == GOOD and field + 1 != fields:
            status = WRONG_FIELDS
            begins[row, 0] = field + 1
        lines[row, 0] = line
        lines[row, 1] = at
        statuses[row] = status
        row += 1
        at += 1
    return row, at
