"""`kshot config`: looks at a configuration before a watch has to live with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from kshot.cli.messages import Messages

app = typer.Typer(no_args_is_help=True, help="Check a configuration file.", rich_markup_mode="rich")


@app.command("check")
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Such as kshot.toml.")],
) -> int:
    """Say whether kshot watch --config can use this file; one line for each mistake.

    Exit code 2 where it cannot. The environment (KSHOT_WATCH__ZEEK and the like) goes before the file and is checked
    with it.

    [bold]Example[/]

    kshot config check kshot.toml
    """
    from kshot.cli.settings import BadConfigError, read_settings

    messages = Messages()
    try:
        told = read_settings(file)
    except BadConfigError as error:
        for line in error.lines:
            messages.fault(line)
        return 2
    messages.note(f"{file} is good: {', '.join(told) or 'it says nothing'}")
    return 0


def apply_config(context: typer.Context, file: Path | None) -> Path | None:
    """Let a file and the environment stand in for flags that were not given.

    Raises:
        UserError, InputError: they cannot be used.
    """
    import os

    if context.resilient_parsing or (file is None and not any(name.startswith("KSHOT_WATCH__") for name in os.environ)):
        return file
    from kshot.cli.settings import read_settings

    told: dict[str, Any] = read_settings(file)
    context.default_map = {**(context.default_map or {}), **told}
    return file


def as_given(context: typer.Context) -> set[str]:
    """Flags that were given on the command line: no file goes before them, then or later."""
    return {
        name
        for name in context.params
        if (source := context.get_parameter_source(name)) is not None and source.name == "COMMANDLINE"
    }
