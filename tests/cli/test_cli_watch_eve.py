"""kshot watch --eve as used: a socket that Suricata sends to, files of threads, and what is refused."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from cli_runs import Run, one_line

pytest.importorskip("sqlalchemy", reason="the store needs pip install 'kshot[watch]'")

EVENT = (
    '{"timestamp":"2026-01-01T00:00:%02d.000000+0000","flow_id":%d,"event_type":"flow","src_ip":"10.0.0.%d",'
    '"src_port":40000,"dest_ip":"198.51.100.7","dest_port":443,"proto":"TCP","flow":{"pkts_toserver":6,'
    '"pkts_toclient":5,"bytes_toserver":664,"bytes_toclient":2390,"start":"2026-01-01T00:00:00.000000+0000",'
    '"end":"2026-01-01T00:00:01.000000+0000","state":"closed"}}\n'
)


def flows(first: int, count: int) -> bytes:
    return "".join(EVENT % (number % 60, number, number % 250) for number in range(first, first + count)).encode()


@pytest.mark.usefixtures("taught")
def test_a_socket_is_listened_on_until_a_term(days: Path, tmp_path: Path) -> None:
    path, stats = tmp_path / "eve.sock", tmp_path / "stats.json"
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))
    flags = ["--reference", str(days / "benign.pcap"), "--threats", "dns-tunnel", "--stats", str(stats)]
    with subprocess.Popen(
        [sys.executable, "-m", "kshot", "watch", "--eve", f"unix_stream:{path}", *flags],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as child:  # fmt: skip
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        for first in (100, 200):
            with socket.socket(socket.AF_UNIX) as suricata:
                suricata.connect(str(path))
                suricata.sendall(flows(first, 100))
        child.send_signal(signal.SIGTERM)
        _, err = child.communicate(timeout=120)
    assert child.returncode == 0
    events = [json.loads(line)["event"] for line in err.splitlines()]
    assert events[-1] == "stopped" and "input_damaged" not in events
    told = json.loads(stats.read_text())
    assert told["flows_scored"] == 200, "what was sent before it was told to stop"
    assert (told["source"]["clients"], told["source"]["bad_lines"]) == (2, 0)
    assert not path.exists()


@pytest.mark.usefixtures("taught")
def test_the_files_of_threads_are_found_by_the_name_in_suricata_yaml(run: Run, days: Path, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        (tmp_path / f"eve.{number}.json").write_bytes(flows(100 * number, 100))
    stats = tmp_path / "stats.json"
    flags = ("--reference", days / "benign.pcap", "--threats", "dns-tunnel", "--stats", stats, "--duration", 6)
    ran = run("watch", "--eve", tmp_path / "eve.json", *flags)
    assert (ran.code, ran.out) == (0, "ready\n")
    told = json.loads(stats.read_text())
    assert (told["flows_scored"], told["source"]["files"], told["lag_bytes"]) == (300, 3, 0)


@pytest.mark.usefixtures("taught")
def test_what_cannot_be_followed_is_one_line(run: Run, days: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("of value")
    for eve, said in (
        ("unix:/run/eve.sock", "give unix_stream:PATH or unix_dgram:PATH"),
        (f"unix_stream:{tmp_path}/file", "is there, and is no socket"),
        (f"unix_dgram:{tmp_path}/no/eve.sock", "no such file or directory"),
        (f"{tmp_path}/eve*.json", "such as eve.*.json"),
        (f"{tmp_path}/no/eve.json", "give the eve.json that Suricata writes"),
    ):
        ran = run("watch", "--eve", eve, "--threats", "dns-tunnel", "--reference", days / "benign.pcap")
        assert ran.code == 2
        assert said in one_line(ran.err.splitlines()[-1])
    assert (tmp_path / "file").read_text() == "of value"
