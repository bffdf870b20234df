"""Which columns must not carry a verdict: identifiers, times, addresses, ports and labels."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_address

import polars as pl

_SAMPLE_ROWS = 2_000
_MOSTLY = 0.9

_WORD_SPLIT = re.compile(r"[^a-z0-9]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

_IDENTIFIER_WORDS = frozenset(
    "id ids uid uuid guid idx index row rowid rownum no md5 sha1 sha256 sha512 ssdeep serial sample file "
    "filename unnamed frame".split()
)
_TIME_WORDS = frozenset("timestamp ts date datetime epoch stime ltime starttime lasttime".split())
_TIME_NAMES = frozenset("time t dt first_time last_time start_time end_time event_time frame_time start end".split())
_ADDRESS_WORDS = frozenset(
    "ip ipv4 ipv6 addr address mac smac dmac srcip dstip saddr daddr srcaddr dstaddr srcmac dstmac "
    "originator responder ip4 ip6".split()
)
_PORT_WORDS = frozenset("port sport dport srcport dstport ports".split())
_TTL_WORDS = frozenset("ttl sttl dttl".split())
_LABEL_WORDS = frozenset(
    "label labels class category target verdict malicious malware attack attacks tactic technique family "
    "fraud detailedlabel is_attack ground truth y difficulty attempted scenario".split()
)

# Words that make a measure of what they stand beside: distinct_ips, same_port_rate.
_MEASURE_WORDS = frozenset(
    "count distinct n num is has len length rate share ratio same diff unique mean entropy peers".split()
)

_UUID = r"^\{?[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}\}?$"
_DIGEST = r"^([0-9a-fA-F]{32}|[0-9a-fA-F]{40}|[0-9a-fA-F]{64})$"
_MAC = r"^([0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}$"
_ISO_TIME = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}.*)?$"
_EPOCH_SECONDS = (9e8, 2.2e9)
"""1998 to 2039; an ordered column of such numbers is a clock."""


def droppable_columns(
    frame: pl.DataFrame, *, named: Iterable[str] = (), drop: Iterable[str] = (), keep: Iterable[str] = ()
) -> dict[str, str]:
    """Say which columns to leave out of a threat, and why, in the frame's order.

    Parameters:
        frame: the whole table, at least one row; a sample of it is looked at.
        named: columns of the expression that chose the shots: they give the answer away.
        drop, keep: the user's word; `keep` wins over every guess, `drop` over all.

    >>> droppable_columns(pl.DataFrame({"src_ip": ["10.0.0.1"], "bytes": [5], "label": ["ok"]}))
    {'src_ip': 'address-like', 'label': 'label-like'}
    """
    named, drop, keep = set(named), set(drop), set(keep)
    reasons: dict[str, str] = {}
    sample = frame.head(_SAMPLE_ROWS)
    for series in sample:
        name = series.name
        if name in drop:
            reasons[name] = "named in --drop"
        elif name in keep:
            continue
        elif name in named:
            reasons[name] = "named in --where"
        else:
            reason = _by_type(series) or _by_name(name) or _by_content(series)
            if reason:
                reasons[name] = reason
    return reasons


def _words(name: str) -> list[str]:
    return [word for word in _WORD_SPLIT.split(_CAMEL.sub("_", name).lower()) if word]


def _by_type(series: pl.Series) -> str:
    if series.dtype.is_temporal() and series.dtype != pl.Duration:
        return "time-like"
    if series.dtype.is_nested() or series.dtype in (pl.Binary, pl.Object, pl.Null):
        return "neither number, flag nor text"
    return ""


def _by_name(name: str) -> str:
    words = _words(name)
    whole = "_".join(words)
    if whole in _TIME_NAMES or _TIME_WORDS.intersection(words):
        return "time-like"
    measured = bool(_MEASURE_WORDS.intersection(words))
    if _ADDRESS_WORDS.intersection(words) and not measured:
        return "address-like"
    # Zeek writes id.orig_h and id.orig_p.
    if whole in ("id_orig_h", "id_resp_h", "src", "dst", "src_host", "dst_host"):
        return "address-like"
    if whole in ("id_orig_p", "id_resp_p") or (_PORT_WORDS.intersection(words) and len(words) <= 3 and not measured):
        return "port-like"
    if _TTL_WORDS.intersection(words):
        return "TTL-like"
    # "class" may be one word of a name that measures something; alone or at the end it is the answer.
    if words and (
        words[-1] in _LABEL_WORDS
        or whole in _LABEL_WORDS
        or (words[0] in _LABEL_WORDS and words[-1] in ("cat", "type", "name", "id"))
    ):
        return "label-like"
    if words and (words[-1] in _IDENTIFIER_WORDS or words[0] == "unnamed"):
        return "identifier-like"
    return ""


def _by_content(series: pl.Series) -> str:
    values = series.drop_nulls()
    if values.len() < 5:
        return ""
    if values.dtype == pl.String:
        return _by_text(values)
    if not values.dtype.is_numeric() or values.n_unique() < values.len():
        return ""
    steps = values.cast(pl.Float64).diff().drop_nulls()
    # One step is a guess; a table of 20 rows and more that counts by ones is counted.
    if values.len() >= 20 and values.dtype.is_integer() and bool((steps == 1).all()):
        return "identifier-like"
    low, high = _EPOCH_SECONDS
    numbers = values.cast(pl.Float64)
    for scale in (1.0, 1e3, 1e6, 1e9):
        if bool((numbers.is_between(low * scale, high * scale)).all()) and bool((steps >= 0).all()):
            return "time-like"
    return ""


def _by_text(values: pl.Series) -> str:
    def share(pattern: str) -> float:
        return float(values.str.contains(pattern).sum()) / values.len()

    if share(_UUID) >= _MOSTLY or share(_DIGEST) >= _MOSTLY:
        return "identifier-like"
    if share(_ISO_TIME) >= _MOSTLY:
        return "time-like"
    if share(_MAC) >= _MOSTLY or sum(_is_address(value) for value in values.head(200)) >= _MOSTLY * min(
        200, values.len()
    ):
        return "address-like"
    return ""


def _is_address(text: str) -> bool:
    try:
        ip_address(text.strip())
    except ValueError:
        return False
    return True
