"""Kernels and their parts, before anything is compiled."""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from kshot.jit.stored import Code, load, save, stamp_of

_LOCK = threading.Lock()


class Part:
    """A function that kernels call, or an intrinsic. numba sees through it when it compiles one of them."""

    def __init__(self, function: Callable[..., object], *, intrinsic: bool = False, **options: Any) -> None:
        self.function = function
        self.intrinsic = intrinsic
        self._options = {"no_cpython_wrapper": True, "_nrt": False, **options}
        self.__doc__ = function.__doc__

    @functools.cached_property
    def real(self) -> Any:
        """What numba makes of it."""
        from kshot.jit import compiling

        if self.intrinsic:
            return compiling.intrinsic_named(self.function.__name__)
        return compiling.dispatcher_of(self.function, self._options)


class Kernel(Part):
    """A function that Python calls: machine code for the types it is called with, from a file if it is there.

    Takes whole numbers, booleans and C-contiguous arrays, whose sizes it does not check.
    """

    def __init__(self, function: Callable[..., object]) -> None:
        super().__init__(function)
        self._codes: dict[tuple[str, ...], Code] = {}

    def __call__(self, *arguments: Any) -> Any:
        """Run it, the GIL released."""
        words: list[int] = []
        kinds = []
        for argument in arguments:
            if isinstance(argument, np.ndarray):
                kinds.append(f"{argument.dtype.str}{argument.ndim}")
                if not (argument.flags.c_contiguous and argument.flags.aligned):
                    raise TypeError(f"{self.function.__qualname__}: an array with gaps")
                words += (argument.__array_interface__["data"][0], *argument.shape)
            else:
                kinds.append("bool" if isinstance(argument, (bool, np.bool_)) else "int")
                words.append(int(argument))
        code = self._code(tuple(kinds))
        room = max(len(words), len(code.results), 1)
        memory = (ctypes.c_int64 * room)(*words)
        code.call(ctypes.addressof(memory))
        results = tuple(bool(word) if kind == "?" else word for kind, word in zip(code.results, memory, strict=False))
        if code.is_tuple:
            return results
        return results[0] if results else None

    def address(self) -> int:
        """Of the machine code as a C function of one pointer, which the kernel takes as a whole number."""
        return self._code(("pointer",)).address

    def _code(self, kinds: tuple[str, ...]) -> Code:
        code = self._codes.get(kinds)
        if code is None:
            with _LOCK:
                code = self._codes.get(kinds) or self._find(kinds)
                self._codes[kinds] = code
        return code

    def _find(self, kinds: tuple[str, ...]) -> Code:
        stamp = stamp_of(self, kinds)
        code = load(stamp)
        if code is None:
            from kshot.jit import compiling

            packed = compiling.machine_code(self, kinds)
            save(stamp, packed)
            code = Code(packed)
        return code
