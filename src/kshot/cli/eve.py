"""Alerts as Suricata's EVE JSON, so that what reads Suricata reads kshot."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from kshot.cli.clean import clean_json
from kshot.cli.views import PROTOCOLS
from kshot.records.threats import Threat

# Fields as in Suricata's user guide, "EVE JSON Format", event type alert.
GENERATOR_ID = 6_060
"""`gid`: Suricata's own generators stay below 1,000."""
_SEVERITY = {"critical": 1, "high": 1, "medium": 2, "low": 3}
_CATEGORY = "Taught by examples"
_PORTED = frozenset({6, 17, 132})
_FLOW_FIELDS = (
    "originator", "responder", "orig_port", "resp_port", "protocol", "community_id", "first_time", "last_time", "vlan",
    "orig_packets", "resp_packets", "orig_wire_bytes", "resp_wire_bytes",
)  # fmt: skip


def eve_lines(alerts: pl.DataFrame, records: pl.DataFrame, threats: Mapping[str, Threat]) -> Iterator[str]:
    """Give one line of JSON an alert; addresses and counters are those of its loudest record.

    Parameters:
        alerts: ALERT_SCHEMA.
        records: the input's records, flows or a table's rows; `first_record` points into it, from 1.
    """
    known = [name for name in _FLOW_FIELDS if name in records.columns]
    is_flow = len(known) == len(_FLOW_FIELDS)
    for alert in alerts.iter_rows(named=True):
        event: dict[str, Any] = {"timestamp": _time(alert["first_time"]), "event_type": "alert"}
        if is_flow:
            # An event tells of one flow, the loudest; when the group began and ended stands in its metadata.
            flow = records.select(known).row(alert["first_record"] - 1, named=True)
            event |= {"timestamp": _time(flow["first_time"])} | _flow(flow)
        else:
            event |= {"src_ip": alert["originator"], "dest_ip": alert["responder"]}
        event["alert"] = _alert(alert, threats.get(alert["threat"]))
        yield (
            clean_json(
                json.dumps({key: value for key, value in event.items() if value is not None}, ensure_ascii=False)
            )
            + "\n"
        )


def _time(moment: Any) -> str | None:
    return None if moment is None else f"{moment:%Y-%m-%dT%H:%M:%S.%f}+0000"


def _flow(flow: Mapping[str, Any]) -> dict[str, Any]:
    protocol = int(flow["protocol"])
    told = f"{flow['community_id']} {flow['first_time'].timestamp()!r} {flow['vlan']}"
    vlans = [flow["vlan"] % 4096] if flow["vlan"] < 4096 else [flow["vlan"] // 4096, flow["vlan"] % 4096]
    ported = protocol in _PORTED
    icmp = protocol in (1, 58)
    return {
        # 53 bits, as Suricata keeps them, so that JavaScript readers do not round.
        "flow_id": int.from_bytes(hashlib.sha256(told.encode()).digest()[:8], "big") >> 11,
        "vlan": vlans if flow["vlan"] else None,
        "src_ip": flow["originator"],
        "src_port": flow["orig_port"] if ported else None,
        "dest_ip": flow["responder"],
        "dest_port": flow["resp_port"] if ported else None,
        "proto": PROTOCOLS.get(protocol, f"{protocol:03d}"),
        "icmp_type": flow["orig_port"] if icmp else None,
        "icmp_code": flow["resp_port"] if icmp else None,
        "community_id": flow["community_id"],
        "flow": {
            "pkts_toserver": flow["orig_packets"],
            "pkts_toclient": flow["resp_packets"],
            "bytes_toserver": flow["orig_wire_bytes"],
            "bytes_toclient": flow["resp_wire_bytes"],
            "start": _time(flow["first_time"]),
        },
    }


def _alert(alert: Mapping[str, Any], threat: Threat | None) -> dict[str, Any]:
    metadata = {
        "kshot_score": [f"{alert['score']:.6g}"],
        "kshot_p_value": [f"{alert['p_value']:.6g}"] if alert["p_value"] is not None else [],
        "kshot_calibrated": [alert["calibrated"]],
        "kshot_flows": [str(alert["flows"])],
        "kshot_first_time": [_time(alert["first_time"])] if alert["first_time"] else [],
        "kshot_last_time": [_time(alert["last_time"])] if alert["last_time"] else [],
        "kshot_reasons": alert["reasons"],
        "kshot_record": [str(alert["first_record"])],
        "mitre_technique_id": alert["attack"],
    }
    return {
        "action": "allowed",
        "gid": GENERATOR_ID,
        "signature_id": signature_id(alert["threat"]),
        "rev": 1,
        "signature": f"kshot {alert['threat']}" + (f": {threat.description}" if threat and threat.description else ""),
        "category": _CATEGORY,
        "severity": _SEVERITY.get(threat.severity if threat else "medium", 2),
        "metadata": {key: value for key, value in metadata.items() if value},
    }


def signature_id(name: str) -> int:
    """A number for a threat's name, the same everywhere, in the range that Suricata leaves to local rules."""
    return 1_000_000 + int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % 1_000_000
