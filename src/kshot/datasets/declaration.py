"""A data set as declared in TOML: its origin, its labels, and the columns that must not carry results."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from kshot.errors import InputError

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
READERS = ("table",)
"""`table`: CSV, TSV, Parquet, JSON lines or a JSON array, plain or compressed, told by its content."""
DROP_REASONS = {
    "address": "names a machine, a port or an account",
    "identifier": "numbers or names the row, its file or its sample",
    "time": "tells when it was recorded",
    "label": "is the label in other words",
    "counter": "counts with the capture, not with the record",
    "gives_away": "tells the label by how the data was made; imported, never a feature",
    "told": "was to be left out",
}
"""Why a column is left out; the keys of a declaration's [drop]."""
TACTICS = frozenset(
    "reconnaissance resource-development initial-access execution persistence privilege-escalation defense-evasion "
    "credential-access discovery lateral-movement collection command-and-control exfiltration impact "
    "inhibit-response-function impair-process-control evasion".split()
)
"""Short names of the tactics of MITRE ATT&CK's Enterprise, ICS and Mobile matrices."""
_TEXTS = ("name", "title", "corpus", "domain", "source", "citation", "licence", "sha256", "file", "reader", "label")
_MORE_TEXTS = ("family", "fold", "order", "order_format", "note")
_LISTS = ("benign", "exclude", "group")
_KEYS = (*_TEXTS, *_MORE_TEXTS, *_LISTS, "drop", "mask", "families", "shortcut", "unlabelled")
_TOML_LIMIT_BYTES = 1 << 20
_HINT = "mend it; docs/datasets.md says what each key means"


@dataclass(frozen=True, slots=True)
class Family:
    """What is known of one label of the source."""

    name: str = ""
    """What kshot calls it; "" for the source's own word. Several labels may get one name."""
    tactic: str = ""
    """MITRE ATT&CK tactic (or, for ICS and mobile, of those matrices), where it is plain."""


@dataclass(frozen=True, slots=True)
class DeclaredShortcut:
    """The column that alone separates attacks from benign rows best, as measured when the entry was written."""

    column: str
    auroc: float


@dataclass(frozen=True, slots=True)
class DataSet:
    """One data set as declared in TOML."""

    name: str
    corpus: str
    """Its test bed or laboratory: a prior that saw one table of a corpus is not scored on another."""
    label: str
    """The column with the label; "" for an unlabelled pool."""
    benign: tuple[str, ...] = ()
    """Labels of normal life, `*` for any text; empty where the source has none."""
    exclude: tuple[str, ...] = ()
    """Labels that are neither benign nor an attack."""
    family: str = ""
    """The column that names the family of a row that is not benign; "" for the label itself."""
    families: Mapping[str, Family] = field(default_factory=dict)
    """By the source's label; keys may hold `*`."""
    drop: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Reason (`DROP_REASONS`) -> columns."""
    mask: Mapping[str, str] = field(default_factory=dict)
    """Text column -> regular expression; what matches is taken out of every cell: it tells how the data was made."""
    group: tuple[str, ...] = ()
    """Columns that together name the session, capture, host or run that no split may cut."""
    fold: str = ""
    """The column with the source's own division into training and test rows; never a feature."""
    order: str = ""
    """The column that tells the order in time; "" for the order in the file."""
    order_format: str = ""
    """strptime format of `order` where it is text that does not sort by itself."""
    title: str = ""
    domain: str = ""
    source: str = ""
    citation: str = ""
    licence: str = "not stated"
    sha256: str = ""
    """Of the file that the entry was written for; "" for any."""
    file: str = ""
    """The file's name; beside the declaration where `import` is not told otherwise."""
    reader: str = "table"
    shortcut: DeclaredShortcut | None = None
    note: str = ""
    unlabelled: bool = False
    """A pool of rows without labels: good for pseudo-threats and as a reference to look at, never scored."""

    @property
    def dropped(self) -> frozenset[str]:
        """All columns that are left out."""
        return frozenset(column for columns in self.drop.values() for column in columns)

    @property
    def kept_aside(self) -> frozenset[str]:
        """Columns that are imported and never features: those that give the label away, and the fold."""
        return frozenset(self.drop.get("gives_away", ())) | ({self.fold} if self.fold else set())

    def family_of(self, label: str) -> Family:
        """Return what is known of a source's label."""
        if label in self.families:
            return self.families[label]
        return next((told for pattern, told in self.families.items() if matches(label, (pattern,))), Family())


def matches(label: str, patterns: Sequence[str]) -> bool:
    """Tell whether a label is one of `patterns`, where `*` stands for any text.

    >>> matches("From-Normal-TCP", ["From-Normal-*"])
    True
    """
    return any(
        label == pattern or ("*" in pattern and re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), label))
        for pattern in patterns
    )


def read_declaration(path: str | Path) -> tuple[DataSet, dict[str, Any]]:
    """Read a TOML file; return the declaration and the document as it stands.

    Raises:
        InputError: unreadable, not TOML, or a key is missing, unknown or of the wrong kind; names file and key.
    """
    place = Path(path)
    try:
        if place.stat().st_size > _TOML_LIMIT_BYTES:
            raise InputError(str(path), "is larger than 1 MiB", "give a map in TOML, not the data")
        told = tomllib.loads(place.read_bytes().decode())
    except OSError as error:
        raise InputError(str(path), (error.strerror or "cannot be read").lower(), "check the path") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(str(path), f"is not TOML ({' '.join(str(error).split())})", _HINT) from error
    return parse_declaration(told, str(path)), told


def parse_declaration(told: Mapping[str, Any], where: str) -> DataSet:
    """Check a TOML document and make it a declaration.

    Raises:
        InputError: a key is missing, unknown or of the wrong kind; names it.
    """
    for key in told:
        if key not in _KEYS:
            near = get_close_matches(key, _KEYS, 1)
            raise InputError(f"{where}, {key}", "is no key of a map", f"did you mean {near[0]}?" if near else _HINT)
    texts = {key: _text(told, key, where) for key in (*_TEXTS, *_MORE_TEXTS)}
    lists = {key: _list(told.get(key, []), f"{where}, {key}") for key in _LISTS}
    unlabelled = told.get("unlabelled", False)
    if not isinstance(unlabelled, bool):
        raise InputError(f"{where}, unlabelled", "is neither true nor false", _HINT)
    _check_texts(texts, where, unlabelled)
    return DataSet(
        **{key: value for key, value in texts.items() if value},
        **({} if texts["label"] else {"label": ""}),
        benign=lists["benign"],
        exclude=lists["exclude"],
        group=lists["group"],
        drop=_drop(told.get("drop", []), where),
        mask=_mask(told.get("mask", {}), where),
        families=_families(told.get("families", {}), where),
        shortcut=_shortcut(told.get("shortcut"), where),
        unlabelled=unlabelled,
    )


def _check_texts(texts: Mapping[str, str], where: str, unlabelled: bool) -> None:
    for key in ("name", "corpus", *(() if unlabelled else ("label",))):
        if not texts[key]:
            raise InputError(where, f"tells no {key}", _HINT)
    if not NAME_PATTERN.fullmatch(texts["name"]) or ".." in texts["name"]:
        raise InputError(f"{where}, name", f"{texts['name']!r} cannot name a data set", "use letters, digits, . - _")
    if texts["sha256"] and not re.fullmatch("[0-9a-f]{64}", texts["sha256"]):
        raise InputError(f"{where}, sha256", "is not 64 hexadecimal digits", "see: sha256sum FILE")
    for key in ("label", "family", "order"):
        if texts["fold"] and texts["fold"] == texts[key]:
            raise InputError(f"{where}, fold", f"is the column of {key} too", _HINT)
    if texts["reader"] and texts["reader"] not in READERS:
        raise InputError(f"{where}, reader", f"is {texts['reader']!r}, not {' or '.join(READERS)}", _HINT)


def _text(told: Mapping[str, Any], key: str, where: str) -> str:
    value = told.get(key, "")
    if not isinstance(value, str):
        raise InputError(f"{where}, {key}", "is not a text", "put it in quotation marks")
    return value.strip()


def _list(value: Any, where: str) -> tuple[str, ...]:
    items = value if isinstance(value, list) else [value]
    if not all(isinstance(item, str | int) for item in items):
        raise InputError(where, "is not a list of texts", 'write ["one", "two"]')
    # 0 and true are what a table's own 0 and true look like as texts.
    return tuple(str(item).lower() if isinstance(item, bool) else str(item) for item in items)


def _drop(value: Any, where: str) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, dict):
        value = {"told": value} if value else {}
    for reason in value:
        if reason not in DROP_REASONS:
            raise InputError(f"{where}, drop.{reason}", f"is none of {', '.join(DROP_REASONS)}", _HINT)
    return {reason: _list(columns, f"{where}, drop.{reason}") for reason, columns in value.items()}


def _mask(value: Any, where: str) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(pattern, str) for pattern in value.values()):
        raise InputError(f"{where}, mask", "is not a table of column = regular expression", _HINT)
    return dict(value)


def _families(value: Any, where: str) -> dict[str, Family]:
    if not isinstance(value, dict):
        raise InputError(f"{where}, families", "is not a table", _HINT)
    out = {}
    for label, about in value.items():
        about = {"name": about} if isinstance(about, str) else about
        if not isinstance(about, dict) or set(about) - {"name", "tactic"}:
            raise InputError(f"{where}, families.{label}", "tells more than name and tactic", _HINT)
        here = f"{where}, families.{label}"
        out[label] = Family(_text(about, "name", here), _text(about, "tactic", here))
        if out[label].tactic and out[label].tactic not in TACTICS:
            raise InputError(
                f"{here}.tactic", f"{out[label].tactic!r} is no ATT&CK tactic", "write it like lateral-movement"
            )
    return out


def _shortcut(value: Any, where: str) -> DeclaredShortcut | None:
    if value is None:
        return None
    if not isinstance(value, dict) or set(value) != {"column", "auroc"} or not isinstance(value["auroc"], float):
        raise InputError(f"{where}, shortcut", "is not { column = ..., auroc = 0.5 to 1.0 }", _HINT)
    return DeclaredShortcut(_text(value, "column", f"{where}, shortcut"), value["auroc"])
