"""Reads numbers, times and addresses as logs write them, where they lie in a buffer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kshot.jit import njit_bare, njit_step
from kshot.sources.line_spans import byte_at

BAD = -3
"""What is returned for what cannot be read."""
LATEST_NANOSECONDS = 1 << 62
"""Times beyond (the year 2116) are damage; no difference of two overflows."""
_MILLISECONDS_FROM = 100_000_000_000
_DIGITS = 18


@njit_step
def _is_digit(byte: int) -> bool:
    return 48 <= byte <= 57


@njit_step
def read_count(buffer: NDArray[np.uint8], begin: int, end: int) -> int:
    """A whole number of up to 18 digits."""
    if not 0 < end - begin <= _DIGITS:
        return BAD
    value = 0
    for i in range(begin, end):
        if not _is_digit(byte_at(buffer, i)):
            return BAD
        value = 10 * value + (byte_at(buffer, i) - 48)
    return value


@njit_bare
def read_nanoseconds(buffer: NDArray[np.uint8], begin: int, end: int, is_time: bool) -> int:
    """Decimal seconds, with or without an exponent, to nanoseconds: exact where 64 bits hold it."""
    at = begin
    negative = at < end and byte_at(buffer, at) == 45
    if negative:
        at += 1
    mantissa = 0
    kept = 0
    exponent = 0
    digits = 0
    fraction = False
    while at < end and (_is_digit(byte_at(buffer, at)) or (byte_at(buffer, at) == 46 and not fraction)):
        if byte_at(buffer, at) == 46:
            fraction = True
        else:
            digits += 1
            if kept < _DIGITS:
                mantissa = 10 * mantissa + (byte_at(buffer, at) - 48)
                kept += 1 if mantissa else 0
                exponent -= 1 if fraction else 0
            elif not fraction:
                exponent += 1
        at += 1
    if digits == 0:
        return BAD
    if at < end and (byte_at(buffer, at) == 101 or byte_at(buffer, at) == 69):
        at += 1
        down = at < end and byte_at(buffer, at) == 45
        if at < end and (byte_at(buffer, at) == 45 or byte_at(buffer, at) == 43):
            at += 1
        if not 0 < end - at <= 4:
            return BAD
        power = 0
        while at < end and _is_digit(byte_at(buffer, at)):
            power = 10 * power + (byte_at(buffer, at) - 48)
            at += 1
        exponent += -power if down else power
    if at != end:
        return BAD
    if negative:
        return BAD if is_time and mantissa else 0
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
        return BAD
    if exponent < -_DIGITS:
        return 0
    scale = 1
    while exponent < 0:
        scale *= 10
        exponent += 1
    mantissa = (mantissa + scale // 2) // scale
    return mantissa if mantissa <= LATEST_NANOSECONDS else BAD


@njit_step
def _two(buffer: NDArray[np.uint8], at: int) -> int:
    if _is_digit(byte_at(buffer, at)) and _is_digit(byte_at(buffer, at + 1)):
        return 10 * (byte_at(buffer, at) - 48) + byte_at(buffer, at + 1) - 48
    return -10_000


@njit_bare
def read_iso_nanoseconds(buffer: NDArray[np.uint8], begin: int, end: int) -> int:
    """ISO 8601 (YYYY-MM-DDThh:mm:ss[.f][Z|+hhmm|+hh:mm]) to nanoseconds since 1970; without a zone it is UTC."""
    if end - begin < 19 or byte_at(buffer, begin + 4) != 45 or byte_at(buffer, begin + 7) != 45:
        return BAD
    if (
        (byte_at(buffer, begin + 10) != 84 and byte_at(buffer, begin + 10) != 32)
        or byte_at(buffer, begin + 13) != 58
        or byte_at(buffer, begin + 16) != 58
    ):
        return BAD
    year = 100 * _two(buffer, begin) + _two(buffer, begin + 2)
    month = _two(buffer, begin + 5)
    day = _two(buffer, begin + 8)
    hour = _two(buffer, begin + 11)
    minute = _two(buffer, begin + 14)
    second = _two(buffer, begin + 17)
    if not (1970 <= year <= 2116 and 1 <= month <= 12 and 1 <= day <= 31):
        return BAD
    if not (0 <= hour < 24 and 0 <= minute < 60 and 0 <= second <= 60):
        return BAD
    at = begin + 19
    fraction = 0
    if at < end and byte_at(buffer, at) == 46:
        at += 1
        scale = 100_000_000
        if at == end or not _is_digit(byte_at(buffer, at)):
            return BAD
        while at < end and _is_digit(byte_at(buffer, at)):
            fraction += (byte_at(buffer, at) - 48) * scale
            scale //= 10
            at += 1
    offset = 0
    if at < end and byte_at(buffer, at) == 90:
        at += 1
    elif at < end and (byte_at(buffer, at) == 43 or byte_at(buffer, at) == 45):
        west = byte_at(buffer, at) == 45
        colon = 1 if end - at == 6 and byte_at(buffer, at + 3) == 58 else 0
        if end - at != 5 + colon:
            return BAD
        offset = 60 * _two(buffer, at + 1) + _two(buffer, at + 3 + colon)
        if not 0 <= offset < 24 * 60:
            return BAD
        if west:
            offset = -offset
        at = end
    if at != end:
        return BAD
    # Days since 1970 in the proleptic Gregorian calendar, years counted from March so that leap days end them.
    y = year - 1 if month <= 2 else year
    months = (month + 9) % 12
    days = 365 * y + y // 4 - y // 100 + y // 400 + (153 * months + 2) // 5 + day - 1 - 719_468
    seconds = 86_400 * days + 3600 * hour + 60 * (minute - offset) + second
    value = seconds * 1_000_000_000 + fraction
    return value if 0 <= value <= LATEST_NANOSECONDS else BAD


@njit_bare
def read_address(buffer: NDArray[np.uint8], begin: int, end: int) -> int:
    """4 for a dotted quad without leading zeros, 6 for what has the letters of IPv6, else bad."""
    value = -1
    parts = 0
    quad = True
    colons = 0
    for i in range(begin, end):
        byte = byte_at(buffer, i)
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
            return BAD
    if quad and parts == 3 and value >= 0:
        return 4
    return 6 if colons > 1 and end - begin < 80 else BAD


@njit_bare
def read_hex(buffer: NDArray[np.uint8], begin: int, end: int) -> int:
    """A hexadecimal number of up to four digits."""
    if not 0 < end - begin <= 4:
        return BAD
    value = 0
    for i in range(begin, end):
        byte = byte_at(buffer, i)
        if _is_digit(byte):
            value = 16 * value + (byte - 48)
        elif 97 <= (byte | 32) <= 102:
            value = 16 * value + ((byte | 32) - 87)
        else:
            return BAD
    return value


@njit_bare
def read_tags(buffer: NDArray[np.uint8], begin: int, end: int) -> int:
    """[inner] or [outer, inner]; brackets, blanks and commas part the numbers, a third tag is left out."""
    total = 0
    found = 0
    value = -1
    for i in range(begin, end + 1):
        byte = byte_at(buffer, i) if i < end else 93
        if _is_digit(byte):
            value = (byte - 48) if value < 0 else 10 * value + (byte - 48)
            if value > 4095:
                return BAD
        elif byte == 91 or byte == 93 or byte == 44 or byte == 32:
            if value >= 0 and found < 2:
                total = 4096 * total + value
                found += 1
            value = -1
        else:
            return BAD
    return total
