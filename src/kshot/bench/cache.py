"""What was measured already, one small file a cell and learner, named by all it depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl

from kshot.bench.contestants import Contestant, digest_of
from kshot.bench.protocols import Cell
from kshot.bench.scoring import Outcome
from kshot.episodes import REFERENCE_SEED, LabelledTable, Skipped
from kshot.store import output_error, whole_file

FORMAT = 1


def fingerprint(table: LabelledTable) -> str:
    """Digest of a table as it is drawn from: name, corpus, columns, cells, labels, groups."""
    digest = hashlib.sha256(json.dumps([table.name, table.corpus, table.group_names]).encode())
    label = pl.Series("\x00label", table.labels.tolist(), dtype=pl.String)
    beside = [label] if table.groups is None else [label, pl.Series("\x00group", table.groups)]
    whole = table.features.with_columns(beside)
    digest.update(json.dumps([[name, str(dtype)] for name, dtype in whole.schema.items()]).encode())
    for column in whole:
        if column.dtype.is_numeric() and not column.null_count():
            digest.update(np.ascontiguousarray(column.to_numpy()).data)
        else:
            digest.update(json.dumps(column.cast(pl.String).to_list()).encode())
    return digest.hexdigest()


@cache
def _protocol_version() -> str:
    """What draws and judges: a change there makes old figures those of another protocol."""
    import kshot.bench
    import kshot.episodes

    room, beside = Path(str(kshot.episodes.__file__)).parent, Path(str(kshot.bench.__file__)).parent
    drawing = [room / f"{name}.py" for name in ("draw", "splits", "protocol", "transfer", "episode", "pool")]
    judging = [beside / f"{name}.py" for name in ("measures", "scoring", "deciding")]
    return digest_of([*drawing, *judging])


def key_of(cell: Cell, tables: Mapping[str, str], contestant: Contestant) -> str:
    """Name a cell's figures by all that they depend on; `tables` gives each table's fingerprint."""
    told = {
        "format": FORMAT,
        "protocol": _protocol_version(),
        "seed": REFERENCE_SEED,
        "cell": asdict(cell),
        "tables": [tables[name] for name in cell.tables],
        "learner": [contestant.name, contestant.version, contestant.settings],
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


class Cache:
    """Outcomes under one folder; a file is there whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: str) -> Outcome | None:
        """Return what was measured; None where nothing was, or the file is damaged."""
        try:
            told = json.loads(self._path(key).read_bytes())
            return Outcome(told["rows"], [Skipped(**skip) for skip in told["skipped"]])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def put(self, key: str, outcome: Outcome) -> None:
        """Keep an outcome.

        Raises:
            OutputError: disk full, no rights.
        """
        path = self._path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_error(path.parent, error) from error
        told = {"rows": outcome.rows, "skipped": [asdict(skip) for skip in outcome.skipped]}
        with whole_file(path) as whole:
            whole.path.write_text(json.dumps(told))

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.json"
