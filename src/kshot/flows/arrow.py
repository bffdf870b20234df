"""Columns laid out in one block of memory as Arrow has them, polars' without a copy."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.errors import InternalError
from kshot.jit import c_function, release_array

_ALIGNMENT = 64
_STRUCT_WORDS = 10
"""ArrowArray of the Arrow C data interface (arrow.apache.org/docs/format/CDataInterface.html): length, null count,
offset, how many buffers and children; pointers to these, to a dictionary, to what releases it, and to what only that
knows."""
_RELEASE = 8
_SCHEMA_WORDS = 9
_SCHEMA_CHILDREN, _SCHEMA_CHILD_AT, _SCHEMA_RELEASE = 4, 5, 7
_ITEM_BYTES = {
    pl.Datetime: 8, pl.Float64: 8, pl.UInt64: 8, pl.Float32: 4, pl.UInt32: 4, pl.Int32: 4, pl.UInt16: 2, pl.UInt8: 1,
    pl.String: 16, pl.Binary: 16, pl.List: 8,
}  # fmt: skip
"""Of an element in the fixed part of a column: texts and bytes are views of 16 bytes, lists are offsets of 8."""
_FORMATS = {
    pl.Datetime: "tsn:UTC", pl.Float64: "g", pl.UInt64: "L", pl.Float32: "f", pl.UInt32: "I", pl.UInt16: "S",
    pl.UInt8: "C", pl.String: "vu", pl.Binary: "vz", pl.List: "+L",
}  # fmt: skip

_HUGE_BYTES = 2 << 20
_MADV_HUGEPAGE = 14

_system = ctypes.CDLL(None)
_system.aligned_alloc.argtypes, _system.aligned_alloc.restype = [ctypes.c_size_t, ctypes.c_size_t], ctypes.c_void_p
_system.free.argtypes, _system.free.restype = [ctypes.c_void_p], None
_system.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_python = ctypes.pythonapi
_python.PyCapsule_New.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_python.PyCapsule_New.restype = ctypes.py_object
_python.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
_python.PyCapsule_GetPointer.restype = ctypes.c_void_p


@c_function
def _release(array: int) -> None:
    """Arrow's release callback: polars calls it on threads of its own while another may hold the GIL."""
    release_array(array)


@dataclass(slots=True)
class Layout:
    """What a block for `rows` rows of `schema` holds and where; all places are bytes from its beginning.

    extents: bytes (of texts) or elements (of lists) for which each column of variable size has room.
    """

    schema: dict[str, pl.DataType]
    rows: int
    extents: dict[str, int]
    bitmaps: int
    columns: NDArray[np.int64]
    """Of every column its elements, views or offsets."""
    data: NDArray[np.int64]
    """Of every column of variable size, in order, its bytes or elements."""
    bitmap: NDArray[np.int64]
    """Of every validity bitmap."""
    size: int

    @classmethod
    def of(cls, schema: dict[str, pl.DataType], rows: int, extents: dict[str, int], bitmaps: int) -> Layout:
        """Lay a block out: structs, bitmaps, fixed parts, then what varies, so that unused room is never touched."""
        # One structure a column, its child's, and the whole's; of each up to four buffers and a pointer to it.
        at = (_STRUCT_WORDS + 5) * 8 * (len(schema) + len(extents) + 1)
        places: list[int] = []
        for size in (
            *[(rows + 7) // 8] * bitmaps,
            *(_ITEM_BYTES[dtype.base_type()] * (rows + 1) for dtype in schema.values()),
            *(extent * (_item_bytes(schema[name])) for name, extent in extents.items()),
        ):
            at = -(-at // _ALIGNMENT) * _ALIGNMENT
            places.append(at)
            # A line more keeps columns of the same size off the same cache sets.
            at += size + _ALIGNMENT
        numbers = np.array(places, np.int64)
        middle = bitmaps + len(schema)
        return cls(schema, rows, extents, bitmaps, numbers[bitmaps:middle], numbers[middle:], numbers[:bitmaps], at)


def _item_bytes(dtype: pl.DataType) -> int:
    return _ITEM_BYTES[dtype.inner.base_type()] if isinstance(dtype, pl.List) else 1


class Block:
    """Memory for one batch of columns. polars frees it when the last of them is gone; else whoever made it must."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        # Many columns are written side by side: in small pages each row would miss the processor's table of pages.
        page = _HUGE_BYTES if layout.size >= 2 * _HUGE_BYTES else _ALIGNMENT
        size = -(-layout.size // page) * page
        self.address = _system.aligned_alloc(page, size)
        if not self.address:
            raise MemoryError
        self._owned = True
        if page == _HUGE_BYTES:
            _system.madvise(self.address, size, _MADV_HUGEPAGE)  # a hint: no system needs to take it
        memory = (ctypes.c_uint8 * (-(-layout.size // 8) * 8)).from_address(self.address)
        self.octets: NDArray[np.uint8] = np.ctypeslib.as_array(memory)
        for place, end in zip(layout.bitmap, (*layout.bitmap[1:], layout.columns[0]), strict=False):
            self.octets[place:end] = 0

    def free(self) -> None:
        """Give the memory back, if polars has not got it."""
        if self._owned:
            _system.free(self.address)
            self._owned = False

    def frame(self, used: dict[str, int], valid: dict[str, int], nulls: NDArray[np.int64]) -> pl.DataFrame:
        """The filled columns as a frame, which owns the memory from now on.

        used: bytes or elements filled of the columns of variable size. valid: the bitmap of each column that may hold
        nulls. nulls: (bitmaps,) how many nulls each bitmap tells of.
        """
        layout = self.layout
        columns = len(layout.schema)
        first_pointer = (1 + columns + len(layout.extents)) * _STRUCT_WORDS
        pointers: list[int] = []
        places = dict(zip(layout.extents, layout.data.tolist(), strict=True))
        own = layout.columns.tolist()
        bitmaps = layout.bitmap.tolist()
        missing = nulls.tolist()
        release = _release.address()

        def struct(
            length: int, missing: int, buffers: list[int], children: Sequence[int] = (), private: int = 0
        ) -> list[int]:
            at = self.address + 8 * (first_pointer + len(pointers))
            pointers.extend(buffers)
            pointers.extend(self.address + 8 * _STRUCT_WORDS * child for child in children)
            return [
                *(length, missing, 0, len(buffers), len(children)),
                *(at, at + 8 * len(buffers), 0, release, private),
            ]

        structs = struct(layout.rows, 0, [0], range(1, 1 + columns), self.address)
        inner: list[int] = []
        for index, (name, dtype) in enumerate(layout.schema.items()):
            number = valid.get(name, -1)
            lost = missing[number] if number >= 0 else 0
            buffers = [self.address + bitmaps[number] if lost else 0, self.address + own[index]]
            if name not in places:
                structs += struct(layout.rows, lost, buffers)
            elif isinstance(dtype, pl.List):
                child = 1 + columns + len(inner) // _STRUCT_WORDS
                inner += struct(used[name], 0, [0, self.address + places[name]])
                structs += struct(layout.rows, lost, buffers, [child])
            else:
                # Beside the bytes themselves, a buffer that tells how many there are.
                pointers.append(used[name])
                tells = self.address + 8 * (first_pointer + len(pointers) - 1)
                structs += struct(layout.rows, lost, [*buffers, self.address + places[name], tells])
        words = self.octets.view(np.int64)
        words[: len(structs) + len(inner)] = structs + inner
        words[first_pointer : first_pointer + len(pointers)] = pointers
        handed = _Handed(self.address, _empty_schema(tuple(layout.schema.items())))
        try:
            return pl.Series(handed).struct.unnest()
        finally:
            if words[_RELEASE] == 0:
                self._owned = False  # it is polars' now


class _Handed:
    """What polars asks for an array: the Arrow PyCapsule interface."""

    def __init__(self, address: int, empty: pl.DataFrame) -> None:
        self._address = address
        self._schema = _exported_schema(empty)

    def __arrow_c_array__(self, requested_schema: object = None) -> tuple[object, object]:
        schema = _python.PyCapsule_New(self._schema.ctypes.data, b"arrow_schema", None)
        return schema, _python.PyCapsule_New(self._address, b"arrow_array", None)

    def __del__(self) -> None:
        if self._schema[_SCHEMA_RELEASE]:
            address = self._schema.ctypes.data
            ctypes.CFUNCTYPE(None, ctypes.c_void_p)(int(self._schema[_SCHEMA_RELEASE]))(address)


def _exported_schema(frame: pl.DataFrame) -> NDArray[np.int64]:
    """An ArrowSchema of the frame's columns, as polars itself writes it."""
    schema = np.zeros(_SCHEMA_WORDS, np.int64)
    stream = frame.__arrow_c_stream__(None)
    address = _python.PyCapsule_GetPointer(stream, b"arrow_array_stream")
    get_schema = ctypes.c_void_p.from_address(address).value
    told = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(get_schema or 0)(
        address, schema.ctypes.data
    )
    if told:
        raise InternalError(f"polars could not tell the schema of a frame: {told}")
    return schema


@functools.cache
def _empty_schema(columns: tuple[tuple[str, pl.DataType], ...]) -> pl.DataFrame:
    """An empty frame of these columns, whose Arrow types are those that a block is filled with."""
    empty = pl.DataFrame(schema=dict(columns))
    schema = _exported_schema(empty)
    children = (ctypes.c_void_p * schema[_SCHEMA_CHILDREN]).from_address(int(schema[_SCHEMA_CHILD_AT]))
    formats = [ctypes.c_char_p.from_address(child or 0).value for child in children]
    wanted = [_FORMATS[dtype.base_type()].encode() for _, dtype in columns]
    if formats != wanted:
        raise InternalError(f"polars {pl.__version__} writes Arrow types {formats}, not {wanted}")
    _release: Any = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(int(schema[_SCHEMA_RELEASE]))
    _release(schema.ctypes.data)
    return empty
