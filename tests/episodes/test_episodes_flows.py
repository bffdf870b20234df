"""Metered captures give episodes as any table does, the capture as the group."""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.traffic import Traffic, Tunnel, office, tunnel

from kshot.episodes import EpisodeSampler, TaskShape, headline_episodes, labelled_table
from kshot.stream.metering import MeterOptions
from kshot.stream.pipeline import read_records

DAY = 1_772_438_400.0
SHOWN = Tunnel("10.20.1.17", "203.0.113.7", "t.example.org", 40, (90, 150), (60, 200), (25, 60), 0.08, 12)


def test_flows_of_two_days_give_episodes_that_keep_the_days_apart(tmp_path: Path) -> None:
    features, labels, days = [], [], []
    for day in range(2):
        traffic = Traffic(Random(day))
        office(traffic, DAY + day * 86_400, 3_600.0, 600)
        tunnel(traffic, DAY + day * 86_400, 3_600.0, SHOWN)
        traffic.write(tmp_path / f"{day}.pcap")
        records = read_records([tmp_path / f"{day}.pcap"], MeterOptions())
        features.append(records.features)
        labels += (
            records.frame["responder"]
            .eq("203.0.113.7")
            .replace_strict({True: "dns-tunnel", False: "benign"}, return_dtype=pl.String)
            .to_list()
        )
        days += [f"day-{day}"] * len(records)
    table = labelled_table("office", "office", pl.concat(features), labels, days)
    shape = TaskShape(n_reference=200, k_shot=3, split="blocked", least_family_rows=20, least_benign_rows=400)
    (episode,) = headline_episodes([table], shape, repetitions=1)
    assert table.groups is not None
    assert set(table.groups[episode.reference_rows]) == set(table.groups[episode.shot_rows]) == {0}
    assert set(table.groups[episode.query_rows]) == {1}
    assert (episode.table, episode.family, episode.shots.height) == ("office", "dns-tunnel", 3)
    drawn = EpisodeSampler([table], shape, pseudo_share=0.5).batch(np.random.default_rng(0), 10)
    assert {e.family for e in drawn} == {"dns-tunnel", "pseudo-threat"}
