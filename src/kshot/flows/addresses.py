"""Addresses from bytes to text, many at a time: dotted quads, and IPv6 as RFC 5952 writes it."""

from __future__ import annotations

import numpy as np

from kshot.flows.decode import Bytes
from kshot.jit import njit

TEXT_BYTES = 39
"""The longest address text: eight groups of four digits and seven colons."""


@njit
def _decimal(text: Bytes, at: int, value: int) -> int:
    """Write a number below 256; return where it ends."""
    if value >= 100:
        text[at] = 48 + value // 100
        at += 1
    if value >= 10:
        text[at] = 48 + value // 10 % 10
        at += 1
    text[at] = 48 + value % 10
    return at + 1


@njit
def _quad(text: Bytes, at: int, raw: Bytes) -> int:
    """Write the last four of 16 bytes as a dotted quad."""
    for i in range(12, 16):
        if i > 12:
            text[at] = 46
            at += 1
        at = _decimal(text, at, np.int64(raw[i]))
    return at


@njit
def write_address(text: Bytes, raw: Bytes, version6: bool) -> int:
    """Write the address `raw` (16,) into `text` (39,) and return its length. IPv4 lies in the last four bytes.

    RFC 5952: lower case, no leading zeros, the longest run of two or more zero groups (the first of equals) as "::",
    IPv4-mapped addresses with a dotted quad.
    """
    if not version6:
        return _quad(text, 0, raw)
    best = -1
    best_length = 1
    run = 0
    for group in range(8):
        if raw[2 * group] == 0 and raw[2 * group + 1] == 0:
            run += 1
            if run > best_length:
                best_length = run
                best = group - run + 1
        else:
            run = 0
    mapped = best == 0 and best_length == 5 and raw[10] == 255 and raw[11] == 255
    at = 0
    group = 0
    while group < 8:
        if group == best:
            text[at] = 58
            text[at + 1] = 58
            at += 2
            group += best_length
            continue
        if group > 0 and group != best + best_length:
            text[at] = 58
            at += 1
        if mapped and group == 6:
            return _quad(text, at, raw)
        value = (np.int64(raw[2 * group]) << 8) | np.int64(raw[2 * group + 1])
        started = False
        for shift in (12, 8, 4, 0):
            digit = (value >> shift) & 15
            if digit or started or shift == 0:
                text[at] = 48 + digit if digit < 10 else 87 + digit
                at += 1
                started = True
        group += 1
    return at
