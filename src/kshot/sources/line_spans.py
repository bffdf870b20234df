"""Where in a block of lines each wanted value lies, as every line scanner tells it, and what is wrong with a line."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kshot.jit import njit_bare, njit_step

MOST_DEPTH = 64
"""Log records nest four deep; a JSON line deeper than this is a nesting bomb."""

GOOD, BLANK = 0, 1
NOT_AN_OBJECT, BROKEN, CUT, CONTROL_BYTE, TOO_DEEP, AFTER_END, WRONG_FIELDS, ZERO_BYTE = range(2, 10)
FAULTS = {
    NOT_AN_OBJECT: "is not a JSON object",
    BROKEN: "is not JSON",
    CUT: "is JSON cut short",
    CONTROL_BYTE: "is not JSON: a control byte stands in it",
    TOO_DEEP: f"is nested more than {MOST_DEPTH} deep",
    AFTER_END: "is not JSON: something stands after the object",
    ZERO_BYTE: "holds a zero byte",
}
"""What a status says of its line. With WRONG_FIELDS the span of column 0 begins at the number of fields found."""

NO_VALUE, PLAIN_TEXT, ESCAPED_TEXT, NUMBER, LITERAL, CONTAINER = range(6)
"""What kind of value a span holds; null is no value."""


class Spans(NamedTuple):
    """What a scanner fills, a row a line: arrays that a kernel takes together."""

    begins: NDArray[np.int32]
    """(rows, columns) where each column's value begins in the buffer; -1 without."""
    ends: NDArray[np.int32]
    """(rows, columns) where it ends; undefined without."""
    kinds: NDArray[np.uint8]
    """(rows, columns) what kind of value it is; undefined without."""
    lines: NDArray[np.int32]
    """(rows, 2) where the line begins and where its newline stands."""
    statuses: NDArray[np.uint8]
    """(rows,) GOOD, BLANK or what is wrong."""

    @classmethod
    def of(cls, rows: int, columns: int) -> Spans:
        """Make room for so many lines; a scanner fills all of it."""
        shape = (rows, columns)
        return cls(
            np.empty(shape, np.int32),
            np.empty(shape, np.int32),
            np.empty(shape, np.uint8),
            np.empty((rows, 2), np.int32),
            np.empty(rows, np.uint8),
        )

    def first(self, rows: int) -> Spans:
        """Return the room for the first so many lines."""
        return Spans(self.begins[:rows], self.ends[:rows], self.kinds[:rows], self.lines[:rows], self.statuses[:rows])


@njit_step
def byte_at(buffer: NDArray[np.uint8], at: int) -> int:
    """buffer[at], without the question whether `at` counts from the end."""
    return int(buffer[np.uintp(at)])


@njit_bare
def count_lines(buffer: NDArray[np.uint8], begin: int, end: int) -> tuple[int, bool]:
    """Count the newlines of buffer[begin:end], and tell whether all of it is ASCII."""
    lines = 0
    every = np.uint8(0)
    for at in range(begin, end):
        byte = buffer[np.uintp(at)]
        lines += byte == 10
        every |= byte
    return lines, bool(every < 128)
