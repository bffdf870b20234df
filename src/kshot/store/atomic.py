"""Write a file beside its place and rename it when whole; a failure leaves what was there."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from kshot.errors import OutputError

_ADVICE = {
    errno.ENOSPC: "free some space or write elsewhere",
    errno.EDQUOT: "free some space or write elsewhere",
    errno.EFBIG: "raise the limit (ulimit -f) or write elsewhere",
    errno.EACCES: "choose a place that you may write to",
    errno.EPERM: "choose a place that you may write to",
    errno.EROFS: "choose a place that you may write to",
    errno.ENOENT: "make the folder first",
    errno.ENOTDIR: "choose another folder",
    errno.EISDIR: "name a file, not a folder",
}


def output_error(path: Path | str, error: OSError) -> OutputError:
    """Say in one line what could not be written, why, and what to do."""
    advice = _ADVICE.get(error.errno or 0, "")
    what = error.strerror or str(error)
    return OutputError(f"cannot write {path}: {what}" + (f"; {advice}" if advice else ""))


class Whole:
    """A file in the making: write to `path`; it takes its place when the `whole_file` block ends well."""

    def __init__(self, path: Path) -> None:
        self.path = path
        """Where to write."""


@contextlib.contextmanager
def whole_file(target: Path) -> Iterator[Whole]:
    """Give a path to write to; at the end it is synced to disk and renamed to `target`, on an error removed.

    A device or pipe (/dev/null, a FIFO) cannot be renamed over: it is written to directly.

    Raises:
        OutputError: no such folder, no rights, disk full; nothing is left half-written.
    """
    try:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if _is_special(target):
            yield Whole(target)
            return
        # Follow a link to the file it means, so that the link itself survives.
        place = target.resolve()
        part = place.with_name(f".{place.name[:100]}.{secrets.token_hex(4)}.part")
        with open(part, "xb"):  # noqa: PTH123 - "x" claims the name; a failure here names the real cause early
            pass
    except OSError as error:
        raise output_error(target, error) from error
    try:
        yield Whole(part)
        _keep_mode(place, part)
        sync_file(part)
        part.replace(place)
        sync_folder(place.parent)
    except OSError as error:
        raise output_error(target, error) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def _is_special(path: Path) -> bool:
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return False


def _keep_mode(place: Path, part: Path) -> None:
    """Give the new file the rights of the one it replaces."""
    with contextlib.suppress(FileNotFoundError):
        part.chmod(stat.S_IMODE(place.stat().st_mode))


def sync_file(path: Path) -> None:
    """Force a file's bytes to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(path: Path) -> None:
    """Force a folder's entries to the disk, so that a rename survives a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some file systems (FUSE, network shares) cannot sync a folder; the rename itself has still happened.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)
