"""Finished flows from the export area into a polars frame of FLOW_SCHEMA, column by column, no object a row."""

from __future__ import annotations

from typing import NamedTuple

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
from kshot.jit import njit
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


@njit
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
    return max(0.0, (_LOG[length] - total) / length)


@njit
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


@njit
def _bytes_of(words: Words, at: int, raw: Bytes) -> None:
    """Two words as 16 bytes, most significant first."""
    for i in range(8):
        raw[i] = (words[at] >> (56 - 8 * i)) & 255
        raw[8 + i] = (words[at + 1] >> (56 - 8 * i)) & 255


@njit
def fill_columns(
    words: Words,
    halves: Halves,
    floats: Floats,
    singles: Singles,
    octets: Octets,
    begin: int,
    n: int,
    columns: Columns,
) -> None:
    """Turn `n` rows of the export area from row `begin` on into columns."""
    seen = np.zeros(256, np.int64)
    schedule = np.zeros(80, np.int64)
    scratch = np.zeros(84, np.uint8)
    orig_raw = np.zeros(16, np.uint8)
    resp_raw = np.zeros(16, np.uint8)
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

        _bytes_of(words, row + (2 if originator else 0), orig_raw)
        _bytes_of(words, row + (0 if originator else 2), resp_raw)
        text = texts[i]
        lengths[0, i] = write_address(text[:39], orig_raw, version6)
        lengths[1, i] = write_address(text[39:78], resp_raw, version6)
        write_community_id(
            text[78:], scratch, schedule, orig_raw, resp_raw, version6, protocol, orig_port, resp_port, one_way
        )


def _trimmed(values: NDArray[np.generic], lengths: NDArray[np.uint32]) -> pl.Expr | pl.Series:
    """A list column of each row's first `lengths` values. values: (n, width); what no row uses is not copied."""
    width = max(1, int(lengths.max()))
    wide = pl.Series("values", np.ascontiguousarray(values[:, :width]))
    frame = pl.DataFrame({"values": wide, "length": lengths})
    return frame.select(pl.col("values").arr.to_list().list.head(pl.col("length"))).to_series()


def _enum(codes: NDArray[np.uint8], names: tuple[str, ...]) -> pl.Series:
    return pl.Series(names, dtype=pl.Enum(names)).gather(codes)


def flow_frame(arena: Arena, begin: int, n: int) -> pl.DataFrame:
    """Rows `begin` to `begin + n` of the export area as a frame of FLOW_SCHEMA."""
    if n == 0:
        return pl.DataFrame(schema=FLOW_SCHEMA)
    columns = _empty_columns(n)
    fill_columns(*arena, begin, n, columns)
    moment = pl.Datetime("ns", "UTC")
    text = columns.text
    series: dict[str, pl.Series] = {
        "first_time": pl.Series(columns.times[0]).cast(moment),
        "last_time": pl.Series(columns.times[1]).cast(moment),
        "duration_seconds": pl.Series((columns.times[1] - columns.times[0]) * 1e-9),
        "originator": _trimmed(text[:, :ADDRESS_BYTES], columns.lengths[0]).cast(pl.Binary).cast(pl.String),
        "responder": _trimmed(text[:, ADDRESS_BYTES : 2 * ADDRESS_BYTES], columns.lengths[1])
        .cast(pl.Binary)
        .cast(pl.String),
        "orig_port": pl.Series(columns.ports[0]),
        "resp_port": pl.Series(columns.ports[1]),
        "protocol": pl.Series(columns.codes[3]),
        "vlan": pl.Series(columns.counts[16]),
        "slice": pl.Series(columns.counts[17]),
        "community_id": pl.Series(np.ascontiguousarray(text[:, 2 * ADDRESS_BYTES :]))
        .arr.to_list()
        .cast(pl.Binary)
        .cast(pl.String),
        "packet_sizes_bytes": _trimmed(columns.sizes, columns.lengths[2]),
        "packet_gaps_seconds": _trimmed(columns.gaps, columns.lengths[2]),
        "orig_payload": _trimmed(columns.payloads[:, :PAYLOAD_BYTES], columns.lengths[3]).cast(pl.Binary),
        "resp_payload": _trimmed(columns.payloads[:, PAYLOAD_BYTES:], columns.lengths[4]).cast(pl.Binary),
    }
    for row, (name, names) in enumerate(_CODES.items()):
        series[name] = _enum(columns.codes[row], names)
    for name, values in zip(_TOTALS, columns.totals, strict=True):
        series[name] = pl.Series(values)
    for name, values in zip(_FLAGS, columns.counts, strict=False):
        series[name] = pl.Series(values)
    for name, values in zip(_STATISTICS, columns.statistics, strict=True):
        series[name] = pl.Series(values, nan_to_null=True)
    for name, values in zip(_MAYBE, columns.maybe, strict=True):
        series[name] = pl.Series(values)
    frame = pl.DataFrame({name: series[name] for name in FLOW_SCHEMA})
    nulled = [pl.when(pl.col(name) >= 0).then(pl.col(name)) for name in _MAYBE]
    return frame.with_columns(nulled).cast({name: FLOW_SCHEMA[name] for name in (*_TOTALS, *_MAYBE)})
