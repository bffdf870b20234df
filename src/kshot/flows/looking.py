"""Looks at flows that are still open: rows of what they are by now, without ending them."""

from __future__ import annotations

from kshot.flows.conn_state import END_INPUT
from kshot.flows.ending import last_time_of, write_row
from kshot.flows.layout import (
    C_FLOWS,
    C_LINKS,
    C_REFERENCE,
    C_ROW_CAPACITY,
    C_ROWS_USED,
    C_SMALL_CAPACITY,
    C_TAILS,
    FIRST_TIME,
    LIST_CLOSED_FULL,
    LIST_CLOSED_SMALL,
    LIST_ESTABLISHED,
    LIST_ONE,
    LIST_TWO,
    LIST_YOUNG,
    SECOND,
    SMALL_TIMES,
    STATUS,
    STATUS_CLOSED,
    int64,
)
from kshot.flows.pools import Floats, Halves, Octets, Singles, Words, base_of
from kshot.jit import bare, njit_step, njit_stored

STATUS_LOOKS = 24
"""Two bits of the status from here: how often the flow was looked at."""
QUIET_NANOSECONDS = SECOND // 2
"""A flow that is silent for so long has mostly said what it had to; one that TCP has closed, for a fifth of it."""
AGES_NANOSECONDS = (10 * SECOND, 60 * SECOND, 600 * SECOND)
"""One that does not fall silent is looked at when it is so old, and again, if anything came since the last look."""
MOST_ROWS = 4_096
"""Of one look: in a flood the rest is left to its end."""
_LOOKED_BEFORE = 64
"""So many in a row that were looked at: so were the ones before them, which are older."""


@njit_step
def _is_due(words: Words, record: int, at: int) -> bool:
    status = words[at + STATUS]
    looks = (status >> STATUS_LOOKS) & 3
    last = last_time_of(words, record, at)
    first = words[at + (SMALL_TIMES if record < words[C_SMALL_CAPACITY] else FIRST_TIME)]
    age = words[C_REFERENCE] - first
    if looks == 0:
        quiet = words[C_REFERENCE] - last
        limit = QUIET_NANOSECONDS // 5 if status & STATUS_CLOSED else QUIET_NANOSECONDS
        return bool(quiet >= limit or age >= AGES_NANOSECONDS[0])
    if looks == 1:
        return bool(age >= AGES_NANOSECONDS[1] and last - first > AGES_NANOSECONDS[0])
    return bool(looks == 2 and age >= AGES_NANOSECONDS[2] and last - first > AGES_NANOSECONDS[1])


@njit_stored
def look(words: Words, halves: Halves, floats: Floats, singles: Singles, octets: Octets) -> int:
    """Write a row of each open flow whose time it is, the newest first; return how many.

    The export area is to be empty. Nothing is ended or counted; that a flow was looked at is kept with it.
    """
    words, halves, floats, singles, octets = bare(words), bare(halves), bare(floats), bare(singles), bare(octets)
    most = min(MOST_ROWS, words[C_ROW_CAPACITY])
    links = 2 * words[C_LINKS]
    flows = words[C_FLOWS]
    for which in (LIST_CLOSED_FULL, LIST_YOUNG, LIST_ESTABLISHED, LIST_CLOSED_SMALL, LIST_TWO, LIST_ONE):
        small = which == LIST_ONE or which == LIST_TWO or which == LIST_CLOSED_SMALL
        before = 0
        record = words[C_TAILS + which]
        while record >= 0 and words[C_ROWS_USED] < most:
            at = base_of(words, record)
            if _is_due(words, record, at):
                write_row(words, halves, floats, singles, octets, record, END_INPUT)
                words[at + STATUS] += 1 << STATUS_LOOKS
                before = 0
            elif (words[at + STATUS] >> STATUS_LOOKS) & 3:
                before += 1
                if small and before == _LOOKED_BEFORE:
                    break
            record = int64(halves[links + 2 * record + 1])
    words[C_FLOWS] = flows
    return int64(words[C_ROWS_USED])
