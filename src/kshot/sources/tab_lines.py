"""Finds the wanted fields of lines as Zeek's ASCII writer writes them: one byte between fields."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kshot.jit import njit
from kshot.sources.json_lines import BLANK, GOOD, PLAIN_TEXT

WRONG_FIELDS, ZERO_BYTE = 16, 17
"""Statuses beside those of JSON lines; with the first the span of column 0 begins at the number of fields found."""


@njit
def _is_word(buffer: NDArray[np.uint8], begin: int, word: NDArray[np.uint8]) -> bool:
    same = True
    for i in range(len(word)):
        if buffer[begin + i] != word[i]:
            same = False
            break
    return same


@njit
def scan_tabs(
    buffer: NDArray[np.uint8],
    at: int,
    end: int,
    separator: int,
    column_of_field: NDArray[np.int32],
    unset: NDArray[np.uint8],
    empty: NDArray[np.uint8],
    begins: NDArray[np.int32],
    ends: NDArray[np.int32],
    kinds: NDArray[np.uint8],
    lines: NDArray[np.int32],
    statuses: NDArray[np.uint8],
) -> tuple[int, int]:
    """Walk the lines of buffer[at:end], whose last byte is a newline; return how many were taken and where it stopped.

    Outputs as those of `scan_json`. A field that reads `unset` has no value, one that reads `empty` an empty one.
    """
    row = 0
    fields = len(column_of_field)
    begins[:] = -1
    # Most fields are told from both words by these alone.
    unset_bytes, empty_bytes = len(unset), len(empty)
    unset_first = unset[0] if unset_bytes else buffer[at]
    empty_first = empty[0] if empty_bytes else buffer[at]
    while at < end and row < len(statuses):
        line = at
        status = GOOD
        field = 0
        begin = at
        while True:
            byte = buffer[np.uintp(at)]
            while byte != separator and byte != 10:
                if byte == 0:
                    status = ZERO_BYTE
                at += 1
                byte = buffer[np.uintp(at)]
            if field < fields:
                column = column_of_field[np.uintp(field)]
                if column >= 0:
                    stop = at
                    if byte == 10 and stop > begin and buffer[stop - 1] == 13:
                        stop -= 1
                    length = stop - begin
                    first = buffer[np.uintp(begin)]
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
        if at == line or (at == line + 1 and buffer[line] == 13) or buffer[line] == 35:  # a header's or a comment
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
