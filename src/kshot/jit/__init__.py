"""The one typed door to numba, which is loaded only when something must be compiled by it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar, cast

from kshot.jit import plain
from kshot.jit.folders import give_numba_a_cache_folder
from kshot.jit.lazy import Kernel, Part

F = TypeVar("F", bound=Callable[..., object])

DISABLED = os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")
"""Whether kernels run as plain Python, as numba's own switch says: for coverage, very slowly."""

give_numba_a_cache_folder()


def _by_numba(function: F, **options: Any) -> F:
    if DISABLED:
        return function
    from kshot.jit.compiling import dispatcher_of

    return cast(F, dispatcher_of(function, options))


def njit(function: F) -> F:
    """Compile `function` in nopython mode; the machine code is cached on disk and the GIL released while it runs."""
    return _by_numba(function, cache=True)


def njit_inline(function: F) -> F:
    """As `njit`, but pasted into its callers: for the small steps of a hot loop."""
    return _by_numba(function, cache=True, inline="always")


def njit_bare(function: F) -> F:
    """As `njit`, for kernels that allocate nothing: they do not count references to the arrays that they pass around.

    Counting took a third of the meter's time. Such a kernel must not make or return arrays.
    """
    return _by_numba(function, cache=True, _nrt=False)


def njit_stored(function: F) -> F:
    """As `njit_bare`, with its machine code in a file of our own, which is loaded without numba.

    numba and what it draws in take a second to load, longer than a capture of a million packets takes to meter. Such a
    kernel takes whole numbers, booleans and C-contiguous arrays, and returns nothing, a whole number or a tuple of
    these.
    """
    return function if DISABLED else cast(F, Kernel(function))


def c_function(function: Callable[[int], None]) -> Kernel:
    """A stored kernel whose `address` others call as a C function of one pointer, on threads of their own.

    It is machine code even where the JIT is off.
    """
    return Kernel(function)


def njit_part(function: F) -> F:
    """As `njit_bare`, for what only kernels call, never Python: without the way in, cached with its callers alone."""
    return function if DISABLED else cast(F, Part(function))


def njit_step(function: F) -> F:
    """As `njit_part`, for the steps of a hot loop: LLVM pastes them into their callers."""
    return function if DISABLED else cast(F, Part(function, forceinline=True))


def _intrinsic(function: F) -> F:
    return function if DISABLED else cast(F, Part(function, intrinsic=True))


bare = _intrinsic(plain.bare)
copy_bytes = _intrinsic(plain.copy_bytes)
leading_zeros = _intrinsic(plain.leading_zeros)
prefetch = _intrinsic(plain.prefetch)
read_be16 = _intrinsic(plain.read_be16)
read_be32 = _intrinsic(plain.read_be32)
read_be64 = _intrinsic(plain.read_be64)
read_word = _intrinsic(plain.read_word)
release_array = cast(Callable[[int], None], Part(plain.release_array, intrinsic=True))
