"""The four folds hold every corpus of the catalogue once, dealt by the rule that the file states."""

from __future__ import annotations

import tomllib
from pathlib import Path

from kshot.datasets import catalogue

FOLDS = Path(__file__).resolve().parents[2] / "benchmarks/folds.toml"


def test_the_file_is_what_the_rule_gives() -> None:
    corpora = [corpus for _, corpus in sorted({(dataset.domain, dataset.corpus) for dataset in catalogue()})]
    assert len(corpora) == len(set(corpora)), "a corpus is of one domain"
    dealt = {name: corpora[place::4] for place, name in enumerate("abcd")}
    assert tomllib.loads(FOLDS.read_text()) == dealt
