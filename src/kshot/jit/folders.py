"""Where compiled code is kept: beside the package, else with the user's caches."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

_PACKAGE = Path(__file__).parent.parent


def _home() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _last_resort() -> Path:
    return Path(tempfile.gettempdir()) / f"kshot-numba-{os.getuid()}"


def _is_ours(folder: Path) -> bool:
    """Compiled code is executed from there: a folder that another user made is not ours to trust."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder.stat().st_uid == os.getuid()
    except OSError:
        return False


def give_numba_a_cache_folder() -> None:
    """Point numba at a writable folder when neither the package nor the home folder is one (a read-only install)."""
    if "NUMBA_CACHE_DIR" in os.environ:
        return
    home = _home()
    writable = (os.access(p, os.W_OK) for p in (_PACKAGE, home if home.exists() else home.parent))
    if not any(writable) and _is_ours(_last_resort()):
        os.environ["NUMBA_CACHE_DIR"] = str(_last_resort())


def code_folders(module_file: str) -> list[Path]:
    """Where machine code of a module's kernels may lie, the first choice first."""
    told = os.environ.get("NUMBA_CACHE_DIR")
    if told:
        return [Path(told)]
    return [Path(module_file).parent / "__pycache__", _home() / "kshot"]
