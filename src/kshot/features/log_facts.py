"""What Zeek's and Suricata's logs tell of a payload: the bytes it began with are made again, then described as such."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.features.declare import SIDES, first_bytes, to_array
from kshot.features.payload import describe
from kshot.features.services import SERVICE_ID, SERVICES
from kshot.jit import njit
from kshot.records.columns import Tier
from kshot.records.flows import PAYLOAD_BYTES

_NAMED = {
    "ssl": "tls", "krb": "kerberos", "krb_tcp": "kerberos", "krb_udp": "kerberos", "krb5": "kerberos",
    "dce_rpc": "dcerpc", "dnp3_tcp": "dnp3", "dnp3_udp": "dnp3", "ldap_tcp": "ldap", "ldap_udp": "ldap",
    "postgresql": "postgres", "pgsql": "postgres", "nfs": "rpc", "portmapper": "rpc", "ikev2": "ipsec", "ike": "ipsec",
    "bittorrent-dht": "bittorrent", "http2": "http", "ftp-data": "unknown", "ethernetip": "enip", "cip": "enip",
    "nbns": "netbios", "nbss": "smb",
}  # fmt: skip
"""Names that a sensor gives to what `SERVICES` calls otherwise."""
_SAME = (
    "bacnet", "bittorrent", "dhcp", "dns", "enip", "ftp", "http", "imap", "irc", "ldap", "modbus", "mqtt", "mysql",
    "netbios", "ntp", "openvpn", "pop3", "quic", "radius", "rdp", "redis", "rfb", "s7comm", "sip", "smb", "smtp",
    "snmp", "socks", "ssh", "syslog", "telnet", "tftp", "tls", "wireguard", "xmpp", "dtls", "dcerpc", "kerberos",
)  # fmt: skip
SERVICE_OF_LOG = {name: name for name in _SAME} | _NAMED
"""log_service (docs.zeek.org, analyzers; docs.suricata.io, app-layer) to a name of `SERVICES`."""
SERVICES_OF_LOGS = np.isin(SERVICES, [*SERVICE_OF_LOG.values(), "none", "unknown"])
"""(services,) whether a log can name it; the others read "unknown" there."""
AS_LOGGED = np.where(SERVICES_OF_LOGS, np.arange(len(SERVICES)), SERVICE_ID["unknown"])
"""(services,) each one's id as a log would have it: history counts these, so that it is the same whatever is read."""

_QUERY_CODES = {
    "A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "NULL": 10, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33,
    "SVCB": 64, "HTTPS": 65, "*": 255, "ANY": 255,
}  # fmt: skip
_OTHER_QUERY, _NO_QUERY = 65_280, -1
"""A type for private use (RFC 6895) stands for all that have no name here."""
_ANSWER_CODES = {"NOERROR": 0, "SERVFAIL": 2, "NXDOMAIN": 3, "REFUSED": 5}
_OTHER_ANSWER = 4
_HEADER_BYTES, _LENGTH_PREFIX_BYTES = 12, 2
_ESCAPED = (" ", '"', "<", ">", "\\", "^", "`", "{", "|", "}")
"""What no request line may hold (RFC 3986): a log that shows it has decoded it."""
_TCP = 6
_SIGNED = np.arange(256)
"""A byte as a signed word: numba mixes unsigned bytes and other whole numbers to floats."""


@njit
def questions_kernel(
    text: NDArray[np.uint8],
    starts: NDArray[np.int64],
    kinds: NDArray[np.int64],
    is_tcp: NDArray[np.bool_],
    out: NDArray[np.uint8],
    lengths: NDArray[np.int64],
) -> None:
    """Write n DNS questions as on the wire into `out` (n, 64), zeros before, and into `lengths` how much of it counts.

    `text` holds the names end to end, control bytes as \\xNN; `kinds` (n,) the types asked for, -1 where not told.
    """
    label = np.zeros(64, np.int64)
    for i in range(len(kinds)):
        if starts[i] == starts[i + 1]:
            continue
        at = _LENGTH_PREFIX_BYTES if is_tcp[i] else 0
        out[i, at + 2], out[i, at + 5] = 1, 1
        at += _HEADER_BYTES
        held = 0
        k = starts[i]
        while k <= starts[i + 1] and at < PAYLOAD_BYTES:
            ends = k == starts[i + 1]
            c = 0 if ends else _SIGNED[text[k]]
            if not ends and c == 0x5C and k + 3 < starts[i + 1] and text[k + 1] == 0x78:
                c = _digit(_SIGNED[text[k + 2]]) * 16 + _digit(_SIGNED[text[k + 3]])
                k += 3
            elif ends or c == 0x2E:
                if held > 0:
                    out[i, at] = held
                    for j in range(min(held, PAYLOAD_BYTES - at - 1)):
                        out[i, at + 1 + j] = label[j]
                    at += held + 1
                held = 0
                k += 1
                continue
            if held < 63:
                label[held] = c
                held += 1
            k += 1
        if kinds[i] >= 0 and at + 3 <= PAYLOAD_BYTES:
            out[i, at + 1], out[i, at + 2] = kinds[i] >> 8, kinds[i] & 255
            at += 5
        else:
            at += 1
        lengths[i] = min(at, PAYLOAD_BYTES)


@njit
def _digit(c: int) -> int:
    if 0x30 <= c <= 0x39:
        return c - 0x30
    return (c | 0x20) - 0x57 & 15


def log_features(flows: pl.DataFrame) -> list[pl.Series]:
    """Compute the columns of payload.py that logs can tell, one row a flow of `flows` (Zeek tier)."""
    absent = [name for name in _READ if name not in flows.columns]
    told = flows.with_columns(pl.lit(None, pl.String()).alias(name) for name in absent)
    service = told.select(_service()).to_series()
    protocols = to_array(flows["protocol"], np.int64)
    is_dns = (service == "dns").to_numpy()
    up, starts = _questions(told, protocols, is_dns)
    http = service == "http"
    requests = told.select(pl.when(http).then(_request())).to_series()
    answers = told.select(pl.when(http).then(pl.format("HTTP/1.1 {} ", "log_http_status"))).to_series()
    return describe(
        _joined((up, starts), first_bytes(requests.cast(pl.Binary)), is_dns),
        _joined(_answers(told, protocols, is_dns), first_bytes(answers.cast(pl.Binary)), is_dns),
        protocols,
        service.replace_strict(SERVICE_ID, return_dtype=pl.Int64).to_numpy().copy(),
        Tier.ZEEK,
    )


def untold_columns(flows: pl.DataFrame, features: pl.DataFrame) -> list[str]:
    """Name the columns that these logs never fill though some of their flows call for it: a dns.log was not given, say.

    To compare by them would be to take every flow for one without a name or request. Flows from packets lack none.
    """
    if "log_service" not in flows.columns or "service" not in features.columns:
        return []
    service = features["service"].cast(pl.String)
    named = service.filter(service != "none")
    untold: list[str] = []
    if len(named) and (named == "unknown").all():
        untold += ["service", "port_fits_service", "service_rarity_bits"]
        untold += [f"{side}_same_service_share_100" for side, _ in SIDES]
    for name in ("dns", "http"):
        facts = [column for column in features.columns if column.startswith(f"{name}_")]
        speaking = features.filter(service == name).select(facts)
        if "service" in untold or (len(speaking) and all(fact.null_count() == len(fact) for fact in speaking)):
            untold += facts
    return untold


_READ = (
    "log_service", "log_dns_query", "log_dns_type", "log_dns_answer", "log_http_method", "log_http_uri",
    "log_http_status", "log_tls_version", "log_tls_sni",
)  # fmt: skip


def _service() -> pl.Expr:
    """The service that a flow's own logs prove, else the first known one that the sensor names."""

    def told(*names: str) -> pl.Expr:
        return pl.any_horizontal(pl.col(name).is_not_null() for name in names)

    named = pl.col("log_service").str.to_lowercase().str.split(",")
    known = named.list.eval(pl.element().replace_strict(SERVICE_OF_LOG, default=None, return_dtype=pl.String))
    netbios = (pl.col("resp_port") == 137) & (pl.col("protocol") == 17)
    return (
        pl.when(netbios & (told("log_dns_query", "log_dns_answer") | (pl.col("log_service") == "dns")))
        .then(pl.lit("netbios"))
        .when(told("log_dns_query", "log_dns_answer"))
        .then(pl.lit("dns"))
        .when(told("log_http_method", "log_http_status"))
        .then(pl.lit("http"))
        .when(told("log_tls_version", "log_tls_sni"))
        .then(pl.lit("tls"))
        .otherwise(known.list.drop_nulls().list.first())
        .fill_null(pl.when(pl.col("orig_bytes") + pl.col("resp_bytes") > 0).then(pl.lit("unknown")))
        .fill_null("none")
    )


def _questions(
    told: pl.DataFrame, protocols: NDArray[np.int64], is_dns: NDArray[np.bool_]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    names, starts = first_bytes(
        told.select(pl.when(pl.Series(is_dns)).then("log_dns_query")).to_series().cast(pl.Binary)
    )
    kinds = told["log_dns_type"].str.to_uppercase().replace_strict(_QUERY_CODES, default=_OTHER_QUERY)
    kinds = kinds.set(told["log_dns_type"].is_null(), _NO_QUERY)
    wire, lengths = np.zeros((len(told), PAYLOAD_BYTES), np.uint8), np.zeros(len(told), np.int64)
    questions_kernel(names, starts, to_array(kinds, np.int64), protocols == _TCP, wire, lengths)
    return _packed(wire, lengths)


def _answers(
    told: pl.DataFrame, protocols: NDArray[np.int64], is_dns: NDArray[np.bool_]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The first bytes of DNS answers: an id, the answer's mark, its code."""
    answer = told["log_dns_answer"].str.to_uppercase()
    codes = to_array(answer.replace_strict(_ANSWER_CODES, default=_OTHER_ANSWER), np.int64)
    skip = np.where(protocols == _TCP, _LENGTH_PREFIX_BYTES, 0)
    wire = np.zeros((len(told), 6), np.uint8)
    rows = np.arange(len(told))
    wire[rows, skip + 2] = 0x80
    wire[rows, skip + 3] = codes
    return _packed(wire, np.where(is_dns & answer.is_not_null().to_numpy(), skip + 4, 0))


def _request() -> pl.Expr:
    """A request line: a log that shows bytes which no such line can hold has decoded them, which is undone."""
    uri = pl.col("log_http_uri").str.replace_all(r"\\x([0-9a-fA-F]{2})", "%$1")
    uri = uri.str.replace_many(list(_ESCAPED), [f"%{ord(c):02X}" for c in _ESCAPED])
    return pl.format("{} {} HTTP/1.1\r\n", "log_http_method", uri)


def _packed(wire: NDArray[np.uint8], lengths: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Lay the first `lengths` (n,) bytes of each row end to end: the bytes, and (n + 1,) where each row's begin."""
    starts = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=starts[1:])
    return wire[np.arange(wire.shape[1]) < lengths[:, None]], starts


def _joined(dns: Any, http: Any, is_dns: NDArray[np.bool_]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """One payload a row out of two, of which at most one is not empty."""
    lengths = np.diff(dns[1]) + np.diff(http[1])
    starts = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=starts[1:])
    data = np.empty(int(starts[-1]), np.uint8)
    of_dns = np.repeat(is_dns, lengths)
    data[of_dns], data[~of_dns] = dns[0], http[0]
    return data, starts
