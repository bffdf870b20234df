"""Threat files: whole or not at all, and never believed when they are not what was written."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kshot.errors import InputError, OutputError, ThreatError
from kshot.records.threats import Threat
from kshot.store import ThreatStore, kshot_home, whole_file
from kshot.store.threats import NAME_PATTERN, check_name

THREAT = Threat(
    name="dns-tunnel",
    shots=pl.DataFrame({"a": [1.0, None], "text": ["x", "y"], "flag": [True, False]}),
    kind="table",
    fingerprint="abc",
    attack=("T1071.004",),
    description='says "hi"\n\x1b[31m',
    severity="high",
    references=("https://example.org",),
    source="day1.pcap",
    created="2026-03-02T08:00:00+00:00",
)


@pytest.fixture
def store(tmp_path: Path) -> ThreatStore:
    store = ThreatStore(tmp_path)
    store.save(THREAT)
    return store


def same(a: Threat, b: Threat) -> bool:
    return a.shots.equals(b.shots) and replace(a, shots=b.shots) == b


def test_round_trip(store: ThreatStore) -> None:
    assert store.names() == ["dns-tunnel"]
    assert same(store.load("dns-tunnel"), THREAT)
    assert sorted(p.name for p in (store.folder / "dns-tunnel").iterdir()) == ["shots.parquet", "threat.toml"]
    store.remove("dns-tunnel")
    assert store.names() == []
    assert [p.name for p in store.folder.iterdir()] == [".lock"]


def test_replaced_only_when_told_to(store: ThreatStore) -> None:
    new = replace(THREAT, shots=THREAT.shots.head(1))
    with pytest.raises(ThreatError, match="exists"):
        store.save(new)
    assert same(store.load("dns-tunnel"), THREAT)
    store.save(new, replace=True)
    assert same(store.load("dns-tunnel"), new)


@pytest.mark.parametrize("instant", range(8))
def test_killed_at_any_instant_leaves_the_old_or_the_new(
    store: ThreatStore, monkeypatch: pytest.MonkeyPatch, instant: int
) -> None:
    """Every step that touches the disk is a possible last one."""
    new = replace(THREAT, shots=THREAT.shots.head(1))
    steps = 0

    class Killed(BaseException):
        pass

    def dying(function):
        def step(*arguments, **named):
            nonlocal steps
            steps += 1
            if steps > instant:
                raise Killed
            return function(*arguments, **named)

        return step

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", dying(Path.rename))
        patch.setattr(Path, "write_bytes", dying(Path.write_bytes))
        patch.setattr(os, "fsync", dying(os.fsync))
        # The dead clean nothing up.
        patch.setattr("kshot.store.threats.shutil.rmtree", lambda *_, **__: None)
        try:
            store.save(new, replace=True)
        except Killed:
            pass
    again = ThreatStore(store.folder.parent)
    assert again.names() == ["dns-tunnel"]
    found = again.load("dns-tunnel")
    assert same(found, THREAT) or same(found, new)
    assert sorted(p.name for p in store.folder.iterdir()) == [".lock", "dns-tunnel"]


def damage_toml(folder: Path, old: str, new: str) -> None:
    path = folder / "threat.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('kind = "table"', 'kind = "tab', "is damaged"),
        ("format = 1", "format = 99", "newer than this kshot"),
        ("format = 1", 'format = "1"', "names no format"),
        ('kind = "table"', 'kind = "exe"', "neither flow nor table"),
        ('name = "dns-tunnel"', 'name = "other"', "is not dns-tunnel"),
        ("rows = 2", "rows = 3", "holds 2 shots"),
        ('severity = "high"', "severity = 5", "severity: is not text"),
        ('"T1071.004"', "7", "attack: is not a list of texts"),
        ("sha256 = ", 'sha256 = "00" #', "is torn or was altered"),
    ],
)
def test_an_altered_threat_is_refused_in_one_line(store: ThreatStore, old: str, new: str, said: str) -> None:
    damage_toml(store.folder / "dns-tunnel", old, new)
    with pytest.raises(InputError, match=said) as caught:
        store.load("dns-tunnel")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cut", [0, 1, 100])
def test_torn_shots_are_refused(store: ThreatStore, cut: int) -> None:
    path = store.folder / "dns-tunnel" / "shots.parquet"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InputError, match="torn"):
        store.load("dns-tunnel")


def test_a_lying_parquet_with_the_right_hash_is_refused(store: ThreatStore) -> None:
    import hashlib

    path = store.folder / "dns-tunnel" / "shots.parquet"
    told = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(b"PAR1 this is not one PAR1")
    damage_toml(path.parent, told, hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(InputError, match="not the Parquet file"):
        store.load("dns-tunnel")


def test_missing_and_oversized_files(store: ThreatStore) -> None:
    path = store.folder / "dns-tunnel" / "shots.parquet"
    with path.open("wb") as file:
        file.truncate(65 << 20)
    with pytest.raises(InputError, match="larger than 64 MiB"):
        store.load("dns-tunnel")
    path.unlink()
    with pytest.raises(InputError, match="no such file"):
        store.load("dns-tunnel")


def test_unknown_names_get_a_hint(store: ThreatStore) -> None:
    with pytest.raises(ThreatError, match="did you mean dns-tunnel"):
        store.load("dnstunnel")
    with pytest.raises(ThreatError, match="kshot threats list"):
        store.remove("qqq")


@settings(deadline=None)
@given(st.text(max_size=80))
def test_no_name_leaves_the_folder(name: str) -> None:
    try:
        check_name(name)
    except ThreatError:
        return
    assert NAME_PATTERN.fullmatch(name)
    assert ".." not in name and "/" not in name and not name.startswith(".")


def test_a_whole_file_appears_at_once(tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    target.write_text("old")
    target.chmod(0o640)
    with whole_file(target) as whole:
        whole.path.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert target.stat().st_mode & 0o777 == 0o640
    with pytest.raises(ZeroDivisionError), whole_file(target) as whole:
        whole.path.write_text("half")
        raise ZeroDivisionError
    assert target.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["out.csv"]


def test_a_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    with whole_file(tmp_path / "link") as whole:
        whole.path.write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    for target, said in ((tmp_path, "name a file"), (tmp_path / "no" / "x", "make the folder first")):
        with pytest.raises(OutputError, match=said), whole_file(target):
            pass


def test_home_is_told_or_the_platforms(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KSHOT_HOME", str(tmp_path))
    assert kshot_home() == tmp_path
    monkeypatch.delenv("KSHOT_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert kshot_home().name == "kshot"
