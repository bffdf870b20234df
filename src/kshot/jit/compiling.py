"""numba at work: dispatchers for what it caches itself, and machine code for what we store."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from typing import Any

import llvmlite.binding as llvm  # type: ignore[import-untyped]
import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, codegen, event
from numba.core.registry import cpu_target
from numba.core.typing.typeof import typeof_impl
from numba.np import arrayobj

from kshot.jit import intrinsics
from kshot.jit.lazy import Part
from kshot.jit.stored import pack

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
"""C functions of kernels are for passing kernels to kernels, which nobody does; leaving them out saves compiling."""
_OUTSIDE = ("llvm.", "memcpy", "memmove", "memset", "free")
"""All that machine code may ask of whoever loads it: LLVM ends the process where it cannot find a function."""


def dispatcher_of(function: Callable[..., object], options: dict[str, Any]) -> Any:
    """What numba makes of a function with these options."""
    disabled, numba.config.DISABLE_JIT = numba.config.DISABLE_JIT, 0  # who asks wants machine code
    try:
        made = numba.njit(**options, **_OPTIONS)(function)
    finally:
        numba.config.DISABLE_JIT = disabled
    kept = getattr(getattr(made, "_cache", None), "_cache_file", None)
    if kept is not None:
        kept._load_index = _forgiving(kept._load_index)
    return made


def _forgiving(load_index: Callable[[], dict[Any, str]]) -> Callable[[], dict[Any, str]]:
    """An index that cannot be read, such as one that names a type of an older release, is as if there were none.

    numba reads it whole before it looks whether it is of this source.
    """

    def load() -> dict[Any, str]:
        try:
            return load_index()
        except Exception:  # whatever is wrong with it, the code is compiled anew
            return {}

    return load


def intrinsic_named(name: str) -> Any:
    """One of our own intrinsics."""
    return getattr(intrinsics, name)


@typeof_impl.register(Part)  # type: ignore[untyped-decorator]
def _type_of_part(part: Part, context: Any) -> Any:
    """To numba's type inference a part is what stands behind it."""
    if part.intrinsic:
        return cpu_target.typing_context.resolve_value_type(part.real)
    return numba.types.Dispatcher(part.real)


class _Unfinished(codegen.JITCodeLibrary):  # type: ignore[misc]
    """The code of a part, only ever pasted into a kernel: by itself neither optimised nor linked nor made machine code.

    numba does all three for every function, and links and optimises it once more in each caller.
    """

    _shared_module: Any

    def _optimize_functions(self, module: Any) -> None:
        module.data_layout = self._codegen._data_layout

    def finalize(self) -> None:
        self._raise_if_finalized()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        return 0

    def _get_module_for_linking(self) -> Any:
        """The part with all that it calls."""
        if self._shared_module is None:
            module = self._final_module.clone()
            for library in self._called({self: None}):
                if library is not self:
                    unfinished = isinstance(library, _Unfinished)
                    module.link_in(library._final_module if unfinished else library._get_module_for_linking(), True)
            for function in module.functions:
                if not function.is_declaration and function.linkage == llvm.Linkage.external:
                    function.linkage = "linkonce_odr"
            self._shared_module = module
        return self._shared_module

    def _called(self, found: dict[Any, None]) -> dict[Any, None]:
        for library in self._linking_libraries:
            if library not in found:
                found[library] = None
                if isinstance(library, _Unfinished):
                    library._called(found)
        return found


@contextlib.contextmanager
def _parts_unfinished() -> Iterator[None]:
    """What numba compiles meanwhile is a part."""
    maker = cpu_target.target_context.codegen()
    maker._library_class = _Unfinished
    maker.set_env = lambda *_: None
    try:
        yield
    finally:
        del maker._library_class, maker.set_env


@contextlib.contextmanager
def _no_collecting() -> Iterator[None]:
    """The compiler makes millions of small objects and hardly a cycle: looking for these took an eighth of its time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def machine_code(kernel: Part, kinds: tuple[str, ...]) -> bytes:
    """Compile `kernel` for arguments of these kinds to what `stored.Code` loads.

    The kernel is wrapped in a C function of one pointer: to 64-bit words that hold the arguments, of an array its
    address and shape, and that take the results. Kind "pointer" is that pointer itself.
    """
    told = {"dispatcher": kernel.real, "args": kinds, "return_type": None}
    with _no_collecting(), event.trigger_event("numba:compile", data=told):
        arguments = tuple(_type_of(kind) for kind in kinds)
        with _parts_unfinished():
            kernel.real.compile(arguments)
        inner = kernel.real.overloads[arguments]
        results = inner.signature.return_type
        is_tuple = isinstance(results, numba.types.BaseTuple)
        kinds_returned = "".join(map(_result_kind, results if is_tuple else [results]))
        symbol = f"kshot.{kernel.function.__module__}.{kernel.function.__qualname__}"

        @numba.extending.intrinsic  # type: ignore[untyped-decorator]
        def make_entry(context: Any) -> Any:
            def emit(target: Any, builder: Any, signature: Any, values: Any) -> Any:
                _emit_entry(target, builder.module, symbol, kinds, inner)
                return target.get_dummy_value()

            return numba.types.void(), emit

        def vehicle() -> None:
            make_entry()

        outer = dispatcher_of(vehicle, {"no_cpython_wrapper": True, "_nrt": False})
        outer.compile(())
        library = outer.overloads[()].library
        for function in library._final_module.functions:
            if function.is_declaration and not function.name.startswith(_OUTSIDE):
                raise TypeError(f"{symbol} asks for {function.name}, which nobody will have loaded")
        return pack(symbol, kinds_returned, is_tuple, library._get_compiled_object())


def _type_of(kind: str) -> Any:
    if kind in ("int", "pointer"):
        return numba.types.int64
    if kind == "bool":
        return numba.types.boolean
    dtype, dimensions = np.dtype(kind[:-1]), int(kind[-1])
    return numba.types.Array(numba.from_dtype(dtype), dimensions, "C")


def _result_kind(result: Any) -> str:
    if isinstance(result, numba.types.NoneType):
        return ""
    if isinstance(result, numba.types.Boolean):
        return "?"
    if isinstance(result, numba.types.Integer):
        return "q"
    raise TypeError(f"a stored kernel cannot return {result}")


def _emit_entry(target: Any, module: Any, symbol: str, kinds: tuple[str, ...], inner: Any) -> None:
    """Add the C function to `module`: it takes the arguments from the words, calls, and puts the results there."""
    word = ir.IntType(64)
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [word]), symbol)
    builder = ir.IRBuilder(function.append_basic_block())
    words = builder.inttoptr(function.args[0], word.as_pointer())
    at = 0

    def take() -> Any:
        nonlocal at
        at += 1
        return builder.load(builder.gep(words, [word(at - 1)]))

    arguments = []
    for kind, wanted in zip(kinds, inner.signature.args, strict=True):
        if kind == "pointer":
            arguments.append(function.args[0])
        elif kind == "int":
            arguments.append(take())
        elif kind == "bool":
            arguments.append(builder.icmp_unsigned("!=", take(), word(0)))
        else:
            arguments.append(_array_from(target, builder, wanted, take))
    library = target.active_code_library
    library.add_linking_library(inner.library)
    _, result = target.call_internal_no_propagate(builder, inner.fndesc, inner.signature, arguments)
    types = inner.signature.return_type
    if isinstance(types, numba.types.BaseTuple):
        values = list(zip(cgutils.unpack_tuple(builder, result), types, strict=True))
    else:
        values = [] if isinstance(types, numba.types.NoneType) else [(result, types)]
    for place, (value, kind_of) in enumerate(values):
        whole = target.cast(builder, value, kind_of, numba.types.int64)
        builder.store(whole, builder.gep(words, [word(place)]))
    builder.ret_void()


def _array_from(target: Any, builder: Any, wanted: Any, take: Callable[[], Any]) -> Any:
    """numba's array from an address and a shape in C order."""
    array = target.make_array(wanted)(target, builder)
    data = builder.inttoptr(take(), array.data.type)
    shape = [take() for _ in range(wanted.ndim)]
    item = target.get_constant(numba.types.intp, target.get_abi_sizeof(target.get_data_type(wanted.dtype)))
    strides = [item]
    for extent in reversed(shape[1:]):
        strides.insert(0, builder.mul(strides[0], extent))
    arrayobj.populate_array(array, data=data, shape=shape, strides=strides, itemsize=item, meminfo=None)
    return array._getvalue()
