"""A home for each test, the program in this process, small captures with a known tunnel."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from random import Random

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.traffic import Traffic, Tunnel, office, tunnel
from cli_runs import Ran, Run

from kshot.cli import main

DAY = 1_772_438_400.0
SHOWN = Tunnel("10.20.1.17", "203.0.113.7", "t.example.org", 16, (90, 150), (60, 200), (25, 60), 0.08, 12)
HIDDEN = Tunnel("10.20.1.33", "198.51.100.8", "x1.example.net", 10, (110, 180), (100, 300), (20, 70), 0.1, 15)


@pytest.fixture
def shipped() -> None:
    """Ask for it where the built-in threats are to be looked for: learning them all takes seconds."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    if "shipped" not in request.fixturenames:
        monkeypatch.setattr("kshot.store.builtin.CONTENT", tmp_path / "nothing")
    folder = tmp_path / "home"
    monkeypatch.setenv("KSHOT_HOME", str(folder))
    monkeypatch.setenv("COLUMNS", "160")
    return folder


@pytest.fixture
def run(capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    def run_program(*arguments: object) -> Ran:
        capfdbinary.readouterr()
        code = main([str(argument) for argument in arguments])
        out, err = capfdbinary.readouterr()
        return Ran(code, out.decode(), err.decode())

    return run_program


@pytest.fixture(scope="session")
def days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with benign.pcap, one.pcap (a tunnel in it) and two.pcap (another tunnel in it)."""
    folder = tmp_path_factory.mktemp("days")
    for seed, (name, told) in enumerate((("one", SHOWN), ("two", HIDDEN))):
        traffic = Traffic(Random(seed))
        office(traffic, DAY + seed * 86_400, 3_600.0, 700)
        if name == "one":
            traffic.write(folder / "benign.pcap")
        tunnel(traffic, DAY + seed * 86_400, 3_600.0, told)
        traffic.write(folder / f"{name}.pcap")
    return folder


@pytest.fixture(scope="session")
def taught_once(days: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the threat dns-tunnel, from five flows of the first day."""
    home = tmp_path_factory.mktemp("taught")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KSHOT_HOME", str(home))
        where = ("--where", "responder = '203.0.113.7'", "--max-shots", "5", "--quiet")
        about = ("--attack", "T1071.004", "--severity", "high", "--description", "names carry data")
        assert main(["learn", "dns-tunnel", "--shots", str(days / "one.pcap"), *where, *about]) == 0
    return home


@pytest.fixture
def taught(taught_once: Path, home: Path) -> None:
    """The test's own home knows dns-tunnel."""
    shutil.copytree(taught_once, home)
