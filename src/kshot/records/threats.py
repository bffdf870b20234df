"""A threat: a name, 1 to n shots, ATT&CK ids and where it came from."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True, slots=True)
class Threat:
    """What was taught, as data; `intel` makes it, `store` keeps it, `detection` learns from its shots."""

    name: str
    shots: pl.DataFrame
    """(k, columns) one labelled example a row: feature columns only, no addresses, ports or times."""
    kind: str
    """"flow" when the shots are kshot's flow features, "table" when they are a user's own columns."""
    fingerprint: str
    """Of the feature schema, so that shots of another schema are refused, not misread."""
    attack: tuple[str, ...] = ()
    """ATT&CK technique ids, such as T1071.004."""
    description: str = ""
    severity: str = "medium"
    """"low", "medium", "high" or "critical"."""
    references: tuple[str, ...] = ()
    source: str = ""
    """What it was learned from: file names and the --where expression."""
    created: str = ""
    """ISO 8601 UTC time, given by the caller."""
