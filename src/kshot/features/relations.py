"""How a flow's ends and ports relate: scope, subnet, kinds of port, port against payload."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.features.addresses import SCOPES, Addresses
from kshot.features.declare import category, to_series, truth
from kshot.features.services import SERVICE_ID, USUAL_SERVICES
from kshot.records.columns import Column, Tier

PORT_KINDS = ("well_known", "registered", "ephemeral")
"""Below 1024, below 32768 (where Linux begins to choose ephemeral ports), and the rest."""
ICMP_KINDS = ("echo", "unreachable", "time_exceeded", "redirect", "discovery", "other")
_ICMP_KIND_OF = {
    1: {8: 0, 0: 0, 3: 1, 11: 2, 5: 3, 9: 4, 10: 4},
    58: {128: 0, 129: 0, 1: 1, 3: 2, 137: 3, 133: 4, 134: 4, 135: 4, 136: 4},
}
"""By protocol and type: RFC 792 and 1256, RFC 4443 and 4861."""
ANSWERS = ("yes", "no")
_TCP, _UDP = 6, 17
_N, _Z = Tier.NETFLOW, Tier.ZEEK

COLUMNS: tuple[Column, ...] = (
    category("orig_scope", SCOPES, "where the originator's address is good for", _N),
    category("resp_scope", SCOPES, "where the responder's address is good for", _N),
    truth("same_subnet", "both ends are of one /24 or /64", _N),
    category("orig_port_kind", PORT_KINDS, "kind of the originator's port; null without ports", _N),
    category("resp_port_kind", PORT_KINDS, "kind of the responder's port; null without ports", _N),
    truth("equal_ports", "both ends use the same port; null without ports", _N),
    category("icmp_kind", ICMP_KINDS, "kind of ICMP message; null if not ICMP", _N),
    category("port_fits_service", ANSWERS, "payload speaks what the port is for; null if neither is known", _Z),
)


def _port_fit(
    service: NDArray[np.int64],
    port: NDArray[np.int64],
    protocol: NDArray[np.int64],
    orig_port: NDArray[np.int64],
    known_services: NDArray[np.bool_] | None,
) -> NDArray[np.float32]:
    fits = np.full(len(service), np.nan, np.float32)
    usual = USUAL_SERVICES[port]
    if known_services is not None:
        usual = np.where(known_services[usual], usual, 0)
    has_ports = (protocol == _TCP) | (protocol == _UDP)
    expected = usual[:, 0] > 0
    known = service > SERVICE_ID["unknown"]
    agrees = (usual == service[:, None]).any(axis=1)
    # Peers that speak to each other from the service's own port (NTP, NetBIOS, DHCP) fit by either end's.
    agrees |= (USUAL_SERVICES[orig_port] == service[:, None]).any(axis=1)
    spoken = has_ports & (service != SERVICE_ID["none"]) & (known | expected)
    fits[spoken] = 1
    fits[spoken & known & agrees] = 0
    return fits


def relation_features(
    flows: pl.DataFrame,
    orig: Addresses,
    resp: Addresses,
    service: NDArray[np.int64] | None,
    ports: NDArray[np.int64],
    protocol: NDArray[np.int64],
    known_services: NDArray[np.bool_] | None = None,
) -> list[pl.Series]:
    """Compute the columns of `COLUMNS`; the last only where the input told the `service`.

    `ports` is (n, 2), the originator's and the responder's; `protocol` (n,). `known_services` (services,) marks those
    that the input could name at all, None if all.
    """
    n = len(flows)
    has_ports = np.isin(protocol, (_TCP, _UDP, 132))
    kinds = np.where(has_ports[:, None], np.digitize(ports, (1024, 32768)), np.nan)
    icmp = np.full(n, np.nan)
    for number, kind_of in _ICMP_KIND_OF.items():
        rows = np.flatnonzero(protocol == number)
        lookup = np.full(65536, len(ICMP_KINDS) - 1)
        lookup[list(kind_of)] = list(kind_of.values())
        icmp[rows] = lookup[ports[rows, 0]]
    rows_of_values = [
        orig.scopes,
        resp.scopes,
        np.where((orig.subnets != 0) & (resp.subnets != 0), orig.subnets == resp.subnets, np.nan),
        kinds[:, 0],
        kinds[:, 1],
        np.where(has_ports, ports[:, 0] == ports[:, 1], np.nan),
        icmp,
    ]
    if service is not None:
        rows_of_values.append(_port_fit(service, ports[:, 1], protocol, ports[:, 0], known_services))
    return [
        to_series(column, values.astype(np.float32))
        for column, values in zip(COLUMNS[: len(rows_of_values)], rows_of_values, strict=True)
    ]
