"""Turns the spans that a line scanner found into text columns: unescaped, printable, UTF-8."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.jit import njit_bare
from kshot.sources.line_spans import ESCAPED_TEXT, Spans, byte_at


@njit_bare
def _nibble(byte: int) -> int:
    return byte - 48 if byte <= 57 else (byte | 32) - 87


@njit_bare
def _put_control(out: NDArray[np.uint8], to: int, byte: int) -> int:
    """Write a control byte as Zeek does: \\xNN."""
    out[to] = 92
    out[to + 1] = 120
    high, low = byte >> 4, byte & 15
    out[to + 2] = 48 + high if high < 10 else 87 + high
    out[to + 3] = 48 + low if low < 10 else 87 + low
    return to + 4


@njit_bare
def _put_point(out: NDArray[np.uint8], to: int, point: int) -> int:
    """Write a code point as UTF-8 (RFC 3629); half of a surrogate pair becomes U+FFFD, a control byte \\xNN."""
    if point < 32 or point == 127:
        return _put_control(out, to, point)
    if 0xD800 <= point < 0xE000:
        point = 0xFFFD
    if point < 0x80:
        out[to] = point
        return to + 1
    if point < 0x800:
        out[to] = 0xC0 | point >> 6
        out[to + 1] = 0x80 | (point & 63)
        return to + 2
    if point < 0x10000:
        out[to] = 0xE0 | point >> 12
        out[to + 1] = 0x80 | (point >> 6 & 63)
        out[to + 2] = 0x80 | (point & 63)
        return to + 3
    out[to] = 0xF0 | point >> 18
    out[to + 1] = 0x80 | (point >> 12 & 63)
    out[to + 2] = 0x80 | (point >> 6 & 63)
    out[to + 3] = 0x80 | (point & 63)
    return to + 4


@njit_bare
def _four_hex(buffer: NDArray[np.uint8], at: int) -> int:
    value = 0
    for i in range(at, at + 4):
        value = 16 * value + _nibble(byte_at(buffer, i))
    return value


@njit_bare
def _unescape(buffer: NDArray[np.uint8], begin: int, end: int, out: NDArray[np.uint8], to: int) -> int:
    """Write a JSON string without its escapes (RFC 8259, section 7); return where it ends."""
    at = begin
    while at < end:
        byte = byte_at(buffer, at)
        if byte != 92:
            if byte == 127:
                to = _put_control(out, to, byte)
            else:
                out[to] = byte
                to += 1
            at += 1
            continue
        letter = byte_at(buffer, at + 1)
        at += 2
        point = letter
        if letter == 117:
            point = _four_hex(buffer, at)
            at += 4
            if (
                0xD800 <= point < 0xDC00
                and at + 6 <= end
                and byte_at(buffer, at) == 92
                and byte_at(buffer, at + 1) == 117
            ):
                low = _four_hex(buffer, at + 2)
                if 0xDC00 <= low < 0xE000:
                    point = 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00)
                    at += 6
        elif letter == 98:
            point = 8
        elif letter == 102:
            point = 12
        elif letter == 110:
            point = 10
        elif letter == 114:
            point = 13
        elif letter == 116:
            point = 9
        to = _put_point(out, to, point)
    return to


@njit_bare
def _most_bytes(spans: Spans, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> int:
    """How much `write_text` may write: a byte becomes four at most."""
    total = len(rows) * len(columns)
    for row in rows:
        for column in columns:
            if spans.begins[row, column] >= 0:
                total += 4 * (spans.ends[row, column] - spans.begins[row, column])
    return total


@njit_bare
def write_text(
    buffer: NDArray[np.uint8],
    spans: Spans,
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> int:
    """Write the text of `columns` of `rows` as tab-separated lines; return how many bytes."""
    begins, ends, value_kinds = spans.begins, spans.ends, spans.kinds
    to = 0
    for row in rows:
        for k in range(len(columns)):
            if k:
                out[to] = 9
                to += 1
            column = columns[k]
            begin = begins[row, column]
            if begin < 0:
                continue
            if value_kinds[row, column] == ESCAPED_TEXT:
                to = _unescape(buffer, begin, ends[row, column], out, to)
                continue
            for i in range(begin, ends[row, column]):
                byte = byte_at(buffer, i)
                if byte < 32 or byte == 127:
                    to = _put_control(out, to, int(byte))
                else:
                    out[to] = byte
                    to += 1
        out[to] = 10
        to += 1
    return to


def text_frame(
    buffer: NDArray[np.uint8], spans: Spans, rows: NDArray[np.int64], columns: dict[str, int]
) -> pl.DataFrame:
    """Return the text of `columns` (name to column, two at least) of `rows`; empty text is null."""
    schema = dict.fromkeys(columns, pl.String())
    if not len(rows):
        return pl.DataFrame(schema=schema)
    wanted = np.array(list(columns.values()), np.int64)
    out = np.empty(_most_bytes(spans, rows, wanted), np.uint8)
    length = write_text(buffer, spans, rows, wanted, out)
    return pl.read_csv(
        out[:length].tobytes(), has_header=False, separator="\t", quote_char=None, schema=schema, infer_schema=False
    )
