"""Makes the built-in threats and the benign reference from runs: python range/threats.py OUT."""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import tomli_w
from label import label_flows, read_truth

from kshot.features import FeatureExtractor, fingerprint
from kshot.intel import teach, thin
from kshot.records.threats import Threat
from kshot.store import ThreatStore
from kshot.stream.metering import MeterOptions, meter

HERE = Path(__file__).resolve().parent
CONTENT = HERE.parent / "src" / "kshot" / "content"
MOST_SHOTS = 100
REFERENCE_ROWS = 16_000
SEED = 0
FOLDER = re.compile(r"(?<!\S)/\S*/")
"""Of a file on the machine where the range ran."""
LABELS = ("label", "part", "tool")
ADDRESS = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b")


def labelled_features(run: Path) -> pl.DataFrame:
    """Features of all flows of a run with its truth beside them; kept in the run's folder for the next time."""
    kept = run / f"features-{fingerprint()}.parquet"
    if not kept.exists():
        flows = pl.concat(list(meter([run / "capture.pcap"], MeterOptions())))
        labels = label_flows(flows, read_truth(run / "truth.csv")).select(LABELS)
        FeatureExtractor().transform(flows).hstack(labels).write_parquet(kept)
    return pl.read_parquet(kept)


def deeds(told: dict[str, Any]) -> pl.Expr:
    """Which flows of a run are the deed of a threat of threats.toml, not what prepares or answers it.

    Where it says `deed`, a condition in SQL, only those of which that is true: an upload's own control connection is no
    bulk, closed ports are a port scan's business.
    """
    of_it = pl.col("label").is_in(told["labels"]) & (pl.col("part") == "attack")
    return (of_it & pl.sql_expr(told.get("deed", "true"))).fill_null(False)


def lessons(told: dict[str, Any]) -> pl.Expr:
    """Which of these teach: those of which `lesson` is true too; a tool's empty connection is like anybody's."""
    return deeds(told) & pl.sql_expr(told.get("lesson", "true")).fill_null(False)


def shots_of(runs: list[pl.DataFrame], told: dict[str, Any], rng: np.random.Generator) -> pl.DataFrame:
    """At most `MOST_SHOTS` flows of the attack's, each label and run with its share of places.

    Half of a share is drawn at random, for what is usual, half of it lies far apart, for what is rare. Places that a
    small group leaves go to the larger ones, so that no tool drowns another.
    """
    groups = []
    for run in runs:
        for label in told["labels"]:
            chosen = run.filter(lessons(told) & (pl.col("label") == label)).drop(LABELS)
            distinct = chosen.unique(maintain_order=True)
            groups += [distinct] if distinct.height else []
    groups.sort(key=len)
    picked, left = [], MOST_SHOTS
    for number, group in enumerate(groups):
        share = left // (len(groups) - number)
        usual, rest = np.split(rng.permutation(group.height), [share // 2])
        rare = thin(group[rest], share - len(usual), rng)
        rows = np.sort(np.concatenate([usual, rest[rare]]))
        picked.append(group[rows])
        left -= len(rows)
    return pl.concat(picked)


def steps_of(run: Path) -> list[dict[str, Any]]:
    """What the attackers did in a run, for the provenance: tool and command."""
    told = tomllib.loads((run / "scenario.toml").read_text())
    steps = [{key: step[key] for key in ("threat", "tool", "command") if key in step} for step in told.get("step", [])]
    return [step | {"command": FOLDER.sub("", ADDRESS.sub("(address)", step.get("command", "")))} for step in steps]


def make_threat(name: str, told: dict[str, Any], out: Path, store: ThreatStore) -> Threat:
    """Teach one threat, keep it, and write beside it where it came from and a page for people."""
    rng = np.random.default_rng(SEED)
    shots = shots_of([labelled_features(out / run) for run in told["teach"]], told, rng)
    seconds = max((out / run / "truth.csv").stat().st_mtime for run in told["teach"])
    threat = teach(
        name,
        shots,
        kind="flow",
        fingerprint=fingerprint(),
        created=datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT00:00:00Z"),
        attack=told["attack"],
        description=told["description"],
        severity=told["severity"],
        source="kshot's range: " + ", ".join(told["teach"]),
        references=told["references"],
    )
    folder = store.save(threat, replace=True)
    provenance = [
        {
            "run": run,
            "seed": int(run.rsplit("-", 1)[1]),
            "steps": [step for step in steps_of(out / run) if step.get("threat", name) in (*told["labels"], name)],
        }
        for run in told["teach"]
    ]
    beside = {"tier": "packets", "drawn_with_seed": SEED, "provenance": provenance}
    path = folder / "threat.toml"
    path.write_text(tomli_w.dumps(tomllib.loads(path.read_text()) | beside))
    (folder / "README.md").write_text(page(threat, provenance))
    return threat


def page(threat: Threat, provenance: list[dict[str, Any]]) -> str:
    """README.md of a threat."""
    tools = sorted({step["tool"] for run in provenance for step in run["steps"]})
    lines = [
        f"# {threat.name}",
        "",
        f"{threat.description}.",
        "",
        f"- ATT&CK: {', '.join(threat.attack)}; severity: {threat.severity}",
        f"- {threat.shots.height} shots of {threat.shots.width} features (schema {threat.fingerprint}); no addresses",
        f"- taught on packets, by {', '.join(tools) or 'the range'} in {', '.join(run['run'] for run in provenance)}",
        *(f"- <{reference}>" for reference in threat.references),
        "",
        "The commands stand in threat.toml. Laboratory traffic: to fit it to your network, add your own examples with",
        f"`kshot learn {threat.name} --add --shots FILE --where EXPR`.",
        "",
    ]
    return "\n".join(lines)


def make_reference(out: Path, folder: Path) -> pl.DataFrame:
    """Sample benign flows of the benign runs and of the teaching runs, as many of each as it has room for."""
    rng = np.random.default_rng(SEED)
    told = tomllib.loads((HERE / "threats.toml").read_text())
    runs = sorted({run for threat in told.values() for run in threat["teach"]} | {p.name for p in out.glob("benign-*")})
    groups = [labelled_features(out / run).filter(pl.col("label") == "benign").drop(LABELS) for run in runs]
    groups.sort(key=len)
    picked, left = [], REFERENCE_ROWS
    for number, group in enumerate(groups):
        rows = rng.permutation(group.height)[: left // (len(groups) - number)]
        picked.append(group[np.sort(rows)])
        left -= len(rows)
    reference = pl.concat(picked)
    folder.mkdir(parents=True, exist_ok=True)
    reference.write_parquet(folder / "reference.parquet", compression="zstd", compression_level=19)
    digest = hashlib.sha256((folder / "reference.parquet").read_bytes()).hexdigest()
    about = {"format": 1, "rows": reference.height, "fingerprint": fingerprint(), "sha256": digest, "runs": runs}
    (folder / "reference.toml").write_text(tomli_w.dumps(about))
    (folder / "README.md").write_text(
        "# The laboratory's benign reference\n\n"
        f"{reference.height:,} flows of {len(runs)} runs of kshot's range, as features; no addresses. It stands in "
        "until you give a\nreference of your own network (`kshot scan --reference`): what is measured against it is a "
        "rank, not a promise.\n"
    )
    return reference


def main() -> None:
    """threats.py OUT [--to FOLDER]: content/threats and content/reference."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("out", type=Path, help="where range/everything put the runs")
    arguments.add_argument("--to", type=Path, default=CONTENT)
    options = arguments.parse_args()
    told = tomllib.loads((HERE / "threats.toml").read_text())
    store = ThreatStore(options.to)
    for name in store.names():
        if name not in told:
            shutil.rmtree(store.folder / name)
    for name, about in told.items():
        threat = make_threat(name, about, options.out, store)
        print(f"{name}: {threat.shots.height} shots")
    print(f"reference: {make_reference(options.out, options.to / 'reference').height} flows")
    (store.folder / ".lock").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
