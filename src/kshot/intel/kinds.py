"""Whether a record is of a kind with a threat's examples: no word that was never seen in them."""

from __future__ import annotations

from collections.abc import Sequence

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
    return are_of_kinds([shots], frame)[:, 0]


def are_of_kinds(shots: Sequence[pl.DataFrame], frame: pl.DataFrame) -> NDArray[np.bool_]:
    """(n, T) the same of each of T frames of shots, which all have the same columns."""
    good = np.ones((len(shots), frame.height), bool)
    taught, threat = pl.concat(shots), np.repeat(np.arange(len(shots)), [len(rows) for rows in shots])
    for name, dtype in taught.schema.items():
        if (dtype != pl.Boolean and not isinstance(dtype, pl.Enum)) or name in LAYOUT or name not in frame.columns:
            continue
        words = pl.concat([_plain(taught[name]), _plain(frame[name])]).fill_null("(missing)")
        code = words.cast(pl.Enum(words.unique())).to_physical().to_numpy()
        shown = np.zeros((len(shots), int(code.max()) + 1), bool)
        shown[threat, code[: len(threat)]] = True
        good &= shown[:, code[len(threat) :]]
    return good.T


def _plain(values: pl.Series) -> pl.Series:
    """As text, with values of the same kind made one."""
    text = values.cast(pl.String)
    same = SAME_KIND.get(values.name)
    return text if same is None else text.replace(dict.fromkeys(same, same[0]))
