"""Whether a record is of a kind with a threat's examples: nothing told in words that was never seen in them."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

LAYOUT = ("same_subnet", "orig_port_kind", "resp_port_kind", "ssh_software")
"""Columns that tell of a network's lay-out or of a tool's make, not of what is done: any value is of the kind."""
SAME_KIND = {
    "orig_scope": ("private", "public", "other"),
    "resp_scope": ("private", "public", "other"),
    "port_fits_service": ("yes", "no"),
}
"""Values that differ from network to network for the same deed: one host is as good as another, but not a group of
them; a service may have moved to another port, but a port for nothing known is another matter."""


def is_of_kind(shots: pl.DataFrame, frame: pl.DataFrame) -> NDArray[np.bool_]:
    """(n,) whether every flag and category of a row of `frame` (its being missing too) occurs among `shots`.

    Numbers differ from network to network; that a connection was answered, spoke DNS or called back does not. Where
    hundreds of records of a stranger's network are rare by some number, this tells those that cannot be the threat.
    """
    good = np.ones(frame.height, bool)
    for name, dtype in shots.schema.items():
        if (dtype != pl.Boolean and not isinstance(dtype, pl.Enum)) or name in LAYOUT or name not in frame.columns:
            continue
        seen, asked = _plain(shots[name]), _plain(frame[name])
        good &= asked.is_in(seen.drop_nulls().unique().to_list()).fill_null(seen.null_count() > 0).to_numpy()
    return good


def _plain(values: pl.Series) -> pl.Series:
    """As text, with values of the same kind made one."""
    text = values.cast(pl.String)
    same = SAME_KIND.get(values.name)
    return text if same is None else text.replace(dict.fromkeys(same, same[0]))
