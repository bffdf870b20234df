"""Machine code of kernels in files of our own, loaded by LLVM without numba."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import json
import os
import sys
import types
import zlib
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import llvmlite  # type: ignore[import-untyped]
import llvmlite.binding as llvm  # type: ignore[import-untyped]
import numpy as np

from kshot.jit.folders import code_folders

if TYPE_CHECKING:
    from kshot.jit.lazy import Part

_MAGIC = b"kshot kernel 1\n"
_BODY = len(_MAGIC) + 4
"""Where it begins: behind the magic and the checksum."""
_SUFFIX = ".kernel"
_SETTINGS = ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "NUMBA_OPT", "NUMBA_LOOP_VECTORIZE", "NUMBA_SLP_VECTORIZE")
"""What in the environment changes the machine code that numba makes."""


def pack(symbol: str, results: str, is_tuple: bool, machine_code: bytes) -> bytes:
    """One file's content. results: of each whole number or boolean returned "q" or "?"."""
    head = json.dumps([symbol, results, is_tuple]).encode() + b"\n"
    body = head + machine_code
    return _MAGIC + _checksum(body) + body


def _checksum(body: bytes) -> bytes:
    return zlib.crc32(body).to_bytes(4, "little")


class Code:
    """Machine code in memory, ready to be called."""

    def __init__(self, packed: bytes) -> None:
        head, machine_code = packed[_BODY:].split(b"\n", 1)
        symbol, self.results, self.is_tuple = json.loads(head)
        _start_llvm()
        machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        _IN_MEMORY.append((engine, machine))
        engine.add_object_file(llvm.ObjectFileRef.from_data(machine_code))
        engine.finalize_object()
        self.address: int = engine.get_function_address(symbol)
        self.call = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self.address)


_IN_MEMORY: list[object] = []
"""What holds machine code. Never freed: polars may still call it when everything else of ours is gone."""


@functools.cache
def _start_llvm() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a piece of machine code was made from, as file names tell it."""

    module_file: str
    kernel: str
    setting: str
    """Of the machine, the versions of what compiles, and the types of the arguments: one file each is kept."""
    source: str
    """Of the kernel, all that it calls, and the values that these refer to."""

    @property
    def file_name(self) -> str:
        """Beside the others in a cache folder."""
        return f"{self.kernel}-{self.setting}-{self.source}{_SUFFIX}"


def load(stamp: Stamp) -> Code | None:
    """The machine code stored under `stamp`; None if there is none, or a damaged one."""
    for folder in code_folders(stamp.module_file):
        try:
            packed = (folder / stamp.file_name).read_bytes()
        except OSError:
            continue
        body = packed[_BODY:]
        if packed[:_BODY] == _MAGIC + _checksum(body):
            return Code(packed)
    return None


def save(stamp: Stamp, packed: bytes) -> None:
    """Store machine code where `load` finds it, in the place of what was made from an older source."""
    for folder in code_folders(stamp.module_file):
        # Written beside and renamed: a start at the same time sees all of it or nothing.
        new = folder / f"{stamp.file_name}.{os.getpid()}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            new.write_bytes(packed)
            new.replace(folder / stamp.file_name)
        except OSError:
            with contextlib.suppress(OSError):
                new.unlink()
            continue
        for other in folder.glob(f"{stamp.kernel}-{stamp.setting}-*{_SUFFIX}"):
            if other.name != stamp.file_name:
                with contextlib.suppress(OSError):
                    other.unlink()
        return


def stamp_of(kernel: Part, kinds: tuple[str, ...]) -> Stamp:
    """The stamp of a kernel for arguments of these kinds."""
    function: Any = kernel.function
    setting = hashlib.blake2b(repr((_surroundings(), kinds)).encode(), digest_size=8)
    source = hashlib.blake2b(digest_size=12)
    for told in _sources(function, set()):
        source.update(told.encode() + b"\0")
    module_file = sys.modules[function.__module__].__file__ or ""
    name = f"{Path(module_file).stem}.{function.__qualname__}"
    return Stamp(module_file, name, setting.hexdigest(), source.hexdigest())


@functools.cache
def _surroundings() -> tuple[object, ...]:
    """The machine and all that makes machine code, without loading numba."""
    numba = util.find_spec("numba")
    numba_folder = Path(numba.origin if numba is not None and numba.origin else "").parent
    return (
        sys.version,
        llvmlite.__version__,
        (numba_folder / "_version.py").read_text(),
        llvm.get_process_triple(),
        llvm.get_host_cpu_name(),
        llvm.get_host_cpu_features().flatten(),
        [os.environ.get(name) for name in _SETTINGS],
        [
            hashlib.blake2b((Path(__file__).parent / name).read_bytes()).hexdigest()
            for name in ("compiling.py", "intrinsics.py", "lazy.py", "stored.py")
        ],
    )


def _sources(function: Any, seen: set[Any]) -> list[str]:
    """What tells one version of a function from another: its byte code, what it calls, and values from outside."""
    told: list[str] = []
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        told += (code.co_code.hex(), repr(code.co_varnames), repr(code.co_names))
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                codes.append(constant)
            else:
                told.append(repr(constant))
        for name in code.co_names:
            if name in function.__globals__:
                told += _value(function.__globals__[name], seen)
    for cell in function.__closure__ or ():
        told += _value(cell.cell_contents, seen)
    return told


def _value(value: Any, seen: set[Any]) -> list[str]:
    part = getattr(value, "function", None)
    if part is not None:
        if part in seen:
            return []
        seen.add(part)
        return [part.__qualname__, repr(vars(value).get("_options")), *_sources(part, seen)]
    if isinstance(value, np.ndarray):
        return [value.dtype.str, hashlib.blake2b(value.tobytes()).hexdigest()]
    if value is None or isinstance(value, (bool, int, float, str, tuple)):
        return [repr(value)]
    return [getattr(value, "__name__", type(value).__name__)]
