"""What kernels do by machine instructions, in plain Python, for where the JIT is off."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

A = TypeVar("A", bound=NDArray[Any])


def bare(array: A) -> A:
    """The array as a kernel's inner steps take it: indexed as before, but never from its end, and never checked.

    numba hands an array on as seven numbers and looks at every index whether it is below zero. A kernel that
    lays its arrays bare compiles in half the time and runs faster. The caller keeps the array alive.
    """
    return array


def copy_bytes(target: NDArray[np.uint8], to: int, source: NDArray[np.uint8], begin: int, length: int) -> None:
    """Copy `length` bytes from `source[begin]` to `target[to]`."""
    target[to : to + length] = source[begin : begin + length]


def leading_zeros(word: np.uint64) -> int:
    """How many zero bits `word` begins with."""
    return 64 - int(word).bit_length()


def prefetch(words: NDArray[np.int64], at: int) -> None:
    """Send for the cache line of `words[at]`, without waiting for it."""


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


def release_array(address: int) -> None:
    """Mark the ArrowArray at `address` and its children as released; free what its private word points to."""
    raise NotImplementedError("only machine code may run on polars' threads")
