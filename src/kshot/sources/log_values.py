"""Turns the spans that a line scanner found into numbers and times; says which value is bad."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kshot.jit import njit
from kshot.sources.json_lines import CONTAINER, LITERAL

TEXT, COUNT, PORT, TIME, SECONDS, HEX, ADDRESS, WORD, OPEN_WORD, TAGS = range(10)
"""Kinds of field. COUNT: a whole number from 0; PORT: one below 65,536; TIME: epoch seconds (from 1e11 on
milliseconds) or ISO 8601, to nanoseconds; SECONDS: a length of time, to nanoseconds, 0 if negative; HEX: TCP flags;
ADDRESS: 4 if it is a dotted quad, 6 if it may be IPv6; WORD: the index of a listed word; OPEN_WORD: likewise, other
words are -2; TAGS: VLAN ids as Suricata lists them, to outer * 4096 + inner."""

UNSET = -1
"""What a number is where the line has no value."""
OTHER = -2
"""What an OPEN_WORD is that is not listed."""
_BAD = -3
LATEST_NANOSECONDS = 1 << 62
"""Times beyond (the year 2116) are damage; no difference of two overflows."""
_MILLISECONDS_FROM = 100_000_000_000
_DIGITS = 18


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


@dataclass(frozen=True, slots=True)
class FieldTable:
    """Fields as `read_values` takes them."""

    fields: tuple[Field, ...]
    traits: NDArray[np.int64]
    """(fields, 5) kind, needed, logs, first and last + 1 of its words."""
    words: NDArray[np.int64]
    """(words, 2) where each begins and ends in `letters`."""
    letters: NDArray[np.uint8]

    @classmethod
    def of(cls, fields: Sequence[Field]) -> FieldTable:
        """Lay the fields out; their order is that of the columns."""
        letters = bytearray()
        words: list[tuple[int, int]] = []
        traits = []
        for field in fields:
            first = len(words)
            for word in field.words:
                words.append((len(letters), len(letters) + len(word)))
                letters += word.encode()
            traits.append((field.kind, field.needed, field.logs, first, len(words)))
        return cls(
            tuple(fields),
            np.array(traits, np.int64),
            np.array(words or [(0, 0)], np.int64),
            np.frombuffer(bytes(letters) or b"\0", np.uint8),
        )

    def index(self, name: str) -> int:
        """Return the column of the field called `name`."""
        return next(i for i, field in enumerate(self.fields) if field.name == name)


@njit
def _is_digit(byte: int) -> bool:
    return 48 <= byte <= 57


@njit
def _count(buffer: NDArray[np.uint8], begin: int, end: int) -> int:
    if not 0 < end - begin <= _DIGITS:
        return _BAD
    value = 0
    for i in range(begin, end):
        if not _is_digit(buffer[i]):
            return _BAD
        value = 10 * value + (buffer[i] - 48)
    return value


@njit
def _nanoseconds(buffer: NDArray[np.uint8], begin: int, end: int, is_time: bool) -> int:
    """Decimal seconds, with or without an exponent, to nanoseconds: exact where 64 bits hold it."""
    at = begin
    negative = at < end and buffer[at] == 45
    if negative:
        at += 1
    mantissa = 0
    kept = 0
    exponent = 0
    digits = 0
    fraction = False
    while at < end and (_is_digit(buffer[at]) or (buffer[at] == 46 and not fraction)):
        if buffer[at] == 46:
            fraction = True
        else:
            digits += 1
            if kept < _DIGITS:
                mantissa = 10 * mantissa + (buffer[at] - 48)
                kept += 1 if mantissa else 0
                exponent -= 1 if fraction else 0
            elif not fraction:
                exponent += 1
        at += 1
    if digits == 0:
        return _BAD
    if at < end and (buffer[at] == 101 or buffer[at] == 69):
        at += 1
        down = at < end and buffer[at] == 45
        if at < end and (buffer[at] == 45 or buffer[at] == 43):
            at += 1
        if not 0 < end - at <= 4:
            return _BAD
        power = 0
        while at < end and _is_digit(buffer[at]):
            power = 10 * power + (buffer[at] - 48)
            at += 1
        exponent += -power if down else power
    if at != end:
        return _BAD
    if negative:
        return _BAD if is_time and mantissa else 0
    if is_time:
        whole = mantissa
        for _ in range(max(0, min(-exponent, _DIGITS))):
            whole //= 10
        if whole >= _MILLISECONDS_FROM:
            exponent -= 3
    exponent += 9
    while exponent > 0 and mantissa and mantissa <= LATEST_NANOSECONDS // 10:
        mantissa *= 10
        exponent -= 1
    if exponent > 0 and mantissa:
        return _BAD
    if exponent < -_DIGITS:
        return 0
    scale = 1
    while exponent < 0:
        scale *= 10
        exponent += 1
    mantissa = (mantissa + scale // 2) // scale
    return mantissa if mantissa <= LATEST_NANOSECONDS else _BAD


@njit
def _two(buffer: NDArray[np.uint8], at: int) -> int:
    if _is_digit(buffer[at]) and _is_digit(buffer[at + 1]):
        return 10 * (int(buffer[at]) - 48) + int(buffer[at + 1]) - 48
    return -10_000


@njit
def _iso_nanoseconds(buffer: NDArray[np.uint8], begin: int, end: int) -> int:
    """ISO 8601 (YYYY-MM-DDThh:mm:ss[.f][Z|+hhmm|+hh:mm]) to nanoseconds since 1970; without a zone it is UTC."""
    if end - begin < 19 or buffer[begin + 4] != 45 or buffer[begin + 7] != 45:
        return _BAD
    if (buffer[begin + 10] != 84 and buffer[begin + 10] != 32) or buffer[begin + 13] != 58 or buffer[begin + 16] != 58:
        return _BAD
    year = 100 * _two(buffer, begin) + _two(buffer, begin + 2)
    month = _two(buffer, begin + 5)
    day = _two(buffer, begin + 8)
    hour = _two(buffer, begin + 11)
    minute = _two(buffer, begin + 14)
    second = _two(buffer, begin + 17)
    if not (1970 <= year <= 2116 and 1 <= month <= 12 and 1 <= day <= 31):
        return _BAD
    if not (0 <= hour < 24 and 0 <= minute < 60 and 0 <= second <= 60):
        return _BAD
    at = begin + 19
    fraction = 0
    if at < end and buffer[at] == 46:
        at += 1
        scale = 100_000_000
        if at == end or not _is_digit(buffer[at]):
            return _BAD
        while at < end and _is_digit(buffer[at]):
            fraction += (buffer[at] - 48) * scale
            scale //= 10
            at += 1
    offset = 0
    if at < end and buffer[at] == 90:
        at += 1
    elif at < end and (buffer[at] == 43 or buffer[at] == 45):
        west = buffer[at] == 45
        colon = 1 if end - at == 6 and buffer[at + 3] == 58 else 0
        if end - at != 5 + colon:
            return _BAD
        offset = 60 * _two(buffer, at + 1) + _two(buffer, at + 3 + colon)
        if not 0 <= offset < 24 * 60:
            return _BAD
        if west:
            offset = -offset
        at = end
    if at != end:
        return _BAD
    # Days since 1970 in the proleptic Gregorian calendar, years counted from March so that leap days end them.
    y = year - 1 if month <= 2 else year
    months = (month + 9) % 12
    days = 365 * y + y // 4 - y // 100 + y // 400 + (153 * months + 2) // 5 + day - 1 - 719_468
    seconds = 86_400 * days + 3600 * hour + 60 * (minute - offset) + second
    value = seconds * 1_000_000_000 + fraction
    return value if 0 <= value <= LATEST_NANOSECONDS else _BAD


@njit
def _address(buffer: NDArray[np.uint8], begin: int, end: int) -> int:
    """4 for a dotted quad without leading zeros, 6 for what has the letters of IPv6, else bad."""
    value = -1
    parts = 0
    quad = True
    colons = 0
    for i in range(begin, end):
        byte = buffer[i]
        if _is_digit(byte):
            if value == 0:
                quad = False
            value = (byte - 48) if value < 0 else 10 * value + (byte - 48)
            if value > 255:
                quad = False
                value = 255
        elif byte == 46:
            quad = quad and value >= 0
            parts += 1
            value = -1
        elif byte == 58:
            quad = False
            colons += 1
        elif (97 <= byte <= 102) or (65 <= byte <= 70):
            quad = False
        elif byte == 37 and colons > 1:  # a zone stands behind it
            break
        else:
            return _BAD
    if quad and parts == 3 and value >= 0:
        return 4
    return 6 if colons > 1 and end - begin < 80 else _BAD


@njit
def _hex(buffer: NDArray[np.uint8], begin: int, end: int) -> int:
    if not 0 < end - begin <= 4:
        return _BAD
    value = 0
    for i in range(begin, end):
        byte = buffer[i]
        if _is_digit(byte):
            value = 16 * value + (byte - 48)
        elif 97 <= (byte | 32) <= 102:
            value = 16 * value + ((byte | 32) - 87)
        else:
            return _BAD
    return value


@njit
def _tags(buffer: NDArray[np.uint8], begin: int, end: int) -> int:
    """[inner] or [outer, inner]; brackets, blanks and commas part the numbers, a third tag is left out."""
    total = 0
    found = 0
    value = -1
    for i in range(begin, end + 1):
        byte = buffer[i] if i < end else 93
        if _is_digit(byte):
            value = (byte - 48) if value < 0 else 10 * value + (byte - 48)
            if value > 4095:
                return _BAD
        elif byte == 91 or byte == 93 or byte == 44 or byte == 32:
            if value >= 0 and found < 2:
                total = 4096 * total + value
                found += 1
            value = -1
        else:
            return _BAD
    return total


@njit
def _word(
    buffer: NDArray[np.uint8],
    begin: int,
    end: int,
    first: int,
    last: int,
    words: NDArray[np.int64],
    letters: NDArray[np.uint8],
) -> int:
    for k in range(first, last):
        start = words[k, 0]
        if words[k, 1] - start == end - begin:
            same = True
            for i in range(end - begin):
                if buffer[begin + i] != letters[start + i]:
                    same = False
                    break
            if same:
                return k - first
    return OTHER


@njit
def read_values(
    buffer: NDArray[np.uint8],
    begins: NDArray[np.int32],
    ends: NDArray[np.int32],
    value_kinds: NDArray[np.uint8],
    rows: int,
    logs: NDArray[np.int64],
    traits: NDArray[np.int64],
    words: NDArray[np.int64],
    letters: NDArray[np.uint8],
    values: NDArray[np.int64],
    faults: NDArray[np.int16],
) -> None:
    """Read every field of the lines whose log (`logs`, -1 for none) wants it.

    values: (fields, n) what was read, UNSET without; of TEXT nothing is. faults: (n,) 0, or column + 1 of the first
    bad value, or -(column + 1) of the first that is missing.
    """
    for row in range(rows):
        faults[row] = 0
        if logs[row] < 0:
            continue
        for column in range(len(traits)):
            values[column, row] = UNSET
            if not (traits[column, 2] >> logs[row]) & 1:
                continue
            begin = begins[row, column]
            end = ends[row, column]
            if begin < 0:
                if traits[column, 1] and faults[row] == 0:
                    faults[row] = -(column + 1)
                continue
            kind = traits[column, 0]
            value = 0
            if value_kinds[row, column] == LITERAL or (value_kinds[row, column] == CONTAINER and kind != TAGS):
                value = _BAD
            elif kind == TEXT:
                if end == begin and traits[column, 1] and faults[row] == 0:
                    faults[row] = -(column + 1)
            elif kind == COUNT or kind == PORT:
                value = _count(buffer, begin, end)
                if kind == PORT and value > 65_535:
                    value = _BAD
            elif kind == TIME:
                if end - begin > 7 and (buffer[begin + 4] == 45 or buffer[begin + 7] == 45):
                    value = _iso_nanoseconds(buffer, begin, end)
                else:
                    value = _nanoseconds(buffer, begin, end, True)
            elif kind == SECONDS:
                value = _nanoseconds(buffer, begin, end, False)
            elif kind == ADDRESS:
                value = _address(buffer, begin, end)
            elif kind == HEX:
                value = _hex(buffer, begin, end)
            elif kind == TAGS:
                value = _tags(buffer, begin, end)
            else:
                value = _word(buffer, begin, end, traits[column, 3], traits[column, 4], words, letters)
                if value == OTHER and kind == WORD:
                    value = _BAD
            values[column, row] = value
            if value == _BAD and faults[row] == 0:
                faults[row] = column + 1


@njit
def words_of(
    buffer: NDArray[np.uint8],
    begins: NDArray[np.int32],
    ends: NDArray[np.int32],
    column: int,
    traits: NDArray[np.int64],
    words: NDArray[np.int64],
    letters: NDArray[np.uint8],
) -> NDArray[np.int64]:
    """Return the index of each line's word in a WORD or OPEN_WORD column, ahead of `read_values`."""
    found = np.full(len(begins), UNSET, np.int64)
    for row in range(len(begins)):
        if begins[row, column] >= 0:
            found[row] = _word(
                buffer, begins[row, column], ends[row, column], traits[column, 3], traits[column, 4], words, letters
            )
    return found
