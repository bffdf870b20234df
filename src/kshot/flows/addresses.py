"""Addresses from numbers to text: dotted quads, and IPv6 as RFC 5952 writes it."""

from __future__ import annotations

from kshot.flows.headers import Bytes
from kshot.flows.layout import int64
from kshot.jit import njit_part

TEXT_BYTES = 39
"""The longest address text: eight groups of four digits and seven colons."""


@njit_part
def _write_quad(text: Bytes, at: int, address: int) -> int:
    """Write a dotted quad; return where it ends."""
    for shift in (24, 16, 8, 0):
        value = (address >> shift) & 255
        if value >= 100:
            text[at] = 48 + value // 100
            at += 1
        if value >= 10:
            text[at] = 48 + value // 10 % 10
            at += 1
        text[at] = 48 + value % 10
        text[at + 1] = 46
        at += 2
    return at - 1


@njit_part
def _group(high: int, low: int, group: int) -> int:
    """One of the eight numbers of an IPv6 address."""
    return int64(((high if group < 4 else low) >> (48 - 16 * (group & 3))) & 0xFFFF)


@njit_part
def write_address(text: Bytes, to: int, high: int, low: int, version6: bool) -> int:
    """Write an address, IPv4 in the lower bits of `low`, to `text[to]` and return its length.

    Up to `TEXT_BYTES` + 1 bytes are written, the last of them beyond the text.

    RFC 5952: lower case, no leading zeros, the longest run of two or more zero groups (the first of equals) as "::",
    IPv4-mapped addresses with a dotted quad.
    """
    if not version6:
        return _write_quad(text, to, low) - to
    best = int64(-1)
    best_length = int64(1)
    run = int64(0)
    for group in range(8):
        run = run + 1 if _group(high, low, group) == 0 else 0
        if run > best_length:
            best_length = run
            best = group - run + 1
    mapped = high == 0 and best_length == 5 and (low >> 32) & 0xFFFFFFFF == 0xFFFF
    at = to
    group = int64(0)
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
            return _write_quad(text, at, low) - to
        value = _group(high, low, group)
        started = False
        for shift in (12, 8, 4, 0):
            digit = (value >> shift) & 15
            if digit or started or shift == 0:
                text[at] = 48 + digit if digit < 10 else 87 + digit
                at += 1
                started = True
        group += 1
    return at - to
