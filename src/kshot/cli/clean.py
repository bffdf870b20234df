"""Keep what an input says from steering a terminal, a log or a spreadsheet."""

from __future__ import annotations

import re

# Beyond ASCII: C1 controls, marks that turn the direction of text or hide in it, line separators, and lone surrogates
# (bytes of a file name that are no UTF-8).
_HIDDEN = (
    "\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
)
_UNSAFE = re.compile(f"[\x00-\x1f{_HIDDEN}]")
_JSON_UNSAFE = re.compile(f"[{_HIDDEN}]")
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def clean(text: str) -> str:
    r"""Make text safe for one line of a terminal or log: every steering character becomes its visible escape.

    >>> clean("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    return _UNSAFE.sub(_escape, text)


def clean_json(text: str) -> str:
    """Escape, in JSON text, the characters above ASCII that steer a terminal; it means the same to a parser."""
    return (
        text if text.isascii() and "\x7f" not in text else _JSON_UNSAFE.sub(lambda m: f"\\u{ord(m.group()):04x}", text)
    )


def clean_cell(text: str) -> str:
    """Make text safe for a CSV cell: no control characters, and no beginning that a spreadsheet takes for a formula.

    >>> clean_cell("=cmd()")
    "'=cmd()"
    """
    return clean("'" + text if text.startswith(_FORMULA_STARTS) else text)
