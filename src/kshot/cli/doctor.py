"""`kshot doctor`: whether this installation can do its work, and what is missing."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Iterator
from importlib import metadata, util
from pathlib import Path
from typing import Annotated

import typer

from kshot import __version__

_CORE = ("numpy", "numba", "polars", "scikit-learn", "scipy", "typer", "rich", "platformdirs", "zstandard", "tomli-w")
_EXTRAS = (
    ("graph", "rustworkx", "features of the host graph"),
    ("train", "torch", "training of the general threat model"),
    ("bench", "nfstream", "the speed comparison of make bench"),
    ("dev", "pytest", "the test suite"),
)
Check = tuple[str, str, str]
"""How it stands ("ok", "missing" or "fault"), what was looked at, what was found."""


def doctor(
    warm: Annotated[
        bool, typer.Option("--warm", help="Compile all kernels now, so that nothing waits for it later.")
    ] = False,
) -> int:
    """Look whether this installation can do its work: versions, caches, rights, and what is missing.

    [bold]Examples[/]

    kshot doctor

    kshot doctor --warm
    """
    faults = 0
    for check in (_versions, _dependencies, _home, _kernel_cache, _extras):
        for state, what, found in check():
            faults += state == "fault"
            _print(state, what, found)
    if faults:
        return 2
    if warm:
        _print("ok", "kernels", _warm())
    return 0


def _print(state: str, what: str, found: str) -> None:
    from rich.console import Console
    from rich.text import Text

    from kshot.cli.clean import clean

    style = {"ok": "green", "missing": "yellow", "fault": "bold red"}[state]
    line = Text.assemble((f"{state:<8}", style), (f"{what:<14}", "bold"), clean(found))
    Console(highlight=False, soft_wrap=True).print(line)


def _versions() -> Iterator[Check]:
    yield "ok", "kshot", __version__
    yield (
        "ok",
        "python",
        f"{platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    )


def _dependencies() -> Iterator[Check]:
    found, missing = [], []
    for name in _CORE:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    yield "ok", "packages", ", ".join(found)
    if missing:
        yield "fault", "packages", f"{', '.join(missing)} missing; get: pip install {' '.join(missing)}"


def _home() -> Iterator[Check]:
    from kshot.store.home import kshot_home

    home = kshot_home()
    threats = home / "threats"
    if not _writable(home):
        yield "fault", "state", f"{home} cannot be written; set KSHOT_HOME to a folder that can"
        return
    count = sum(1 for entry in threats.iterdir() if not entry.name.startswith(".")) if threats.is_dir() else 0
    yield "ok", "state", f"{home}, {count} threat{'' if count == 1 else 's'}"


def _writable(folder: Path) -> bool:
    """Whether the folder can be written, or made."""
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)


def _kernel_cache() -> Iterator[Check]:
    if util.find_spec("numba") is None:
        return
    import kshot.jit  # chooses the cache folder

    told = os.environ.get("NUMBA_CACHE_DIR")
    package = Path(kshot.jit.__file__).parent.parent
    folder = Path(told) if told else package if os.access(package, os.W_OK) else Path.home() / ".cache" / "numba"
    if os.environ.get("NUMBA_DISABLE_JIT") == "1":
        yield "missing", "kernels", "NUMBA_DISABLE_JIT=1 is set: everything runs, very slowly"
    elif _writable(folder):
        yield "ok", "kernel cache", str(folder)
    else:
        yield "missing", "kernel cache", f"{folder} cannot be written: every start compiles anew; set NUMBA_CACHE_DIR"


def _extras() -> Iterator[Check]:
    for extra, module, purpose in _EXTRAS:
        if util.find_spec(module) is not None:
            yield "ok", f"[{extra}]", f"{module} {_version(module)}: {purpose}"
        else:
            yield "missing", f"[{extra}]", f"{purpose}; get: pip install 'kshot[{extra}]'"


def _version(module: str) -> str:
    try:
        return metadata.version(module)
    except metadata.PackageNotFoundError:
        return "(unknown version)"


def _warm() -> str:
    from kshot.stream.warm import warm

    began = time.perf_counter()
    if sys.stderr.isatty():
        sys.stderr.write("compiling the kernels, once ...\n")
    flows = warm()
    return f"compiled and run on {flows} flows in {time.perf_counter() - began:.1f} s"
