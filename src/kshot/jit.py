"""The one typed door to numba: compiled once, cached on disk, never holding the GIL."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

F = TypeVar("F", bound=Callable[..., object])


def _give_numba_a_cache_folder() -> None:
    """Point numba at a writable folder when neither the package nor the home folder is one (a read-only install)."""
    if "NUMBA_CACHE_DIR" in os.environ:
        return
    package = Path(__file__).parent
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    writable = (os.access(p, os.W_OK) for p in (package, home if home.exists() else home.parent))
    if not any(writable):
        uid = os.getuid()
        folder = Path(tempfile.gettempdir()) / f"kshot-numba-{uid}"
        folder.mkdir(mode=0o700, exist_ok=True)
        # Compiled code is executed from here: a folder that another user made is not ours to trust.
        if folder.stat().st_uid == uid:
            os.environ["NUMBA_CACHE_DIR"] = str(folder)


_give_numba_a_cache_folder()

import numba  # noqa: E402  (reads NUMBA_CACHE_DIR when it is imported)
import numba.extending  # noqa: E402
from llvmlite import ir  # type: ignore[import-untyped]  # noqa: E402
from numba.core import cgutils  # noqa: E402


def njit(function: F) -> F:
    """Compile `function` in nopython mode; the machine code is cached on disk and the GIL released while it runs."""
    return cast(F, numba.njit(cache=True, nogil=True, error_model="numpy")(function))


def njit_inline(function: F) -> F:
    """As `njit`, but pasted into its callers: for the small steps of a hot loop."""
    return cast(F, numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")(function))


def njit_bare(function: F) -> F:
    """As `njit`, for kernels that allocate nothing: they do not count references to the arrays that they pass around.

    Counting took a third of the meter's time. Such a kernel must not make or return arrays.
    """
    return cast(F, numba.njit(cache=True, nogil=True, error_model="numpy", _nrt=False)(function))


def njit_step(function: F) -> F:
    """As `njit_bare`, for the steps of a hot loop: LLVM pastes them into their callers."""
    return cast(F, numba.njit(cache=True, nogil=True, error_model="numpy", _nrt=False, forceinline=True)(function))


def _place(target: Any, builder: Any, kind: Any, array: Any, at: Any) -> Any:
    """Where `array[at]` lies. Unlike numba's own indexing it asks nothing of `at`: it must be within the array."""
    return builder.gep(target.make_array(kind)(target, builder, array).data, [at])


def _reader(bits: int) -> Any:
    """Make a kernel step that reads a big-endian number of so many bits."""

    def read(context: Any, buffer: Any, at: Any) -> Any:
        def emit(target: Any, builder: Any, signature: Any, values: Any) -> Any:
            place = _place(target, builder, signature.args[0], *values)
            word = builder.load(builder.bitcast(place, ir.PointerType(ir.IntType(bits))), align=1)
            word = builder.bswap(word)
            return word if bits == 64 else builder.zext(word, ir.IntType(64))

        return numba.types.int64(buffer, numba.types.int64), emit

    return numba.extending.intrinsic(read)


if numba.config.DISABLE_JIT:

    def prefetch(words: NDArray[np.int64], at: int) -> None:
        """Nothing to send for without the JIT."""

    def read_be16(buffer: NDArray[np.uint8], at: int) -> int:
        """The two bytes at `at`, most significant first."""
        return int.from_bytes(buffer[at : at + 2].tobytes(), "big")

    def read_be32(buffer: NDArray[np.uint8], at: int) -> int:
        """The four bytes at `at`, most significant first."""
        return int.from_bytes(buffer[at : at + 4].tobytes(), "big")

    def read_be64(buffer: NDArray[np.uint8], at: int) -> int:
        """The eight bytes at `at`, most significant first, as a signed number."""
        return int.from_bytes(buffer[at : at + 8].tobytes(), "big", signed=True)

else:
    read_be16 = _reader(16)
    read_be32 = _reader(32)
    read_be64 = _reader(64)

    @numba.extending.intrinsic  # type: ignore[untyped-decorator]
    def prefetch(context: Any, words: Any, at: Any) -> Any:
        """Send for the cache line of `words[at]`, without waiting for it."""

        def emit(target: Any, builder: Any, signature: Any, values: Any) -> Any:
            place = builder.bitcast(_place(target, builder, signature.args[0], *values), ir.PointerType(ir.IntType(8)))
            number = ir.IntType(32)
            kind = ir.FunctionType(ir.VoidType(), [place.type, number, number, number])
            function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
            # To be written to (1), kept in all caches (3), data (1).
            builder.call(function, [place, number(1), number(3), number(1)])
            return target.get_dummy_value()

        return numba.types.void(words, at), emit
