"""Addresses from bytes to text, many at a time: dotted quads, and IPv6 as RFC 5952 writes it."""

from __future__ import annotations

from kshot.flows.decode import Bytes
from kshot.flows.layout import int64
from kshot.jit import njit_bare

TEXT_BYTES = 39
"""The longest address text: eight groups of four digits and seven colons."""


@njit_bare
def _decimal(text: Bytes, i: int, at: int, value: int) -> int:
    """Write a number below 256; return where it ends."""
    if value >= 100:
        text[i, at] = 48 + value // 100
        at += 1
    if value >= 10:
        text[i, at] = 48 + value // 10 % 10
        at += 1
    text[i, at] = 48 + value % 10
    return at + 1


@njit_bare
def _quad(text: Bytes, i: int, at: int, raw: Bytes, start: int) -> int:
    """Write the last four of 16 bytes as a dotted quad."""
    for k in range(12, 16):
        if k > 12:
            text[i, at] = 46
            at += 1
        at = _decimal(text, i, at, int64(raw[start + k]))
    return at


@njit_bare
def write_address(text: Bytes, i: int, to: int, raw: Bytes, start: int, version6: bool) -> int:
    """Write the 16-byte address at `raw[start]` to `text[i, to]` and return its length, 39 at most.

    IPv4 lies in the last four bytes.

    RFC 5952: lower case, no leading zeros, the longest run of two or more zero groups (the first of equals) as "::",
    IPv4-mapped addresses with a dotted quad.
    """
    if not version6:
        return _quad(text, i, to, raw, start) - to
    best = -1
    best_length = 1
    run = 0
    for group in range(8):
        if raw[start + 2 * group] == 0 and raw[start + 2 * group + 1] == 0:
            run += 1
            if run > best_length:
                best_length = run
                best = group - run + 1
        else:
            run = 0
    mapped = best == 0 and best_length == 5 and raw[start + 10] == 255 and raw[start + 11] == 255
    at = to
    group = 0
    while group < 8:
        if group == best:
            text[i, at] = 58
            text[i, at + 1] = 58
            at += 2
            group += best_length
            continue
        if group > 0 and group != best + best_length:
            text[i, at] = 58
            at += 1
        if mapped and group == 6:
            return _quad(text, i, at, raw, start) - to
        value = (int64(raw[start + 2 * group]) << 8) | int64(raw[start + 2 * group + 1])
        started = False
        for shift in (12, 8, 4, 0):
            digit = (value >> shift) & 15
            if digit or started or shift == 0:
                text[i, at] = 48 + digit if digit < 10 else 87 + digit
                at += 1
                started = True
        group += 1
    return at - to
