"""`--segment`: parts of the network that are measured against a reference of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kshot.cli.reference import SiteReference
    from kshot.stream.metering import MeterOptions
    from kshot.stream.segments import Segments

_LEAST_RECORDS = 1_000
"""Fewer promise no false-alarm rate of 0.001."""


@dataclass(frozen=True, slots=True)
class Sites:
    """What the parts of a network are measured against."""

    references: dict[str, SiteReference]
    """By segment; under `REST`, if `--reference` was given, that of all others."""
    segments: Segments | None = None
    """None where there are none."""
    notes: list[str] = field(default_factory=list)
    """Lines for the user."""


def told_segments(told: Sequence[str]) -> dict[str, list[str]]:
    """Networks by the name of the reference, from REFERENCE[=NETWORK,...]; none where the reference is to say.

    >>> told_segments(["servers=10.1.0.0/16,fd00:1::/32", "cameras"])
    {'servers': ['10.1.0.0/16', 'fd00:1::/32'], 'cameras': []}

    Raises:
        UserError: it is something else, what is no network, a network that two have.
    """
    from kshot.errors import UserError
    from kshot.stream.segments import Segments

    found: dict[str, list[str]] = {}
    for one in told:
        name, is_told, networks = one.rpartition("=") if "=" in one else (one, "", "")
        parts = [part.strip() for part in networks.split(",") if part.strip()]
        if not name.strip() or (is_told and not parts):
            raise UserError(f"segment {one!r} is no REFERENCE=NETWORK,...; give such as servers=10.1.0.0/16")
        found.setdefault(name.strip(), []).extend(parts)
    Segments(found)
    return found


def read_sites(reference: Sequence[str] | None, segment: Sequence[str] | None, meter: MeterOptions) -> Sites:
    """Read the references of `--reference` and `--segment`.

    Of each only the records count that a watch would measure against it: those that lie in its segment, and of
    `--reference`, where enough are left, those that lie in none.

    Raises:
        UserError, InputError: there is no such file or reference, it cannot be read, or is of nothing in its segment.
    """
    from kshot.cli.reference import read_reference
    from kshot.errors import UserError
    from kshot.stream.segments import REST, Segments

    told = told_segments(segment or ())
    references = {name: read_reference([name], meter) for name in told}
    if reference:
        references[REST] = read_reference(reference, meter)
    for name, site in references.items():
        if site.records.kind != "flow":
            what = f"segment {name}: it" if name != REST else "--reference"
            raise UserError(f"{what} holds table rows; kshot watch judges flows: give captures, logs or flows")
    if not told:
        return Sites(references)
    networks = {name: said or list(references[name].networks) for name, said in told.items()}
    for name, said in networks.items():
        if not said:
            raise UserError(f"segment {name} says no network, nor does its reference; give {name}=NETWORK,...")
    segments = Segments(networks)
    sites = Sites({}, segments)
    for name, site in references.items():
        sites.references[name] = _narrowed(name, site, segments, sites.notes)
    return sites


def _narrowed(name: str, site: SiteReference, segments: Segments, notes: list[str]) -> SiteReference:
    """A reference without the records that another would be asked about."""
    import polars as pl

    from kshot.errors import UserError
    from kshot.stream.segments import REST

    count = len(site.records)
    mine = site.records.filter(pl.Series(segments.of(site.records.parties()) == name, dtype=pl.Boolean))
    if len(mine) == count:
        return site
    if name == REST and len(mine) < _LEAST_RECORDS:
        notes.append(
            f"--reference holds {len(mine):,} records outside the segments: all {count:,} are used for what lies there"
        )
        return site
    if not len(mine):
        networks = ",".join(segments.networks[name])
        raise UserError(
            f"segment {name}: none of the {count:,} records of its reference lies in {networks}; "
            f"build it anew: kshot reference build NAME --from FILE --network {networks}"
        )
    return replace(site, records=mine, sizes=None if site.sizes is None else site.sizes.times(len(mine) / count))
