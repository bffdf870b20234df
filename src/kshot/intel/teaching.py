"""Make a threat from examples, and add examples to one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from kshot.errors import ThreatError
from kshot.intel.attack import check_attack_ids
from kshot.records.threats import Threat

SEVERITIES = ("low", "medium", "high", "critical")


def teach(
    name: str,
    shots: pl.DataFrame,
    *,
    kind: str,
    fingerprint: str,
    created: str,
    attack: Sequence[str] = (),
    description: str = "",
    severity: str = "medium",
    source: str = "",
    references: Sequence[str] = (),
) -> Threat:
    """Make a threat; exact repeats among the shots are kept once.

    Raises:
        ThreatError: no shots, an unknown severity, a malformed technique id.
    """
    if severity not in SEVERITIES:
        raise ThreatError(f"severity {severity!r} is none of {', '.join(SEVERITIES)}")
    if shots.height == 0 or shots.width == 0:
        raise ThreatError(f"threat {name} would have no {'shots' if shots.height == 0 else 'columns'}")
    return Threat(
        name=name,
        shots=shots.unique(maintain_order=True, keep="first"),
        kind=kind,
        fingerprint=fingerprint,
        attack=check_attack_ids(attack),
        description=description,
        severity=severity,
        references=tuple(references),
        source=source,
        created=created,
    )


def add_shots(old: Threat, new: Threat) -> Threat:
    """Give the old threat the new one's shots beside its own; what the new one leaves unsaid stays as it was.

    Raises:
        ThreatError: the two do not have the same columns.
    """
    if old.kind != new.kind or old.fingerprint != new.fingerprint or set(old.shots.columns) != set(new.shots.columns):
        raise ThreatError(
            f"the new shots do not have the columns of threat {old.name} ({old.kind}); learn it anew with --replace"
        )
    added = new.shots.select(pl.col(name).cast(dtype) for name, dtype in old.shots.schema.items())
    shots = pl.concat([old.shots, added])
    return replace(
        old,
        shots=shots.unique(maintain_order=True, keep="first"),
        attack=tuple(dict.fromkeys((*old.attack, *new.attack))),
        description=new.description or old.description,
        severity=new.severity if new.severity != "medium" else old.severity,
        source="; ".join(dict.fromkeys(part for part in (old.source, new.source) if part)),
        created=new.created,
    )
