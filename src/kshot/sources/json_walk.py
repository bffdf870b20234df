"""Walks a JSON line (RFC 8259) from end to end: checked whole, its wanted values found, nothing built."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kshot.jit import leading_zeros, njit_bare, njit_step, read_word
from kshot.sources.json_paths import JsonPaths, entry_of
from kshot.sources.line_spans import (
    BROKEN,
    CONTAINER,
    CONTROL_BYTE,
    CUT,
    ESCAPED_TEXT,
    GOOD,
    LITERAL,
    MOST_DEPTH,
    NO_VALUE,
    NUMBER,
    PLAIN_TEXT,
    TOO_DEEP,
    byte_at,
)

MOST_STEPS = 256
"""Values of a line whose shape is worth learning; Suricata's and Zeek's records have up to 100."""
BEGINS, ENDS, COLUMN, OPENS, OPENS_AT, CLOSES, CLOSES_AT = range(7)
"""What the columns of `steps` hold."""

_KEY, _KEY_OR_END, _VALUE, _VALUE_OR_END, _AFTER = range(5)
_LOW_BITS = np.uint64(0x7F7F7F7F7F7F7F7F)
_QUOTES = np.uint64(0x2222222222222222)
_BACKSLASHES = np.uint64(0x5C5C5C5C5C5C5C5C)
_ABOVE_CONTROL = np.uint64(0xE0E0E0E0E0E0E0E0)


@njit_step
def _zero_bytes(word: np.uint64) -> np.uint64:
    """The top bit of each byte of `word` that is zero (Warren, Hacker's Delight, 6-1)."""
    return ~(((word & _LOW_BITS) + _LOW_BITS) | word | _LOW_BITS)


@njit_step
def special_at(buffer: NDArray[np.uint8], at: int) -> int:
    """Where the next byte is, from `at` on, that does not simply stand in a string: a quote, backslash or control."""
    while True:
        word = read_word(buffer, at)
        found = _zero_bytes(word ^ _QUOTES) | _zero_bytes(word ^ _BACKSLASHES) | _zero_bytes(word & _ABOVE_CONTROL)
        if found:
            break
        at += 8
    return at + (leading_zeros(found) >> 3)


@njit_bare
def _is_hex(byte: int) -> bool:
    return (48 <= byte <= 57) or (65 <= byte <= 70) or (97 <= byte <= 102)


@njit_bare
def string_end(buffer: NDArray[np.uint8], at: int) -> tuple[int, bool, int]:
    """From after the opening quote: where the closing one is, whether escapes stand between, and the fault or 0."""
    escaped = False
    fault = 0
    while True:
        at = special_at(buffer, at)
        byte = byte_at(buffer, at)
        if byte == 34:
            break
        if byte != 92:
            fault = CUT if byte == 10 else CONTROL_BYTE
            break
        escaped = True
        letter = byte_at(buffer, at + 1)
        if letter == 117:  # \\u and four hex digits
            if not (
                _is_hex(byte_at(buffer, at + 2))
                and _is_hex(byte_at(buffer, at + 3))
                and _is_hex(byte_at(buffer, at + 4))
                and _is_hex(byte_at(buffer, at + 5))
            ):
                fault = BROKEN
                break
            at += 6
        elif letter in (34, 47, 92, 98, 102, 110, 114, 116):
            at += 2
        else:
            fault = CUT if letter == 10 else BROKEN
            break
    return at, escaped, fault


@njit_step
def _digits_end(buffer: NDArray[np.uint8], at: int) -> int:
    while 48 <= byte_at(buffer, at) <= 57:
        at += 1
    return at


@njit_bare
def number_end(buffer: NDArray[np.uint8], at: int) -> int:
    """Where the number that begins at `at` ends; -1 if it is none."""
    if byte_at(buffer, at) == 45:
        at += 1
    first = at
    at = _digits_end(buffer, at)
    good = at > first and (at == first + 1 or byte_at(buffer, first) != 48)
    if byte_at(buffer, at) == 46:
        first = at + 1
        at = _digits_end(buffer, first)
        good = good and at > first
    if byte_at(buffer, at) == 101 or byte_at(buffer, at) == 69:
        at += 1
        if byte_at(buffer, at) == 43 or byte_at(buffer, at) == 45:
            at += 1
        first = at
        at = _digits_end(buffer, first)
        good = good and at > first
    return at if good else -1


@njit_bare
def literal_end(buffer: NDArray[np.uint8], at: int) -> int:
    """Where true, false or null ends; -1 if it is none of them."""
    first, second, third, fourth = (
        byte_at(buffer, at),
        byte_at(buffer, at + 1),
        byte_at(buffer, at + 2),
        byte_at(buffer, at + 3),
    )
    end = -1
    if first == 116 and second == 114 and third == 117 and fourth == 101:
        end = at + 4
    elif first == 110 and second == 117 and third == 108 and fourth == 108:
        end = at + 4
    elif first == 102 and second == 97 and third == 108 and fourth == 115 and buffer[at + 4] == 101:
        end = at + 5
    return end


@njit_step
def blanks_end(buffer: NDArray[np.uint8], at: int) -> int:
    """Where what is no blank begins; a newline is none."""
    byte = byte_at(buffer, at)
    while byte <= 32 and (byte == 32 or byte == 9 or byte == 13):
        at += 1
        byte = byte_at(buffer, at)
    return at


@njit_bare
def walk_object(
    buffer: NDArray[np.uint8],
    at: int,
    paths: JsonPaths,
    begins: NDArray[np.int32],
    ends: NDArray[np.int32],
    kinds: NDArray[np.uint8],
    stack: NDArray[np.int32],
    steps: NDArray[np.int32],
) -> tuple[int, int, int]:
    """Walk one object from after its opening brace; return where it stopped, the line's status, and its steps.

    stack: (MOST_DEPTH + 1, 5) of each open container: 1 if an array, its node, the column of its elements, the column
    that it is wanted for whole, where it begins. steps: (MOST_STEPS + 1, 7) of each value: where it begins and ends,
    quotes included, its column; of what stands before it: the column of an array wanted whole that opens there (-1
    without), where it begins, the same of one that closes, and where it ends. How many there are is returned; -1 if
    they are too many, or more than one such array opens or closes before one value.
    """
    depth = 0
    step = 0
    steps[0, OPENS], steps[0, CLOSES] = -1, -1
    stack[0, 0], stack[0, 1], stack[0, 2], stack[0, 3] = 0, 0, -1, -1
    in_array = False
    own_node = 0
    column, node, whole = -1, -1, 0
    state = _KEY_OR_END
    while True:
        at = blanks_end(buffer, at)
        byte = byte_at(buffer, at)
        if state <= _KEY_OR_END and byte == 34:
            key = at + 1
            at, escaped, fault = string_end(buffer, key)
            if fault:
                return at, fault, -1
            column, node, whole = -1, -1, 0
            if own_node >= 0 and not escaped:
                entry = entry_of(own_node, buffer, key, at, paths)
                if entry >= 0:
                    column, node, whole = paths.entries[entry, 3], paths.entries[entry, 4], paths.entries[entry, 5]
            at = blanks_end(buffer, at + 1)
            if byte_at(buffer, at) != 58:
                return at, CUT if byte_at(buffer, at) == 10 else BROKEN, -1
            at = blanks_end(buffer, at + 1)
            byte = byte_at(buffer, at)
            state = _VALUE
        if state == _VALUE or (state == _VALUE_OR_END and byte != 93):
            value = at
            kind = NUMBER
            if byte == 34:
                value = at + 1
                at, escaped, fault = string_end(buffer, value)
                if fault:
                    return at, fault, -1
                kind = ESCAPED_TEXT if escaped else PLAIN_TEXT
            elif 48 <= byte <= 57 or byte == 45:
                at = number_end(buffer, at)
            elif byte == 123 or byte == 91:
                if depth == MOST_DEPTH:
                    return at, TOO_DEEP, -1
                depth += 1
                in_array = byte == 91
                own_node = node
                stack[depth, 0] = in_array
                stack[depth, 1] = own_node
                stack[depth, 2] = column if in_array and not whole else -1
                stack[depth, 3] = column if whole else -1
                stack[depth, 4] = at
                if whole and step >= 0:
                    if steps[step, OPENS] >= 0 or steps[step, CLOSES] >= 0:
                        step = -1
                    else:
                        steps[step, OPENS], steps[step, OPENS_AT] = column, at
                column = stack[depth, 2]
                state = _VALUE_OR_END if in_array else _KEY_OR_END
                whole = 0
                at += 1
                continue
            else:
                at = literal_end(buffer, at)
                kind = NO_VALUE if byte == 110 else LITERAL
            if at < 0:
                return value, CUT if byte == 10 else BROKEN, -1
            if column >= 0 and kind != NO_VALUE and begins[column] < 0:
                begins[column] = value
                ends[column] = at
                kinds[column] = kind
            if byte == 34:
                at += 1
                value -= 1
            if step == MOST_STEPS:
                step = -1
            if step >= 0:
                steps[step, BEGINS], steps[step, ENDS], steps[step, COLUMN] = value, at, column
                step += 1
                steps[step, OPENS], steps[step, CLOSES] = -1, -1
            state = _AFTER
            byte = byte_at(buffer, at)
            if byte != 44:
                continue
        if state == _AFTER and byte == 44:
            at += 1
            state = _KEY
            if in_array:
                state = _VALUE
                node, column, whole = own_node, stack[depth, 2], 0
            continue
        # What is left to come is the end of the object or array.
        if state == _KEY or byte != (93 if in_array else 125):
            return at, CUT if byte == 10 else BROKEN, -1
        at += 1
        column = stack[depth, 3]
        if column >= 0 and begins[column] < 0:
            begins[column] = stack[depth, 4]
            ends[column] = at
            kinds[column] = CONTAINER
        if column >= 0 and step >= 0:
            if steps[step, CLOSES] >= 0:
                step = -1
            else:
                steps[step, CLOSES], steps[step, CLOSES_AT] = column, at
        if depth == 0:
            return at, GOOD, step
        depth -= 1
        in_array = stack[depth, 0] != 0
        own_node = stack[depth, 1]
        state = _AFTER
