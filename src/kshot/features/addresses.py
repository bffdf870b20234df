"""Addresses in bulk: text to 128 bits, a key for the memory of hosts, the scope, and whether two share a subnet."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.jit import njit

SCOPES = ("private", "public", "loopback", "link_local", "multicast", "broadcast", "other")
"""Where an address is good for (RFC 6890, 4291, 6598); "other": unspecified, reserved or no address at all."""
_PRIVATE, _PUBLIC, _LOOPBACK, _LINK_LOCAL, _MULTICAST, _BROADCAST, _OTHER = range(7)
_GROUPS = 8
_NEWLINE, _COLON, _DOT = 0x0A, 0x3A, 0x2E
_SIGNED = np.arange(256)
"""A byte as a signed word, whether numba compiles or numpy adds (which would stay in eight bits)."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """n addresses, parsed."""

    keys: NDArray[np.uint64]
    """(n,) the same for the same address however it is written, in every batch and process."""
    scopes: NDArray[np.int64]
    """(n,) index into `SCOPES`."""
    subnets: NDArray[np.uint64]
    """(n,) the same within a /24 of IPv4 or a /64 of IPv6; 0 for what is no address."""


@njit
def parse_kernel(text: NDArray[np.uint8], groups: NDArray[np.int64], valid: NDArray[np.bool_]) -> None:
    """Fill `groups` (n, 8), the 16-bit groups of n lines of text, IPv4 as ::ffff:a.b.c.d, and `valid` (n,)."""
    at = 0
    for i in range(len(groups)):
        group, gap, value, digits, dots, octets = 0, -1, 0, 0, 0, 0
        good, is_hex = True, False
        while True:
            c = _SIGNED[text[at]] if at < len(text) else _NEWLINE
            at += 1
            lower = c | 0x20
            if 0x30 <= c <= 0x39:
                value = value * 16 + c - 0x30
                digits += 1
            elif 0x61 <= lower <= 0x66:
                value = value * 16 + lower - 0x57
                digits += 1
                is_hex = True
            elif c == _DOT:
                # Read as hexadecimal so far: 0x192 stands for decimal 192.
                value = (value >> 8) * 100 + ((value >> 4) & 15) * 10 + (value & 15)
                good = good and 1 <= digits <= 3 and value <= 255 and not is_hex and dots < 3
                octets = octets * 256 + value
                dots += 1
                value, digits = 0, 0
            elif c == _COLON and dots == 0:
                if digits > 0:
                    if group < _GROUPS:
                        groups[i, group] = value
                    group += 1
                elif at > 1 and text[at - 2] == _COLON:
                    good = good and gap < 0
                    gap = group
                elif group > 0 or at >= len(text) or text[at] != _COLON:
                    good = False
                good = good and digits <= 4
                value, digits, is_hex = 0, 0, False
            elif c == _NEWLINE:
                break
            else:
                good = False
            if digits > 4:
                good = False
                digits, value = 5, 0
        if dots > 0:
            value = (value >> 8) * 100 + ((value >> 4) & 15) * 10 + (value & 15)
            good = good and 1 <= digits <= 3 and value <= 255 and not is_hex and dots == 3
            octets = (octets * 256 + value) & 0xFFFFFFFF
            if group == 0 and gap < 0:
                group = 5
                groups[i, group] = 0xFFFF
                group += 1
            if group + 2 <= _GROUPS:
                groups[i, group] = octets >> 16
                groups[i, group + 1] = octets & 0xFFFF
            group += 2
        elif digits > 0:
            if group < _GROUPS:
                groups[i, group] = value
            group += 1
        elif gap != group:
            good = False
        if good and 0 <= gap and group < _GROUPS:
            moved = group - gap
            for k in range(moved):
                groups[i, _GROUPS - 1 - k] = groups[i, group - 1 - k]
            for k in range(gap, _GROUPS - moved):
                groups[i, k] = 0
        elif group != _GROUPS:
            good = False
        valid[i] = good


def mixed(*parts: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Hash rows of whole numbers to 64 bits, never 0 (the finaliser of SplitMix64, Steele et al. 2014)."""
    state = np.zeros(len(parts[0]), np.uint64)
    for part in parts:
        state = (state ^ part) + np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = state ^ (state >> np.uint64(31))
    return np.where(state == 0, np.uint64(1), state)


def parse_addresses(texts: pl.Series) -> Addresses:
    """Parse a column of addresses as text; what is none keeps a key of its own, and the scope "other"."""
    clean = texts.fill_null("").str.replace_all("\n", " ", literal=True)
    joined = (clean.str.join("\n").item() or "").encode() if len(clean) else b""
    groups = np.zeros((len(clean), _GROUPS), np.int64)
    valid = np.zeros(len(clean), np.bool_)
    parse_kernel(np.frombuffer(joined, np.uint8).copy(), groups, valid)
    words = groups.astype(np.uint64)
    high = words[:, 0] << np.uint64(48) | words[:, 1] << np.uint64(32) | words[:, 2] << np.uint64(16) | words[:, 3]
    low = words[:, 4] << np.uint64(48) | words[:, 5] << np.uint64(32) | words[:, 6] << np.uint64(16) | words[:, 7]
    is_v4 = (high == 0) & (low >> np.uint64(32) == 0xFFFF)
    keys = mixed(high, low)
    subnets = np.where(is_v4, mixed(high, low >> np.uint64(8)), mixed(high, np.full_like(high, 64)))
    scopes = np.where(is_v4, _scopes_v4(low & np.uint64(0xFFFFFFFF)), _scopes_v6(high, low))
    for row in np.flatnonzero(~valid):
        digest = hashlib.blake2b(str(clean[int(row)]).encode(), digest_size=8).digest()
        keys[row] = max(int.from_bytes(digest, "little"), 1)
    subnets[~valid] = 0
    scopes[~valid] = _OTHER
    return Addresses(keys, scopes, subnets)


def _scopes_v4(address: NDArray[np.uint64]) -> NDArray[np.int64]:
    def within(prefix: int, bits: int) -> NDArray[np.bool_]:
        return np.asarray(address >> np.uint64(32 - bits) == prefix >> (32 - bits))

    kinds: list[tuple[NDArray[np.bool_], int]] = [
        (address == 0xFFFFFFFF, _BROADCAST),
        (within(0x0A000000, 8) | within(0xAC100000, 12) | within(0xC0A80000, 16) | within(0x64400000, 10), _PRIVATE),
        (within(0xE0000000, 4), _MULTICAST),
        (within(0x7F000000, 8), _LOOPBACK),
        (within(0xA9FE0000, 16), _LINK_LOCAL),
        (within(0x00000000, 8) | within(0xF0000000, 4), _OTHER),
    ]
    return np.select([rows for rows, _ in kinds], [np.int64(kind) for _, kind in kinds], np.int64(_PUBLIC))


def _scopes_v6(high: NDArray[np.uint64], low: NDArray[np.uint64]) -> NDArray[np.int64]:
    top = high >> np.uint64(48)
    kinds: list[tuple[NDArray[np.bool_], int]] = [
        (top >> np.uint64(8) == 0xFF, _MULTICAST),
        (top >> np.uint64(9) == 0xFC >> 1, _PRIVATE),
        (top >> np.uint64(6) == 0xFE80 >> 6, _LINK_LOCAL),
        ((high == 0) & (low == 1), _LOOPBACK),
        ((high == 0) & (low == 0), _OTHER),
    ]
    return np.select([rows for rows, _ in kinds], [np.int64(kind) for _, kind in kinds], np.int64(_PUBLIC))
