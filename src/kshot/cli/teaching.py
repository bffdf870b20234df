"""What a watch is taught: threats, a reference, labels; read anew when it is told to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

    from kshot.records.kept import Label
    from kshot.store.alerts import AlertStore
    from kshot.stream.budget import GroupSizes
    from kshot.stream.metering import MeterOptions
    from kshot.stream.segments import SegmentedDetector
    from kshot.stream.standing import StandingDetector


class Lessons:
    """Fits a watch's detector; `version` changes when it has to be fitted anew."""

    def __init__(
        self,
        names: list[str],
        reference: list[str] | None,
        kept: AlertStore,
        meter: MeterOptions,
        log: Callable[..., None],
        *,
        segment: list[str] | None = None,
        false_alarm_rate: float | None = None,
        alerts_per_day: float | None = None,
    ) -> None:
        """Read all of it.

        Raises:
            UserError, InputError: a threat or a reference is not there, or cannot be read.
        """
        from kshot.store.labels import LabelStore
        from kshot.stream.pipeline import ScanOptions

        self._labels = LabelStore(kept)
        self._meter = meter
        self._log = log
        self._options = ScanOptions(alerts_per_day=alerts_per_day)
        self._reads = 0
        self._fitted: tuple[object, StandingDetector | SegmentedDetector] | None = None
        self._before: dict[str, Any] | None = None
        self.read(names, reference, segment, false_alarm_rate)

    def read(
        self, names: list[str], reference: list[str] | None, segment: list[str] | None, false_alarm_rate: float | None
    ) -> None:
        """Read threats and references; where that fails the old ones stay. Raises as the constructor."""
        from dataclasses import replace

        from kshot.cli.scan import load_threats
        from kshot.cli.segments import read_sites

        threats, laboratory, torn = load_threats(names)
        sites = read_sites(reference, segment, self._meter)
        for line in torn:
            self._log("threat_damaged", what=line)
        for note in sites.notes:
            self._log("note", what=note)
        for name, site in sites.references.items():
            new = sorted({threat.name for threat in threats} - set(site.screened or ()))
            if site.screened is not None and new:
                which = f"the reference {name}".strip()
                told = f"{which} was learned before {', '.join(new)} was taught, and may hold its records"
                self._log("note", what=told)
        self._before = dict(self.__dict__) if self._fitted is not None else None
        self._threats, self._laboratory, self._sites = threats, laboratory, sites
        self._options = replace(self._options, false_alarm_rate=false_alarm_rate)
        self._reads += 1

    @property
    def sizes(self) -> GroupSizes | None:
        """Of the groups of all references, for a budget of alerts a day."""
        from kshot.stream.budget import GroupSizes

        sizes = [site.sizes or GroupSizes.of(site.records.parties()) for site in self._sites.references.values()]
        return GroupSizes.joined(sizes) if sizes else None

    @property
    def segments(self) -> list[str]:
        """Their names."""
        return [] if self._sites.segments is None else [*self._sites.segments.networks]

    def version(self) -> object:
        """Changes when labels do, or after `read`. Raises `OutputError`."""
        return self._reads, self._labels.version()

    def fit(self, columns: Sequence[str], fresh: pl.DataFrame | None = None) -> StandingDetector | SegmentedDetector:
        """Fit a detector; with `fresh`, features of late records, on these in the place of references.

        Where what was read last does not fit, what was read before goes on, and that is logged.

        Raises:
            UserError: no threat fits, or there is nothing to calibrate on.
        """
        from kshot.errors import UserError

        try:
            return self._fit(columns, fresh)
        except UserError as error:
            if self._before is None:
                raise
            self._threats, self._laboratory, self._sites = (
                self._before[name] for name in ("_threats", "_laboratory", "_sites")
            )
            self._options, self._before = self._before["_options"], None
            self._reads += 1
            self._log("reload_refused", why=str(error), effect="what was read before goes on")
            return self._fit(columns, fresh)

    def _fit(self, columns: Sequence[str], fresh: pl.DataFrame | None) -> StandingDetector | SegmentedDetector:
        from kshot.stream.segments import COLUMN, REST, SegmentedDetector, late_of

        labels = self._labels.standing()
        what = (self._reads, tuple(columns), id(fresh))
        if self._fitted is not None and self._fitted[0] == what:
            return self._fitted[1].relabelled(labels)
        detector: StandingDetector | SegmentedDetector
        if self._sites.segments is None:
            late = None if fresh is None else fresh.drop(COLUMN, strict=False)
            detector = self._fit_one(REST, columns, late, labels)
        else:
            parts = {
                name: self._fit_one(name, columns, None if fresh is None else late_of(name, fresh), ())
                for name in (REST, *self.segments)
            }
            detector = SegmentedDetector(self._sites.segments, parts).relabelled(labels)
        self._fitted = what, detector
        return detector

    def _fit_one(
        self, name: str, columns: Sequence[str], late: pl.DataFrame | None, labels: Sequence[Label]
    ) -> StandingDetector:
        """Fit on one reference, or on late records in its place."""
        from dataclasses import replace

        from kshot.errors import UserError
        from kshot.stream.segments import REST
        from kshot.stream.standing import StandingDetector, Teaching

        site = self._sites.references.get(name)
        benign: Any = None if site is None else site.records
        if benign is not None and late is not None:
            benign = replace(benign, features=late)
        sizes = None if self._options.alerts_per_day is None else self.sizes
        try:
            return StandingDetector(
                Teaching(self._threats, self._laboratory, benign, labels, self._options, sizes), columns
            )
        except UserError as error:
            if name == REST:
                raise
            raise UserError(f"segment {name}: {error}") from error
