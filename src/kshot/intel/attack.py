"""MITRE ATT&CK technique ids: their syntax."""

from __future__ import annotations

import re
from collections.abc import Iterable

from kshot.errors import ThreatError

# attack.mitre.org: techniques are T1234, sub-techniques T1234.001.
_TECHNIQUE = re.compile(r"T\d{4}(\.\d{3})?")


def check_attack_ids(ids: Iterable[str]) -> tuple[str, ...]:
    """Return the ids in capitals, without repeats, in the order given; each item may hold several, split by commas.

    >>> check_attack_ids(["t1071.004", "T1041,T1071.004"])
    ('T1071.004', 'T1041')

    Raises:
        ThreatError: one is no technique id.
    """
    found: dict[str, None] = {}
    for item in ids:
        for part in item.split(","):
            technique = part.strip().upper()
            if not technique:
                continue
            if not _TECHNIQUE.fullmatch(technique):
                raise ThreatError(f"{part.strip()!r} is no ATT&CK technique id; they look like T1071 or T1071.004")
            found[technique] = None
    return tuple(found)
