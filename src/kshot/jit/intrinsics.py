"""Machine instructions that kernels use beside Python; loads numba."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numba
import numba.extending
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils


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


@numba.extending.intrinsic  # type: ignore[untyped-decorator]
def release_array(context: Any, array: Any) -> Any:
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
            free = cgutils.get_or_insert_function(builder.module, kind, "free")
            mark(values[0])
            builder.call(free, [builder.inttoptr(owned, cgutils.voidptr_t)])
        return target.get_dummy_value()

    return numba.types.void(numba.types.int64), emit


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
