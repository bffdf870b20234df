"""HTML from text that came off the wire: everything escaped, nothing hidden."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape


def shown(value: object) -> str:
    r"""Text safe anywhere in HTML, in quoted attributes too; what cannot be seen becomes its visible escape.

    >>> shown('<b>\u202e"')
    '&lt;b&gt;\\u202e&quot;'
    """
    return escape("".join(map(_visible, str(value))), quote=True)


def _visible(character: str) -> str:
    # isprintable is false for controls, marks that turn the direction of text, separators and lone surrogates.
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def table(
    caption: str, head: Sequence[tuple[str, str]], rows: Iterable[Sequence[str]], *, kind: str = "", row_heads: int = 1
) -> str:
    """A table of cells that are HTML already; on a narrow screen each row is a card.

    Parameters:
        head: of each column its title and class ("number" aligns to the right).
        row_heads: how many first cells name the row.
    """
    titles = "".join(f'<th scope="col" role="columnheader" class="{css}">{shown(title)}</th>' for title, css in head)
    lines = []
    for row in rows:
        cells = []
        for place, ((title, css), cell) in enumerate(zip(head, row, strict=True)):
            tag, extra = ("th", ' scope="row" role="rowheader"') if place < row_heads else ("td", ' role="cell"')
            cells.append(f'<{tag}{extra} class="{css}" data-title="{shown(title)}"><div>{cell}</div></{tag}>')
        lines.append(f'<tr role="row">{"".join(cells)}</tr>')
    # The roles are those the elements have by themselves; cards would take them away.
    return (
        f'<table role="table" class="{kind}"><caption>{shown(caption)}</caption>'
        f'<thead role="rowgroup"><tr role="row">{titles}</tr></thead>'
        f'<tbody role="rowgroup">{"".join(lines)}</tbody></table>'
    )


def number(value: float) -> str:
    """A number as a person writes it.

    >>> [number(v) for v in (1234567, 0.00012345, 12.5, float("nan"), 2.0)]
    ['1,234,567', '0.000123', '12.5', 'none', '2']
    """
    if value != value:
        return "none"
    if abs(value) >= 1e15:
        return f"{value:.3g}"
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.3g}" if abs(value) < 100 else f"{value:.4g}"


def percent(share: float) -> str:
    """A share as a percentage; what is nearly all or nearly none is not rounded to it.

    >>> [percent(v) for v in (0, 1, 0.5, 0.9996, 0.0008, 0.123)]
    ['0 %', '100 %', '50 %', '99.96 %', '0.08 %', '12 %']
    """
    hundred = 100.0 * share
    if hundred in (0.0, 100.0):
        return f"{hundred:.0f} %"
    if hundred < 1.0:
        return f"{hundred:.2g} %"
    if hundred > 99.0:
        return f"{min(hundred, 99.99):.4g} %"
    return f"{hundred:.0f} %"


def tone(threat: str, colours: Mapping[str, int]) -> str:
    """The class of a threat's colour."""
    return f"c{colours[threat]}" if threat in colours else "plain"


def badge(threat: str, colours: Mapping[str, int]) -> str:
    """A threat's name beside its colour."""
    return f'<span class="badge {tone(threat, colours)}"><i class="dot"></i>{shown(threat)}</span>'


def share_bar(share: float, threat: str, colours: Mapping[str, int]) -> str:
    """A bar as long as the share of its cell, in the threat's colour; for eyes only, the number stands beside it."""
    css = tone(threat, colours) if threat else "was"
    return f'<span class="bar {css}" aria-hidden="true"><i style="width:{100.0 * share:.2f}%"></i></span>'


def facts(pairs: Iterable[tuple[str, str]], css: str) -> str:
    """A list of small figures: what, and its value."""
    told = "".join(f"<div><dt>{shown(what)}</dt><dd>{shown(value)}</dd></div>" for what, value in pairs)
    return f'<dl class="{css}">{told}</dl>'


def split_reason(text: str) -> tuple[str, str]:
    """A reason's feature with its value, and how far out it is; that the shots are there too goes without saying.

    >>> split_reason("orig_ports_10s 100: above all of the reference, as the shots")
    ('orig_ports_10s 100', 'above all of the reference')
    """
    what, _, rest = text.partition(": ")
    return what, rest.removesuffix(", as the shots")
