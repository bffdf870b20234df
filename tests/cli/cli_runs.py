"""How a run of the program ended, for the tests of the command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Ran:
    """How a run ended and what it said."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]


def one_line(text: str) -> str:
    """The text without its newline; fails unless it is one line that the program said."""
    lines = text.splitlines()
    assert len(lines) == 1, text
    assert lines[0].startswith("kshot: ")
    return lines[0].removeprefix("kshot: ")
