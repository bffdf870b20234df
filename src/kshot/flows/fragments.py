"""IP fragments: the first carries the ports, later ones find its flow by their id."""

from __future__ import annotations

from kshot.flows.fields import (
    F_FRAGMENT,
    F_FRAGMENT_KEY,
    F_KEY,
    F_PROTOCOL,
    F_SIDE,
)
from kshot.flows.layout import (
    C_FRAGMENT_MASK,
    C_FRAGMENTS,
    C_SEED,
    FRAGMENT_FILLED,
    FRAGMENT_NANOSECONDS,
    FRAGMENT_SIDE,
    FRAGMENT_TIME,
    FRAGMENT_WAYS,
    FRAGMENT_WORDS,
    KEY_WORDS,
)
from kshot.flows.pools import (
    Words,
    hash_key,
)
from kshot.jit import njit_part


@njit_part
def join_fragment(words: Words, fields: Words, of: int, time: int) -> None:
    """A first fragment leaves its flow behind for the later ones; a later one takes it over.

    A set holds four; the longest unused gives way. A later fragment that finds none keeps its key without ports.
    """
    place = words[C_FRAGMENTS] + FRAGMENT_WORDS * FRAGMENT_WAYS * (
        hash_key(fields, of + F_FRAGMENT_KEY, words[C_SEED]) & words[C_FRAGMENT_MASK]
    )
    chosen = place
    found = False
    for i in range(FRAGMENT_WAYS):
        entry = place + i * FRAGMENT_WORDS
        same = words[entry + FRAGMENT_FILLED] != 0
        for j in range(KEY_WORDS):
            same = same and words[entry + j] == fields[of + F_FRAGMENT_KEY + j]
        if same:
            chosen = entry
            found = abs(time - words[entry + FRAGMENT_TIME]) <= FRAGMENT_NANOSECONDS
            break
        if words[entry + FRAGMENT_TIME] < words[chosen + FRAGMENT_TIME]:
            chosen = entry
    if fields[of + F_FRAGMENT] == 1:
        for j in range(KEY_WORDS):
            words[chosen + j] = fields[of + F_FRAGMENT_KEY + j]
            words[chosen + KEY_WORDS + j] = fields[of + F_KEY + j]
        words[chosen + FRAGMENT_SIDE] = fields[of + F_SIDE]
        words[chosen + FRAGMENT_TIME] = time
        words[chosen + FRAGMENT_FILLED] = 1
    elif found:
        for j in range(KEY_WORDS):
            fields[of + F_KEY + j] = words[chosen + KEY_WORDS + j]
        fields[of + F_SIDE] = words[chosen + FRAGMENT_SIDE]
        fields[of + F_PROTOCOL] = fields[of + F_KEY + 4] & 255
