"""Teach a DNS tunnel by one tool, find it by another among the benign DNS of the same resolver.

Every ordered pair of the tunnels in shared/data/captures/dns_tunnel_ggyggy: learn from five flows of one (60-second
slices), scan the others and two benign captures that were not the reference.
Run: python -m benchmarks.transfer [--output FILE]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import polars as pl

CAPTURES = Path(__file__).resolve().parents[1] / "../shared/data/captures"
FOLDER = CAPTURES / "dns_tunnel_ggyggy"
METER = ("--active-timeout", "60")
SHOTS = 5
RATES = (0.001, 0.0005)
"""Promised; scanned once, at the first, since a record alarms where its p-value is at most the rate."""


def kshot(home: Path, *arguments: str | Path) -> str:
    """Run the command as a user would; what it said on stderr."""
    run = subprocess.run(
        [sys.executable, "-m", "kshot", *map(str, arguments)],
        env={**os.environ, "KSHOT_HOME": str(home)},
        capture_output=True,
        text=True,
    )
    if run.returncode:
        sys.exit(f"kshot {' '.join(map(str, arguments))}: {run.stderr}")
    return run.stderr


def verdicts(home: Path, capture: Path, reference: Path) -> pl.DataFrame:
    """One row a flow of `capture`, with its p-value."""
    out = home / "verdicts.parquet"
    rate = ("--false-alarm-rate", str(RATES[0]))
    files = ("--verdicts", out, "--output", home / "alerts.jsonl")
    kshot(home, "scan", capture, "--reference", reference, *rate, *files, *METER)
    return pl.read_parquet(out)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--output", type=Path)
    output = arguments.parse_args().output
    if not FOLDER.exists():
        sys.exit(f"skipped: {FOLDER} is not there")
    reference, *benign = sorted(FOLDER.glob("normal__*"))
    tunnels = {path.name.split("__")[1].removesuffix(".pcap"): path for path in sorted(FOLDER.glob("tunnel__*"))}
    lines = [
        f"Five 60-second slices of a tunnel, beside the built-in threats; reference {reference.name.split('__')[-1]}:",
        "",
        "| promised | taught | found in | flows | recall | benign flows | false alarms | recall where 0.1 % alarm |",
        "|---|---|---|---|---|---|---|---|",
    ]
    rows: dict[float, list[str]] = {rate: [] for rate in RATES}
    for taught, path in tunnels.items():
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder)
            kshot(home, "learn", "tunnel", "--shots", path, "--max-shots", str(SHOTS), "--reference", reference, *METER)
            quiet = pl.concat([verdicts(home, capture, reference).select("p_value") for capture in benign])
            for found, other in tunnels.items():
                if found == taught:
                    continue
                attack = verdicts(home, other, reference)["p_value"]
                # Whatever was promised: the greatest p-value at which at most 0.1 % of these benign flows alarm.
                bar = quiet["p_value"].sort()[len(quiet) // 1000]
                for rate in RATES:
                    alarms = int((quiet["p_value"] <= rate).sum())
                    recall = float((attack <= rate).mean() or 0.0)
                    cells = (f"{rate:g}", taught, found, len(attack), f"{recall:.2f}", len(quiet))
                    false = f"{alarms} ({alarms / len(quiet):.3%})"
                    at_bar = f"{float((attack < bar).mean() or 0.0):.2f}"
                    rows[rate].append("| " + " | ".join(map(str, (*cells, false, at_bar))) + " |")
    lines += [line for rate in RATES for line in rows[rate]]
    text = "\n".join(lines) + "\n"
    sys.stdout.write(text)
    if output:
        output.write_text(text)


if __name__ == "__main__":
    main()
