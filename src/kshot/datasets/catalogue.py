"""The data sets that kshot knows: one TOML file each, shipped with the package."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from kshot.datasets.declaration import DataSet, read_declaration
from kshot.errors import UserError

_FOLDER = Path(__file__).parents[1] / "content/datasets"


class UnknownDataSetError(UserError):
    """There is no data set of that name."""

    def __init__(self, name: str, known: list[str], advice: str = "see: kshot data list") -> None:
        near = get_close_matches(name, known, 1)
        super().__init__(f"there is no data set named {name}; " + (f"did you mean {near[0]}?" if near else advice))


@cache
def _entries() -> dict[str, tuple[DataSet, dict[str, Any]]]:
    read = [read_declaration(path) for path in sorted(_FOLDER.glob("*.toml"))]
    return {dataset.name: (dataset, told) for dataset, told in read}


def catalogue() -> tuple[DataSet, ...]:
    """Return every entry, by name."""
    return tuple(dataset for dataset, _ in _entries().values())


def entry(name: str) -> tuple[DataSet, dict[str, Any]]:
    """Return one entry and its TOML document.

    Raises:
        UnknownDataSetError: there is none of that name; names the nearest.
    """
    if name not in _entries():
        raise UnknownDataSetError(name, list(_entries()))
    return _entries()[name]
