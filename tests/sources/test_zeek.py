"""Zeek's logs: the format's corners, rotation, joins, damaged lines, agreement with flows."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import zstandard
from benchmarks.logs import CONN_FIELDS, conn_records, json_lines, made_flows, tab_lines

from kshot.errors import InputError
from kshot.records.columns import Tier
from kshot.records.flows import FLOW_COLUMNS, FLOW_SCHEMA, LOG_COLUMNS
from kshot.sources import log_lines
from kshot.sources.zeek import is_zeek, read_zeek

HOSTILE = Path(__file__).resolve().parents[3] / "shared/data/hostile.tar.xz"
RECORD: dict[str, Any] = {
    "ts": 1700000000.25,
    "uid": "CHhAvVGS1DHFjwGM9",
    "id.orig_h": "192.168.1.5",
    "id.orig_p": 50000,
    "id.resp_h": "192.0.2.7",
    "id.resp_p": 443,
    "proto": "tcp",
    "service": "ssl",
    "duration": 1.5,
    "orig_bytes": 100,
    "resp_bytes": 2000,
    "conn_state": "SF",
    "history": "ShADadFf",
    "orig_pkts": 6,
    "orig_ip_bytes": 352,
    "resp_pkts": 5,
    "resp_ip_bytes": 2212,
}


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def conn_log(path: Path, *records: dict[str, Any], fields: Any = CONN_FIELDS) -> Path:
    return write(path, list(tab_lines([RECORD | record for record in records], fields, "conn")))


@pytest.mark.kernel
def test_a_record_becomes_a_flow(tmp_path: Path) -> None:
    read = read_zeek([conn_log(tmp_path / "conn.log", {})])
    assert (read.lines_read, read.records, read.bad_lines) == (10, 1, 0)
    names = [column.name for column in FLOW_COLUMNS if column.tier < Tier.PACKETS]
    assert read.frame.columns == [*names, *(column.name for column in LOG_COLUMNS)]
    assert all(read.frame.schema[name] == FLOW_SCHEMA[name] for name in names)
    row = read.frame.row(0, named=True)
    assert row["first_time"].timestamp() == 1700000000.25
    assert row["last_time"].timestamp() == 1700000001.75
    told = {name: row[name] for name in names[2:]}
    assert told == {
        "duration_seconds": 1.5,
        "originator": "192.168.1.5",
        "responder": "192.0.2.7",
        "orig_port": 50000,
        "resp_port": 443,
        "protocol": 6,
        "vlan": 0,
        "community_id": None,
        "conn_state": "SF",
        "orig_packets": 6,
        "resp_packets": 5,
        "orig_wire_bytes": 352 + 6 * 14,
        "resp_wire_bytes": 2212 + 5 * 14,
        "orig_bytes": 100,
        "resp_bytes": 2000,
    }
    assert (row["log_uid"], row["log_service"], row["log_history"]) == (RECORD["uid"], "ssl", "ShADadFf")


@pytest.mark.parametrize("form", ["tsv", "json", "shuffled", "iso", "nested"])
def test_every_form_tells_the_same(tmp_path: Path, form: str) -> None:
    flows = made_flows(500)
    plain = read_zeek([write(tmp_path / "conn.log", list(tab_lines(conn_records(flows), CONN_FIELDS, "conn")))])
    records = list(conn_records(flows))
    if form == "shuffled":
        fields = [("weird.extra", "string"), *reversed(CONN_FIELDS), ("label", "string")]
        lines = list(tab_lines(records, fields, "conn"))
    elif form == "tsv":
        lines = [line.replace("\t", "|").replace("\\x09", "\\x7c") for line in tab_lines(records, CONN_FIELDS, "conn")]
    else:
        if form == "iso":
            iso = plain.frame["first_time"].dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
            records = [record | {"ts": text} for record, text in zip(records, iso, strict=True)]
        if form == "nested":
            for record in records:
                record["id"] = {k: record.pop(f"id.{k}") for k in ("orig_h", "orig_p", "resp_h", "resp_p")}
        lines = list(json_lines(records))
    again = read_zeek([write(tmp_path / "other.log", lines)])
    assert again.bad_lines == 0
    assert again.frame.equals(plain.frame)
    for name in ("originator", "responder", "orig_packets", "orig_bytes", "resp_bytes", "orig_wire_bytes"):
        assert plain.frame[name].to_list() == flows[name].to_list()
    assert (plain.frame["first_time"].cast(pl.Int64) // 1000).to_list() == flows["first_time"].cast(pl.Int64).to_list()


def test_what_a_connection_of_one_packet_leaves_unset(tmp_path: Path) -> None:
    unset = {"duration": None, "orig_bytes": None, "resp_bytes": None, "resp_pkts": 0, "resp_ip_bytes": 0}
    path = conn_log(
        tmp_path / "conn.log",
        unset | {"conn_state": "S0", "history": "S", "orig_pkts": 1, "orig_ip_bytes": 60},
        unset | {"proto": "udp", "conn_state": "S0", "history": "D", "orig_pkts": 1, "orig_ip_bytes": 73},
        unset | {"conn_state": "OTH", "history": "D", "orig_pkts": 1, "orig_ip_bytes": 140},
        {
            "id.orig_h": "FE80::1",
            "id.resp_h": "ff02:0:0:0:0:0:0:1",
            "proto": "icmp",
            "id.orig_p": 135,
            "id.resp_p": 136,
        },
        {"proto": "unknown_transport", "ip_proto": 132, "conn_state": "OTH", "vlan": 10, "inner_vlan": 20},
        {"orig_bytes": 4_000_000_000},
        fields=(*CONN_FIELDS, ("vlan", "int"), ("inner_vlan", "int")),
    )
    frame = read_zeek([path]).frame
    assert frame["duration_seconds"].to_list()[:3] == [0.0, 0.0, 0.0]
    assert frame["orig_bytes"].to_list() == [0, 45, 100, 352 - 6 * 48, 352 - 6 * 48, 352 - 6 * 40]
    assert frame.row(3, named=True) | {
        "resp_port": 0,
        "protocol": 58,
        "originator": "fe80::1",
        "responder": "ff02::1",
    } == (frame.row(3, named=True))
    assert frame.row(4, named=True)["protocol"] == 132
    assert frame.row(4, named=True)["vlan"] == 10 * 4096 + 20
    assert frame.row(4, named=True)["orig_wire_bytes"] == 352 + 6 * 22


HTTP = (("ts", "time"), ("uid", "string"), ("method", "string"), ("host", "string"), ("uri", "string"),
        ("user_agent", "string"), ("status_code", "count"))  # fmt: skip


def test_logs_beside_it_are_joined_by_uid(tmp_path: Path) -> None:
    requests = [
        {"ts": 1.0, "uid": "C1", "method": "GET", "host": "a.example", "uri": "/?q=1\\x00", "status_code": 404},
        {"ts": 2.0, "uid": "C1", "method": "POST", "uri": "/second"},
        {"ts": 2.0, "uid": "C9", "method": "PUT"},
    ]
    conn = conn_log(tmp_path / "conn.00:00-01:00.log", {"uid": "C0"}, {"uid": "C1"}, {"uid": "C2"}, {"uid": "C3"})
    packed = gzip.compress("\n".join(tab_lines(requests, HTTP, "http")).encode())
    (tmp_path / "http.00:00-01:00.log.gz").write_bytes(packed)
    dns = [
        {"ts": 1, "uid": "C2"},
        {"ts": 2, "uid": "C2", "query": "x.example", "qtype_name": "TXT", "rcode_name": "NXDOMAIN"},
    ]
    write(tmp_path / "dns.00:00-01:00.log", list(json_lines([r | {"id.orig_h": "10.0.0.1"} for r in dns])))
    write(tmp_path / "dns.01:00-02:00.log", ["of another hour, and never opened"])
    ssl = [{"ts": 1, "uid": "C3", "id.orig_h": "10.0.0.1", "version": "TLSv12", "server_name": "b.example"}]
    write(tmp_path / "ssl.00:00-01:00.log", list(json_lines(ssl)))
    expected = {
        "C0": {},
        "C1": {"method": "GET", "host": "a.example", "uri": "/?q=1\\x00", "status": "404"},
        "C2": {"query": "x.example", "type": "TXT", "answer": "NXDOMAIN"},
        "C3": {"version": "TLS 1.2", "sni": "b.example"},
    }
    for paths in ([conn], sorted(tmp_path.glob("*.00:00*"))):
        frame = read_zeek(paths).frame
        assert frame["log_uid"].to_list() == ["C0", "C1", "C2", "C3"]
        for row in frame.iter_rows(named=True):
            told = {
                name.split("_", 2)[2]: value
                for name, value in row.items()
                if name.startswith(("log_http", "log_dns", "log_tls")) and value is not None
            }
            assert told == expected[row["log_uid"]]


def test_a_folder_of_rotated_logs_is_read_in_the_order_of_time(tmp_path: Path) -> None:
    conn_log(tmp_path / "conn.log", {"ts": 1700009000.0, "uid": "late"})
    lines = "\n".join(tab_lines([RECORD | {"uid": "early"}], CONN_FIELDS, "conn")) + "\n"
    (tmp_path / "conn.2023-11-14.log.zst").write_bytes(zstandard.compress(lines.encode()))
    write(tmp_path / "weird.log", list(tab_lines([{"ts": 1.0, "uid": "x", "name": "y"}], [("ts", "time")], "weird")))
    (tmp_path / "notes.txt").write_text("not a log")
    for paths in ([tmp_path], [tmp_path / "conn*"]):
        assert read_zeek(paths).frame["log_uid"].to_list() == ["early", "late"]
    assert is_zeek(tmp_path)


def test_concatenated_logs_repeat_their_header_and_may_change_it(tmp_path: Path) -> None:
    short = [field for field in CONN_FIELDS if field[0] not in ("history", "service")]
    parts = [
        *tab_lines([RECORD], CONN_FIELDS, "conn"),
        *tab_lines([RECORD | {"uid": "2"}], CONN_FIELDS, "conn"),
        *tab_lines([RECORD | {"uid": "3"}], short[::-1], "conn"),
        *tab_lines([{"ts": 1.0, "uid": "3", "method": "GET"}], HTTP, "http"),
        *tab_lines([{"ts": 1.0, "note": "x"}], [("ts", "time"), ("note", "string")], "notice"),
        *tab_lines([RECORD | {"uid": "4"}], CONN_FIELDS, "conn"),
    ]
    read = read_zeek([write(tmp_path / "all.log", parts)])
    assert read.bad_lines == 0
    assert read.frame["log_uid"].to_list() == [RECORD["uid"], "2", "3", "4"]
    assert read.frame["log_http_method"].to_list() == [None, None, "GET", None]


BAD_LINES = {
    "torn": ("1700000000.25\tC1\t10.0.0.1", "has 3 fields, not as many as its header: 1700000000.25\\tC1\\t10.0.0.1"),
    "time": ("{ts=yesterday}", "ts cannot be yesterday"),
    "address": ("{id.orig_h=10.0.0.999}", "id.orig_h cannot be 10.0.0.999"),
    "address 6": ("{id.resp_h=fe80:::1}", "id.resp_h cannot be fe80:::1"),
    "port": ("{id.resp_p=70000}", "id.resp_p cannot be 70000"),
    "state": ("{conn_state=SX}", "conn_state cannot be SX"),
    "count": ("{resp_pkts=-4}", "resp_pkts cannot be -4"),
    "unset": ("{orig_pkts=-}", "has no orig_pkts"),
    "zero": ("{service=a\0b}", "holds a zero byte"),
    "utf-8": ("{service=\udcff}", "is not UTF-8 at byte"),
    "escape": ("{proto=\x1b[31m}", "proto cannot be \\x1b[31m"),
    "long": ("{service=" + "x" * 5_000_000 + "}", "is longer than 4 MiB"),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_a_bad_line_is_told_counted_and_read_over(tmp_path: Path, name: str) -> None:
    line, what = BAD_LINES[name]
    record = list(tab_lines([RECORD], CONN_FIELDS, "conn"))
    if line.startswith("{"):
        field, _, value = line[1:-1].partition("=")
        values = record[8].split("\t")
        values[[name for name, _ in CONN_FIELDS].index(field)] = value
        line = "\t".join(values)
    path = tmp_path / "conn.log"
    text = "\n".join([*record[:9], line, "", record[8], line]) + "\n"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    problems: list[str] = []
    read = read_zeek([path], on_problem=problems.append)
    assert (read.lines_read, read.records, read.bad_lines) == (13, 2, 2)
    assert [problem.split(": ")[0] for problem in problems] == [f"{path}:10", f"{path}:13"]
    assert all(what in problem and "\n" not in problem and problem.isprintable() for problem in problems)
    assert all(len(problem) < len(str(path)) + 200 for problem in problems)


def test_blocks_may_be_cut_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = list(tab_lines(conn_records(made_flows(300)), CONN_FIELDS, "conn"))
    lines[50] = "x" * 3000
    path = write(tmp_path / "conn.log", lines)
    problems: list[str] = []
    whole = read_zeek([path], on_problem=problems.append)
    for block_bytes in (100, 777, 4096):
        monkeypatch.setattr(log_lines, "BLOCK_BYTES", block_bytes)
        again: list[str] = []
        read = read_zeek([path], on_problem=again.append)
        assert read.frame.equals(whole.frame)
        assert (read.lines_read, read.bad_lines, again) == (whole.lines_read, 1, problems)


def test_a_packed_log_cut_short_is_used_as_far_as_it_goes(tmp_path: Path) -> None:
    packed = gzip.compress("\n".join(tab_lines(conn_records(made_flows(3000)), CONN_FIELDS, "conn")).encode())
    path = tmp_path / "conn.log.gz"
    path.write_bytes(packed[: len(packed) // 2])
    problems: list[str] = []
    read = read_zeek([path], on_problem=problems.append)
    assert 100 < read.records < 3000
    assert "the lines before it are used" in problems[-1]


def test_json_of_all_logs_in_one_stream_is_told_apart_by_path(tmp_path: Path) -> None:
    lines = [
        json.dumps(RECORD | {"_path": "conn"}),
        json.dumps({"_path": "dns", "ts": 1, "uid": RECORD["uid"], "query": "q.example"}),
        json.dumps({"_path": "weird", "ts": 1, "uid": "x", "name": "y", "orig_pkts": "z"}),
        '{"_path":"conn","ts":',
        json.dumps(RECORD | {"_path": "conn", "orig_pkts": "many"}),
    ]
    problems: list[str] = []
    read = read_zeek([write(tmp_path / "zeek.json", lines)], on_problem=problems.append)
    assert read.frame["log_dns_query"].to_list() == ["q.example"]
    assert [problem.split("zeek.json")[1] for problem in problems] == [
        ':4: is JSON cut short: {"_path":"conn","ts":',
        ":5: orig_pkts cannot be many",
    ]


def test_what_is_no_conn_log_is_refused(tmp_path: Path) -> None:
    http = write(tmp_path / "http.log", list(tab_lines([{"ts": 1.0, "uid": "C1"}], HTTP, "http")))
    with pytest.raises(InputError, match="is a Zeek log of http, not of connections"):
        read_zeek([http])
    csv = write(tmp_path / "some.csv", ["ts,uid", "1,2"])
    assert (is_zeek(http), is_zeek(csv)) == (True, False)
    with pytest.raises(InputError, match="is not a Zeek log"):
        read_zeek([csv])
    lacking = [field for field in CONN_FIELDS if field[0] != "proto"]
    with pytest.raises(InputError, match=r"conn.log:7: the #fields lack proto"):
        read_zeek([conn_log(tmp_path / "conn.log", {}, fields=lacking)])
    with pytest.raises(InputError, match="no such file"):
        read_zeek([tmp_path / "absent.log"])
    with pytest.raises(InputError, match="holds no such log"):
        read_zeek([tmp_path / "absent*.log"])


@pytest.fixture(scope="session")
def hostile_logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not HOSTILE.exists():
        pytest.skip("the real data is not beside the checkout")
    import tarfile

    folder = tmp_path_factory.mktemp("logs")
    with tarfile.open(HOSTILE) as archive:
        wanted = [m for m in archive if any(part in m.name for part in ("zeek-logs/", "blns/"))]
        archive.extractall(folder, wanted, filter="data")
    return folder


@pytest.mark.shared
def test_logs_of_zeeks_own_tests(hostile_logs: Path, tmp_path: Path) -> None:
    """Their times are blanked out, which makes every record a bad line; with a time put in they are good ones."""
    records = files = 0
    for path in sorted(file for file in hostile_logs.rglob("*") if file.is_file()):
        problems: list[str] = []
        raw = path.read_bytes()
        try:
            read = read_zeek([path], on_problem=problems.append)
        except InputError as error:
            assert "\n" not in str(error)
            continue
        data = [line for line in raw.splitlines() if line and not line.startswith(b"#")]
        blanked = sum(line.startswith(b"XXXXXXXXXX") for line in data)
        assert read.records + read.bad_lines <= len(data) + read.lines_read - raw.count(b"\n")
        if b"#path\tconn\n" in raw and blanked == len(data):
            assert read.bad_lines == len(problems)
            own = [problem for problem in problems if problem.startswith(f"{path}:")]
            assert len(own) == len(data)
            copy = tmp_path / f"{files}.log"
            copy.write_bytes(raw.replace(b"XXXXXXXXXX.XXXXXX", b"1600000000.000001"))
            repaired = read_zeek([copy])
            assert repaired.records + repaired.bad_lines == len(data)
            records += repaired.records
            files += 1
    assert files > 60
    assert records > 1700
