"""How shots are chosen from the range's runs: only the deed, each label and run its share."""

import sys
import tomllib
from pathlib import Path

import numpy as np
import polars as pl

RANGE = Path(__file__).resolve().parents[2] / "range"
sys.path.insert(0, str(RANGE))

import attack  # noqa: E402
import threats  # noqa: E402

TOLD = tomllib.loads((RANGE / "threats.toml").read_text())


def run_of(**counts: int) -> pl.DataFrame:
    """Flows of a run: so many of each label, every one different."""
    labels = [label for label, count in counts.items() for _ in range(count)]
    n = len(labels)
    return pl.DataFrame(
        {
            "ip_bytes_from_orig": np.arange(n, dtype=np.float32) * 1000,
            "ip_bytes_from_resp": np.zeros(n, np.float32),
            "connection_state": ["REJ" if row % 3 == 2 else "SF" for row in range(n)],
            "service": ["http" if row % 2 else "none" for row in range(n)],
            "label": labels,
            "part": ["support" if row % 5 == 4 else "attack" for row in range(n)],
            "tool": "",
        }
    )


def test_only_the_deed_itself_counts() -> None:
    run = run_of(guess=10, benign=5)
    assert run.select(threats.deeds({"labels": ["guess"]})).to_series().sum() == 8
    heavy = run.filter(threats.deeds({"labels": ["guess"], "deed": "ip_bytes_from_orig >= 5000"}))
    assert heavy["ip_bytes_from_orig"].to_list() == [5000.0, 6000.0, 7000.0, 8000.0]


def test_closed_ports_and_empty_connections_teach_nothing_where_so_told() -> None:
    run = run_of(guess=10, benign=5)
    told = {"labels": ["guess"], "deed": "connection_state NOT IN ('S0', 'REJ')", "lesson": "service = 'http'"}
    assert run.filter(threats.deeds(told))["ip_bytes_from_orig"].to_list() == [0.0, 1000.0, 3000.0, 6000.0, 7000.0]
    assert run.filter(threats.lessons(told))["ip_bytes_from_orig"].to_list() == [1000.0, 3000.0, 7000.0]


def test_no_tool_drowns_another_among_the_shots() -> None:
    runs = [run_of(one=2000, benign=50), run_of(one=12, other=900)]
    told = {"labels": ["one", "other"]}
    shots = threats.shots_of(runs, told, np.random.default_rng(0))
    assert shots.height == threats.MOST_SHOTS
    values = shots["ip_bytes_from_orig"].to_numpy()
    own = {row["ip_bytes_from_orig"] for row in runs[1].filter(threats.deeds(told), label="one").to_dicts()}
    assert own <= set(values.tolist())  # the small group whole
    assert threats.shots_of(runs, told, np.random.default_rng(0)).equals(shots)


def test_a_finding_run_never_teaches() -> None:
    taught = {run for threat in TOLD.values() for run in threat["teach"]}
    found = {run for threat in TOLD.values() for run in threat["find"]}
    assert not taught & found
    assert all("-teach-" in run for run in taught)
    assert all("-find-" in run for run in found)


def test_every_label_is_a_scenario() -> None:
    assert {label for threat in TOLD.values() for label in threat["labels"]} <= set(attack.scenarios())
