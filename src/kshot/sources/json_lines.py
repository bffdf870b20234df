"""Finds the wanted values of JSON lines (RFC 8259): each line checked whole, none built into objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kshot.jit import njit, njit_inline

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


@njit_inline
def _slot_of(node: int, text: NDArray[np.uint8], begin: int, end: int) -> int:
    if end == begin:
        return node & (_SLOTS - 1)
    first, middle, last = int(text[begin]), int(text[begin + (end - begin) // 2]), int(text[end - 1])
    return (node * 131 + (end - begin) * 29 + first * 7 + middle * 17 + last * 3) & (_SLOTS - 1)


@njit_inline
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
                if buffer[begin + i] != keys[key_begin + i]:
                    same = False
                    break
            if same:
                found = entry
        slot = (slot + 1) & (_SLOTS - 1)
    return found


@njit_inline
def _is_hex(byte: int) -> bool:
    return (48 <= byte <= 57) or (65 <= byte <= 70) or (97 <= byte <= 102)


@njit_inline
def _string_end(buffer: NDArray[np.uint8], at: int) -> tuple[int, bool, int]:
    """From after the opening quote: where the closing one is, whether escapes stand between, and the fault or 0."""
    escaped = False
    fault = 0
    while True:
        while buffer[at] != 34 and buffer[at] != 92 and buffer[at] >= 32:
            at += 1
        byte = buffer[at]
        if byte == 34:
            break
        if byte != 92:
            fault = CUT if byte == 10 else CONTROL_BYTE
            break
        escaped = True
        letter = buffer[at + 1]
        if letter == 117:  # \\u and four hex digits
            if not (
                _is_hex(buffer[at + 2])
                and _is_hex(buffer[at + 3])
                and _is_hex(buffer[at + 4])
                and _is_hex(buffer[at + 5])
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


@njit_inline
def _number_end(buffer: NDArray[np.uint8], at: int) -> int:
    """Where the number that begins at `at` ends; -1 if it is none."""
    if buffer[at] == 45:
        at += 1
    if buffer[at] == 48:
        at += 1
    elif 49 <= buffer[at] <= 57:
        while 48 <= buffer[at] <= 57:
            at += 1
    else:
        return -1
    if buffer[at] == 46:
        at += 1
        if not 48 <= buffer[at] <= 57:
            return -1
        while 48 <= buffer[at] <= 57:
            at += 1
    if buffer[at] == 101 or buffer[at] == 69:
        at += 1
        if buffer[at] == 43 or buffer[at] == 45:
            at += 1
        if not 48 <= buffer[at] <= 57:
            return -1
        while 48 <= buffer[at] <= 57:
            at += 1
    return at


@njit_inline
def _literal_end(buffer: NDArray[np.uint8], at: int) -> int:
    """Where true, false or null ends; -1 if it is none of them."""
    first, second = buffer[at], buffer[at + 1]
    if first == 116 and second == 114 and buffer[at + 2] == 117 and buffer[at + 3] == 101:
        return at + 4
    if first == 110 and second == 117 and buffer[at + 2] == 108 and buffer[at + 3] == 108:
        return at + 4
    if first == 102 and second == 97 and buffer[at + 2] == 108 and buffer[at + 3] == 115 and buffer[at + 4] == 101:
        return at + 5
    return -1


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
    column the span of its value and the value's kind. Five bytes must stand readable after `end`.
    """
    row = 0
    columns = begins.shape[1]
    stack_array = np.zeros(MOST_DEPTH + 1, np.uint8)
    stack_node = np.zeros(MOST_DEPTH + 1, np.int32)
    stack_column = np.zeros(MOST_DEPTH + 1, np.int32)
    stack_whole = np.zeros(MOST_DEPTH + 1, np.int32)
    stack_begin = np.zeros(MOST_DEPTH + 1, np.int32)
    while at < end and row < len(statuses):
        line = at
        for column in range(columns):
            begins[row, column] = -1
            kinds[row, column] = NO_VALUE
        status = GOOD
        while buffer[at] == 32 or buffer[at] == 9 or buffer[at] == 13:
            at += 1
        if buffer[at] == 10:
            status = BLANK
        elif buffer[at] != 123:
            status = NOT_AN_OBJECT
        else:
            at += 1
            depth = 0
            stack_array[0] = 0
            stack_node[0] = 0
            stack_column[0] = -1
            stack_whole[0] = -1
            column = -1
            node = -1
            whole = 0
            state = _KEY_OR_END
            while True:
                byte = buffer[at]
                while byte == 32 or byte == 9 or byte == 13:
                    at += 1
                    byte = buffer[at]
                if byte == 10:
                    status = CUT
                    break
                if state == _AFTER:
                    if byte == 44:
                        at += 1
                        if stack_array[depth]:
                            state = _VALUE
                            node = stack_node[depth]
                            column = stack_column[depth]
                            whole = 0
                        else:
                            state = _KEY
                        continue
                    if byte != (93 if stack_array[depth] else 125):
                        status = BROKEN
                        break
                elif state <= _KEY_OR_END:
                    if byte == 34:
                        key = at + 1
                        at, escaped, status = _string_end(buffer, key)
                        if status != GOOD:
                            break
                        column = -1
                        node = -1
                        whole = 0
                        if stack_node[depth] >= 0 and not escaped:
                            entry = _entry_of(stack_node[depth], buffer, key, at, slots, entries, keys)
                            if entry >= 0:
                                column = entries[entry, 3]
                                node = entries[entry, 4]
                                whole = entries[entry, 5]
                        at += 1
                        while buffer[at] == 32 or buffer[at] == 9:
                            at += 1
                        if buffer[at] != 58:
                            status = CUT if buffer[at] == 10 else BROKEN
                            break
                        at += 1
                        state = _VALUE
                        continue
                    if byte != 125 or state == _KEY:
                        status = BROKEN
                        break
                else:
                    if not (byte == 93 and state == _VALUE_OR_END):
                        value = at
                        kind = NUMBER
                        if byte == 34:
                            value = at + 1
                            at, escaped, status = _string_end(buffer, value)
                            if status != GOOD:
                                break
                            kind = ESCAPED_TEXT if escaped else PLAIN_TEXT
                        elif byte == 123 or byte == 91:
                            if depth == MOST_DEPTH:
                                status = TOO_DEEP
                                break
                            depth += 1
                            stack_array[depth] = byte == 91
                            stack_node[depth] = node
                            stack_column[depth] = column if byte == 91 and not whole else -1
                            stack_whole[depth] = column if whole else -1
                            stack_begin[depth] = at
                            state = _VALUE_OR_END if byte == 91 else _KEY_OR_END
                            column = stack_column[depth]
                            whole = 0
                            at += 1
                            continue
                        elif byte == 45 or 48 <= byte <= 57:
                            at = _number_end(buffer, at)
                        else:
                            at = _literal_end(buffer, at)
                            kind = NO_VALUE if byte == 110 else LITERAL
                        if at < 0:
                            at = value
                            status = BROKEN
                            break
                        if column >= 0 and kind != NO_VALUE and begins[row, column] < 0:
                            begins[row, column] = value
                            ends[row, column] = at
                            kinds[row, column] = kind
                        if byte == 34:
                            at += 1
                        state = _AFTER
                        continue
                # An object or array ends here.
                at += 1
                column = stack_whole[depth]
                if column >= 0 and begins[row, column] < 0:
                    begins[row, column] = stack_begin[depth]
                    ends[row, column] = at
                    kinds[row, column] = CONTAINER
                if depth == 0:
                    break
                depth -= 1
                state = _AFTER
            if status == GOOD:
                while buffer[at] == 32 or buffer[at] == 9 or buffer[at] == 13:
                    at += 1
                if buffer[at] != 10:
                    status = AFTER_END
        while buffer[at] != 10:
            at += 1
        lines[row, 0] = line
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
