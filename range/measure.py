"""How well each built-in threat is found in the finding run: python range/measure.py OUT."""

from __future__ import annotations

import argparse
import tomllib
from pathlib import Path

import numpy as np
import polars as pl
from threats import HERE, LABELS, deeds, labelled_features

from kshot.detection.panel import Panel
from kshot.features import encode_to_tier, settle
from kshot.records.columns import Tier
from kshot.store import builtin_reference, builtin_threats

FALSE_ALARMS = 0.001


def recalls(out: Path, tier: Tier, told: dict[str, dict]) -> dict[str, list[tuple[str, int, float]]]:
    """Threat -> (finding run, attack flows, recall where 0.1 % of that run's benign flows score as high)."""
    reference = encode_to_tier(builtin_reference()[0], tier)
    shots = {threat.name: settle(encode_to_tier(threat.shots, tier), reference) for threat in builtin_threats()}
    rng = np.random.default_rng(0)
    panel = Panel.fit(shots, settle(reference, reference), reference.columns, rng)
    found: dict[str, list[tuple[str, int, float]]] = {name: [] for name in shots}
    for run in sorted({run for name in shots for run in told[name]["find"]}):
        flows = labelled_features(out / run)
        queries = settle(encode_to_tier(flows.drop(LABELS), tier), reference)
        surprises = panel.judge(queries, unknown=False).surprises
        benign = (flows["label"] == "benign").fill_null(False).to_numpy()
        for column, name in enumerate(panel.names):
            if run not in told[name]["find"]:
                continue
            rows = flows.select(deeds(told[name])).to_series().to_numpy()
            threshold = np.quantile(surprises[benign, column], 1 - FALSE_ALARMS, method="higher")
            found[name].append((run, int(rows.sum()), float((surprises[rows, column] > threshold).mean())))
    return found


def main() -> None:
    """measure.py OUT: a table, a line a threat."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("out", type=Path)
    options = arguments.parse_args()
    told = tomllib.loads((HERE / "threats.toml").read_text())
    by_tier = {tier: recalls(options.out, tier, told) for tier in (Tier.PACKETS, Tier.ZEEK)}
    print("| threat | finding runs (flows) | recall, packets | recall, logs |\n|---|---|---|---|")
    reached = {tier: 0 for tier in by_tier}
    for name in by_tier[Tier.PACKETS]:
        cells = []
        for tier, bar in ((Tier.PACKETS, 0.9), (Tier.ZEEK, 0.8)):
            runs = by_tier[tier][name]
            mean = sum(count * recall for _, count, recall in runs) / sum(count for _, count, _ in runs)
            reached[tier] += mean >= bar
            each = ", ".join(f"{recall:.2f}" for _, _, recall in runs)
            cells.append(f"{mean:.3f} ({each})" if len(runs) > 1 else f"{mean:.3f}")
        runs = ", ".join(f"{run} ({count})" for run, count, _ in by_tier[Tier.PACKETS][name])
        print(f"| {name} | {runs} | {cells[0]} | {cells[1]} |")
    total = len(by_tier[Tier.PACKETS])
    print(f"\n{reached[Tier.PACKETS]} of {total} at 0.9 on packets, {reached[Tier.ZEEK]} of {total} at 0.8 on logs")


if __name__ == "__main__":
    main()
