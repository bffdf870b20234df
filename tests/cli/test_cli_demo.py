"""`kshot demo` as a user runs it: one real run, which must keep what it promises."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cli_runs import Run, one_line


@pytest.mark.slow  # two scans for some twenty threats, which is what is shown
def test_the_demonstration_finds_what_it_was_taught(run: Run, shipped: None, tmp_path: Path, home: Path) -> None:
    folder = tmp_path / "shown"
    ran = run("demo", "--output", folder)
    assert ran.code == 0, ran.err
    assert not home.exists(), "the user's own threats are not touched"
    taught = re.search(r"mqtt-bruteforce: from (\S+) % to (\S+) % found", ran.out)
    assert taught and float(taught[1]) <= 10 and float(taught[2]) >= 90
    assert "falls short" not in ran.out and "more than the" not in ran.out
    page = (folder / "report.html").read_text()
    assert "mqtt-bruteforce" in page and str(folder / "report.html") in ran.out
    assert {path.name for path in folder.iterdir()} >= {
        "find.pcap.xz",
        "quiet.pcap.xz",
        "learn.pcap.xz",
        "find.truth.csv",
    }


def test_a_folder_that_cannot_be_made_is_said_at_once(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ran = run("demo", "--output", tmp_path / "file" / "below")
    assert ran.code == 2
    assert "cannot write" in one_line(ran.err)


def test_a_scan_writes_a_report(run: Run, taught: None, days: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    ran = run(
        "scan", days / "two.pcap", "--threats", "dns-tunnel", "--reference", days / "benign.pcap", "--report", page
    )
    assert ran.code == 0, ran.err
    text = page.read_text()
    assert text.startswith("<!doctype html>") and "two.pcap" in text and "dns-tunnel" in text
