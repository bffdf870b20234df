"""The one typed door to numba: compiled once, cached on disk, never holding the GIL."""

from __future__ import annotations

import functools
import operator
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

F = TypeVar("F", bound=Callable[..., object])
A = TypeVar("A", bound=NDArray[Any])


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

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
"""C functions of kernels are for passing kernels to kernels, which nobody does; leaving them out saves compiling."""


def njit(function: F) -> F:
    """Compile `function` in nopython mode; the machine code is cached on disk and the GIL released while it runs."""
    return cast(F, numba.njit(cache=True, **_OPTIONS)(function))


def njit_inline(function: F) -> F:
    """As `njit`, but pasted into its callers: for the small steps of a hot loop."""
    return cast(F, numba.njit(cache=True, inline="always", **_OPTIONS)(function))


def njit_bare(function: F) -> F:
    """As `njit`, for kernels that allocate nothing: they do not count references to the arrays that they pass around.

    Counting took a third of the meter's time. Such a kernel must not make or return arrays.
    """
    return cast(F, numba.njit(cache=True, _nrt=False, **_OPTIONS)(function))


def njit_part(function: F) -> F:
    """As `njit_bare`, for what only kernels call, never Python: without the way in, cached with its callers alone."""
    return cast(F, numba.njit(_nrt=False, no_cpython_wrapper=True, **_OPTIONS)(function))


def njit_step(function: F) -> F:
    """As `njit_part`, for the steps of a hot loop: LLVM pastes them into their callers."""
    return cast(F, numba.njit(_nrt=False, no_cpython_wrapper=True, forceinline=True, **_OPTIONS)(function))


def _place(target: Any, builder: Any, kind: Any, array: Any, at: Any) -> Any:
    """Where `array[at]` lies. Unlike numba's own indexing it asks nothing of `at`: it must be within the array."""
    if isinstance(kind, _BareType):
        return builder.gep(builder.bitcast(array, ir.PointerType(target.get_data_type(kind.dtype))), [at])
    return builder.gep(target.make_array(kind)(target, builder, array).data, [at])


class _BareType(numba.types.Type):  # type: ignore[misc]
    """An array of which a kernel knows nothing but where it begins and what it holds."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(name=f"bare({dtype})")


numba.extending.register_model(_BareType)(numba.extending.models.OpaqueModel)


@numba.core.typing.templates.infer_global(operator.getitem)
class _BareGet(numba.core.typing.templates.AbstractTemplate):  # type: ignore[misc]
    def generic(self, arguments: Any, _: Any) -> Any:
        if isinstance(arguments[0], _BareType) and isinstance(arguments[1], numba.types.Integer):
            return arguments[0].dtype(arguments[0], numba.types.int64)
        return None


@numba.core.typing.templates.infer_global(operator.setitem)
class _BareSet(numba.core.typing.templates.AbstractTemplate):  # type: ignore[misc]
    def generic(self, arguments: Any, _: Any) -> Any:
        if isinstance(arguments[0], _BareType) and isinstance(arguments[1], numba.types.Integer):
            return numba.types.none(arguments[0], numba.types.int64, arguments[0].dtype)
        return None


@numba.extending.lower_builtin(operator.getitem, _BareType, numba.types.Integer)  # type: ignore[untyped-decorator]
def _lower_get(target: Any, builder: Any, signature: Any, values: Any) -> Any:
    place = _place(target, builder, signature.args[0], *values)
    return target.unpack_value(builder, signature.return_type, place)


@numba.extending.lower_builtin(operator.setitem, _BareType, numba.types.Integer, numba.types.Any)  # type: ignore[untyped-decorator]
def _lower_set(target: Any, builder: Any, signature: Any, values: Any) -> Any:
    place = _place(target, builder, signature.args[0], *values[:2])
    target.pack_value(builder, signature.args[2], values[2], place)
    return target.get_dummy_value()


def _reader(bits: int, *, signed: bool = True) -> Any:
    """Make a kernel step that reads a big-endian number of so many bits."""

    def read(context: Any, buffer: Any, at: Any) -> Any:
        def emit(target: Any, builder: Any, signature: Any, values: Any) -> Any:
            place = _place(target, builder, signature.args[0], *values)
            word = builder.load(builder.bitcast(place, ir.PointerType(ir.IntType(bits))), align=1)
            word = builder.bswap(word)
            return word if bits == 64 else builder.zext(word, ir.IntType(64))

        return (numba.types.int64 if signed else numba.types.uint64)(buffer, numba.types.int64), emit

    return numba.extending.intrinsic(read)


@functools.cache
def free_block_address() -> int:
    """The address of a C function for Arrow's C data interface: marks an ArrowArray and its children as released, and
    frees with PyMem_RawFree what its private word points to, if it is not 0.

    Machine code, because polars calls it on threads of its own while another may hold the GIL.
    """

    @numba.cfunc("void(uint64)", cache=True, nopython=True)  # type: ignore[untyped-decorator]
    def release(array: int) -> None:
        _release_array(array)

    return cast(int, release.address)


@numba.extending.intrinsic  # type: ignore[untyped-decorator]
def _release_array(context: Any, array: Any) -> Any:
    """Words of an ArrowArray: 4 children, 6 pointers to them, 8 what releases it, 9 private."""

    def emit(target: Any, builder: Any, signature: Any, values: Any) -> Any:
        word = ir.IntType(64)

        def place(base: Any, index: Any) -> Any:
            return builder.gep(builder.inttoptr(base, word.as_pointer()), [index])

        def mark(base: Any) -> None:
            builder.store(word(0), place(base, word(8)))

        def each_child(base: Any, do: Callable[[Any], None]) -> None:
            with cgutils.for_range(builder, builder.load(place(base, word(4)))) as loop:
                do(builder.load(place(builder.load(place(base, word(6))), loop.index)))

        def mark_child(child: Any) -> None:
            each_child(child, mark)
            mark(child)

        each_child(values[0], mark_child)
        owned = builder.load(place(values[0], word(9)))
        with builder.if_then(builder.icmp_unsigned("!=", owned, word(0))):
            kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t])
            free = cgutils.get_or_insert_function(builder.module, kind, "PyMem_RawFree")
            mark(values[0])
            builder.call(free, [builder.inttoptr(owned, cgutils.voidptr_t)])
        return target.get_dummy_value()

    return numba.types.void(numba.types.uint64), emit


if numba.config.DISABLE_JIT:

    def bare(array: A) -> A:
        """The array itself."""
        return array

    def copy_bytes(target: NDArray[np.uint8], to: int, source: NDArray[np.uint8], begin: int, length: int) -> None:
        """Copy `length` bytes from `source[begin]` to `target[to]`."""
        target[to : to + length] = source[begin : begin + length]

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

    def read_word(buffer: NDArray[np.uint8], at: int) -> np.uint64:
        """The eight bytes at `at`, the first the most significant."""
        return np.uint64(int.from_bytes(buffer[at : at + 8].tobytes(), "big"))

    def leading_zeros(word: np.uint64) -> int:
        """How many zero bits `word` begins with."""
        return 64 - int(word).bit_length()

else:
    read_be16 = _reader(16)
    read_be32 = _reader(32)
    read_be64 = _reader(64)
    read_word = _reader(64, signed=False)

    @numba.extending.intrinsic  # type: ignore[untyped-decorator]
    def leading_zeros(context: Any, word: Any) -> Any:
        """How many zero bits `word` begins with."""

        def emit(target: Any, builder: Any, signature: Any, values: Any) -> Any:
            return builder.ctlz(values[0], ir.IntType(1)(0))

        return numba.types.int64(word), emit

    @numba.extending.intrinsic  # type: ignore[untyped-decorator]
    def bare(context: Any, array: Any) -> Any:
        """The array as a kernel's inner steps take it: indexed as before, but never from its end, and never checked.

        numba hands an array on as seven numbers and looks at every index whether it is below zero. A kernel that
        lays its arrays bare compiles in half the time and runs faster. The caller keeps the array alive.
        """

        def emit(target: Any, builder: Any, signature: Any, values: Any) -> Any:
            data = target.make_array(signature.args[0])(target, builder, values[0]).data
            return builder.bitcast(data, target.get_value_type(signature.return_type))

        return _BareType(array.dtype)(array), emit

    @numba.extending.intrinsic  # type: ignore[untyped-decorator]
    def copy_bytes(context: Any, target: Any, to: Any, source: Any, begin: Any, length: Any) -> Any:
        """Copy `length` bytes from `source[begin]` to `target[to]`."""

        def emit(target: Any, builder: Any, signature: Any, values: Any) -> Any:
            into = _place(target, builder, signature.args[0], *values[:2])
            out_of = _place(target, builder, signature.args[2], *values[2:4])
            cgutils.raw_memcpy(builder, into, out_of, values[4], 1)
            return target.get_dummy_value()

        number = numba.types.int64
        return numba.types.void(target, number, source, number, number), emit

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
