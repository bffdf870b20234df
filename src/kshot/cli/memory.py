"""Whether an error says that memory ran out: every library under us has words of its own for it."""

from __future__ import annotations

import contextlib
import errno
import re

_SAYING_SO = re.compile(
    r"out of memory|memory allocation|allocation failed|(cannot|failed to|unable to) allocate|bad_alloc"
    r"|capacity overflow|cannot map|failed to map|can't start new thread|ThreadPoolBuildError",
    re.IGNORECASE,
)
"""numba, polars and Arrow, the loader of shared objects, and threads whose stacks find no room."""
_M_ARENA_MAX = -8
"""mallopt(3)"""
ADVICE = "give it more (ulimit -v, the container's limit), or less to read at once (editcap -c splits a capture)"


def spare_address_space() -> None:
    """Under a limit on it (ulimit -v) keep the C library from setting 64 MiB aside for every thread.

    A scan's threads set aside 900 MiB in this way and use a tenth; without a limit that costs nothing.
    """
    import resource

    if resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY:
        return
    import ctypes

    with contextlib.suppress(OSError, AttributeError):  # not every C library has it
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def says_out_of_memory(error: BaseException) -> bool:
    """Whether `error`, or one that it came from, is about memory.

    >>> says_out_of_memory(MemoryError())
    True
    >>> says_out_of_memory(RuntimeError("can't start new thread"))
    True
    >>> says_out_of_memory(ValueError("memory of an elephant"))
    False
    """
    seen: set[int] = set()
    told: BaseException | None = error
    while told is not None and id(told) not in seen:
        seen.add(id(told))
        if isinstance(told, MemoryError) or (isinstance(told, OSError) and told.errno == errno.ENOMEM):
            return True
        # Not KeyError, ValueError and their like: their text may be a user's own words.
        if not isinstance(told, LookupError | ValueError) and _SAYING_SO.search(str(told)):
            return True
        told = told.__cause__ or told.__context__
    return False
