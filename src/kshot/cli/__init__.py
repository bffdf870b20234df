"""The command line: thin verbs over the pipeline."""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `kshot` with the given arguments (default: the process's own); returns the exit code."""
    from kshot.cli.memory import spare_address_space

    spare_address_space()  # before the first thread starts
    from kshot.cli.app import run

    return run(arguments)


__all__ = ["main"]
