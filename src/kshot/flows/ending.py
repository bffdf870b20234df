"""How flows end: written to the export area, expired by the sweep, evicted for others."""

from __future__ import annotations

from kshot.flows.conn_state import (
    END_EVICTED,
    END_IDLE,
    END_INPUT,
)
from kshot.flows.layout import (
    BLOCK_CLOSED,
    BLOCK_WORDS,
    C_BLOCKS,
    C_CLOCK,
    C_EVICTED,
    C_FLOWS,
    C_HEADS,
    C_IDLE,
    C_LINKS,
    C_REFERENCE,
    C_ROW_CAPACITY,
    C_ROW_OCTETS,
    C_ROW_PACKETS,
    C_ROWS,
    C_ROWS_USED,
    C_SMALL_CAPACITY,
    C_STARTED,
    C_STRAYS,
    C_TURN,
    FULL_WORDS,
    LAST_TIME,
    LATEST_NANOSECONDS,
    LINGER_NANOSECONDS,
    LIST_CLOSED_FULL,
    LIST_CLOSED_SMALL,
    LIST_ESTABLISHED,
    LIST_ONE,
    LIST_TWO,
    LIST_YOUNG,
    LISTS,
    QUEUED,
    ROW_WORDS,
    SIDE_PACKETS,
    SIDE_WORDS,
    SIDES,
    SLACK_NANOSECONDS,
    SMALL_TIMES,
    STATUS,
    STATUS_CLOSED,
    STATUS_REASON,
    STATUS_SECOND,
    STRAY_NANOSECONDS,
    STRAYS_CONFIRM,
    TOUCHED,
    int64,
)
from kshot.flows.packets import block_of, replay_small
from kshot.flows.pools import (
    Floats,
    Halves,
    Octets,
    Singles,
    Words,
    append_to_list,
    base_of,
    clear_slot,
    find_slot,
    free_blocks,
    free_record,
    take_from_list,
)
from kshot.jit import bare, njit_part, njit_step, njit_stored
from kshot.records.flows import SEQUENCE_PACKETS

_SWEEP = 8
"""Records looked at for each packet, in one of the six lists: more than one packet can add."""
SPARED = 4
"""Records an eviction may pass over because packets came since they were queued (the clock algorithm)."""


@njit_part
def write_row(
    words: Words, halves: Halves, floats: Floats, singles: Singles, octets: Octets, record: int, reason: int
) -> None:
    """Copy a flow into the export area."""
    at = base_of(words, record)
    row = words[C_ROWS] + words[C_ROWS_USED] * ROW_WORDS
    words[C_ROWS_USED] += 1
    words[C_FLOWS] += 1
    if reason == END_EVICTED:
        words[C_EVICTED] += 1
    if record < words[C_SMALL_CAPACITY]:
        replay_small(words, halves, floats, singles, octets, at, row)
    else:
        for i in range(FULL_WORDS):
            words[row + i] = words[at + i]
    words[row + STATUS] = (words[row + STATUS] & ~(7 << STATUS_REASON)) | (reason << STATUS_REASON)
    packets = words[row + SIDES + SIDE_PACKETS] + words[row + SIDES + SIDE_WORDS + SIDE_PACKETS]
    words[C_ROW_PACKETS] += min(SEQUENCE_PACKETS, packets)
    to = row + FULL_WORDS
    for side in range(2):
        block = block_of(words, at, side)
        words[to] = 0
        if block:
            begin = words[C_BLOCKS] + block * BLOCK_WORDS
            for i in range(BLOCK_WORDS):
                words[to + i] = words[begin + i]
            words[to] &= BLOCK_CLOSED - 1
            words[C_ROW_OCTETS] += words[to]
        to += BLOCK_WORDS


@njit_part
def end_flow(
    words: Words, halves: Halves, floats: Floats, singles: Singles, octets: Octets, record: int, reason: int
) -> None:
    """Write a flow out and forget it. One that TCP itself has closed keeps that as its reason."""
    at = base_of(words, record)
    status = words[at + STATUS]
    write_row(
        words,
        halves,
        floats,
        singles,
        octets,
        record,
        (status >> STATUS_REASON) & 7 if status & STATUS_CLOSED else reason,
    )
    clear_slot(words, find_slot(words, (status >> 32) & 0x7FFFFFFF, record))
    take_from_list(words, halves, record)
    free_blocks(words, at)
    free_record(words, record)


@njit_step
def last_time_of(words: Words, record: int, at: int) -> int:
    """When the last packet of a record came, by packet time."""
    if record >= words[C_SMALL_CAPACITY]:
        return int64(words[at + LAST_TIME])
    return int64(words[at + SMALL_TIMES + (1 if words[at + STATUS] & STATUS_SECOND else 0)])


@njit_part
def requeue(
    words: Words, halves: Halves, floats: Floats, singles: Singles, octets: Octets, record: int, which: int
) -> None:
    """Put a record at the end of a list, out of the one it is in."""
    take_from_list(words, halves, record)
    append_to_list(words, halves, record, which)


@njit_step
def is_over(words: Words, record: int) -> bool:
    """Whether a record was silent for longer than the idle timeout: it has ended then, whoever comes by first."""
    return bool(words[C_REFERENCE] - last_time_of(words, record, base_of(words, record)) > words[C_IDLE])


@njit_part
def evict_small(words: Words, halves: Halves, floats: Floats, singles: Singles, octets: Octets, spared: int) -> bool:
    """End a small record that is over, else the one that is missed least: closed, of one packet, of two; the oldest."""
    chosen = int64(-1)
    for which in (LIST_CLOSED_SMALL, LIST_ONE, LIST_TWO):
        record = words[C_HEADS + which]
        if record == spared and record >= 0:
            record = int64(halves[2 * words[C_LINKS] + 2 * record])
        if record >= 0 and is_over(words, record):
            end_flow(words, halves, floats, singles, octets, record, END_IDLE)
            return True
        if chosen < 0:
            chosen = record
    if chosen < 0:
        return False
    end_flow(words, halves, floats, singles, octets, chosen, END_EVICTED)
    return True


@njit_part
def evict_full(words: Words, halves: Halves, floats: Floats, singles: Singles, octets: Octets) -> None:
    """End the full record that is missed least: a closed one, one of few packets, the longest silent of the others."""
    for which in (LIST_CLOSED_FULL, LIST_YOUNG, LIST_ESTABLISHED):
        record = words[C_HEADS + which]
        if record < 0:
            continue
        for _ in range(SPARED):
            at = base_of(words, record)
            if words[at + TOUCHED] <= words[at + QUEUED]:
                break
            requeue(words, halves, floats, singles, octets, record, which)
            record = words[C_HEADS + which]
        reason = END_IDLE if is_over(words, record) else END_EVICTED
        end_flow(words, halves, floats, singles, octets, record, reason)
        return


@njit_part
def sweep(words: Words, halves: Halves, floats: Floats, singles: Singles, octets: Octets) -> None:
    """Look at the longest waiting records of one list, a list a call, and end those that are over.

    A record is moved on only when its turn comes, not with each packet; its own time-out is tested exactly when a
    packet arrives for it, so the sweep decides when a flow is written, never what is in it.
    """
    which = words[C_TURN]
    limit = SLACK_NANOSECONDS
    limit += LINGER_NANOSECONDS if which == LIST_CLOSED_SMALL or which == LIST_CLOSED_FULL else words[C_IDLE]
    clock = words[C_CLOCK]
    for _ in range(_SWEEP):
        record = words[C_HEADS + which]
        if record < 0:
            return
        at = base_of(words, record)
        if record >= words[C_SMALL_CAPACITY] and clock - words[at + QUEUED] <= limit:
            return
        if clock - words[at + TOUCHED] > limit:
            # The first packets after a pause come while the clock still waits for others to confirm it.
            if 0 <= words[C_REFERENCE] - last_time_of(words, record, at) <= limit:
                words[at + TOUCHED] = clock
                requeue(words, halves, floats, singles, octets, record, which)
            else:
                end_flow(words, halves, floats, singles, octets, record, END_IDLE)
        elif record < words[C_SMALL_CAPACITY]:
            return
        else:
            requeue(words, halves, floats, singles, octets, record, which)


@njit_stored
def end_all(words: Words, halves: Halves, floats: Floats, singles: Singles, octets: Octets) -> bool:
    """End every open flow while the export area has room; return whether all are ended."""
    words, halves, floats, singles, octets = bare(words), bare(halves), bare(floats), bare(singles), bare(octets)
    for which in range(LISTS):
        while words[C_HEADS + which] >= 0:
            if words[C_ROWS_USED] >= words[C_ROW_CAPACITY]:
                return False
            record = words[C_HEADS + which]
            # Whether the sweep came by in time is chance: what was silent for so long had ended by itself.
            reason = END_IDLE if is_over(words, record) else END_INPUT
            end_flow(words, halves, floats, singles, octets, record, reason)
    return True


@njit_stored
def let_time_pass(
    words: Words, halves: Halves, floats: Floats, singles: Singles, octets: Octets, nanoseconds: int
) -> bool:
    """Let the clock go on without a packet, and end what is over while the export area has room; whether all are."""
    words, halves, floats, singles, octets = bare(words), bare(halves), bare(floats), bare(singles), bare(octets)
    if not words[C_STARTED]:
        return True
    step = min(nanoseconds, LATEST_NANOSECONDS - words[C_REFERENCE])
    if step > 0:
        words[C_REFERENCE] += step
        words[C_CLOCK] += step
    turn = words[C_TURN]
    for which in range(LISTS):
        words[C_TURN] = which
        while due(words):
            if words[C_ROWS_USED] + _SWEEP > words[C_ROW_CAPACITY]:
                words[C_TURN] = turn
                return False
            sweep(words, halves, floats, singles, octets)
    words[C_TURN] = turn
    return True


@njit_step
def advance_clock(words: Words, time: int) -> None:
    """Let the meter's clock follow packet time, but never backwards, and never after a stray packet alone."""
    if not words[C_STARTED]:
        words[C_STARTED] = 1
        words[C_REFERENCE] = time
    step = time - words[C_REFERENCE]
    if -STRAY_NANOSECONDS <= step <= STRAY_NANOSECONDS:
        words[C_STRAYS] = 0
    else:
        words[C_STRAYS] += 1
        if words[C_STRAYS] < STRAYS_CONFIRM:
            return
        words[C_STRAYS] = 0
        words[C_REFERENCE] = time
        step = min(step, 2 * words[C_IDLE])
    if step > 0:
        words[C_REFERENCE] = time
        words[C_CLOCK] += step


@njit_step
def due(words: Words) -> bool:
    """Whether the sweep has anything to do in the list whose turn it is."""
    which = words[C_TURN]
    record = words[C_HEADS + which]
    if record < 0:
        return False
    limit = SLACK_NANOSECONDS
    limit += LINGER_NANOSECONDS if which == LIST_CLOSED_SMALL or which == LIST_CLOSED_FULL else words[C_IDLE]
    at = base_of(words, record)
    waiting = QUEUED if record >= words[C_SMALL_CAPACITY] else TOUCHED
    return bool(words[C_CLOCK] - words[at + waiting] > limit)
