"""Throws hostile files, mutants and floods at reader and meter: `python -m benchmarks.hostile --help`."""

from __future__ import annotations

import argparse
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.families import FAMILIES
from benchmarks.load import SHARED, pcap, syn_flood, traffic
from benchmarks.mutants import mutant, unpack

HANG_SECONDS = 60.0
"""A child that works for so long and says nothing hangs; one that waits, after `PATIENCE` times as long."""
PATIENCE = 20
SLOW_SECONDS = 5.0
"""R3; counted, not a fault, for the machine may be slow."""


@dataclass
class Outcome:
    """What became of one file."""

    name: str
    packets: int = 0
    """That the reader handed out."""
    flows: int = 0
    refused: str = ""
    """The one line, if it was refused."""
    damage: str = ""
    fault: str = ""
    """What must not be: an exception, a crash, a hang, accounts that do not add up."""
    cpu_seconds: float = 0.0


def meter(path: Path, **settings: Any) -> Outcome:
    """Read and meter `path`, checking what must hold for every file; nothing raised but programming errors of ours."""
    from kshot.errors import UserError
    from kshot.flows import FlowMeter
    from kshot.records.flows import FLOW_SCHEMA
    from kshot.sources.pcap import CaptureReader

    outcome = Outcome(path.name)
    start = time.process_time()
    flow_meter = FlowMeter(**settings)
    seen = 0
    try:
        with CaptureReader(path) as reader:
            for batch in reader:
                flow_meter.push(batch)
                for frame in flow_meter.drain():
                    outcome.flows += len(frame)
            for frame in flow_meter.finish():
                outcome.flows += len(frame)
                if dict(frame.schema) != FLOW_SCHEMA:
                    outcome.fault = "the flow frame breaks its schema"
            outcome.damage = reader.damage or ""
            seen = reader.packets_read
    except UserError as error:
        outcome.refused = str(error)
    outcome.packets = seen
    outcome.cpu_seconds = time.process_time() - start
    counters = flow_meter.counters
    parts = (counters.metered, counters.non_ip, counters.malformed, counters.truncated, counters.shed)
    if not outcome.refused:
        if not counters.packets_read == sum(parts) == seen:
            outcome.fault = f"accounts: read {seen}, {counters}"
        elif counters.flows != outcome.flows:
            outcome.fault = f"{counters.flows} flows counted, {outcome.flows} given"
    if "\n" in outcome.refused + outcome.damage:
        outcome.fault = "a message of more than one line"
    return outcome


def _child(seed: int, start: int, stop: int, corpus: list[Path], judge: Callable[[Path], Outcome]) -> None:
    """Run mutants `start` to `stop`, with a line of JSON before and after each, so that a crash names its mutant."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "mutant")
        for index in range(start, stop):
            print(json.dumps({"begin": index}), flush=True)
            parent, data = mutant(index, seed, corpus)
            path.write_bytes(data)
            try:
                outcome = judge(path)
            except Exception as error:  # every exception here is a finding
                outcome = Outcome("", fault=f"{type(error).__name__}: {error}")
            outcome.name = f"mutant {index} of seed {seed}, from {parent.name}"
            print(json.dumps(asdict(outcome)), flush=True)


def _answers(child: subprocess.Popen[bytes]) -> bool:
    """Wait until the child speaks or ends; False when it hangs. On a busy machine minutes are no time at all."""
    began = _cpu_seconds(child.pid)
    for _ in range(int(PATIENCE * HANG_SECONDS)):
        if select.select([child.stdout], [], [], 1.0)[0]:
            return True
        if _cpu_seconds(child.pid) - began > HANG_SECONDS:
            return False
    return False


def _cpu_seconds(process: int) -> float:
    """CPU time of a process and of its children that have ended; proc(5), stat, fields 14 to 17."""
    told = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, told[11:15])) / os.sysconf("SC_CLK_TCK")


def _watched(seed: int, start: int, stop: int, corpus: Path, kind: str = "captures") -> Iterator[Outcome]:
    """Run mutants in children, going on with the next one behind a crash or a hang."""
    while start < stop:
        command = [sys.executable, "-m", "benchmarks.hostile", "--corpus", str(corpus), "--kind", kind]
        with subprocess.Popen(
            [*command, "--seed", str(seed), "--child", str(start), str(stop)], stdout=subprocess.PIPE
        ) as child:
            assert child.stdout is not None
            while start < stop:
                ready = _answers(child)
                line = child.stdout.readline() if ready else b""
                if not line:
                    child.kill()
                    fault = f"the process ended with {child.wait()}" if ready else f"no answer in {HANG_SECONDS} s"
                    yield Outcome(f"mutant {start} of seed {seed}", fault=fault)
                    start += 1
                    break
                said = json.loads(line)
                if "begin" not in said:
                    yield Outcome(**said)
                    start += 1


def resumed(journal: Path | None, seed: int, count: int, corpus: Path, kind: str = "captures") -> list[Outcome]:
    """Run mutants 0 to `count`; those that `journal`, a file of JSON lines, has already are not run again."""
    done = []
    if journal is not None and journal.exists():
        for line in journal.read_text().splitlines()[:count]:
            try:
                done.append(Outcome(**json.loads(line)))
            except ValueError:  # the last line, cut when the run was killed
                break
        if done and f"of seed {seed}" not in done[0].name:
            raise SystemExit(f"{journal}: holds another seed's mutants")
        journal.write_text("".join(json.dumps(asdict(outcome)) + "\n" for outcome in done))
    for outcome in _watched(seed, len(done), count, corpus, kind):
        done.append(outcome)
        if journal is not None:
            with journal.open("a") as file:
                file.write(json.dumps(asdict(outcome)) + "\n")
    return done


def corpus_files(folder: Path, kind: str = "captures") -> list[Path]:
    """All files that mutants are made of, smallest first, so that their order does not depend on the file system."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    if kind == "captures":  # the hostile set has notes beside them
        files = [path for path in files if path.suffix not in (".csv", ".log", ".txt")]
    return sorted(files, key=lambda path: (path.stat().st_size, str(path)))


def made_corpus(folder: Path) -> list[Path]:
    """Captures made here, for where the hostile set is absent: every family, small, and plausible traffic."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, family in FAMILIES.items():
        (folder / f"{name.replace(' ', '_').replace(',', '')}.cap").write_bytes(family(40)[:60_000])
    for seed in range(4):
        frames = traffic(8, seed)
        (folder / f"traffic{seed}.pcap").write_bytes(pcap(frames, nanoseconds=bool(seed & 1), big=bool(seed & 2)))
    return corpus_files(folder)


def summary(outcomes: list[Outcome], what: str) -> str:
    """One line for the log, one more for each fault."""
    refused = sum(bool(outcome.refused) for outcome in outcomes)
    damaged = sum(bool(outcome.damage) for outcome in outcomes)
    slowest = max(outcomes, key=lambda outcome: outcome.cpu_seconds, default=Outcome("none"))
    faults = [outcome for outcome in outcomes if outcome.fault]
    slow = sum(outcome.cpu_seconds > SLOW_SECONDS for outcome in outcomes)
    lines = [
        f"{len(outcomes):,} {what}: {len(faults)} faults, {slow} slower than {SLOW_SECONDS:.0f} s (slowest "
        f"{slowest.cpu_seconds:.2f} CPU s: {slowest.name}), {refused:,} refused in one line, {damaged:,} damaged and "
        f"used, {sum(o.packets for o in outcomes):,} packets, {sum(o.flows for o in outcomes):,} flows or rows"
    ]
    return "\n".join(lines + [f"  FAULT {outcome.name}: {outcome.fault}" for outcome in faults[:50]])


def doublings(n: int) -> list[tuple[str, float, float, float]]:
    """CPU seconds for each family at n and 2n (the least of five), and their ratio."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, family in FAMILIES.items():
            paths = []
            for size in (n, 2 * n):
                paths.append(Path(folder, f"{size}.cap"))
                paths[-1].write_bytes(family(size))
            meter(paths[0])
            least = [min(meter(path).cpu_seconds for _ in range(5)) for path in paths]
            rows.append((name, *least, least[1] / max(least[0], 1e-9)))
    return rows


_FLOOD_CHILD = """
import resource, sys, time
from pathlib import Path
from benchmarks.hostile import meter
outcome = meter(Path(sys.argv[1]))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(outcome.packets, outcome.flows, peak, round(outcome.cpu_seconds, 2), outcome.fault or "no fault", sep="|")
"""


def flood_memory(packets: int = 1_000_000) -> str:
    """R11: meter as many SYNs, each a flow of its own, in a process of its own; say its peak."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "flood.pcap")
        syn_flood(packets).tofile(path)
        command = [sys.executable, "-c", _FLOOD_CHILD, str(path)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    read, flows, peak, cpu, fault = said.split("|")
    return f"flood of {int(read):,} SYNs: {int(flows):,} flows, peak {peak} MiB, {cpu} CPU s, {fault}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, help="folder of files (default: the shared hostile set)")
    parser.add_argument("--mutants", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--journal", type=Path, help="JSON lines, one a mutant: a later run goes on behind the last")
    parser.add_argument("--skip-families", action="store_true")
    parser.add_argument("--kind", choices=("captures", "tables"), default="captures", help="tables: and logs")
    parser.add_argument("--child", type=int, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        _child(arguments.seed, *arguments.child, corpus_files(arguments.corpus, arguments.kind), _judge(arguments.kind))
        return
    with tempfile.TemporaryDirectory() as folder:
        corpus = arguments.corpus
        if corpus is None:
            corpus = Path(folder)
            archive = SHARED / "data/hostile.tar.xz"
            if arguments.kind == "tables":
                from benchmarks.readers import made_tables

                made_tables(corpus)
            elif archive.exists():
                unpack(archive, corpus)
            else:
                made_corpus(corpus)
        if arguments.kind == "captures":
            _captures(corpus, Path(folder, "made"))
        outcomes = resumed(arguments.journal, arguments.seed, arguments.mutants, corpus, arguments.kind)
        print(summary(outcomes, f"mutants of seed {arguments.seed}, {arguments.kind}"), flush=True)
        kinds = Counter(outcome.fault.split(":")[0] for outcome in outcomes if outcome.fault)
        if kinds:
            print("  by kind:", dict(kinds))
    if arguments.kind == "captures" and not arguments.skip_families:
        print(flood_memory(), flush=True)
        print("\n| family | n, CPU s | 2n, CPU s | ratio |\n|---|---|---|---|")
        for name, once, twice, ratio in doublings(20_000):
            print(f"| {name} | {once:.3f} | {twice:.3f} | {ratio:.2f} |")


def _judge(kind: str) -> Callable[[Path], Outcome]:
    if kind == "captures":
        return meter
    from benchmarks.readers import read

    return read


def _captures(corpus: Path, made: Path) -> None:
    for path in made_corpus(made):  # have the kernels compiled before anything is timed
        meter(path)
    print(summary([meter(path) for path in corpus_files(corpus)], "files"), flush=True)


if __name__ == "__main__":
    main()
