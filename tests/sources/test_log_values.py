"""Numbers, times and addresses of log lines, held against Python's own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from ipaddress import AddressValueError, IPv4Address

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kshot.sources.line_spans import PLAIN_TEXT, Spans
from kshot.sources.log_values import (
    ADDRESS,
    COUNT,
    HEX,
    OPEN_WORD,
    OTHER,
    PORT,
    SECONDS,
    TAGS,
    TIME,
    UNSET,
    WORD,
    Field,
    FieldTable,
    read_values,
)

pytestmark = pytest.mark.kernel


def read(kind: int, text: str | None, words: tuple[str, ...] = ()) -> int | None:
    """The value of one field; None if it is bad."""
    table = FieldTable.of([Field("x", kind, words=words)])
    raw = (text or "").encode()
    buffer = np.frombuffer(b"..." + raw + bytes(64), np.uint8)
    spans = Spans.of(1, 1)
    spans.begins[0, 0], spans.ends[0, 0], spans.kinds[0, 0] = -1 if text is None else 3, 3 + len(raw), PLAIN_TEXT
    values, faults = np.zeros((1, 1), np.int64), np.zeros(1, np.int16)
    read_values(buffer, spans, np.zeros(1, np.int64), table.traits, values, faults)
    return None if faults[0] else int(values[0, 0])


@settings(deadline=None)
@given(st.integers(0, 4_000_000_000_000_000_000), st.integers(0, 9))
def test_epoch_times_are_exact(nanoseconds: int, digits: int) -> None:
    text = f"{Decimal(nanoseconds).scaleb(-9):.{digits}f}"
    assert read(TIME, text) == int(Decimal(text).scaleb(9))


@settings(deadline=None)
@given(
    st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1)),
    st.integers(-23 * 60, 23 * 60),
    st.sampled_from(["%z", ":", "Z", ""]),
)
def test_iso_times_are_exact(moment: datetime, minutes: int, zone: str) -> None:
    offset = timezone(timedelta(minutes=minutes)) if zone in ("%z", ":") else UTC
    there = moment.replace(tzinfo=offset)
    text = there.strftime("%Y-%m-%dT%H:%M:%S.%f") + ("" if zone == "" else "Z" if zone == "Z" else there.strftime("%z"))
    text = text[:-2] + ":" + text[-2:] if zone == ":" else text
    assert read(TIME, text) == round(
        Decimal((there - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)) * 1000
    )


@settings(deadline=None)
@given(st.floats(0, 1e9))
def test_lengths_of_time_with_exponents(seconds: float) -> None:
    value = read(SECONDS, repr(seconds))
    assert value is not None
    assert abs(value - Decimal(repr(seconds)).scaleb(9)) <= 1


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (TIME, "1683201600123", 1_683_201_600_123_000_000),
        (TIME, "XXXXXXXXXX.XXXXXX", None),
        (TIME, "-1.5", None),
        (TIME, "nan", None),
        (TIME, "1e400", None),
        (TIME, "", None),
        (TIME, "2023-13-01T00:00:00Z", None),
        (TIME, "2023-01-01T00:00:00+99:99", None),
        (SECONDS, "-0.000001", 0),
        (SECONDS, "1.2.3", None),
        (SECONDS, "9.5367431640625e-7", 954),
        (COUNT, "18446744073709551615", None),
        (COUNT, "999999999999999999", 999_999_999_999_999_999),
        (COUNT, "-1", None),
        (COUNT, "1.0", None),
        (COUNT, None, UNSET),
        (PORT, "65535", 65_535),
        (PORT, "65536", None),
        (HEX, "1b", 27),
        (HEX, "DF", 223),
        (HEX, "xy", None),
        (ADDRESS, "10.0.0.1", 4),
        (ADDRESS, "10.0.0.01", None),
        (ADDRESS, "10.0.0", None),
        (ADDRESS, "10.0.0.256", None),
        (ADDRESS, "fe80::1%eth0", 6),
        (ADDRESS, "example.org", None),
        (ADDRESS, "", None),
        (TAGS, "[10]", 10),
        (TAGS, "[10, 20]", 10 * 4096 + 20),
        (TAGS, "[4096]", None),
        (TAGS, "[[1]x]", None),
    ],
)
def test_values(kind: int, text: str | None, value: int | None) -> None:
    assert read(kind, text) == value


@settings(deadline=None)
@given(st.from_regex(r"[0-9]{1,4}(\.[0-9]{1,4}){2,4}", fullmatch=True))
def test_dotted_quads_are_those_of_python(text: str) -> None:
    try:
        IPv4Address(text)
        good = True
    except AddressValueError:
        good = False
    assert (read(ADDRESS, text) == 4) == good


def test_words() -> None:
    words = ("tcp", "udp")
    assert [read(WORD, text, words) for text in ("udp", "tcp", "ud", "UDP")] == [1, 0, None, None]
    assert read(OPEN_WORD, "sctp", words) == OTHER
