"""Seeded mutants of captures: the same damage every time for the same seed and number."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

NASTY_NUMBERS = (
    0,
    1,
    3,
    7,
    0x7F,
    0x80,
    0xFF,
    0x100,
    0x7FFF,
    0xFFFF,
    0x40000,
    0x1000000,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
)
"""What length fields are overwritten with: the edges of every width."""
MOST_MUTANT_BYTES = 1 << 20


def unpack(archive: Path, into: Path) -> Path:
    """Unpack a tar archive; members with absolute paths, `..`, links or devices are refused."""
    with tarfile.open(archive) as tar:
        for member in tar:
            if not (member.isfile() or member.isdir()):
                raise ValueError(f"{archive}: {member.name} is a link or a device")
            tar.extract(member, into, filter="data")
    return into


def mutate(data: bytes, generator: np.random.Generator, other: bytes) -> bytes:
    """Damage `data` in one to four ways; `other` is a file to splice from."""
    out = bytearray(data[:MOST_MUTANT_BYTES])
    for _ in range(int(generator.integers(1, 5))):
        way = MUTATIONS[int(generator.integers(len(MUTATIONS)))]
        way(out, generator, other)
        if not out:
            out += b"\0"
    return bytes(out[: 2 * MOST_MUTANT_BYTES])


def _place(out: bytearray, generator: np.random.Generator) -> int:
    """Somewhere in `out`; every other time near its start, where the headers are."""
    end = min(len(out), 200) if generator.random() < 0.5 else len(out)
    return int(generator.integers(max(end, 1)))


def _flip_bits(out: bytearray, generator: np.random.Generator, other: bytes) -> None:
    for _ in range(int(generator.integers(1, 17))):
        out[_place(out, generator)] ^= 1 << int(generator.integers(8))


def _write_bytes(out: bytearray, generator: np.random.Generator, other: bytes) -> None:
    at = _place(out, generator)
    piece = generator.bytes(int(generator.integers(1, 9)))
    out[at : at + len(piece)] = piece


def _write_length(out: bytearray, generator: np.random.Generator, other: bytes) -> None:
    """Overwrite a number of one, two or four bytes, in either order, with an edge of its width."""
    width = int(generator.choice([1, 2, 4]))
    at = _place(out, generator)
    if width == 4 and generator.random() < 0.7:
        at &= ~3
    number = NASTY_NUMBERS[int(generator.integers(len(NASTY_NUMBERS)))] & ((1 << 8 * width) - 1)
    out[at : at + width] = number.to_bytes(width, "big" if generator.random() < 0.5 else "little")


def _nudge_length(out: bytearray, generator: np.random.Generator, other: bytes) -> None:
    """Add or take a little from a number: off by one is nastier than nonsense."""
    width = int(generator.choice([1, 2, 4]))
    at = _place(out, generator)
    order = "big" if generator.random() < 0.5 else "little"
    number = int.from_bytes(out[at : at + width], order) + int(generator.integers(-8, 9))  # type: ignore[arg-type]
    out[at : at + width] = (number & ((1 << 8 * width) - 1)).to_bytes(width, order)  # type: ignore[arg-type]


def _cut(out: bytearray, generator: np.random.Generator, other: bytes) -> None:
    del out[_place(out, generator) :]


def _remove(out: bytearray, generator: np.random.Generator, other: bytes) -> None:
    at = _place(out, generator)
    del out[at : at + int(generator.integers(1, 64))]


def _repeat(out: bytearray, generator: np.random.Generator, other: bytes) -> None:
    """Duplicate a stretch, which may be a block or a packet, up to a hundred times."""
    at = _place(out, generator)
    piece = bytes(out[at : at + int(generator.integers(1, 400))])
    out[at:at] = piece * int(generator.integers(1, 100))


def _swap(out: bytearray, generator: np.random.Generator, other: bytes) -> None:
    first, second = sorted((_place(out, generator), _place(out, generator)))
    size = int(generator.integers(1, 200))
    one, two = bytes(out[first : first + size]), bytes(out[second : second + size])
    out[second : second + size] = one
    out[first : first + size] = two


def _splice(out: bytearray, generator: np.random.Generator, other: bytes) -> None:
    """Go on as another file from somewhere on, or let a piece of it in."""
    at = _place(out, generator)
    start = int(generator.integers(max(len(other), 1)))
    if generator.random() < 0.5:
        out[at:] = other[start : start + MOST_MUTANT_BYTES]
    else:
        out[at:at] = other[start : start + int(generator.integers(1, 2000))]


def _zero(out: bytearray, generator: np.random.Generator, other: bytes) -> None:
    at = _place(out, generator)
    size = min(int(generator.integers(1, 100)), len(out) - at)
    out[at : at + size] = bytes(size)


MUTATIONS: tuple[Callable[[bytearray, np.random.Generator, bytes], None], ...] = (
    _flip_bits,
    _flip_bits,
    _write_bytes,
    _write_length,
    _write_length,
    _write_length,
    _nudge_length,
    _nudge_length,
    _cut,
    _remove,
    _repeat,
    _swap,
    _splice,
    _zero,
)


def mutant(index: int, seed: int, corpus: list[Path]) -> tuple[Path, bytes]:
    """Make mutant number `index` of `seed`, and name the file it was made from; the same every time."""
    generator = np.random.default_rng([seed, index])
    parent, other = (corpus[int(i)] for i in generator.integers(len(corpus), size=2))
    return parent, mutate(parent.read_bytes(), generator, other.read_bytes())
