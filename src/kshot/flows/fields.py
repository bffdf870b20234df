"""What decoding leaves of a packet: its flow's key, its side, payload and flags."""

from __future__ import annotations

from kshot.flows.headers import Words
from kshot.jit import njit_step

# Where each lies in `fields`.
F_KEY = 0
F_SIDE = 6
F_PAYLOAD = 7
F_PAYLOAD_START = 8
F_PAYLOAD_CAPTURED = 9
F_FLAGS = 10
F_WINDOW = 11
F_TTL = 12
F_PROTOCOL = 13
F_FRAGMENT = 14
"""0 whole, 1 the first fragment (it tells the later ones their flow), 2 a later one."""
F_FRAGMENT_KEY = 15
"""Six words: addresses as they stand, protocol and identification, network."""
F_HASH = 21
F_VERDICT = 22
"""These two are for whoever decodes many frames before it looks at the first."""
FIELDS = 23

KEY_IPV6 = 1 << 8
KEY_ONE_WAY = 1 << 9
"""An ICMP message that is no half of a request and reply: both directions are flows of their own."""
KEY_ONE_WAY_UP = 1 << 10
"""... sent from the lower endpoint to the upper."""

TUNNEL_NONE, TUNNEL_GRE, TUNNEL_IPIP, TUNNEL_VXLAN, TUNNEL_GTPU = range(5)
"""In the order of records.flows.TUNNELS."""


@njit_step
def set_key(
    fields: Words,
    to: int,
    a: int,
    b: int,
    c: int,
    d: int,
    sport: int,
    dport: int,
    ports: int,
    network: int,
    one_way: bool,
) -> None:
    """Write the flow key with its lower endpoint first, and which side sent this packet. Any fixed order will do."""
    upper = a > c or (a == c and (b > d or (b == d and sport > dport)))
    if one_way:
        ports |= KEY_ONE_WAY
        if not upper:
            ports |= KEY_ONE_WAY_UP
    if upper:
        fields[to + F_KEY] = c
        fields[to + F_KEY + 1] = d
        fields[to + F_KEY + 2] = a
        fields[to + F_KEY + 3] = b
        fields[to + F_KEY + 4] = (dport << 32) | (sport << 16) | ports
    else:
        fields[to + F_KEY] = a
        fields[to + F_KEY + 1] = b
        fields[to + F_KEY + 2] = c
        fields[to + F_KEY + 3] = d
        fields[to + F_KEY + 4] = (sport << 32) | (dport << 16) | ports
    fields[to + F_KEY + 5] = network
    fields[to + F_SIDE] = 1 if upper else 0
