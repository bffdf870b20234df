"""Flow frames for the tests of features: built row by row, or at random."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from kshot.records.flows import FLOW_SCHEMA

START = datetime(2024, 5, 1, tzinfo=UTC)


def flow(seconds: float = 0.0, **values: Any) -> dict[str, Any]:
    """Return one TCP flow that was answered, `seconds` after the start, with `values` put in."""
    row: dict[str, Any] = dict.fromkeys(FLOW_SCHEMA)
    first = START + timedelta(seconds=seconds)
    row.update(first_time=first, last_time=first, duration_seconds=1.0, originator="10.0.0.1", responder="10.0.1.1")
    row.update(orig_port=40000, resp_port=80, protocol=6, vlan=0, tunnel="none", conn_state="SF", end_reason="fin")
    row.update(slice=0, orig_packets=5, resp_packets=4, orig_wire_bytes=500, resp_wire_bytes=800)
    row.update(orig_bytes=150, resp_bytes=500, orig_syn_packets=1, resp_syn_packets=1, orig_ack_packets=4)
    row.update(packet_sizes_bytes=[74, -74, 66, 216, -566], packet_gaps_seconds=[0.0, 0.1, 0.1, 0.1, 0.2])
    row.update(values)
    return row


def flows(*rows: dict[str, Any]) -> pl.DataFrame:
    """Make a flow frame of rows."""
    return pl.DataFrame([*rows], schema=FLOW_SCHEMA, orient="row")


def unanswered(seconds: float, **values: Any) -> dict[str, Any]:
    """Return a TCP flow of one SYN that nobody answered."""
    silent = dict(conn_state="S0", end_reason="idle", duration_seconds=0.0, orig_packets=1, resp_packets=0)
    silent.update(orig_wire_bytes=74, resp_wire_bytes=0, orig_bytes=0, resp_bytes=0, resp_syn_packets=0)
    silent.update(orig_ack_packets=0, packet_sizes_bytes=[74], packet_gaps_seconds=[0.0])
    return flow(seconds, **{**silent, **values})


def udp(seconds: float, payload: bytes, **values: Any) -> dict[str, Any]:
    """Return a UDP flow of one datagram from the originator."""
    size = len(payload)
    row = dict(protocol=17, resp_port=53, conn_state="S0", orig_packets=1, resp_packets=0, orig_bytes=size)
    row.update(resp_bytes=0, orig_wire_bytes=size + 42, resp_wire_bytes=0, orig_syn_packets=0, resp_syn_packets=0)
    row.update(packet_sizes_bytes=[size + 42], packet_gaps_seconds=[0.0], orig_payload=payload[:64])
    return flow(seconds, **{**row, **values})


def random_flows(seed: int, rows: int, hosts: int = 6, nulls: float = 0.1) -> pl.DataFrame:
    """Make a frame of `rows` flows among few hosts, anything in the other columns, a share of `nulls`."""
    rng = np.random.default_rng(seed)
    names = [*(f"10.0.{k}.{k + 1}" for k in range(hosts)), "fe80::1", "ff02::fb", "8.8.8.8", "no address", ""]
    columns: dict[str, pl.Series] = {}
    for name, dtype in FLOW_SCHEMA.items():
        columns[name] = pl.Series(name, _values(rng, name, dtype, rows, names), dtype=dtype)
        empty = pl.Series(rng.random(rows) < nulls)
        columns[name] = pl.select(pl.when(~empty).then(columns[name]).alias(name)).to_series()
    return pl.DataFrame(columns)


def _values(rng: np.random.Generator, name: str, dtype: pl.DataType, rows: int, names: list[str]) -> list[Any]:
    if name in ("originator", "responder"):
        return [names[k] for k in rng.integers(0, len(names), rows)]
    if name in ("orig_port", "resp_port"):
        return list(rng.choice([22, 53, 80, 443, 8, 40000, 65535], rows).tolist())
    if name == "protocol":
        return list(rng.choice([6, 17, 1, 58, 132, 255], rows).tolist())
    if name in ("first_time", "last_time"):
        return [START + timedelta(seconds=float(s)) for s in rng.exponential(30, rows).cumsum()]
    if isinstance(dtype, pl.Enum):
        return [dtype.categories[int(k)] for k in rng.integers(0, len(dtype.categories), rows)]
    if isinstance(dtype, pl.List):
        lengths = rng.integers(0, 33, rows)
        if "sizes" in name:
            return [rng.integers(-1500, 1500, n).tolist() for n in lengths]
        return [np.abs(rng.normal(size=n)).tolist() for n in lengths]
    if dtype == pl.Binary():
        return [_payload(rng) for _ in range(rows)]
    if dtype.is_float():
        return list(rng.choice([0.0, 0.5, 3.0, 1e9, float("nan"), float("inf")], rows).tolist())
    if dtype == pl.String():
        return ["x"] * rows
    return list(rng.integers(0, 4, rows).tolist())


def _payload(rng: np.random.Generator) -> bytes:
    begins = [
        b"",
        b"GET /",
        b"SSH-2.0-",
        b"\x16\x03\x01\x02\x00\x01",
        b"\x30\x82",
        b"\x00\x00\x01\x00\x00\x01" + bytes(6),
    ]
    begins += [b"220 mail ESMTP", b"\x00\x01\x00\x00\x00\x06\x01\x03", b"\x68\x04", b"HTTP/1.1 404"]
    begin = begins[int(rng.integers(0, len(begins)))]
    return (begin + rng.bytes(int(rng.integers(0, 64))))[:64]
