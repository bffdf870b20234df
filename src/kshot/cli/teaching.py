"""What a watch is taught: threats, a reference, labels; read anew when it is told to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

    from kshot.store.alerts import AlertStore
    from kshot.stream.budget import GroupSizes
    from kshot.stream.metering import MeterOptions
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
        false_alarm_rate: float | None = None,
        alerts_per_day: float | None = None,
    ) -> None:
        """Read all of it.

        Raises:
            UserError, InputError: a threat or the reference is not there, or cannot be read.
        """
        from kshot.store.labels import LabelStore
        from kshot.stream.pipeline import ScanOptions

        self._labels = LabelStore(kept)
        self._meter = meter
        self._log = log
        self._options = ScanOptions(alerts_per_day=alerts_per_day)
        self._reads = 0
        self._fitted: tuple[object, StandingDetector] | None = None
        self._before: dict[str, Any] | None = None
        self.read(names, reference, false_alarm_rate)

    def read(self, names: list[str], reference: list[str] | None, false_alarm_rate: float | None) -> None:
        """Read threats and reference; where that fails the old ones stay. Raises as the constructor."""
        from dataclasses import replace

        from kshot.cli.reference import read_reference
        from kshot.cli.scan import load_threats
        from kshot.errors import UserError

        threats, laboratory, torn = load_threats(names)
        site = read_reference(reference, self._meter) if reference else None
        if site is not None and site.records.kind != "flow":
            raise UserError("--reference holds table rows; kshot watch judges flows: give captures, logs or flows")
        for line in torn:
            self._log("threat_damaged", what=line)
        if site is not None and site.screened is not None:
            new = sorted({threat.name for threat in threats} - set(site.screened))
            if new:
                told = f"the reference was learned before {', '.join(new)} was taught, and may hold its records"
                self._log("note", what=told)
        self._before = dict(self.__dict__) if self._fitted is not None else None
        self._threats, self._laboratory, self._site = threats, laboratory, site
        self._options = replace(self._options, false_alarm_rate=false_alarm_rate)
        self._reads += 1

    @property
    def sizes(self) -> GroupSizes | None:
        """Of the groups of the reference, for a budget of alerts a day."""
        from kshot.stream.budget import GroupSizes

        if self._site is None:
            return None
        return self._site.sizes or GroupSizes.of(self._site.records.parties())

    def version(self) -> object:
        """Changes when labels do, or after `read`. Raises `OutputError`."""
        return self._reads, self._labels.version()

    def fit(self, columns: Sequence[str], fresh: pl.DataFrame | None = None) -> StandingDetector:
        """Fit a detector; with `fresh`, features of late records, on these in the place of the reference.

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
            self._threats, self._laboratory, self._site = (
                self._before[name] for name in ("_threats", "_laboratory", "_site")
            )
            self._options, self._before = self._before["_options"], None
            self._reads += 1
            self._log("reload_refused", why=str(error), effect="what was read before goes on")
            return self._fit(columns, fresh)

    def _fit(self, columns: Sequence[str], fresh: pl.DataFrame | None) -> StandingDetector:
        from dataclasses import replace

        from kshot.stream.standing import StandingDetector, Teaching

        labels = self._labels.standing()
        what = (self._reads, tuple(columns), id(fresh))
        if self._fitted is not None and self._fitted[0] == what:
            return self._fitted[1].relabelled(labels)
        benign: Any = None if self._site is None else self._site.records
        if benign is not None and fresh is not None:
            benign = replace(benign, features=fresh)
        sizes = None if self._options.alerts_per_day is None else self.sizes
        teaching = Teaching(self._threats, self._laboratory, benign, labels, self._options, sizes)
        detector = StandingDetector(teaching, columns)
        self._fitted = what, detector
        return detector
