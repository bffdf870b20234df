"""Whatever holds rows (polars, pandas, arrays, lists) made into one polars frame, or refused in one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from kshot.errors import InputError


class BadInputError(InputError, ValueError):
    """What was given to the detector cannot be used; a ValueError too, as scikit-learn has it."""


def is_frame(X: Any) -> bool:
    """Tell whether `X` is a table with named columns (polars or pandas), not an array or a list of rows."""
    return isinstance(X, pl.DataFrame | pl.LazyFrame) or (hasattr(X, "columns") and hasattr(X, "dtypes"))


def frame_names(X: Any) -> list[str] | None:
    """Column names of a table whose names are all strings; None for anything else."""
    if not is_frame(X):
        return None
    names = X.collect_schema().names() if isinstance(X, pl.LazyFrame) else list(X.columns)
    return names if all(isinstance(n, str) for n in names) else None


def to_frame(X: Any, names: Sequence[str] | None = None) -> pl.DataFrame:
    """Return (n, d) rows as a polars frame; arrays get the columns `names`, or x0, x1, ...

    Raises:
        BadInputError: a cell is neither a number, a truth value, a text nor missing.
    """
    if isinstance(X, pl.LazyFrame):
        return X.collect()
    if isinstance(X, pl.DataFrame):
        return X
    if is_frame(X):
        return pl.DataFrame([_pandas_series(str(name), X.iloc[:, i]) for i, name in enumerate(X.columns)])
    array = np.asarray(X)
    names = list(names) if names is not None else [f"x{i}" for i in range(array.shape[1])]
    return pl.DataFrame([_array_series(name, array[:, i]) for i, name in enumerate(names)])


def rows_to_frame(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Return records given as mappings as a frame, columns in the order in which they first appear."""
    return pl.DataFrame(list(rows), infer_schema_length=None)


def _pandas_series(name: str, column: Any) -> pl.Series:
    """Without pyarrow, which pandas' own way into polars would need."""
    kind = getattr(column.dtype, "kind", "O")
    if str(column.dtype) == "category":
        return pl.Series(name, [None if v is None or v != v else str(v) for v in column.tolist()]).cast(pl.Categorical)
    if kind in "bif" and isinstance(column.dtype, np.dtype):
        return pl.Series(name, column.to_numpy())
    if kind in "bif":
        return pl.Series(name, column.to_numpy(dtype=np.float64, na_value=np.nan))
    if kind == "u":
        return pl.Series(name, column.to_numpy(dtype=np.float64))
    if kind in "mM":
        return pl.Series(name, column.to_numpy(), nan_to_null=True)
    return _array_series(name, np.asarray(column.tolist() or [], dtype=object))


def _array_series(name: str, values: np.ndarray[Any, Any]) -> pl.Series:
    if values.dtype.kind in "biu":
        return pl.Series(name, values)
    if values.dtype.kind == "f":
        return pl.Series(name, values.astype(np.float64, copy=False))
    if values.dtype.kind in "US":
        return pl.Series(name, values.astype(str).tolist(), dtype=pl.String)
    cells = [None if v is None or (isinstance(v, float) and v != v) else v for v in values.tolist()]
    present = [v for v in cells if v is not None]
    if all(isinstance(v, int | float | np.number | bool) for v in present):
        return pl.Series(name, [None if v is None else float(v) for v in cells], dtype=pl.Float64)
    for row, value in enumerate(cells):
        if value is not None and not isinstance(value, int | float | str | np.number | bool):
            raise BadInputError(
                f"column {name}, row {row + 1}",
                f"argument must be a string or a number, not {type(value).__name__}",
                "turn it into one before fitting",
            )
    return pl.Series(name, [None if v is None else str(v) for v in cells], dtype=pl.String)
