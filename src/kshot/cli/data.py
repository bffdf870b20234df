"""`kshot data`: labelled data sets for benchmarks and training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kshot.cli import flags
from kshot.cli.messages import Messages

if TYPE_CHECKING:
    from kshot.datasets import DataSet, Library, Manifest

app = typer.Typer(
    no_args_is_help=True, help="List, import, check and remove labelled data sets.", rich_markup_mode="rich"
)

_Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Data sets; see: kshot data list.")]


@app.command("list")
def list_data(form: flags.FlowOutputFormat = None, output: flags.Output = None) -> int:
    """List the data sets that kshot knows and those that you have imported.

    [bold]Examples[/]

    kshot data list

    kshot data list -o jsonl
    """
    import polars as pl

    from kshot.datasets import Library, catalogue
    from kshot.errors import InputError
    from kshot.store import kshot_home

    library, messages = Library(kshot_home()), Messages()
    known = {dataset.name: dataset for dataset in catalogue()}
    rows: list[dict[str, Any]] = []
    imported = set(library.names())
    damaged = 0
    for name in sorted(known.keys() | imported):
        manifest = None
        if name in imported:
            try:
                manifest = library.manifest(name)
            except InputError as error:
                damaged += 1
                messages.fault(str(error))
        if manifest is not None or name in known:
            rows.append(_row(manifest.dataset if manifest is not None else known[name], manifest))
    schema: dict[str, Any] = {
        "name": pl.String, "domain": pl.String, "corpus": pl.String, "imported": pl.Boolean, "rows": pl.UInt32,
        "benign": pl.UInt32, "families": pl.UInt32, "shortcut": pl.Float64, "shortcut_column": pl.String,
        "licence": pl.String, "source": pl.String, "citation": pl.String, "title": pl.String,
    }  # fmt: skip
    frame = pl.DataFrame(rows, schema=schema)
    told = flags.choose_format(form, output)
    if told == "table":
        _print_list(frame, output)
    else:
        from kshot.cli.output import write_frames

        write_frames([frame], frame.schema, told, output)
    return 2 if damaged else 0


@app.command("import")
def import_data(
    names: _Names = None,
    from_: Annotated[
        Path | None,
        typer.Option("--from", metavar="PATH", help="The file, or a folder that holds the files of several sets."),
    ] = None,
    map_: Annotated[
        Path | None,
        typer.Option("--map", metavar="FILE", help="A map of your own, in TOML; docs/datasets.md shows ten lines."),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Import anew what is imported already.")] = False,
    unverified: Annotated[
        bool, typer.Option("--unverified", help="Take a file of another checksum than the map states.")
    ] = False,
    quiet: flags.Quiet = False,
) -> int:
    """Read data sets from files that you have, and keep them ready for benchmarks and training.

    Nothing is downloaded. Without NAME, every known set whose file lies in the folder is imported.

    [bold]Examples[/]

    kshot data import net_unsw_nb15_82k --from tables/net_unsw_nb15_82k.parquet

    kshot data import --from tables/

    kshot data import --map logins.toml --from logins.csv
    """
    from kshot.datasets import Library
    from kshot.store import kshot_home

    library, messages = Library(kshot_home()), Messages(quiet)
    for dataset, told, path in _wanted(names or [], from_, map_):
        if not names and map_ is None and not replace and dataset.name in library.names():
            messages.note(f"{dataset.name}: imported already; give --replace to import it anew")
            continue
        _import_one(library, messages, dataset, told, path, replace, unverified)
    return 0


@app.command("check")
def check(names: _Names = None, quiet: flags.Quiet = False) -> int:
    """Read imported data sets again, checksums and all, and report what could give their answers away.

    [bold]Examples[/]

    kshot data check

    kshot data check net_unsw_nb15_82k
    """
    from kshot.cli.views import render
    from kshot.datasets import Library, check_dataset
    from kshot.errors import UserError
    from kshot.store import kshot_home

    library, messages = Library(kshot_home()), Messages(quiet)
    wanted = names or library.names()
    if not wanted:
        messages.note("no data set is imported; do: kshot data import NAME --from PATH")
    damaged = 0
    for name in wanted:
        try:
            findings = check_dataset(library, name)
        except UserError as error:
            damaged += 1
            messages.fault(str(error))
            continue
        render(_report(library.manifest(name), findings), None)
    return 2 if damaged else 0


@app.command("remove")
def remove(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Imported data sets; see: kshot data list.")],
) -> int:
    """Delete what was imported of data sets; the files that they came from stay where they are.

    [bold]Example[/]

    kshot data remove net_unsw_nb15_82k
    """
    from kshot.datasets import Library
    from kshot.errors import UserError
    from kshot.store import kshot_home

    library, messages = Library(kshot_home()), Messages()
    strange = 0
    for name in dict.fromkeys(names):
        try:
            library.remove(name)
        except UserError as error:
            strange += 1
            messages.fault(str(error))
        else:
            messages.summary(f"data set {name} is removed")
    return 2 if strange else 0


def _wanted(names: list[str], from_: Path | None, map_: Path | None) -> list[tuple[DataSet, dict[str, Any], Path]]:
    """Which data sets to import, and from which files."""
    from kshot.datasets import catalogue, entry, find_file, read_declaration
    from kshot.errors import UserError

    if map_ is not None:
        if names:
            raise UserError(f"the map names its data set itself; leave out {names[0]}")
        dataset, told = read_declaration(map_)
        if from_ is None and not dataset.file:
            raise UserError(f"{map_}: tells no file; add file = ... or give --from PATH")
        return [(dataset, told, find_file(dataset, from_ or map_.parent / dataset.file))]
    if from_ is None:
        raise UserError("nothing is downloaded; give --from with the file or folder that you have")
    if names:
        if len(names) > 1 and not from_.is_dir():
            raise UserError(f"{len(names)} data sets cannot come from one file; give --from a folder")
        return [(*entry(name), find_file(entry(name)[0], from_)) for name in names]
    if not from_.is_dir():
        raise UserError(f"{from_}: is no folder; name the data set, or give --map for a table of your own")
    there = [(*entry(d.name), from_ / d.file) for d in catalogue() if (from_ / d.file).is_file()]
    if not there:
        raise UserError(f"{from_}: holds no file of a known data set; see: kshot data list")
    return there


def _import_one(
    library: Library,
    messages: Messages,
    dataset: DataSet,
    told: dict[str, Any],
    path: Path,
    replace: bool,
    unverified: bool,
) -> None:
    from datetime import UTC, datetime

    from kshot.datasets import import_dataset

    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    manifest = import_dataset(library, dataset, told, path, now, replace=replace, unverified=unverified)
    families = len(manifest.families) - ("benign" in manifest.families)
    out = f"{manifest.rows_duplicate:,} duplicates and {manifest.rows_excluded:,} of other labels out"
    benign = f"{manifest.families.get('benign', 0):,} benign"
    messages.note(
        f"{dataset.name}: {manifest.rows:,} of {manifest.rows_read:,} rows kept ({out}): {benign}, "
        f"{families} famil{'y' if families == 1 else 'ies'}"
        + ("" if manifest.verified else "; no checksum was compared")
    )


def _row(dataset: DataSet, manifest: Manifest | None) -> dict[str, Any]:
    counts = manifest.families if manifest is not None else None
    return {
        "name": dataset.name,
        "domain": dataset.domain,
        "corpus": dataset.corpus,
        "imported": manifest is not None,
        "rows": manifest.rows if manifest is not None else None,
        "benign": counts.get("benign", 0) if counts is not None else None,
        "families": len(counts) - ("benign" in counts) if counts is not None else None,
        "shortcut": dataset.shortcut.auroc if dataset.shortcut else None,
        "shortcut_column": dataset.shortcut.column if dataset.shortcut else "",
        "licence": dataset.licence,
        "source": dataset.source,
        "citation": dataset.citation,
        "title": dataset.title,
    }


def _print_list(frame: Any, output: Path | None) -> None:
    from rich.table import Table
    from rich.text import Text

    from kshot.cli.clean import clean
    from kshot.cli.views import render

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading, right in (
        ("name", False), ("domain", False), ("corpus", False), ("rows", True), ("benign", True), ("families", True),
        ("one column alone", False), ("licence", False),
    ):  # fmt: skip
        style = "bold" if heading == "name" else ""
        table.add_column(heading, justify="right" if right else "left", overflow="fold", style=style)
    for row in frame.iter_rows(named=True):
        alone = f"{row['shortcut']:.3f} {row['shortcut_column']}" if row["shortcut"] is not None else ""
        counts = [f"{row[key]:,}" if row["imported"] else "" for key in ("rows", "benign", "families")]
        cells = [row["name"], row["domain"], row["corpus"], *counts, alone, row["licence"]]
        table.add_row(*(Text(clean(cell)) for cell in cells))
    render([table], output)


def _report(manifest: Manifest, findings: list[Any]) -> list[Any]:
    from rich.text import Text

    from kshot.cli.clean import clean

    head = f"{manifest.dataset.name}  {manifest.rows:,} rows of {manifest.source_file}, imported {manifest.created}"
    lines = [Text(clean(head), style="bold")]
    for finding in sorted(findings, key=lambda found: found.kind != "leak"):
        style = "yellow" if finding.kind == "leak" else ""
        lines.append(Text.assemble("  ", (f"{finding.kind:<6}", style), clean(finding.text)))
    return [*lines, Text("")]
