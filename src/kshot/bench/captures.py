"""Labelled captures as a table: metered flows, each with its family, each capture a group."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from kshot.datasets.truth import label_flows, read_connections
from kshot.episodes import BENIGN, LabelledTable, labelled_table
from kshot.errors import UserError
from kshot.stream.metering import MeterOptions
from kshot.stream.reading import read_records

LABELS, TRUTH = "labels.csv", "truth.csv"
_CAPTURES = ("*.pcap*", "*.cap")
_VERDICTS = {"benign", "malicious"}
_ATTACK = "attack"


def captures_table(folder: Path) -> tuple[LabelledTable, list[str]]:
    """Meter the labelled captures of a folder and return their flows as a table, and what was left out, a line each.

    Two layouts are known. `labels.csv` with columns `path, verdict, family`: every flow of a benign capture is benign,
    every flow of a malicious one is of its family (weak labels: what else the capture holds bears them too); another
    verdict leaves the capture out. Or folders of runs, each with a capture and a `truth.csv` that tells of every
    connection (`kshot.datasets.truth`): what the attacker opened is the family's, answers to it are left out.
    Runs stand in the order of time, captures in that of the file; features are as `kshot scan` computes them, each
    capture by itself.

    Raises:
        UserError: neither layout, a file that cannot be read, or no flow at all.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: is no folder of labelled captures")
    left_out: list[str] = []
    if (folder / LABELS).is_file():
        parts = [*_by_verdict(folder, left_out)]
    else:
        runs = sorted(path.parent for path in folder.glob(f"*/{TRUTH}"))
        if not runs:
            raise UserError(
                f"{folder}: holds neither {LABELS} (path, verdict, family) nor folders with a capture and {TRUTH}"
            )
        parts = sorted((_run(run) for run in runs), key=_first_time)
    parts = [part for part in parts if part.height]
    if not parts:
        raise UserError(f"{folder}: no labelled flow is in its captures")
    name = folder.resolve().name or "captures"
    whole = pl.concat(parts)
    features = whole.drop(_BESIDE)
    return labelled_table(name, name, features, whole[_LABEL].to_list(), whole[_GROUP].to_list()), left_out


_LABEL, _GROUP, _TIME = "\x00label", "\x00group", "\x00time"
_BESIDE = (_LABEL, _GROUP, _TIME)


def _by_verdict(folder: Path, left_out: list[str]) -> Iterator[pl.DataFrame]:
    """Flows of the captures that labels.csv names."""
    for number, row in enumerate(_rows(folder / LABELS), 2):
        where = f"{folder / LABELS}:{number}"
        if row["verdict"] not in _VERDICTS:
            left_out.append(f"{row['path']} (verdict {row['verdict']})")
            continue
        # The paths may begin with the folder's own name.
        path = next(
            (beside / row["path"] for beside in (folder, folder.parent) if (beside / row["path"]).is_file()), None
        )
        if path is None:
            raise UserError(f"{where}: there is no capture {row['path']}; put it there or take out the line")
        try:
            records = read_records([path], MeterOptions())
        except UserError as error:  # captures of layers below IP hold no flow
            left_out.append(f"{row['path']} ({error})")
            continue
        if not records.metering.captures:
            raise UserError(f"{where}: {row['path']} is no capture; take out the line")
        family = BENIGN if row["verdict"] == BENIGN else row["family"]
        if not family:
            raise UserError(f"{where}: a malicious capture needs a family")
        yield _labelled(records.features, records.frame, pl.lit(family), row["path"])


def _rows(path: Path) -> list[dict[str, str]]:
    wanted = ("path", "verdict", "family")
    try:
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            lacking = [name for name in wanted if name not in (reader.fieldnames or ())]
            if lacking:
                raise UserError(f"{path}: has no column {lacking[0]}; it needs {', '.join(wanted)}")
            return [{name: row[name] or "" for name in wanted} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read ({' '.join(str(error).split())})") from error


def _run(folder: Path) -> pl.DataFrame:
    """Flows of one run by its ground truth; those that it does not know, or calls ambiguous, are left out."""
    captures = sorted(path for pattern in _CAPTURES for path in folder.glob(pattern))
    if len(captures) != 1:
        raise UserError(f"{folder}: holds {len(captures)} captures beside {TRUTH}; one is needed")
    records = read_records(captures, MeterOptions())
    told = label_flows(records.frame, read_connections(folder / TRUTH))
    known = (told["label"] == BENIGN) | ((told["part"] == _ATTACK) & (told["label"] != ""))
    rows = _labelled(records.features, records.frame, told["label"], folder.name)
    return rows.filter(known.fill_null(False))


def _labelled(features: pl.DataFrame, flows: pl.DataFrame, label: pl.Series | pl.Expr, group: str) -> pl.DataFrame:
    beside = (label.alias(_LABEL), pl.lit(group).alias(_GROUP), flows["first_time"].alias(_TIME))
    return features.with_columns(beside)


def _first_time(rows: pl.DataFrame) -> str:
    """When a run began, as text that sorts; one without a labelled flow comes last."""
    first = rows[_TIME].min()
    return "~" if first is None else str(first)
