"""kshot watch --segment: a reference of its own, told in alerts; mistakes in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cli_runs import Run, one_line

pytest.importorskip("sqlalchemy", reason="the store needs pip install 'kshot[watch]'")
pytest.importorskip("pydantic_settings", reason="a configuration file needs pip install 'kshot[watch]'")

from kshot.cli.segments import read_sites
from kshot.cli.settings import read_settings
from kshot.cli.teaching import Lessons
from kshot.errors import UserError
from kshot.features import columns_for_tier
from kshot.records.columns import Tier
from kshot.store.alerts import AlertStore
from kshot.stream.metering import MeterOptions
from kshot.stream.segments import REST, SegmentedDetector
from kshot.stream.standing import StandingDetector

COLUMNS = columns_for_tier(Tier.PACKETS)


@pytest.mark.usefixtures("taught")
def test_from_a_reference_of_two_networks_to_an_alert_in_them(run: Run, days: Path, tmp_path: Path) -> None:
    networks = ("--network", "10.20.1.0/24,fd00:1::/32")
    build = ("reference", "build", "desks", "--from", days / "benign.pcap", *networks)
    assert run(*build).code == 0
    listed = json.loads(run("reference", "list", "-o", "jsonl").out)
    assert listed["networks"] == ["10.20.1.0/24", "fd00:1::/32"]
    assert "10.20.1.0/24, fd00:1::/32" in run("reference", "list").out
    other = ("reference", "build", "desks", "--add", "--from", days / "one.pcap")
    assert "is of 10.20.1.0/24,fd00:1::/32; build it anew" in one_line(run(*other, "--network", "10.0.0.0/8").err)
    assert run(*other).code == 0
    folder, lines = tmp_path / "dropped", tmp_path / "alerts.jsonl"
    folder.mkdir()
    (folder / "two.pcap").write_bytes((days / "two.pcap").read_bytes())
    watched = ("watch", "--captures", folder, "--segment", "desks", "--duration", 8, "--output", lines)
    ran = run(*watched, "--reference", days / "benign.pcap")
    assert ran.code == 0
    notes = [line["what"] for line in map(json.loads, ran.err.splitlines()) if line["event"] == "note"]
    assert any("--reference holds 0 records outside the segments" in note for note in notes)
    alert = next(one for one in map(json.loads, lines.read_text().splitlines()) if one["responder"] == "198.51.100.8")
    assert (alert["segment"], alert["calibrated"]) == ("desks", "site")
    assert any('"segment": "desks"' in line for line in ran.err.splitlines() if '"alert"' in line)
    shown = run("alerts", "show", alert["id"]).out
    assert any(line.split() == ["segment", "desks"] for line in shown.splitlines())
    preview = run("alerts", "label", alert["id"], "false-positive", "--preview")
    assert preview.code == 0 and f"    {alert['id']}: dns-tunnel" in preview.out


@pytest.mark.parametrize(
    ("segment", "said"),
    [
        ("desks=10.1.0.0/33", "segment desks: '10.1.0.0/33' is no network"),
        ("desks=10.1.2.3/16", "do you mean 10.1.0.0/16?"),
        ("=10.1.0.0/16", "is no REFERENCE=NETWORK,..."),
        ("desks=", "is no REFERENCE=NETWORK,..."),
        ("nothing=10.1.0.0/16", "nothing: no such file"),
        ("{benign}", "says no network, nor does its reference"),
        ("{benign}=172.16.0.0/12", "records of its reference lies in 172.16.0.0/12"),
        ("{table}=10.1.0.0/16", "it holds table rows"),
    ],
)
def test_a_bad_segment_is_one_line(run: Run, days: Path, tmp_path: Path, segment: str, said: str) -> None:
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    told = segment.format(benign=days / "benign.pcap", table=tmp_path / "table.csv")
    ran = run("watch", "--captures", tmp_path, "--segment", told)
    assert (ran.code, ran.out) == (2, "")
    assert said in one_line(ran.err)


def test_a_network_belongs_to_one_segment(run: Run, tmp_path: Path) -> None:
    twice = ("--segment", "a=10.1.0.0/16", "--segment", "b=10.2.0.0/16,10.1.0.0/16")
    assert "is in segment a and in b" in one_line(run("watch", "--captures", tmp_path, *twice).err)
    path = tmp_path / "kshot.toml"
    path.write_text("[watch]\nsegment = ['a=10.1.0.0/16', 'b=10.1.0.0/16']\n")
    for verb in (("config", "check", path), ("watch", "--config", path)):
        ran = run(*verb)
        said = f"{path}: watch.segment network 10.1.0.0/16 is in segment a and in b; give it to one"
        assert (ran.code, said in one_line(ran.err)) == (2, True)
    path.write_text("[watch]\nsegment = ['a=10.1.0.0/16', 'b']\n")
    assert run("config", "check", path).code == 0
    assert read_settings(path) == {"segment": ["a=10.1.0.0/16", "b"]}
    assert "'z' is no network" in one_line(run("reference", "build", "x", "--from", "y", "--network", "z").err)


def test_a_reference_is_of_the_records_that_are_measured_against_it(days: Path, tmp_path: Path) -> None:
    benign, again = str(days / "benign.pcap"), str(tmp_path / "again.pcap")
    Path(again).symlink_to(benign)
    sites = read_sites([benign], [f"{benign}=10.20.1.10,10.20.1.11", f"{again}=10.20.0.0/16"], MeterOptions())
    assert sites.segments is not None
    whole = read_sites([benign], None, MeterOptions()).references[REST].records
    parts = {name: site.records for name, site in sites.references.items()}
    assert set(parts[benign].frame["originator"]) | set(parts[benign].frame["responder"]) >= {"10.20.1.10"}
    assert "10.20.1.10" not in set(parts[again].frame["originator"])
    assert len(parts[benign]) + len(parts[again]) == len(whole)
    assert len(parts[REST]) == len(whole), "too few lie in no segment"
    assert any("holds 0 records outside the segments" in note for note in sites.notes)


@pytest.mark.usefixtures("taught")
def test_a_segment_read_anew_is_learned_or_refused(days: Path, tmp_path: Path) -> None:
    kept = AlertStore(f"sqlite:///{tmp_path / 'a.sqlite'}")
    told: list[tuple[str, Any]] = []
    benign = str(days / "benign.pcap")
    try:
        lessons = Lessons([], [benign], kept, MeterOptions(), lambda event, **facts: told.append((event, facts)))
        assert isinstance(lessons.fit(COLUMNS), StandingDetector) and lessons.segments == []
        version = lessons.version()
        segment = f"{benign}=10.20.1.0/24"
        lessons.read([], [benign], [segment], None)
        assert lessons.version() != version and lessons.segments == [benign]
        assert isinstance(lessons.fit(COLUMNS), SegmentedDetector)
        with pytest.raises(UserError):
            lessons.read([], [benign], [f"{benign}=172.16.0.0/12"], None)
        assert lessons.segments == [benign], "what was read before goes on"
        lessons.read([], [benign], [f"{benign}=10.20.1.10"], None)
        assert isinstance(lessons.fit(COLUMNS), SegmentedDetector)
    finally:
        kept.close()
