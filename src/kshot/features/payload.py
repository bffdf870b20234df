"""What the first 64 payload bytes of each direction tell: the service, and what is odd within it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.features.declare import SIDES, both, category, first_bytes, number, to_array, to_series
from kshot.features.dissect import describe_dns, describe_http, describe_ssh, describe_tls
from kshot.features.services import SERVICE_ID, SERVICES
from kshot.features.signatures import FACTS, SHAPES_END, SIGNATURES, STRONG_END, TESTS
from kshot.features.structure import structured_service, u16
from kshot.jit import njit
from kshot.records.columns import Column, Tier
from kshot.records.flows import PAYLOAD_BYTES

DNS_QUERIES = ("a", "aaaa", "cname", "txt", "null", "mx", "srv", "ptr", "ns", "soa", "https", "any", "other")
DNS_ANSWERS = ("noerror", "nxdomain", "servfail", "refused", "other")
HTTP_METHODS = ("get", "post", "head", "put", "options", "connect", "delete", "other")
HTTP_STATUSES = ("1xx", "2xx", "3xx", "4xx", "5xx")
TLS_ANSWERS = ("handshake", "alert", "other")
SSH_SOFTWARE = ("openssh", "dropbear", "libssh", "libssh2", "paramiko", "putty", "go", "other")
_Z, _P = Tier.ZEEK, Tier.PACKETS

COLUMNS: tuple[Column, ...] = (
    category("service", SERVICES, "protocol that the payload speaks, told without its port", _Z),
    *both("entropy_share_from_{}", "1", "entropy of the {}'s first payload bytes over the most that many can have", _P),
    *both("printable_share_from_{}", "1", "printable ASCII among the {}'s first payload bytes", _P),
    number(
        "dns_name_bytes",
        "bytes",
        "length of the first question's name, a lower bound where it reaches beyond 64 bytes",
        _Z,
    ),
    number("dns_labels", "1", "labels of that name", _Z),
    number("dns_longest_label_bytes", "bytes", "longest label of that name", _Z),
    number("dns_digit_share", "1", "digits among its characters", _Z),
    number("dns_odd_share", "1", "characters other than letters, digits, '-' and '_'", _Z),
    number("dns_entropy_bits", "bits", "Shannon entropy a character of that name, capitals as small letters", _Z),
    category("dns_query", DNS_QUERIES, "type that the first question asks for; null if beyond 64 bytes", _Z),
    category("dns_answer", DNS_ANSWERS, "response code of the first answer", _Z),
    category("http_method", HTTP_METHODS, "method of the first request", _Z),
    number("http_uri_bytes", "bytes", "length of its URI as far as 64 bytes show it, %XX decoded", _Z),
    number("http_uri_special_share", "1", "characters of that URI other than letters, digits and -._~/", _Z),
    category("http_status", HTTP_STATUSES, "class of the first answer's status", _Z),
    number("tls_hello_bytes", "bytes", "length of the originator's first TLS record", _P),
    category("tls_answer", TLS_ANSWERS, "kind of the responder's first TLS record", _P),
    number("tls_answer_bytes", "bytes", "length of the responder's first TLS record", _P),
    *both("ssh_banner_bytes_from_{}", "bytes", "length of the {}'s SSH banner", _P),
    category("ssh_software", SSH_SOFTWARE, "family of software in the originator's SSH banner", _P),
)
"""Facts of a service are null for flows that do not speak it. Logs tell what stands at the Zeek tier (log_facts.py)."""

NEEDED = tuple(f"{side}_payload" for side, _ in SIDES)
"""Flow columns of the packet tier that are read here."""

_NONE, _UNKNOWN = SERVICE_ID["none"], SERVICE_ID["unknown"]
_DNS, _HTTP, _SSH, _TLS = SERVICE_ID["dns"], SERVICE_ID["http"], SERVICE_ID["ssh"], SERVICE_ID["tls"]
_AT_DNS, _AT_HTTP, _AT_TLS, _AT_SSH = 5, 13, 17, 20


@njit
def _find(b: Any, n: int, protocol: int, tests: Any, facts: Any, begin: int, end: int) -> int:
    """Return the service of the first signature in rows [begin, end) that n payload bytes bear, or 0."""
    for row in range(begin, end):
        if n < facts[row, 2] or (facts[row, 1] != 0 and facts[row, 1] != protocol):
            continue
        at, stop = facts[row, 4], facts[row, 5]
        while at < stop and tests[at, 1] <= b[tests[at, 0]] <= tests[at, 2]:
            at += 1
        if at < stop:
            continue
        length_at = facts[row, 3]
        if length_at >= 0:
            length = u16(b, length_at)
            # Several messages may lie end to end, and more than 64 bytes are not kept.
            if length > n and n < PAYLOAD_BYTES:
                continue
        return int(facts[row, 0])
    return 0


@njit
def guess_service(up: Any, n_up: int, down: Any, n_down: int, protocol: int, tests: Any, facts: Any) -> int:
    """Return the id of the service that a flow speaks: the best kind of evidence first, originator before responder."""
    if n_up == 0 and n_down == 0:
        return _NONE
    if protocol != 6 and protocol != 17:
        return _UNKNOWN
    begin = 0
    for end in (STRONG_END, -1, SHAPES_END, SIGNATURES):
        for d in range(2):
            b, n = (up, n_up) if d == 0 else (down, n_down)
            if n == 0:
                continue
            if end < 0:
                found = structured_service(b, n, protocol)
            else:
                found = _find(b, n, protocol, tests, facts, begin, end)
            if found > 0:
                return found
        begin = max(begin, end)
    return _UNKNOWN


@njit
def describe_bytes(b: Any, n: int, counts: Any, out: Any, at: int) -> None:
    """Fill the entropy share at `at` and the printable share at `at` + 2; `counts` is (256,) zeros, and stays so."""
    printable = 0
    for k in range(n):
        byte = b[k]
        counts[byte] += 1
        printable += 0x20 <= byte < 0x7F or byte == 10 or byte == 13 or byte == 9
    bits = 0.0
    for k in range(n):
        count = counts[b[k]]
        if count > 0:
            bits -= count / n * math.log2(count / n)
            counts[b[k]] = 0
    if n > 1:
        out[at] = bits / math.log2(n)
    out[at + 2] = printable / n


@njit
def payload_kernel(
    up: NDArray[np.uint8],
    up_starts: NDArray[np.int64],
    down: NDArray[np.uint8],
    down_starts: NDArray[np.int64],
    protocols: NDArray[np.int64],
    services: NDArray[np.int64],
    tests: NDArray[np.int64],
    facts: NDArray[np.int64],
    out: NDArray[np.float32],
) -> None:
    """Fill `out` (features, n), NaN before, from the payload of both directions.

    `services` (n,) holds ids where a log named the service, and -1 where the payload is to tell.
    """
    counts = np.zeros(256, np.int64)
    # What lies past a short payload is an earlier flow's, or zero: the lengths bound what counts.
    a, b = np.zeros(2 * PAYLOAD_BYTES, np.int64), np.zeros(2 * PAYLOAD_BYTES, np.int64)
    for i in range(len(protocols)):
        n_up = min(up_starts[i + 1] - up_starts[i], PAYLOAD_BYTES)
        n_down = min(down_starts[i + 1] - down_starts[i], PAYLOAD_BYTES)
        # Copied to signed words: numba mixes unsigned bytes and other whole numbers to floats.
        for k in range(n_up):
            a[k] = up[up_starts[i] + k]
        for k in range(n_down):
            b[k] = down[down_starts[i] + k]
        column = out[:, i]
        service = services[i]
        if service < 0:
            service = guess_service(a, n_up, b, n_down, protocols[i], tests, facts)
        column[0] = service
        if n_up > 0:
            describe_bytes(a, n_up, counts, column, 1)
        if n_down > 0:
            describe_bytes(b, n_down, counts, column, 2)
        if service == _DNS:
            skip = 2 if protocols[i] == 6 else 0
            describe_dns(a[skip:], n_up - skip, b[skip:], n_down - skip, counts, column, _AT_DNS)
        elif service == _HTTP:
            describe_http(a, n_up, b, n_down, column, _AT_HTTP)
        elif service == _TLS:
            describe_tls(a, n_up, b, n_down, column, _AT_TLS)
        elif service == _SSH:
            describe_ssh(a, n_up, b, n_down, column, _AT_SSH)


def describe(
    up: tuple[NDArray[np.uint8], NDArray[np.int64]],
    down: tuple[NDArray[np.uint8], NDArray[np.int64]],
    protocols: NDArray[np.int64],
    services: NDArray[np.int64],
    tier: Tier,
) -> list[pl.Series]:
    """Compute those of `COLUMNS` that `tier` can carry from n payloads a direction, bytes and where each begins."""
    out = np.full((len(COLUMNS), len(protocols)), np.nan, np.float32)
    payload_kernel(*up, *down, protocols, services, TESTS, FACTS, out)
    return [to_series(column, values) for column, values in zip(COLUMNS, out, strict=True) if column.tier <= tier]


def payload_features(flows: pl.DataFrame) -> list[pl.Series]:
    """Compute the columns of `COLUMNS`, one row a flow of `flows` (packet tier)."""
    up, down = (first_bytes(flows[name]) for name in NEEDED)
    protocols = to_array(flows["protocol"], np.int64)
    return describe(up, down, protocols, np.full(len(flows), -1), Tier.PACKETS)
