"""What a file and the environment tell kshot watch, checked key by key."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Annotated, Any

from kshot.errors import InputError, MissingExtraError, UserError

try:
    from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
    from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
except ImportError as error:
    raise MissingExtraError("a configuration file", "watch") from error

_SOURCES = ("interface", "zeek", "eve", "captures")
_MOST_BYTES = 1 << 20


class BadConfigError(UserError):
    """A configuration that cannot be used; `lines` has a line for each mistake."""

    def __init__(self, lines: list[str]) -> None:
        more = f" (and {len(lines) - 1} more; see: kshot config check)" if len(lines) > 1 else ""
        super().__init__(lines[0] + more)
        self.lines = lines


def _length(told: str) -> str:
    from kshot.cli.suppressing import seconds_of

    try:
        seconds_of("", told)
    except UserError as error:
        raise ValueError("give a length of time such as 90d") from error
    return told


def _segments(told: list[str]) -> list[str]:
    from kshot.cli.segments import told_segments

    try:
        told_segments(told)
    except UserError as error:
        raise ValueError(str(error)) from error
    return told


Seconds = Annotated[float, Field(gt=0)]


class WatchSettings(BaseModel):
    """The table [watch]: each key is a flag of kshot watch, with _ for -."""

    model_config = ConfigDict(extra="forbid")

    interface: str | None = None
    zeek: Path | None = None
    eve: str | None = None
    captures: Path | None = None
    threats: list[str] | None = None
    reference: list[str] | None = None
    segment: Annotated[list[str], AfterValidator(_segments)] | None = None
    false_alarm_rate: Annotated[float, Field(gt=0, lt=1)] | None = None
    alerts_per_day: Annotated[float, Field(gt=0)] | None = None
    alerts_per_hour: Annotated[int, Field(ge=1)] | None = None
    keep_alerts: Annotated[str, AfterValidator(_length)] | None = None
    output: Path | None = None
    stats: Path | None = None
    metrics: str | None = None
    store: str | None = None
    duration: Annotated[float, Field(ge=0)] | None = None
    batch_seconds: Annotated[float, Field(ge=0.01)] | None = None
    idle_timeout: Seconds | None = None
    active_timeout: Seconds | None = None
    no_tunnels: bool | None = None
    no_early: bool | None = None
    ring: Annotated[int, Field(ge=1)] | None = None
    fanout_group: Annotated[int, Field(ge=0)] | None = None

    def told(self) -> dict[str, Any]:
        """What was said, by flag."""
        return {
            name: [str(one) for one in value] if isinstance(value, list) else value
            for name, value in self.model_dump(exclude_none=True).items()
        }


class Settings(BaseSettings):
    """A whole file; KSHOT_WATCH__ZEEK and the like go before what it says."""

    model_config = SettingsConfigDict(extra="forbid", env_prefix="KSHOT_", env_nested_delimiter="__")

    watch: WatchSettings = WatchSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment first; what is given to the constructor is what the file holds."""
        return env_settings, init_settings


def read_settings(path: Path | None) -> dict[str, Any]:
    """What `path`, if any, and the environment say, by flag of kshot watch.

    Raises:
        InputError: the file cannot be read.
        BadConfigError: a line for each mistake, which names the key.
    """
    held: dict[str, Any] = {}
    where = "the environment" if path is None else str(path)
    if path is not None:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError(str(path), (error.strerror or "cannot be read").lower()) from error
        if len(data) > _MOST_BYTES:
            raise InputError(str(path), "is larger than 1 MiB, and so no configuration", "check the path")
        try:
            held = tomllib.loads(data.decode())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise BadConfigError([f"{path}: is no TOML: {error}"]) from error
    try:
        told = Settings(**held).watch.told()
    except ValidationError as error:
        lines = [_line(where, dict(one)) for one in error.errors(include_url=False)]
        raise BadConfigError(list(dict.fromkeys(lines))) from error
    except Exception as error:  # what pydantic-settings says of a value that is no JSON
        raise BadConfigError([f"the environment: {' '.join(str(error).split())}"]) from error
    lines = _together(where, told)
    if lines:
        raise BadConfigError(lines)
    return told


def _line(where: str, error: dict[str, Any]) -> str:
    """One mistake, in one line."""
    place = [str(part) for part in error["loc"]]
    key = ".".join(place[:2])
    if error["type"] == "extra_forbidden":
        known = Settings.model_fields if len(place) == 1 else WatchSettings.model_fields
        near = difflib.get_close_matches(place[-1], [*known], 1, 0.5)
        return f"{where}: {key} is no setting{f'; did you mean {near[0]}' if near else ''}"
    given = f", not {error['input']!r}" if not isinstance(error["input"], dict | list) else ""
    said = str(error["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    return f"{where}: {key} {said}{given}"[:300]


def _together(where: str, told: dict[str, Any]) -> list[str]:
    """What cannot be said together."""
    lines = []
    sources = [name for name in _SOURCES if name in told]
    if len(sources) > 1:
        lines.append(f"{where}: watch.{sources[1]} beside watch.{sources[0]}: a watch follows one source")
    if "false_alarm_rate" in told and "alerts_per_day" in told:
        lines.append(f"{where}: watch.alerts_per_day beside watch.false_alarm_rate: they say the same thing; give one")
    return lines
