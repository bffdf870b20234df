"""Choose records by a SQL expression over their columns."""

from __future__ import annotations

from difflib import get_close_matches

import polars as pl
from polars.exceptions import ColumnNotFoundError, PolarsError

from kshot.errors import UserError

_PANIC: type[BaseException] = getattr(pl.exceptions, "PanicException", PolarsError)


def select(frame: pl.DataFrame, expression: str) -> pl.Series:
    """Return a flag a row: whether the SQL expression holds there (null counts as no).

    >>> select(pl.DataFrame({"resp_port": [53, 80]}), "resp_port = 53").to_list()
    [True, False]

    Raises:
        UserError: no such column (near names are offered), not SQL, or not a condition.
    """
    parsed = _parse(expression)
    missing = [name for name in dict.fromkeys(parsed.meta.root_names()) if name not in frame.columns]
    if missing:
        raise _no_column(expression, missing[0], frame.columns)
    try:
        flags = frame.select(parsed.alias("kshot.chosen"))
    except ColumnNotFoundError as error:
        raise _no_column(expression, str(error).split('"')[1] if '"' in str(error) else "?", frame.columns) from error
    except (PolarsError, _PANIC) as error:
        raise _bad(expression, _first_line(error)) from error
    chosen = flags["kshot.chosen"]
    if chosen.dtype != pl.Boolean:
        raise _bad(expression, f"it gives {chosen.dtype}, not true or false")
    if chosen.len() == 1 and frame.height != 1:
        chosen = pl.Series("kshot.chosen", [chosen[0]], dtype=pl.Boolean).new_from_index(0, frame.height)
    return chosen.fill_null(False)


def columns_named(expression: str) -> list[str]:
    """Return the columns that the expression names.

    >>> columns_named("label = 'bot' and bytes > 5")
    ['label', 'bytes']
    """
    return list(dict.fromkeys(_parse(expression).meta.root_names()))


def _parse(expression: str) -> pl.Expr:
    try:
        parsed = pl.sql_expr(expression)
    except (PolarsError, _PANIC) as error:
        raise _bad(expression, _first_line(error)) from error
    if not isinstance(parsed, pl.Expr):
        raise _bad(expression, "give one condition")
    return parsed


def _no_column(expression: str, name: str, columns: list[str]) -> UserError:
    # Columns are compared without case: Label and label are one slip of the hand.
    by_lower = {column.lower(): column for column in columns}
    near = [by_lower[found] for found in get_close_matches(name.lower(), by_lower, 3, 0.5)]
    known = ", ".join(near or columns[:8]) + ("" if near or len(columns) <= 8 else ", ...")
    return UserError(
        f"--where {expression!r}: there is no column {name}; {'near it' if near else 'there are'}: {known}"
    )


def _bad(expression: str, what: str) -> UserError:
    return UserError(f'--where {expression!r}: {what}; it must be a SQL condition such as "resp_port = 53"')


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0][:200]
