"""The reference learned on site: a reservoir of its own traffic, without what is taken for an attack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.detection.self_reference import Evidence, suspects
from kshot.errors import UserError
from kshot.features import encode_to_tier, fingerprint, settle, untold_columns
from kshot.features.tiers import tier_of_features
from kshot.intel import fit_threats, is_of_kind
from kshot.records.kept import KeptAlert
from kshot.records.threats import Threat
from kshot.stream.budget import GroupSizes
from kshot.stream.laboratory import Laboratory
from kshot.stream.metering import Metering
from kshot.stream.pipeline import Records

MOST_RECORDS = 22_000
"""Two thousand to learn from and twenty thousand to calibrate on: a detector uses no more."""
_SPARE = 1.1
"""So many more are looked through, so that enough are left."""
_KEPT = ("first_time", "last_time", "originator", "responder", "resp_port", "protocol", "log_service")
_DAY = 86_400 * 10**9


@dataclass(frozen=True, slots=True)
class LearnedReference:
    """Records to measure against, and how they were chosen."""

    records: Records
    seen: int
    """Records that they stand for, over all builds."""
    of_alerts: int
    """Left out: they belong to an alert."""
    taken_for_attacks: int
    """Left out: of those looked through, so many look like a hidden attack."""
    sizes: GroupSizes | None = None
    """Of the groups of all records that might have been kept; None where these tell no times."""


def learn_reference(
    records: Records,
    threats: Sequence[Threat],
    laboratory: Laboratory | None,
    rng: np.random.Generator,
    *,
    days: float | None = None,
    alerts: Sequence[KeptAlert] = (),
    before: LearnedReference | None = None,
    most: int = MOST_RECORDS,
) -> LearnedReference:
    """Choose a reference from traffic that may hold attacks.

    Only the last `days` count, by the records' own time. No record of one of `alerts` is taken. Of the rest a
    uniform sample is looked through as a scan looks through a capture that is to calibrate itself: what forms a group
    like the shots of a threat is left out. With `before` the reservoir goes on (Vitter 1985, algorithm R): each
    record, old or new, has the same chance to be in it, but for those that are older than `days` by now.

    Raises:
        UserError: the records are no flows, or nothing is left of them.
    """
    if records.kind != "flow":
        raise UserError("a reference for kshot watch is of flows: give captures, logs or tables of flows")
    if before is not None and before.records.features.columns != records.features.columns:
        raise UserError("these records tell other features than those of the reference; build it anew without --add")
    last = records.parties()["last_time"].cast(pl.Int64).max()
    recent = _within(records, days, last)
    of_alerts = _of_alerts(recent, alerts)
    quiet = recent.filter(~of_alerts)
    old = None if before is None else _within(before.records, days, last)
    old_seen = 0 if old is None or before is None else round(before.seen * len(old) / max(1, len(before.records)))
    seen = old_seen + len(quiet)
    # Of the reservoir the share of the new ones is their share of all that was ever seen.
    from_new = min(len(quiet), round(most * len(quiet) / max(1, seen)) if old is not None and len(old) else most)
    new = _sample(quiet, rng, round(from_new * _SPARE))
    taken = _taken(new, threats, laboratory, rng)
    new = _sample(new.filter(pl.Series(~taken)), rng, from_new)
    kept = new if old is None else _joined(_sample(old, rng, most - len(new)), new)
    if not len(kept):
        raise UserError("nothing is left for a reference: all of it belongs to alerts or looks like an attack")
    return LearnedReference(kept, seen, int(of_alerts.sum()), int(taken.sum()), _sizes(quiet))


def _sizes(records: Records) -> GroupSizes | None:
    try:
        return GroupSizes.of(records.parties())
    except UserError:
        return None


def as_kept(records: Records) -> pl.DataFrame:
    """What is kept of each record beside its features: who spoke to whom and when; no payload, no names asked for."""
    return records.frame.select(name for name in _KEPT if name in records.frame.columns)


def _within(records: Records, days: float | None, last: object) -> Records:
    if days is None or last is None:
        return records
    ended = records.parties()["last_time"].cast(pl.Int64)
    return records.filter((ended >= int(last) - round(days * _DAY)).fill_null(True))  # type: ignore[call-overload]


def _of_alerts(records: Records, alerts: Sequence[KeptAlert]) -> pl.Series:
    """Which records are between the parties of an alert, while it lasted."""
    told = (
        records.parties()
        .select("originator", "responder", pl.col("first_time", "last_time").cast(pl.Int64))
        .with_row_index("kshot.at")
    )
    spans = pl.DataFrame(
        [
            (alert.originator, alert.responder, alert.first_nanoseconds, alert.last_nanoseconds)
            for alert in alerts
            if alert.originator is not None or alert.responder is not None
        ],
        schema={"originator": pl.String, "responder": pl.String, "begins": pl.Int64, "ends": pl.Int64},
        orient="row",
    )
    both = told.join(spans, on=["originator", "responder"], nulls_equal=True)
    inside = (pl.col("last_time") >= pl.col("begins")) & (pl.col("first_time") <= pl.col("ends"))
    return told["kshot.at"].is_in(both.filter(inside)["kshot.at"].unique().implode())


def _sample(records: Records, rng: np.random.Generator, most: int) -> Records:
    if len(records) <= most:
        return records
    chosen = np.zeros(len(records), bool)
    chosen[rng.choice(len(records), max(0, most), replace=False)] = True
    return records.filter(pl.Series(chosen))


def _joined(old: Records, new: Records) -> Records:
    frames = [as_kept(part) for part in (old, new)]
    return Records("flow", pl.concat(frames), pl.concat([old.features, new.features]), Metering())


def _fitting(records: Records, threats: Sequence[Threat], laboratory: Laboratory | None) -> list[Threat]:
    """Threats cut to what the records tell, those that fit; the user's go before built-in ones of their name."""
    own = {threat.name for threat in threats}
    every = [*threats, *(one for one in (laboratory.threats if laboratory else ()) if one.name not in own)]
    tier = tier_of_features(records.features.columns)
    untold = untold_columns(records.frame, records.features)
    cut = [
        replace(one, shots=encode_to_tier(one.shots, tier).drop(untold, strict=False))
        for one in every
        if one.kind == "flow"
    ]
    fitted = fit_threats(cut, "flow", records.features.schema, fingerprint())
    return [threat for group in fitted.groups for threat in group]


def _taken(
    records: Records, threats: Sequence[Threat], laboratory: Laboratory | None, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """(n,) which records are taken for an attack, as of a capture that calibrates itself."""
    fitting = _fitting(records, threats, laboratory)
    if not fitting or not len(records):
        return np.zeros(len(records), bool)
    shared = set.intersection(*(set(threat.shots.columns) for threat in fitting))
    features = records.features.select(name for name in records.features.columns if name in shared)
    settled = settle(features, features)
    shots = {one.name: settle(one.shots.select(features.columns), features) for one in fitting}
    kinds = np.stack([is_of_kind(frame, settled) for frame in shots.values()], 1)
    elsewhere = None
    if laboratory is not None:
        mine = {threat.name for threat in threats}
        own = [one for one in fitting if one.name in mine]
        elsewhere = laboratory.bench(records.features.columns, own).judge(records.features).p_value
    return np.asarray(suspects(shots, settled, rng, Evidence(kinds, elsewhere)).any(1))
