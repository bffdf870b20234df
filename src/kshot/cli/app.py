"""The program: its verbs, and what every ending of it means to the shell."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from kshot import __version__
from kshot.cli import (
    bench,
    config,
    data,
    demo,
    doctor,
    explain,
    flows,
    learn,
    reference,
    scan,
    suppressing,
    threats,
    train,
    watch,
)
from kshot.cli.clean import clean
from kshot.cli.memory import ADVICE, says_out_of_memory
from kshot.cli.messages import ReaderGoneError
from kshot.errors import InternalError, UserError

OK, OUR_ERROR, USER_ERROR, ALERTS, INTERRUPTED = 0, 1, 2, 3, 130
"""Exit codes, for every verb."""

app = typer.Typer(
    name="kshot",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("flows")(flows.flows)
app.command("learn")(learn.learn)
app.command("scan")(scan.scan)
app.command("watch")(watch.watch)
app.add_typer(suppressing.ALERTS, name="alerts")
app.add_typer(reference.app, name="reference")
app.add_typer(config.app, name="config")
app.command("explain")(explain.explain)
app.add_typer(threats.app, name="threats")
app.add_typer(data.app, name="data")
app.command("train")(train.train)
app.command("bench")(bench.bench)
app.command("demo")(demo.demo)
app.command("doctor")(doctor.doctor)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"kshot {__version__}")
        raise typer.Exit


@app.callback()
def kshot(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Detect cyber threats from a handful of examples.

    Meter a capture, teach a threat from a few of its flows, find the rest of it elsewhere:

    [bold]kshot flows[/] day1.pcap

    [bold]kshot learn[/] dns-tunnel --shots day1.pcap --where "resp_port = 53 and orig_bytes > 5000"

    [bold]kshot scan[/] day2.pcap

    Exit codes: 0 done, 1 a fault of kshot, 2 a mistake in what it was given, 3 alerts (with --fail-on alert),
    130 interrupted.
    """


# typer may carry its own click; BadParameter's ancestors are the exceptions of whichever it uses.
_ClickException: type[Exception] = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code; every error is one line on stderr."""
    try:
        code = app(args=list(arguments) if arguments is not None else None, prog_name="kshot", standalone_mode=False)
        sys.stdout.flush()
        # typer turns an interrupt into this code, and says nothing.
        return _fail("interrupted", INTERRUPTED) if code == INTERRUPTED else int(code or OK)
    except UserError as error:
        return _fail(str(error), USER_ERROR)
    except _ClickException as error:
        return _usage(error)
    except OSError as error:
        return _no_memory(error) if says_out_of_memory(error) else _fail_os(error)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", INTERRUPTED)
    except InternalError as error:
        return _ours(error, str(error))
    except SystemExit as error:
        # click has its own way with a closed pipe while it prints help.
        _abandon_stdout()
        return error.code if isinstance(error.code, int) else OK
    except ReaderGoneError:
        # Python would try to flush once more on the way out.
        _abandon_stdout()
        return OK
    except BaseException as error:
        if says_out_of_memory(error):
            return _no_memory(error)
        return _ours(error, f"{type(error).__name__}: {error}")


def _fail(message: str, code: int) -> int:
    try:
        print(f"kshot: {clean(message)}", file=sys.stderr, flush=True)  # noqa: T201
    except OSError:
        pass
    _abandon_stdout_if_broken()
    return code


def _usage(error: Exception) -> int:
    """A wrong flag or a missing argument, in one line with the help to ask for."""
    format_message = getattr(error, "format_message", None)
    message = format_message() if format_message else str(error)
    if not message:  # no arguments: help has been printed
        return USER_ERROR
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "kshot"
    return _fail(f"{message.rstrip('.')}; see: {path} --help", USER_ERROR)


def _fail_os(error: OSError) -> int:
    """A failed write to stdout (a full disk behind it) is the user's to mend, and so is any file we could not reach."""
    where = f"{error.filename}: " if error.filename else "standard output: "
    code = _fail(f"{where}{error.strerror or error}", USER_ERROR)
    _abandon_stdout()
    return code


def _no_memory(error: BaseException) -> int:
    """The user's to mend, as a full disk is."""
    _show_if_asked(error)
    # What the failed work held is let go of, or there may be no room to say so.
    error.__traceback__ = error.__cause__ = error.__context__ = None
    return _fail(f"out of memory; {ADVICE}", USER_ERROR)


def _show_if_asked(error: BaseException) -> None:
    if os.environ.get("KSHOT_TRACEBACK") == "1":
        import traceback

        traceback.print_exception(error)


def _ours(error: BaseException, what: str) -> int:
    _show_if_asked(error)
    what = " ".join(what.split())
    return _fail(
        f"a fault of kshot itself: {what}; set KSHOT_TRACEBACK=1 to see where, and please report it", OUR_ERROR
    )


def _abandon_stdout_if_broken() -> None:
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        _abandon_stdout()


def _abandon_stdout() -> None:
    """Point stdout at nothing, so that the interpreter's last flush cannot fail and speak."""
    try:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, sys.stdout.fileno())
    except (OSError, ValueError, AttributeError):
        pass
