"""Finished flows into a polars frame of FLOW_SCHEMA, no object a row, no copy a column."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.flows.addresses import TEXT_BYTES as ADDRESS_BYTES
from kshot.flows.addresses import write_address
from kshot.flows.arrow import Block, Layout
from kshot.flows.community_id import LANE_WORDS, LANES, Lanes, hash_lanes, put_endpoints, write_community_id
from kshot.flows.community_id import TEXT_BYTES as COMMUNITY_ID_BYTES
from kshot.flows.conn_state import conn_state
from kshot.flows.fields import KEY_IPV6, KEY_ONE_WAY
from kshot.flows.layout import (
    BLOCK_WORDS,
    C_ROW_OCTETS,
    C_ROW_PACKETS,
    C_ROWS,
    C_ROWS_USED,
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
    int64,
)
from kshot.flows.pools import Arena, Floats, Halves, Octets, Singles, Words
from kshot.jit import bare, copy_bytes, njit_part, njit_stored
from kshot.records.flows import (
    CONN_STATES,
    END_REASONS,
    FLOW_SCHEMA,
    PAYLOAD_BYTES,
    SEQUENCE_PACKETS,
    TUNNELS,
)

_CODES = {"tunnel": TUNNELS, "conn_state": CONN_STATES, "end_reason": END_REASONS}
_SCHEMA: dict[str, pl.DataType] = {n: pl.UInt8() if n in _CODES else dtype for n, dtype in FLOW_SCHEMA.items()}
"""As the kernel fills it: names are numbers still."""
_NAMES = list(_SCHEMA)
_LISTS = ("packet_sizes_bytes", "packet_gaps_seconds")
_TEXTS = ("originator", "responder", "community_id", "orig_payload", "resp_payload")

# Where columns stand in the schema; those of the responder follow the originator's.
_FIRST_TIME, _LAST_TIME, _DURATION, _PROTOCOL, _VLAN, _TUNNEL, _STATE, _REASON, _SLICE = (
    _NAMES.index(name)
    for name in (
        *("first_time", "last_time", "duration_seconds", "protocol", "vlan"),
        *("tunnel", "conn_state", "end_reason", "slice"),
    )
)
_ADDRESS = _NAMES.index("originator")
_PORT = _NAMES.index("orig_port")
_COMMUNITY_ID = _NAMES.index("community_id")
_PACKETS, _WIRE, _BYTES = (_NAMES.index(f"orig_{name}") for name in ("packets", "wire_bytes", "bytes"))
_SIZE = _NAMES.index("orig_size_min_bytes")
_GAP = _NAMES.index("orig_gap_min_seconds")
_FLAG = _NAMES.index("orig_fin_packets")
_WINDOW = _NAMES.index("orig_window_first_bytes")
_TTL = _NAMES.index("orig_ttl")
_SIZES, _GAPS = (_NAMES.index(name) for name in _LISTS)
_PAYLOAD = _NAMES.index("orig_payload")
_ENTROPY = _NAMES.index("orig_entropy_bits")

# Bitmaps of what is known, the responder's after the originator's.
_SEEN, _GAPPED, _WINDOWED, _SPOKE = 0, 2, 4, 6
_BITMAPS = 8
_VALID = {
    f"{direction}_{name}": bitmap + d
    for d, direction in enumerate(("orig", "resp"))
    for bitmap, names in (
        (_SEEN, ("size_min_bytes", "size_max_bytes", "size_mean_bytes", "size_std_bytes", "ttl")),
        (_GAPPED, ("gap_min_seconds", "gap_max_seconds", "gap_mean_seconds", "gap_std_seconds")),
        (_WINDOWED, ("window_first_bytes", "window_max_bytes")),
        (_SPOKE, ("entropy_bits",)),
    )
    for name in names
}
_USED = _BITMAPS
"""In the tally after the nulls of each bitmap: bytes of each of _TEXTS, then packets of the lists."""
_TALLY = _USED + len(_TEXTS) + 1

_LOG = np.array([0.0, *(n * np.log2(n) for n in range(1, PAYLOAD_BYTES + 1))])
"""n log2 n."""


@njit_part
def _entropy(octets: Octets, at: int, length: int, seen: Words) -> float:
    """Shannon entropy in bits a byte of `length` bytes at `at`. seen: (256,) zeros, left as zeros."""
    for i in range(length):
        seen[octets[at + i]] += 1
    total = 0.0
    for i in range(length):
        value = octets[at + i]
        total += _LOG[seen[value]]
        seen[value] = 0
    return float(max(0.0, (_LOG[length] - total) / length))


@njit_part
def _mark(octets: Octets, place: int, tally: Words, bitmap: int, row: int, known: bool) -> None:
    """Tell a bitmap whether a value is known, and count those that are not."""
    if known:
        octets[place + (row >> 3)] |= 1 << (row & 7)
    else:
        tally[bitmap] += 1


@njit_part
def _view(words: Words, octets: Octets, view: int, data: int, tally: Words, text: int, length: int) -> None:
    """Write the Arrow view of `length` bytes that lie next in a text column's data; 12 or fewer move into the view."""
    used = tally[_USED + text]
    at = data + used
    if length > 12:
        first = int64(0)
        for i in range(4):
            first |= int64(octets[at + i]) << (32 + 8 * i)
        words[view >> 3] = length | first
        words[(view >> 3) + 1] = used << 32
        tally[_USED + text] = used + length
        return
    words[view >> 3] = length
    words[(view >> 3) + 1] = 0
    copy_bytes(octets, view + 4, octets, at, length)


@njit_part
def _fill_side(
    words: Words,
    halves: Halves,
    floats: Floats,
    octets: Octets,
    to_words: Words,
    to_halves: Halves,
    to_singles: Singles,
    to_octets: Octets,
    columns: Words,
    data: Words,
    bitmaps: Words,
    tally: Words,
    seen: Words,
    row: int,
    side: int,
    d: int,
    i: int,
) -> None:
    """One direction: d is 0 for the originator's. Deviations are those of the whole (divided by n)."""
    own = row + SIDES + side * SIDE_WORDS
    half = 2 * own
    n = words[own + SIDE_PACKETS]
    wire = words[own + SIDE_WIRE]
    to_words[(columns[_PACKETS + d] >> 3) + i] = n
    to_words[(columns[_WIRE + d] >> 3) + i] = wire
    to_words[(columns[_BYTES + d] >> 3) + i] = words[own + SIDE_PAYLOAD]
    for k in range(8):
        to_halves[(columns[_FLAG + 2 * k + d] >> 2) + i] = halves[half + I32_FLAGS + k]
    _mark(to_octets, bitmaps[_SEEN + d], tally, _SEEN + d, i, n > 0)
    _mark(to_octets, bitmaps[_GAPPED + d], tally, _GAPPED + d, i, n > 1)
    mean = wire / max(1, n)
    to_singles[(columns[_SIZE + d] >> 2) + i] = halves[half + I32_SIZE_MIN]
    to_singles[(columns[_SIZE + 2 + d] >> 2) + i] = halves[half + I32_SIZE_MAX]
    to_singles[(columns[_SIZE + 4 + d] >> 2) + i] = mean
    to_singles[(columns[_SIZE + 6 + d] >> 2) + i] = np.sqrt(
        max(0.0, floats[own + SIDE_SQUARES] / max(1, n) - mean * mean)
    )
    to_singles[(columns[_GAP + d] >> 2) + i] = words[own + SIDE_GAP_MIN] * 1e-9
    to_singles[(columns[_GAP + 2 + d] >> 2) + i] = words[own + SIDE_GAP_MAX] * 1e-9
    to_singles[(columns[_GAP + 4 + d] >> 2) + i] = floats[own + SIDE_GAP_MEAN]
    to_singles[(columns[_GAP + 6 + d] >> 2) + i] = np.sqrt(max(0.0, floats[own + SIDE_GAP_SQUARES] / max(1, n - 1)))
    window = halves[half + I32_WINDOW_FIRST]
    _mark(to_octets, bitmaps[_WINDOWED + d], tally, _WINDOWED + d, i, n > 0 and window >= 0)
    to_halves[(columns[_WINDOW + d] >> 2) + i] = window
    to_halves[(columns[_WINDOW + 2 + d] >> 2) + i] = halves[half + I32_WINDOW_MAX]
    to_octets[columns[_TTL + d] + i] = halves[half + I32_TTL]
    block = row + FULL_WORDS + side * BLOCK_WORDS
    length = words[block]
    text = 3 + d
    entropy = 0.0
    if length:
        entropy = _entropy(octets, 8 * (block + 1), length, seen)
        copy_bytes(to_octets, data[text] + tally[_USED + text], octets, 8 * (block + 1), length)
    to_singles[(columns[_ENTROPY + d] >> 2) + i] = entropy
    _mark(to_octets, bitmaps[_SPOKE + d], tally, _SPOKE + d, i, length > 0)
    _view(to_words, to_octets, columns[_PAYLOAD + d] + 16 * i, data[text], tally, text, length)


@njit_stored
def fill_columns(
    words: Words,
    halves: Halves,
    floats: Floats,
    singles: Singles,
    octets: Octets,
    to_words: Words,
    to_halves: Halves,
    to_floats: Floats,
    to_singles: Singles,
    to_octets: Octets,
    to_shorts: NDArray[np.uint16],
    columns: Words,
    data: Words,
    bitmaps: Words,
    tally: Words,
    seen: Words,
    lanes: Lanes,
    n: int,
) -> None:
    """Turn the `n` rows of the export area into columns.

    to_words and so on: the block to fill, seen as each type; columns, data, bitmaps: what lies where in it, in bytes;
    tally: (_TALLY,) zeros, to be nulls and bytes used. Scratch: seen (256,) of zeros, lanes (LANE_WORDS,).
    """
    words, halves, floats, singles, octets = bare(words), bare(halves), bare(floats), bare(singles), bare(octets)
    to_words, to_halves, to_floats = bare(to_words), bare(to_halves), bare(to_floats)
    to_singles, to_octets, to_shorts = bare(to_singles), bare(to_octets), bare(to_shorts)
    columns, data, bitmaps, tally = bare(columns), bare(data), bare(bitmaps), bare(tally)
    seen, lanes = bare(seen), bare(lanes)
    listed = int64(0)
    for i in range(n):
        row = words[C_ROWS] + i * ROW_WORDS
        status = words[row + STATUS]
        ports = words[row + KEY_PORTS]
        place = words[row + KEY_NETWORK]
        originator = 1 if status & STATUS_ORIGINATOR else 0
        protocol = ports & 255
        version6 = ports & KEY_IPV6 != 0
        one_way = ports & KEY_ONE_WAY != 0
        orig_port = (ports >> (16 if originator else 32)) & 0xFFFF
        resp_port = (ports >> (32 if originator else 16)) & 0xFFFF

        to_words[(columns[_FIRST_TIME] >> 3) + i] = words[row + FIRST_TIME]
        to_words[(columns[_LAST_TIME] >> 3) + i] = words[row + LAST_TIME]
        to_floats[(columns[_DURATION] >> 3) + i] = (words[row + LAST_TIME] - words[row + FIRST_TIME]) * 1e-9
        to_shorts[(columns[_PORT] >> 1) + i] = orig_port
        # A request and its reply: the key holds the reply's type; the code of either is 0.
        paired = (protocol == 1 or protocol == 58) and not one_way
        to_shorts[(columns[_PORT + 1] >> 1) + i] = 0 if paired else resp_port
        to_octets[columns[_PROTOCOL] + i] = protocol
        to_halves[(columns[_VLAN] >> 2) + i] = place & 0xFFFFFF
        to_octets[columns[_TUNNEL] + i] = (place >> 24) & 7
        to_octets[columns[_REASON] + i] = (status >> STATUS_REASON) & 7
        to_halves[(columns[_SLICE] >> 2) + i] = words[row + SLICE]
        packets = int64(0)
        for d in range(2):
            side = d ^ originator
            packets += words[row + SIDES + side * SIDE_WORDS + SIDE_PACKETS]
            _fill_side(
                words, halves, floats, octets, to_words, to_halves, to_singles, to_octets,
                columns, data, bitmaps, tally, seen, row, side, d, i,
            )  # fmt: skip
            at = data[d] + tally[_USED + d]
            length = write_address(to_octets, at, words[row + 2 * side], words[row + 2 * side + 1], version6)
            _view(to_words, to_octets, columns[_ADDRESS + d] + 16 * i, data[d], tally, d, length)
        own = row + SIDES + originator * SIDE_WORDS
        peer = row + SIDES + (1 - originator) * SIDE_WORDS
        to_octets[columns[_STATE] + i] = conn_state(
            protocol,
            status,
            originator,
            words[own + SIDE_PACKETS],
            words[peer + SIDE_PACKETS],
            words[own + SIDE_PAYLOAD] + words[peer + SIDE_PAYLOAD],
        )

        to_words[(columns[_SIZES] >> 3) + i] = listed
        to_words[(columns[_GAPS] >> 3) + i] = listed
        sizes = (data[5] >> 2) + listed
        gaps = (data[6] >> 2) + listed
        kept = min(SEQUENCE_PACKETS, packets)
        for k in range(kept):
            size = halves[2 * (row + SIZES) + k]
            to_halves[sizes + k] = -size if originator else size
            to_singles[gaps + k] = singles[2 * (row + GAPS) + k]
        listed += kept

        lane = i % LANES
        high = row + 2 * originator
        low = row + 2 - 2 * originator
        put_endpoints(
            lanes, lane, words[high], words[high + 1], words[low], words[low + 1],
            version6, protocol, orig_port, resp_port, one_way,
        )  # fmt: skip
        if lane == LANES - 1 or i == n - 1:
            hash_lanes(lanes)
            for k in range(lane + 1):
                write_community_id(to_octets, data[2] + tally[_USED + 2], lanes, k)
                view = columns[_COMMUNITY_ID] + 16 * (i - lane + k)
                _view(to_words, to_octets, view, data[2], tally, 2, COMMUNITY_ID_BYTES)
    to_words[(columns[_SIZES] >> 3) + n] = listed
    to_words[(columns[_GAPS] >> 3) + n] = listed
    tally[_USED + len(_TEXTS)] = listed


def flow_frame(arena: Arena) -> pl.DataFrame:
    """All rows of the export area as a frame of FLOW_SCHEMA; the area is empty then."""
    words = arena.words
    n = int(words[C_ROWS_USED])
    if n == 0:
        return pl.DataFrame(schema=FLOW_SCHEMA)
    packets, kept = int(words[C_ROW_PACKETS]), int(words[C_ROW_OCTETS])
    extents = dict.fromkeys(_TEXTS[:2], n * ADDRESS_BYTES + 1) | {"community_id": n * COMMUNITY_ID_BYTES}
    extents |= dict.fromkeys(_TEXTS[3:], kept) | dict.fromkeys(_LISTS, packets)
    layout = Layout.of(_SCHEMA, n, extents, _BITMAPS)
    block = Block(layout)
    try:
        octets = block.octets
        tally = np.zeros(_TALLY, np.int64)
        fill_columns(
            *arena,
            octets.view(np.int64),
            octets.view(np.int32),
            octets.view(np.float64),
            octets.view(np.float32),
            octets,
            octets.view(np.uint16),
            layout.columns,
            layout.data,
            layout.bitmap,
            tally,
            np.zeros(256, np.int64),
            np.empty(LANE_WORDS, np.uint32),
            n,
        )
        used = dict(zip((*_TEXTS, _LISTS[0]), tally[_USED:].tolist(), strict=True))
        used[_LISTS[1]] = used[_LISTS[0]]
        frame = block.frame(used, _VALID, tally[:_BITMAPS])
    finally:
        block.free()
    words[C_ROWS_USED] = words[C_ROW_PACKETS] = words[C_ROW_OCTETS] = 0
    names = [pl.Series(name, names, pl.Enum(names)).gather(frame[name]) for name, names in _CODES.items()]
    return frame.with_columns(names)
