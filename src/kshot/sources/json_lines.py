"""Finds the wanted values of JSON lines (RFC 8259): each line checked whole, none built into objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kshot.jit import njit

MOST_DEPTH = 64
"""Log records nest four deep; a line deeper than this is a nesting bomb."""

GOOD, BLANK = 0, 1
NOT_AN_OBJECT, BROKEN, CUT, CONTROL_BYTE, TOO_DEEP, AFTER_END = range(2, 8)
JSON_FAULTS = {
    NOT_AN_OBJECT: "is not a JSON object",
    BROKEN: "is not JSON",
    CUT: "is JSON cut short",
    CONTROL_BYTE: "is not JSON: a control byte stands in it",
    TOO_DEEP: f"is nested more than {MOST_DEPTH} deep",
    AFTER_END: "is not JSON: something stands after the object",
}
"""What a status says of its line."""

NO_VALUE, PLAIN_TEXT, ESCAPED_TEXT, NUMBER, LITERAL, CONTAINER = range(6)
"""What kind of value a span holds; null is no value."""

_SLOTS = 512
_SPECIAL = np.zeros(256, np.uint8)
_SPECIAL[:32] = 1
_SPECIAL[[34, 92]] = 1
"""Bytes that do not simply stand in a string."""
_KEY, _KEY_OR_END, _VALUE, _VALUE_OR_END, _AFTER = range(5)


@dataclass(frozen=True, slots=True)
class JsonPaths:
    """The keys to look for, as the tables that `scan_json` walks by."""

    slots: NDArray[np.int32]
    """(_SLOTS,) a hash table: entry + 1, or 0."""
    entries: NDArray[np.int32]
    """(n, 6) node of the object it stands in, where its key begins and ends in `keys`, column or -1, its own node or
    -1, and 1 if an array there is wanted whole."""
    keys: NDArray[np.uint8]
    columns: int

    @classmethod
    def of(cls, paths: Mapping[tuple[str, ...], int], whole: Sequence[int] = ()) -> JsonPaths:
        """Build from path to column; several paths may lead to one column, arrays on the way are looked through.

        The first value found for a column stays. An array's first element counts, but for the columns in `whole`
        the array itself does.
        """
        nodes: dict[tuple[str, ...], int] = {(): 0}
        entries: dict[tuple[str, ...], list[int]] = {}
        keys = bytearray()
        for path, column in paths.items():
            for depth in range(1, len(path) + 1):
                part = path[:depth]
                if part not in entries:
                    key = part[-1].encode()
                    entries[part] = [nodes[part[:-1]], len(keys), len(keys) + len(key), -1, -1, 0]
                    keys += key
                if depth < len(path) and part not in nodes:
                    nodes[part] = entries[part][4] = len(nodes)
            entries[path][3] = column
            entries[path][5] = int(column in whole)
        slots = np.zeros(_SLOTS, np.int32)
        text = np.frombuffer(bytes(keys), np.uint8)
        for number, (node, begin, end, *_) in enumerate(entries.values(), 1):
            slot = int(_slot_of(node, text, begin, end))
            while slots[slot]:
                slot = (slot + 1) & (_SLOTS - 1)
            slots[slot] = number
        return cls(slots, np.array(list(entries.values()), np.int32), text, 1 + max(paths.values()))


@njit
def _slot_of(node: int, text: NDArray[np.uint8], begin: int, end: int) -> int:
    if end == begin:
        return node & (_SLOTS - 1)
    first, middle, last = int(text[begin]), int(text[begin + (end - begin) // 2]), int(text[end - 1])
    return (node * 131 + (end - begin) * 29 + first * 7 + middle * 17 + last * 3) & (_SLOTS - 1)


@njit
def _byte(buffer: NDArray[np.uint8], at: int) -> int:
    """buffer[at], without the question whether `at` counts from the end."""
    byte: int = buffer[np.uintp(at)]
    return byte


@njit
def _entry_of(
    node: int,
    buffer: NDArray[np.uint8],
    begin: int,
    end: int,
    slots: NDArray[np.int32],
    entries: NDArray[np.int32],
    keys: NDArray[np.uint8],
) -> int:
    slot = _slot_of(node, buffer, begin, end)
    found = -1
    while found < 0 and slots[slot]:
        entry = slots[slot] - 1
        key_begin = entries[entry, 1]
        if entries[entry, 0] == node and entries[entry, 2] - key_begin == end - begin:
            same = True
            for i in range(end - begin):
                if _byte(buffer, begin + i) != _byte(keys, key_begin + i):
                    same = False
                    break
            if same:
                found = entry
        slot = (slot + 1) & (_SLOTS - 1)
    return found


@njit
def _is_hex(byte: int) -> bool:
    return (48 <= byte <= 57) or (65 <= byte <= 70) or (97 <= byte <= 102)


@njit
def _string_end(buffer: NDArray[np.uint8], at: int) -> tuple[int, bool, int]:
    """From after the opening quote: where the closing one is, whether escapes stand between, and the fault or 0."""
    escaped = False
    fault = 0
    while True:
        while not _SPECIAL[_byte(buffer, at)]:
            at += 1
        byte = _byte(buffer, at)
        if byte == 34:
            break
        if byte != 92:
            fault = CUT if byte == 10 else CONTROL_BYTE
            break
        escaped = True
        letter = _byte(buffer, at + 1)
        if letter == 117:  # \\u and four hex digits
            if not (
                _is_hex(_byte(buffer, at + 2))
                and _is_hex(_byte(buffer, at + 3))
                and _is_hex(_byte(buffer, at + 4))
                and _is_hex(_byte(buffer, at + 5))
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


@njit
def _digits_end(buffer: NDArray[np.uint8], at: int) -> int:
    while 48 <= _byte(buffer, at) <= 57:
        at += 1
    return at


@njit
def _number_end(buffer: NDArray[np.uint8], at: int) -> int:
    """Where the number that begins at `at` ends; -1 if it is none."""
    if _byte(buffer, at) == 45:
        at += 1
    first = at
    at = _digits_end(buffer, at)
    good = at > first and (at == first + 1 or _byte(buffer, first) != 48)
    if _byte(buffer, at) == 46:
        first = at + 1
        at = _digits_end(buffer, first)
        good = good and at > first
    if _byte(buffer, at) == 101 or _byte(buffer, at) == 69:
        at += 1
        if _byte(buffer, at) == 43 or _byte(buffer, at) == 45:
            at += 1
        first = at
        at = _digits_end(buffer, first)
        good = good and at > first
    return at if good else -1


@njit
def _literal_end(buffer: NDArray[np.uint8], at: int) -> int:
    """Where true, false or null ends; -1 if it is none of them."""
    first, second, third, fourth = buffer[at], buffer[at + 1], buffer[at + 2], buffer[at + 3]
    end = -1
    if first == 116 and second == 114 and third == 117 and fourth == 101:
        end = at + 4
    elif first == 110 and second == 117 and third == 108 and fourth == 108:
        end = at + 4
    elif first == 102 and second == 97 and third == 108 and fourth == 115 and buffer[at + 4] == 101:
        end = at + 5
    return end


@njit
def _blanks_end(buffer: NDArray[np.uint8], at: int) -> int:
    """Where what is no blank begins; a newline is none."""
    byte = _byte(buffer, at)
    while byte <= 32 and (byte == 32 or byte == 9 or byte == 13):
        at += 1
        byte = _byte(buffer, at)
    return at


@njit
def _scan_line(
    buffer: NDArray[np.uint8],
    at: int,
    slots: NDArray[np.int32],
    entries: NDArray[np.int32],
    keys: NDArray[np.uint8],
    begins: NDArray[np.int32],
    ends: NDArray[np.int32],
    kinds: NDArray[np.uint8],
    stack: NDArray[np.int32],
) -> tuple[int, int]:
    """Walk one object from after its opening brace; return where it stopped and the line's status.

    stack: (MOST_DEPTH + 1, 5) of each open container: 1 if an array, its node, the column of its elements, the column
    that it is wanted for whole, where it begins.
    """
    depth = 0
    stack[0, 0], stack[0, 1], stack[0, 2], stack[0, 3] = 0, 0, -1, -1
    in_array = False
    own_node = 0
    column, node, whole = -1, -1, 0
    state = _KEY_OR_END
    while True:
        at = _blanks_end(buffer, at)
        byte = _byte(buffer, at)
        if state <= _KEY_OR_END and byte == 34:
            key = at + 1
            at, escaped, fault = _string_end(buffer, key)
            if fault:
                return at, fault
            column, node, whole = -1, -1, 0
            if own_node >= 0 and not escaped:
                entry = _entry_of(own_node, buffer, key, at, slots, entries, keys)
                if entry >= 0:
                    column, node, whole = entries[entry, 3], entries[entry, 4], entries[entry, 5]
            at = _blanks_end(buffer, at + 1)
            if _byte(buffer, at) != 58:
                return at, CUT if _byte(buffer, at) == 10 else BROKEN
            at = _blanks_end(buffer, at + 1)
            byte = _byte(buffer, at)
            state = _VALUE
        if state == _VALUE or (state == _VALUE_OR_END and byte != 93):
            value = at
            kind = NUMBER
            if byte == 34:
                value = at + 1
                at, escaped, fault = _string_end(buffer, value)
                if fault:
                    return at, fault
                kind = ESCAPED_TEXT if escaped else PLAIN_TEXT
            elif 48 <= byte <= 57 or byte == 45:
                at = _number_end(buffer, at)
            elif byte == 123 or byte == 91:
                if depth == MOST_DEPTH:
                    return at, TOO_DEEP
                depth += 1
                in_array = byte == 91
                own_node = node
                stack[depth, 0] = in_array
                stack[depth, 1] = own_node
                stack[depth, 2] = column if in_array and not whole else -1
                stack[depth, 3] = column if whole else -1
                stack[depth, 4] = at
                column = stack[depth, 2]
                state = _VALUE_OR_END if in_array else _KEY_OR_END
                whole = 0
                at += 1
                continue
            else:
                at = _literal_end(buffer, at)
                kind = NO_VALUE if byte == 110 else LITERAL
            if at < 0:
                return value, CUT if byte == 10 else BROKEN
            if column >= 0 and kind != NO_VALUE and begins[column] < 0:
                begins[column] = value
                ends[column] = at
                kinds[column] = kind
            if byte == 34:
                at += 1
            state = _AFTER
            byte = _byte(buffer, at)
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
            return at, CUT if byte == 10 else BROKEN
        at += 1
        column = stack[depth, 3]
        if column >= 0 and begins[column] < 0:
            begins[column] = stack[depth, 4]
            ends[column] = at
            kinds[column] = CONTAINER
        if depth == 0:
            return at, GOOD
        depth -= 1
        in_array = stack[depth, 0] != 0
        own_node = stack[depth, 1]
        state = _AFTER


@njit
def scan_json(
    buffer: NDArray[np.uint8],
    at: int,
    end: int,
    slots: NDArray[np.int32],
    entries: NDArray[np.int32],
    keys: NDArray[np.uint8],
    begins: NDArray[np.int32],
    ends: NDArray[np.int32],
    kinds: NDArray[np.uint8],
    lines: NDArray[np.int32],
    statuses: NDArray[np.uint8],
) -> tuple[int, int]:
    """Walk the lines of buffer[at:end], whose last byte is a newline; return how many were taken and where it stopped.

    Stops early when the rows of the outputs are used up. Per line: `lines` (from, to), its status, and for each
    column the span of its value (-1 without) and the value's kind. Five bytes must stand readable after `end`.
    """
    row = 0
    stack = np.zeros((MOST_DEPTH + 1, 5), np.int32)
    begins[:] = -1
    while at < end and row < len(statuses):
        lines[row, 0] = at
        at = _blanks_end(buffer, at)
        status = BLANK
        if buffer[at] == 123:
            at, status = _scan_line(buffer, at + 1, slots, entries, keys, begins[row], ends[row], kinds[row], stack)
            if status == GOOD:
                at = _blanks_end(buffer, at)
                if buffer[at] != 10:
                    status = AFTER_END
        elif buffer[at] != 10:
            status = NOT_AN_OBJECT
        while buffer[at] != 10:
            at += 1
        lines[row, 1] = at
        statuses[row] = status
        row += 1
        at += 1
    return row, at


def scan_lines(
    buffer: NDArray[np.uint8],
    at: int,
    end: int,
    paths: JsonPaths,
    begins: NDArray[np.int32],
    ends: NDArray[np.int32],
    kinds: NDArray[np.uint8],
    lines: NDArray[np.int32],
    statuses: NDArray[np.uint8],
) -> tuple[int, int]:
    """Call `scan_json` with the tables of `paths`."""
    return scan_json(buffer, at, end, paths.slots, paths.entries, paths.keys, begins, ends, kinds, lines, statuses)
