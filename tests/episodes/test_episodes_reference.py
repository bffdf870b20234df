"""The reference protocol: our tables and episodes are the reference implementation's, row for row."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from episode_tables import SHARED, reference_implementation

from kshot.episodes import BENIGN, HEADLINE, headline_episodes, reference_table


def raw_table() -> tuple[pl.DataFrame, np.ndarray]:
    """A table with duplicates, a label that is neither, columns that are never features, and a large family."""
    rng = np.random.default_rng(3)
    n = 15_000
    label = rng.choice(["BENIGN", "DoS Hulk", "aworm", "Zed", "?", "rare"], n, p=[0.45, 0.42, 0.08, 0.04, 0.009, 0.001])
    frame = pl.DataFrame(
        {
            "Src IP": rng.choice(["10.0.0.1", "10.0.0.2"], n),
            "bytes": rng.integers(0, 9000, n),
            "rate": rng.normal(size=n).round(2),
            "proto": pl.Series(rng.integers(0, 3, n)).replace_strict({0: "tcp", 1: "udp"}, default=None),
            "Timestamp": np.arange(n),
        }
    )
    return frame, label


@pytest.mark.shared
@pytest.mark.parametrize("split", ["iid", "blocked"])
@pytest.mark.parametrize("k_shot", [0, 1, 5])
def test_a_made_table_gives_the_reference_implementations_episodes(split, k_shot: int, tmp_path) -> None:
    script = reference_implementation()
    frame, label = raw_table()
    frame.with_columns(pl.Series("kind", label.tolist())).write_parquet(tmp_path / "made.parquet")
    tables = script.load(tmp_path, {"made": ("kind", "BENIGN", "lab")}, cap=6000)
    told = np.where(label == "BENIGN", BENIGN, label)
    ours = reference_table("made", "lab", frame, told)
    same(script, tables, [ours], split, k_shot, repetitions=2)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["net_nsl_kdd_test", "malware_clamp_raw", "android_cicmaldroid99", "dns_dot_tunnel"])
def test_a_real_table_gives_the_reference_implementations_episodes(name: str) -> None:
    script = reference_implementation()
    folder = SHARED / "data/tables"
    if not folder.exists():
        pytest.skip("needs shared/data beside the checkout")
    column, benign, corpus = script.DEV[name]
    frame = pl.read_parquet(folder / f"{name}.parquet")
    labels = frame[column].cast(pl.String).fill_null("?").str.strip_chars().to_numpy()
    ours = reference_table(name, corpus, frame.drop(column), np.where(labels == benign, BENIGN, labels))
    same(script, script.load(folder, {name: script.DEV[name]}), [ours], "blocked", 5, repetitions=1)


def same(script, tables: dict, ours: list, split: str, k_shot: int, repetitions: int) -> None:
    """Row for row: names, repetitions, frames and labels."""
    shape = replace(HEADLINE, k_shot=k_shot, split=split)
    expected = list(script.episodes(tables, k_shot, repetitions, split))
    episodes = list(headline_episodes(ours, shape, repetitions))
    assert len(episodes) == len(expected) > 0
    for episode, (table, corpus, family, rep, support, told, queries, truth) in zip(episodes, expected, strict=True):
        assert (episode.table, episode.corpus, episode.family, episode.repetition) == (table, corpus, family, rep)
        assert episode.support.equals(support)
        assert episode.support_labels.tolist() == told.tolist()
        assert episode.queries.equals(queries)
        assert episode.query_labels.tolist() == truth.tolist()


def test_reference_tables_drop_what_the_protocol_drops() -> None:
    frame, label = raw_table()
    table = reference_table("made", "lab", frame, np.where(label == "BENIGN", BENIGN, label))
    assert table.features.columns == ["bytes", "rate", "proto"]
    assert "?" not in table.families and len(table.rows_of("DoS Hulk")) == 6000
    assert table.features.with_columns(pl.Series("label", table.labels.tolist())).is_duplicated().sum() == 0
