"""Cheap facts of DNS, HTTP, TLS and SSH that outlive a change of tool, read from the first payload bytes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from kshot.features.structure import u16
from kshot.jit import njit, njit_inline

_QUERY_INDEX = np.full(258, 12, np.int64)
"""Place in payload.DNS_QUERIES of each DNS type (IANA's registry)."""
for _at, _kinds in enumerate(((1,), (28,), (5,), (16,), (10,), (15,), (33,), (12,), (2,), (6,), (64, 65), (255,))):
    for _kind in _kinds:
        _QUERY_INDEX[_kind] = _at


@njit
def describe_dns(up: Any, n_up: int, down: Any, n_down: int, counts: Any, out: Any, at: int) -> None:
    """Fill eight features from `at`: the first question's name and type, and the first answer's code (RFC 1035).

    Letters count without case: resolvers change it at random against forgery (0x20 encoding), and Zeek does not log it.
    """
    if n_down >= 4 and down[2] & 0x80:
        code = down[3] & 15
        out[at + 7] = 0 if code == 0 else 1 if code == 3 else 2 if code == 2 else 3 if code == 5 else 4
    # An answer repeats its question, which is all there is where only the answer was seen.
    b, n = (up, n_up) if n_up >= 13 else (down, n_down)
    if n < 13 or u16(b, 4) == 0:
        return
    where, end = 12, n
    length, labels, longest, characters, digits, odd = 0, 0, 0, 0, 0, 0
    while where < end and 0 < b[where] < 64:
        label = b[where]
        labels += 1
        length += label + 1
        longest = max(longest, label)
        for k in range(where + 1, min(where + 1 + label, end)):
            c = b[k]
            if 0x41 <= c <= 0x5A:
                c += 0x20
            characters += 1
            counts[c] += 1
            if 0x30 <= c <= 0x39:
                digits += 1
            elif not (0x61 <= c <= 0x7A or c == 0x2D or c == 0x5F):
                odd += 1
        where += label + 1
    if where + 2 < end and b[where] == 0:
        out[at + 6] = _QUERY_INDEX[min(u16(b, where + 1), 257)]
    out[at] = max(length - 1, 0)
    out[at + 1] = labels
    out[at + 2] = longest
    if characters > 0:
        bits = 0.0
        for c in range(256):
            if counts[c] > 0:
                bits -= counts[c] / characters * math.log2(counts[c] / characters)
                counts[c] = 0
        out[at + 3] = digits / characters
        out[at + 4] = odd / characters
        out[at + 5] = bits


@njit_inline
def _hex_value(c: int) -> int:
    """Return what a hexadecimal digit stands for, -1 for what is none."""
    if 0x30 <= c <= 0x39:
        return c - 0x30
    lower = c | 0x20
    return lower - 0x57 if 0x61 <= lower <= 0x66 else -1


@njit
def describe_http(up: Any, n_up: int, down: Any, n_down: int, out: Any, at: int) -> None:
    """Fill four features from `at`: method, URI length and special characters, status class (RFC 9112, 3986)."""
    if n_down >= 12 and down[0] == 0x48 and down[4] == 0x2F and 0x31 <= down[9] <= 0x35:
        out[at + 3] = down[9] - 0x31
    blank = 0
    while blank < n_up and blank < 12 and up[blank] != 0x20:
        blank += 1
    if n_up < 5 or blank == 12 or blank == n_up or (up[0] == 0x48 and up[4] == 0x2F):
        return
    first, second = up[0], up[1]
    method = 7
    if first == 0x47:
        method = 0
    elif first == 0x50:
        method = 1 if second == 0x4F else 3 if second == 0x55 else 7
    elif first == 0x48:
        method = 2
    elif first == 0x4F:
        method = 4
    elif first == 0x43:
        method = 5
    elif first == 0x44:
        method = 6
    out[at] = method
    length, special = 0, 0
    k = blank + 1
    while k < n_up:
        c = up[k]
        if c == 0x20 or c == 0x0D or c == 0x0A:
            break
        if c == 0x25 and k + 2 < n_up and _hex_value(up[k + 1]) >= 0 and _hex_value(up[k + 2]) >= 0:
            c = _hex_value(up[k + 1]) * 16 + _hex_value(up[k + 2])
            k += 2
        k += 1
        length += 1
        plain = 0x30 <= c <= 0x39 or 0x41 <= c <= 0x5A or 0x61 <= c <= 0x7A
        special += not (plain or 0x2D <= c <= 0x2F or c == 0x5F or c == 0x7E)
    out[at + 1] = length
    if length > 0:
        out[at + 2] = special / length


@njit
def describe_tls(up: Any, n_up: int, down: Any, n_down: int, out: Any, at: int) -> None:
    """Fill three features from `at`: first record's length of the originator, kind and length of the answer."""
    if n_up >= 5 and up[0] == 22:
        out[at] = u16(up, 3)
    if n_down >= 5:
        kind = down[0]
        out[at + 1] = 0 if kind == 22 else 1 if kind == 21 else 2
        out[at + 2] = u16(down, 3)


@njit
def _banner_bytes(b: Any, n: int) -> int:
    for k in range(n):
        if b[k] == 0x0A or b[k] == 0x0D:
            return k
    return n


@njit
def describe_ssh(up: Any, n_up: int, down: Any, n_down: int, out: Any, at: int) -> None:
    """Fill three features from `at`: both banners' lengths (RFC 4253), the originator's software family."""
    if n_down >= 8:
        out[at + 1] = _banner_bytes(down, n_down)
    if n_up < 12 or up[0] != 0x53:
        return
    out[at] = _banner_bytes(up, n_up)
    # "SSH-2.0-" and then the name: its first letters tell the families apart, whatever their case.
    c, d, e = up[8] | 0x20, up[9] | 0x20, up[10] | 0x20
    family = 7
    if c == 0x6F and d == 0x70:
        family = 0
    elif c == 0x64 and d == 0x72:
        family = 1
    elif c == 0x6C and d == 0x69 and e == 0x62:
        family = 3 if n_up > 14 and up[14] == 0x32 else 2
    elif c == 0x70 and d == 0x61:
        family = 4
    elif c == 0x70 and d == 0x75:
        family = 5
    elif c == 0x67 and d == 0x6F:
        family = 6
    out[at + 2] = family
