"""One exception tree, split by whose mistake it is."""

from __future__ import annotations


class KshotError(Exception):
    """Anything that kshot raises on purpose. The message is one line: what, where, what to do."""


class UserError(KshotError):
    """The user can mend it: a wrong file, flag, column or name. The CLI exits 2, a server answers 4xx."""


class InputError(UserError):
    """An input cannot be used as it is. `where` names the file and, if known, the line, packet or field."""

    def __init__(self, where: str, what: str, hint: str = "") -> None:
        super().__init__(f"{where}: {what}" + (f"; {hint}" if hint else ""))
        self.where = where
        """The file, and the line, packet or field in it."""
        self.what = what
        """What is wrong there."""
        self.hint = hint
        """What to do about it; may be empty."""


class OutputError(UserError):
    """A result could not be written (full disk, no rights, no such folder); nothing is left half-written."""


class ThreatError(UserError):
    """A threat is unknown, cannot be taught from what was given, or does not fit the input."""


class MissingExtraError(UserError):
    """A feature needs a package that is not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs an extra: pip install 'kshot[{extra}]'")
        self.extra = extra
        """The extra's name in pyproject.toml."""


class InternalError(KshotError):
    """We broke a promise; the CLI exits 1."""
