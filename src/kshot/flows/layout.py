"""Where everything of the flow table lies: one arena of 64-bit words, cut into its parts.

The arena is the memory cap: nothing the table keeps lies outside it. Word offsets below are within a record;
`I32` offsets count 32-bit halves of a record. A flow is first a *small* record (key and its two first packets),
from its third packet on a *full* one; both begin with the same nine words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kshot.records.flows import PAYLOAD_BYTES, SEQUENCE_PACKETS

if TYPE_CHECKING:

    def int64(value: Any) -> int:
        """Kernels compute in 64-bit integers; to the type checker they are plain ones."""
        ...
else:
    int64 = np.int64

# Both kinds of record.
KEY_WORDS = 6
"""Two words of address of the lower endpoint, two of the upper; ports, protocol and version; VLAN and tunnel."""
KEY_PORTS = 4
KEY_NETWORK = 5
TOUCHED = 6
"""The meter's clock when the last packet came: never runs backwards, so lists ordered by it stay sorted."""
STATUS = 7
"""Hash in the upper 32 bits, the status bits below."""
BLOCKS = 8
"""Payload block of side 0 in the lower, of side 1 in the upper 32 bits; 0 is none."""

# Small records: enough to replay the two packets into a full one.
SMALL_TIMES = 9
SMALL_SIZES = 11
"""Two words: frame bytes on the wire << 31 | payload bytes."""
SMALL_HAS_WINDOW = 1 << 62
"""Added to such a word if the packet showed a TCP window."""
SMALL_TRAITS = 13
"""Two 32-bit halves: TCP flags << 24 | TTL << 16 | window."""
SMALL_WORDS = 14

# Full records, and rows of the export area.
FIRST_TIME = 9
LAST_TIME = 10
SLICE = 11
TOTAL_PACKETS = 12
"""Over all slices, for ranking who is evicted."""
QUEUED = 13
"""The meter's clock when the record was put at the end of its list."""
SIDES = 16
"""From here on each part has cache lines of its own: two a side, two of sizes, two of gaps."""
SIDE_WORDS = 16
SIDE_PACKETS = 0
SIDE_WIRE = 1
SIDE_PAYLOAD = 2
SIDE_SQUARES = 3
SIDE_LAST = 4
SIDE_GAP_MIN = 5
SIDE_GAP_MAX = 6
SIDE_GAP_MEAN = 7
SIDE_GAP_SQUARES = 8
I32_SIZE_MIN = 18
I32_SIZE_MAX = 19
I32_WINDOW_FIRST = 20
I32_WINDOW_MAX = 21
I32_TTL = 22
I32_FLAGS = 24
SIZES = SIDES + 2 * SIDE_WORDS
GAPS = SIZES + SEQUENCE_PACKETS // 2
FULL_WORDS = GAPS + SEQUENCE_PACKETS // 2
LINE_WORDS = 8
"""Of a cache line; areas of the arena begin with one."""

BLOCK_WORDS = 1 + PAYLOAD_BYTES // 8
"""How many bytes are kept, then the bytes."""
BLOCK_CLOSED = 1 << 8
"""Added to the length once the snap length has torn a hole: later bytes would not join on."""

ROW_WORDS = FULL_WORDS + 2 * BLOCK_WORDS
"""A finished flow: its full record, then both payload blocks."""

# Status bits.
STATUS_LIST = 7
STATUS_ORIGINATOR = 1 << 3
"""The originator is the upper endpoint."""
STATUS_SYN = 1 << 4
"""A SYN has settled who the originator is."""
STATUS_STATE = 5
"""Six bits from here: the endpoint state of side 0, then of side 1."""
STATUS_CLOSED = 1 << 11
STATUS_REASON = 12
"""Three bits from here: why it ends."""
STATUS_SECOND = 1 << 15
"""A small record holds two packets."""
STATUS_SIDES = 16
"""Two bits from here: which side sent the first and the second packet of a small record."""
STATUS_SENT_SYN = 18
"""Two bits from here: side 0, side 1 has sent a SYN without ACK."""
STATUS_WAS_CLOSED = 20
"""Two bits from here: side 0, side 1 had sent its FIN when its reset came."""
STATUS_FILLED = 22
"""Two bits from here: the payload block of side 0, side 1 takes no more."""

# Lists, each from the longest waiting to the newest. A record is always in exactly one.
LIST_ONE, LIST_TWO, LIST_YOUNG, LIST_ESTABLISHED, LIST_CLOSED_SMALL, LIST_CLOSED_FULL = range(6)
LISTS = 6
ESTABLISHED_PACKETS = 8
"""From so many packets on a flow is evicted only when no younger one is left."""

# The control block: settings, clocks, heads of lists, counts.
(
    C_SLOTS,
    C_SLOT_MASK,
    C_LINKS,
    C_SMALL,
    C_SMALL_CAPACITY,
    C_FULL,
    C_FULL_CAPACITY,
    C_BLOCKS,
    C_BLOCK_CAPACITY,
    C_ROWS,
    C_ROW_CAPACITY,
    C_FRAGMENTS,
    C_FRAGMENT_MASK,
    C_SEED,
    C_IDLE,
    C_ACTIVE,
    C_UNWRAP,
    C_CLOCK,
    C_REFERENCE,
    C_STRAYS,
    C_STARTED,
    C_TURN,
    C_SMALL_FREE,
    C_SMALL_USED,
    C_FULL_FREE,
    C_FULL_USED,
    C_BLOCK_FREE,
    C_BLOCK_USED,
    C_ROWS_USED,
    C_ROW_PACKETS,
    C_ROW_OCTETS,
    C_METERED,
    C_NON_IP,
    C_MALFORMED,
    C_TRUNCATED,
    C_SHED,
    C_FLOWS,
    C_EVICTED,
    C_HEADS,
) = range(39)
"""C_ROW_PACKETS and C_ROW_OCTETS: packets kept one by one and payload bytes kept, of the rows in the export area.
C_METERED to C_SHED are in the order of the decoder's verdicts."""
C_TAILS = C_HEADS + LISTS
CONTROL_WORDS = 64
"""Rounded up to whole cache lines."""

# The fragment table: sets of four entries.
FRAGMENT_WORDS = 16
"""Key of the fragmented packet (6 words), key of its flow (6), side, time, filled."""
FRAGMENT_WAYS = 4
FRAGMENT_SIDE = 12
FRAGMENT_TIME = 13
FRAGMENT_FILLED = 14

SECOND = 1_000_000_000
LINGER_NANOSECONDS = 5 * SECOND
"""For so long after its end a TCP connection still takes in stragglers (Zeek's tcp_close_delay is the same 5 s)."""
FRAGMENT_NANOSECONDS = 30 * SECOND
"""How long later fragments may come after the first (RFC 791 and Linux: 30 s)."""
SLACK_NANOSECONDS = 5 * SECOND
"""The sweep waits so much longer than the idle timeout, for packets that come a little out of order."""
STRAY_NANOSECONDS = 5 * SECOND
"""A packet time so far from the last one moves the clock only when others confirm it."""
STRAYS_CONFIRM = 16
LATEST_NANOSECONDS = 1 << 62
"""Packet times are held between 0 and this (the year 2116), so that no difference of two overflows."""
