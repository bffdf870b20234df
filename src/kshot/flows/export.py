"""Finished flows from the export area into a polars frame of FLOW_SCHEMA, column by column, no object a row."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.flows.addresses import TEXT_BYTES as ADDRESS_BYTES
from kshot.flows.addresses import write_address
from kshot.flows.community_id import TEXT_BYTES as COMMUNITY_ID_BYTES
from kshot.flows.community_id import write_community_id
from kshot.flows.conn_state import conn_state
from kshot.flows.decode import KEY_IPV6, KEY_ONE_WAY, Bytes
from kshot.flows.layout import (
    BLOCK_WORDS,
    C_ROWS,
    FIRST_TIME,
    FULL_WORDS,
    GAPS,
    I32_FLAGS,
    I32_SIZE_MAX,
    I32_SIZE_MIN,
    I32_TTL,
    I32_WINDOW_FIRST,
    I32_WINDOW_MAX,
    KEY_NETWORK,
    KEY_PORTS,
    LAST_TIME,
    ROW_WORDS,
    SIDE_GAP_MAX,
    SIDE_GAP_MEAN,
    SIDE_GAP_MIN,
    SIDE_GAP_SQUARES,
    SIDE_PACKETS,
    SIDE_PAYLOAD,
    SIDE_SQUARES,
    SIDE_WIRE,
    SIDE_WORDS,
    SIDES,
    SIZES,
    SLICE,
    STATUS,
    STATUS_ORIGINATOR,
    STATUS_REASON,
)
from kshot.flows.pools import Arena, Floats, Halves, Octets, Singles, Words
from kshot.jit import njit_bare
from kshot.records.flows import (
    CONN_STATES,
    END_REASONS,
    FLOW_SCHEMA,
    PAYLOAD_BYTES,
    SEQUENCE_PACKETS,
    TCP_FLAGS,
    TUNNELS,
)

_DIRECTIONS = ("orig", "resp")
_STATISTICS = [f"{d}_{what}" for d in _DIRECTIONS for what in (
    "size_min_bytes", "size_max_bytes", "size_mean_bytes", "size_std_bytes",
    "gap_min_seconds", "gap_max_seconds", "gap_mean_seconds", "gap_std_seconds",
    "entropy_bits",
)]  # fmt: skip
_STATISTICS_A_SIDE = 9
_TOTALS = [f"{d}_{what}" for d in _DIRECTIONS for what in ("packets", "wire_bytes", "bytes")]
_FLAGS = [f"{d}_{flag}_packets" for d in _DIRECTIONS for flag in TCP_FLAGS]
_MAYBE = [f"{d}_{what}" for d in _DIRECTIONS for what in ("window_first_bytes", "window_max_bytes", "ttl")]
_CODES = {"tunnel": TUNNELS, "conn_state": CONN_STATES, "end_reason": END_REASONS}

_LOG = np.array([0.0, *(n * np.log2(n) for n in range(1, PAYLOAD_BYTES + 1))])
"""n log2 n."""


class Columns(NamedTuple):
    """What the kernel fills for n flows: a row of a 2-D array is a column of the frame, in the order of the lists."""

    times: NDArray[np.int64]
    """(2, n) first, last."""
    totals: NDArray[np.int64]
    """(6, n)"""
    counts: NDArray[np.uint32]
    """(18, n) flags of both directions, then VLAN and slice."""
    maybe: NDArray[np.int32]
    """(6, n) windows and TTLs, -1 for null."""
    ports: NDArray[np.uint16]
    """(2, n)"""
    codes: NDArray[np.uint8]
    """(4, n) tunnel, conn_state, end_reason, protocol."""
    statistics: NDArray[np.float32]
    """(18, n) NaN for null."""
    text: NDArray[np.uint8]
    """(n, 108) originator, responder, community ID."""
    sizes: NDArray[np.int32]
    """(n, 32)"""
    gaps: NDArray[np.float32]
    """(n, 32)"""
    payloads: NDArray[np.uint8]
    """(n, 128)"""
    lengths: NDArray[np.uint32]
    """(5, n) of originator, responder, sequence, both payloads."""


def _empty_columns(n: int) -> Columns:
    return Columns(
        times=np.empty((2, n), np.int64),
        totals=np.empty((len(_TOTALS), n), np.int64),
        counts=np.empty((len(_FLAGS) + 2, n), np.uint32),
        maybe=np.empty((len(_MAYBE), n), np.int32),
        ports=np.empty((2, n), np.uint16),
        codes=np.empty((4, n), np.uint8),
        statistics=np.empty((len(_STATISTICS), n), np.float32),
        text=np.zeros((n, 2 * ADDRESS_BYTES + COMMUNITY_ID_BYTES), np.uint8),
        sizes=np.empty((n, SEQUENCE_PACKETS), np.int32),
        gaps=np.empty((n, SEQUENCE_PACKETS), np.float32),
        payloads=np.zeros((n, 2 * PAYLOAD_BYTES), np.uint8),
        lengths=np.zeros((5, n), np.uint32),
    )


@njit_bare
def _entropy(octets: Bytes, at: int, length: int, seen: NDArray[np.int64]) -> float:
    """Shannon entropy in bits a byte of `length` bytes at `at`. seen: (256,) zeros, left as zeros."""
    if length == 0:
        return np.nan
    for i in range(length):
        seen[octets[at + i]] += 1
    total = 0.0
    for i in range(length):
        value = octets[at + i]
        total += _LOG[seen[value]]
        seen[value] = 0
    return float(max(0.0, (_LOG[length] - total) / length))


@njit_bare
def _write_statistics(
    words: Words, halves: Halves, floats: Floats, own: int, out: NDArray[np.float32], first: int, i: int
) -> None:
    """One direction's sizes and gaps; deviations are those of the whole (divided by n)."""
    n = words[own + SIDE_PACKETS]
    for k in range(first, first + 8):
        out[k, i] = np.nan
    if n == 0:
        return
    mean = words[own + SIDE_WIRE] / n
    out[first, i] = halves[2 * own + I32_SIZE_MIN]
    out[first + 1, i] = halves[2 * own + I32_SIZE_MAX]
    out[first + 2, i] = mean
    out[first + 3, i] = np.sqrt(max(0.0, floats[own + SIDE_SQUARES] / n - mean * mean))
    if n > 1:
        out[first + 4, i] = words[own + SIDE_GAP_MIN] * 1e-9
        out[first + 5, i] = words[own + SIDE_GAP_MAX] * 1e-9
        out[first + 6, i] = floats[own + SIDE_GAP_MEAN]
        out[first + 7, i] = np.sqrt(max(0.0, floats[own + SIDE_GAP_SQUARES] / (n - 1)))


@njit_bare
def _bytes_of(words: Words, at: int, raw: Octets, to: int) -> None:
    """Two words as 16 bytes, most significant first."""
    for i in range(8):
        raw[to + i] = (words[at] >> (56 - 8 * i)) & 255
        raw[to + 8 + i] = (words[at + 1] >> (56 - 8 * i)) & 255


@njit_bare
def fill_columns(
    words: Words,
    halves: Halves,
    floats: Floats,
    singles: Singles,
    octets: Octets,
    begin: int,
    n: int,
    columns: Columns,
    seen: Words,
    raw: Octets,
    scratch: Octets,
    schedule: NDArray[np.uint32],
) -> None:
    """Turn `n` rows of the export area from row `begin` on into columns.

    Scratch: seen (256,) of zeros; raw (32,) both addresses; scratch (84,) and schedule (80,) of the community ID.
    """
    times, totals, counts, maybe, ports_, codes, statistics, texts, sizes, gaps, payloads, lengths = columns
    for i in range(n):
        row = words[C_ROWS] + (begin + i) * ROW_WORDS
        status = words[row + STATUS]
        ports = words[row + KEY_PORTS]
        place = words[row + KEY_NETWORK]
        originator = 1 if status & STATUS_ORIGINATOR else 0
        protocol = ports & 255
        version6 = ports & KEY_IPV6 != 0
        one_way = ports & KEY_ONE_WAY != 0
        orig_port = (ports >> (16 if originator else 32)) & 0xFFFF
        resp_port = (ports >> (32 if originator else 16)) & 0xFFFF

        times[0, i] = words[row + FIRST_TIME]
        times[1, i] = words[row + LAST_TIME]
        ports_[0, i] = orig_port
        # A request and its reply: the key holds the reply's type; the code of either is 0.
        paired = (protocol == 1 or protocol == 58) and not one_way
        ports_[1, i] = 0 if paired else resp_port
        for d in range(2):
            own = row + SIDES + (originator if d == 0 else 1 - originator) * SIDE_WORDS
            half = 2 * own
            packets = words[own + SIDE_PACKETS]
            totals[3 * d, i] = packets
            totals[3 * d + 1, i] = words[own + SIDE_WIRE]
            totals[3 * d + 2, i] = words[own + SIDE_PAYLOAD]
            for k in range(8):
                counts[8 * d + k, i] = halves[half + I32_FLAGS + k]
            maybe[3 * d, i] = halves[half + I32_WINDOW_FIRST] if packets else -1
            maybe[3 * d + 1, i] = halves[half + I32_WINDOW_MAX] if packets else -1
            maybe[3 * d + 2, i] = halves[half + I32_TTL] if packets else -1
            _write_statistics(words, halves, floats, own, statistics, 9 * d, i)
            block = row + FULL_WORDS + (originator if d == 0 else 1 - originator) * BLOCK_WORDS
            length = words[block]
            first = 8 * (block + 1)
            lengths[3 + d, i] = length
            for k in range(length):
                payloads[i, 64 * d + k] = octets[first + k]
            statistics[9 * d + 8, i] = _entropy(octets, first, length, seen)
        counts[16, i] = place & 0xFFFFFF
        counts[17, i] = words[row + SLICE]
        codes[0, i] = (place >> 24) & 7
        codes[1, i] = conn_state(
            protocol,
            status,
            originator,
            totals[0, i],
            totals[3, i],
            totals[2, i] + totals[5, i],
        )
        codes[2, i] = (status >> STATUS_REASON) & 7
        codes[3, i] = protocol

        kept = min(SEQUENCE_PACKETS, totals[0, i] + totals[3, i])
        lengths[2, i] = kept
        for k in range(kept):
            size = halves[2 * (row + SIZES) + k]
            sizes[i, k] = -size if originator else size
            gaps[i, k] = singles[2 * (row + GAPS) + k]

        _bytes_of(words, row + (2 if originator else 0), raw, 0)
        _bytes_of(words, row + (0 if originator else 2), raw, 16)
        lengths[0, i] = write_address(texts, i, 0, raw, 0, version6)
        lengths[1, i] = write_address(texts, i, ADDRESS_BYTES, raw, 16, version6)
        write_community_id(
            texts, i, 2 * ADDRESS_BYTES, scratch, schedule, raw, version6, protocol, orig_port, resp_port, one_way
        )


def _wide(values: NDArray[Any], lengths: NDArray[np.uint32]) -> pl.Series:
    """An array column as wide as its longest row. values: (n, width)."""
    return pl.Series(np.ascontiguousarray(values[:, : max(1, int(lengths.max()))]))


def _trimmed(name: str) -> pl.Expr:
    """A list column of each row's first values, as many as its length column says."""
    return pl.col(name).arr.to_list().list.head(pl.col(f"{name} length"))


def _enum(codes: NDArray[np.uint8], names: tuple[str, ...]) -> pl.Series:
    return pl.Series(names, dtype=pl.Enum(names)).gather(codes)


_NOT_YET = [
    *(_trimmed(name).cast(pl.Binary).cast(pl.String).alias(name) for name in ("originator", "responder")),
    *(_trimmed(name).cast(pl.Binary).alias(name) for name in ("orig_payload", "resp_payload")),
    *(_trimmed(name) for name in ("packet_sizes_bytes", "packet_gaps_seconds")),
    pl.col("community_id").arr.to_list().cast(pl.Binary).cast(pl.String),
    *(pl.col(name).cast(pl.Datetime("ns", "UTC")) for name in ("first_time", "last_time")),
    *(pl.col(name).cast(FLOW_SCHEMA[name]) for name in _TOTALS),
    *(pl.when(pl.col(name) >= 0).then(pl.col(name)).cast(FLOW_SCHEMA[name]).alias(name) for name in _MAYBE),
    *(pl.col(name).fill_nan(None) for name in _STATISTICS),
]
"""How the kernel's columns become those of FLOW_SCHEMA."""


def flow_frame(arena: Arena, begin: int, n: int) -> pl.DataFrame:
    """Rows `begin` to `begin + n` of the export area as a frame of FLOW_SCHEMA."""
    if n == 0:
        return pl.DataFrame(schema=FLOW_SCHEMA)
    columns = _empty_columns(n)
    scratch = np.zeros(84, np.uint8)
    fill_columns(
        *arena, begin, n, columns, np.zeros(256, np.int64), np.zeros(32, np.uint8), scratch, np.zeros(80, np.uint32)
    )
    text, lengths = columns.text, columns.lengths
    lists: dict[str, tuple[NDArray[Any], NDArray[np.uint32]]] = {
        "originator": (text[:, :ADDRESS_BYTES], lengths[0]),
        "responder": (text[:, ADDRESS_BYTES : 2 * ADDRESS_BYTES], lengths[1]),
        "packet_sizes_bytes": (columns.sizes, lengths[2]),
        "packet_gaps_seconds": (columns.gaps, lengths[2]),
        "orig_payload": (columns.payloads[:, :PAYLOAD_BYTES], lengths[3]),
        "resp_payload": (columns.payloads[:, PAYLOAD_BYTES:], lengths[4]),
    }
    series: dict[str, pl.Series | NDArray[Any]] = {
        "first_time": columns.times[0],
        "last_time": columns.times[1],
        "duration_seconds": (columns.times[1] - columns.times[0]) * 1e-9,
        "orig_port": columns.ports[0],
        "resp_port": columns.ports[1],
        "protocol": columns.codes[3],
        "vlan": columns.counts[16],
        "slice": columns.counts[17],
        "community_id": pl.Series(np.ascontiguousarray(text[:, 2 * ADDRESS_BYTES :])),
    }
    for name, (values, length) in lists.items():
        series[name] = _wide(values, length)
        series[f"{name} length"] = length
    for row, (name, names) in enumerate(_CODES.items()):
        series[name] = _enum(columns.codes[row], names)
    for several, block in (
        (_TOTALS, columns.totals),
        (_FLAGS, columns.counts),
        (_STATISTICS, columns.statistics),
        (_MAYBE, columns.maybe),
    ):
        series.update(zip(several, block, strict=False))
    frame = pl.DataFrame({name: pl.Series(values) for name, values in series.items()})
    return frame.with_columns(_NOT_YET).select(list(FLOW_SCHEMA))
