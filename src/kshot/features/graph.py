"""The host graph of a window of flows: how central, mutual and clustered both ends of each flow are."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.errors import MissingExtraError
from kshot.features.declare import SIDES, both, to_series, truth
from kshot.records.columns import Column, Tier

_N = Tier.NETFLOW

GRAPH_COLUMNS: tuple[Column, ...] = (
    *both("{}_out_degree", "1", "hosts that the {} called in this window", _N),
    *both("{}_in_degree", "1", "hosts that called the {} in this window", _N),
    *both("{}_reciprocity", "1", "share of the {}'s neighbours that it both called and was called by", _N),
    *both("{}_clustering", "1", "share of pairs of the {}'s neighbours that are linked; null below 2", _N),
    *both("{}_component_hosts", "1", "hosts that are linked with the {}, over others or at once", _N),
    truth("is_mutual", "the responder called the originator too in this window", _N),
)
"""The window is the frame of one call of `transform`: these columns alone depend on how the input is cut."""

MOST_CLUSTERED_NEIGHBOURS = 200
"""Of a host with more neighbours, the clustering is not counted (null): its cost is their number squared."""


def graph_features(flows: pl.DataFrame) -> list[pl.Series]:
    """Compute the columns of `GRAPH_COLUMNS`, one row a flow of `flows`, over the graph of all of them.

    Raises:
        MissingExtraError: rustworkx is not installed.
    """
    try:
        import rustworkx
    except ImportError:
        raise MissingExtraError("the host graph", "graph") from None
    ends = [flows[name].fill_null("") for name in ("originator", "responder")]
    hosts = pl.concat([end.rename("host") for end in ends]).unique(maintain_order=True)
    index = [_places(end, hosts) for end in ends]
    links = np.unique(np.stack(index, axis=1), axis=0) if len(flows) else np.zeros((0, 2), np.int64)
    links = links[links[:, 0] != links[:, 1]]
    n = len(hosts)
    out_degree, in_degree = np.bincount(links[:, 0], minlength=n), np.bincount(links[:, 1], minlength=n)
    words = links[:, 0] * n + links[:, 1]
    is_mutual = np.isin(links[:, 1] * n + links[:, 0], words)
    mutual = np.bincount(links[is_mutual, 0], minlength=n)
    graph = rustworkx.PyGraph(multigraph=False)
    graph.add_nodes_from(range(n))
    graph.add_edges_from_no_data([(int(a), int(b)) for a, b in links])
    component = np.zeros(n)
    for members in rustworkx.connected_components(graph):
        component[list(members)] = len(members)
    neighbours = out_degree + in_degree - mutual
    with np.errstate(invalid="ignore"):
        by_host = (out_degree, in_degree, mutual / neighbours, _clustering(graph, neighbours), component)
    columns = [values[index[at]] for values in by_host for at in range(len(SIDES))]
    columns.append(np.isin(index[1] * n + index[0], words))
    return [
        to_series(column, np.asarray(values, np.float32)) for column, values in zip(GRAPH_COLUMNS, columns, strict=True)
    ]


def _places(end: pl.Series, hosts: pl.Series) -> NDArray[np.int64]:
    numbered = pl.DataFrame({"host": hosts, "place": np.arange(len(hosts))})
    found = end.rename("host").to_frame().join(numbered, on="host", how="left", maintain_order="left")
    return found["place"].to_numpy().astype(np.int64)


def _clustering(graph: object, neighbours: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the local clustering of each host (Watts and Strogatz 1998), NaN where it has no pair or too many."""
    result = np.full(len(neighbours), np.nan)
    around: dict[int, set[int]] = {}
    for host in np.flatnonzero((neighbours >= 2) & (neighbours <= MOST_CLUSTERED_NEIGHBOURS)):
        near = around.setdefault(int(host), set(graph.neighbors(int(host))))  # type: ignore[attr-defined]
        linked = 0
        for other in near:
            if neighbours[other] >= 2:
                further = around.setdefault(other, set(graph.neighbors(other)))  # type: ignore[attr-defined]
                linked += len(near & further)
        result[host] = linked / (len(near) * (len(near) - 1))
    return result
