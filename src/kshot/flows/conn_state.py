"""Zeek's connection state: each endpoint's TCP state as packets come, and the summary."""

from __future__ import annotations

from kshot.flows.layout import (
    STATUS_CLOSED,
    STATUS_ORIGINATOR,
    STATUS_REASON,
    STATUS_SENT_SYN,
    STATUS_STATE,
    STATUS_SYN,
    STATUS_WAS_CLOSED,
)
from kshot.jit import njit_part, njit_step

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16

INACTIVE, SYN_SENT, SYN_ACK_SENT, PARTIAL, ESTABLISHED, CLOSED, RESET = range(7)
"""Endpoint states, as in Zeek's TCP analyser (docs.zeek.org, TCP_INACTIVE ... TCP_RESET)."""

END_FIN, END_RST, END_IDLE, END_ACTIVE, END_EVICTED, END_INPUT = range(6)
"""In the order of records.flows.END_REASONS."""

S0, S1, SF, REJ, S2, S3, RSTO, RSTR, RSTOS0, RSTRH, SH, SHR, OTH = range(13)
"""In the order of records.flows.CONN_STATES."""


@njit_step
def follow_tcp(status: int, side: int, flags: int) -> int:
    """The status bits after `side` has sent a segment with `flags`.

    A connection is closed once both ends have sent FIN, or one RST; the first of these stays its reason to end.
    """
    own_at = STATUS_STATE + 3 * side
    peer_at = STATUS_STATE + 3 - 3 * side
    own = (status >> own_at) & 7
    peer = (status >> peer_at) & 7
    if own == ESTABLISHED and flags & (FIN | SYN | RST) == 0:
        return status
    before_own = own
    before_peer = peer
    if flags & RST:
        if own == CLOSED and peer != CLOSED:
            status |= 1 << (STATUS_WAS_CLOSED + side)
        if not (own == CLOSED and peer == CLOSED):
            own = RESET
    elif flags & FIN:
        if own != RESET:
            own = CLOSED
        # A FIN and then a RST from the peer was an end in good order after all.
        if peer == RESET and (status >> (STATUS_WAS_CLOSED + 1 - side)) & 1:
            peer = CLOSED
    elif flags & SYN:
        if own == INACTIVE or own == PARTIAL:
            own = SYN_ACK_SENT if flags & ACK else SYN_SENT
    elif own == INACTIVE:
        own = PARTIAL
    elif (own == SYN_SENT or own == SYN_ACK_SENT) and flags & ACK and peer != INACTIVE:
        own = ESTABLISHED
        if peer == SYN_SENT or peer == SYN_ACK_SENT:
            peer = ESTABLISHED
    if flags & SYN and not flags & ACK:
        status |= 1 << (STATUS_SENT_SYN + side)
    status += ((own - before_own) << own_at) + ((peer - before_peer) << peer_at)
    if not status & STATUS_CLOSED:
        if flags & RST:
            status |= STATUS_CLOSED | (END_RST << STATUS_REASON)
        elif own == CLOSED and peer == CLOSED:
            status |= STATUS_CLOSED | (END_FIN << STATUS_REASON)
    return status


@njit_part
def conn_state(protocol: int, status: int, originator: int, orig_packets: int, resp_packets: int, payload: int) -> int:
    """Index into CONN_STATES, by the rules of Zeek's base/protocols/conn/main.zeek.

    originator: its side. payload: bytes of both directions.
    """
    if protocol == 17 or protocol == 136:
        if orig_packets:
            return SF if resp_packets else S0
        return SHR
    if protocol != 6:
        return OTH
    orig = (status >> (STATUS_STATE + 3 * originator)) & 7
    resp = (status >> (STATUS_STATE + 3 - 3 * originator)) & 7
    orig_silent = orig == INACTIVE or orig == PARTIAL
    resp_silent = resp == INACTIVE or resp == PARTIAL
    if resp == RESET:
        if orig == SYN_SENT or orig == SYN_ACK_SENT or (orig == RESET and payload == 0):
            return REJ
        return RSTRH if orig_silent else RSTR
    if orig == RESET:
        if not resp_silent:
            return RSTO
        return RSTOS0 if (status >> (STATUS_SENT_SYN + originator)) & 1 else OTH
    if orig == CLOSED and resp == CLOSED:
        return SF
    if orig == CLOSED:
        return SH if resp_silent else S2
    if resp == CLOSED:
        return SHR if orig_silent else S3
    if orig == SYN_SENT and resp == INACTIVE:
        return S0
    if orig == ESTABLISHED and resp == ESTABLISHED:
        return S1
    return OTH


@njit_step
def settle_originator(status: int, side: int, flags: int) -> int:
    """The side of the first SYN without ACK is the originator, or the other side than that of the first SYN+ACK."""
    if flags & SYN and not status & STATUS_SYN:
        originator = side if not flags & ACK else 1 - side
        status = (status & ~STATUS_ORIGINATOR) | STATUS_SYN
        if originator:
            status |= STATUS_ORIGINATOR
    return status
