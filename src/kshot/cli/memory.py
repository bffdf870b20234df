"""Whether an error says that memory ran out: every library under us has words of its own for it."""

from __future__ import annotations

import errno
import re

_SAYING_SO = re.compile(
    r"out of memory|memory allocation|allocation failed|(cannot|failed to|unable to) allocate|bad_alloc"
    r"|capacity overflow|cannot map|failed to map|can't start new thread|ThreadPoolBuildError",
    re.IGNORECASE,
)
"""numba, polars and Arrow, the loader of shared objects, and threads whose stacks find no room."""
ADVICE = "give it more (ulimit -v, the container's limit), or less to read at once (editcap -c splits a capture)"


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
