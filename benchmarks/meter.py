"""The meter against NFStream, argus and nfpcapd: `python -m benchmarks.meter --help`."""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.load import ROOT, build_dense, build_loads

KSHOT = """
import sys
from pathlib import Path
from kshot.flows import FlowMeter
from kshot.sources.pcap import CaptureReader
meter = FlowMeter()
flows = 0
with CaptureReader(sys.argv[1]) as reader:
    for batch in reader:
        meter.push(batch)
        for frame in meter.drain():
            flows += len(frame)
    for frame in meter.finish():
        flows += len(frame)
print(flows)
"""
"""The meter as a library: every flow becomes a row of a polars frame."""
STEADY = """
import sys, time
# Each pass in the same process: what is compiled, loaded and allocated once is behind the later ones.
from kshot.flows import FlowMeter
from kshot.sources.pcap import CaptureReader
for turn in range(3):
    start = time.process_time()
    meter = FlowMeter()
    flows = 0
    with CaptureReader(sys.argv[1]) as reader:
        for batch in reader:
            meter.push(batch)
            for frame in meter.drain():
                flows += len(frame)
        for frame in meter.finish():
            flows += len(frame)
        print(reader.packets_read, flows, time.process_time() - start, flush=True)
"""
NFSTREAM = """
import sys
from nfstream import NFStreamer
streamer = NFStreamer(source=sys.argv[1], n_dissections=0, statistical_analysis=True, splt_analysis=32,
                      idle_timeout=120, active_timeout=1800, n_meters=1)
print(sum(1 for _ in streamer))
"""


LIBRARY = "kshot, library"
CAPTURES = ("mix", "dense", "flood")


@dataclass
class Tool:
    """One way to turn a capture into flows."""

    name: str
    command: Callable[[Path, Path], list[str]]
    """From the capture and an empty folder for output."""
    absent: str = ""
    """Why it cannot run here; empty if it can."""
    cpu_seconds: list[float] = field(default_factory=list)
    peak_mib: list[float] = field(default_factory=list)
    said: str = ""


def tools(with_nfstream: bool) -> list[Tool]:
    """All that are compared, with the reason beside those that are absent."""

    def program(name: str) -> str:
        return "" if shutil.which(name) else f"{name} is not installed"

    nfstream = "" if importlib.util.find_spec("nfstream") else "pip install 'kshot[bench]'"
    if not with_nfstream:
        nfstream = "--skip-nfstream"
    command = [sys.executable, "-m", "kshot", "flows"]
    return [
        Tool(
            "kshot flows -o parquet", lambda c, out: [*command, str(c), "-q", "-o", "parquet", "--output", f"{out}/f"]
        ),
        Tool(LIBRARY, lambda c, out: [sys.executable, "-c", KSHOT, str(c)]),
        Tool("NFStream 6.6", lambda c, out: [sys.executable, "-c", NFSTREAM, str(c)], nfstream),
        Tool("argus", lambda c, out: ["argus", "-r", str(c), "-w", f"{out}/argus"], program("argus")),
        Tool(
            "nfpcapd",
            lambda c, out: ["nfpcapd", "-r", str(c), "-w", str(out), "-e", "1800,120"],
            program("nfpcapd"),
        ),
        Tool("tcpdump -w (no flows)", lambda c, out: ["tcpdump", "-r", str(c), "-w", "/dev/null"], program("tcpdump")),
    ]


def measure(command: list[str], core: int) -> tuple[float, float, str, int]:
    """Run `command` on one core: CPU seconds (children too), peak MiB of its largest process, output, exit code."""
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(
            command,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env={**os.environ, "POLARS_MAX_THREADS": "1", "NUMBA_NUM_THREADS": "1"},
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        text = out.read().decode(errors="replace").strip()
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, text, process.returncode


def race(capture: Path, runs: int, core: int, nfstream: bool) -> list[Tool]:
    """Run every tool `runs` times, in turns, so that a noisy minute hits all of them."""
    field_of_tools = tools(nfstream)
    for turn in range(runs + 1):
        for tool in field_of_tools:
            # The first turn warms the page cache and has kshot's kernels compiled.
            if tool.absent or (turn == 0 and not tool.name.startswith("kshot")):
                continue
            with tempfile.TemporaryDirectory() as folder:
                cpu, peak, said, status = measure(tool.command(capture, Path(folder)), core)
            if status != 0:
                tool.absent = f"failed: {said.splitlines()[-1] if said else status}"
            elif turn:
                tool.cpu_seconds.append(cpu)
                tool.peak_mib.append(peak)
                tool.said = said
                print(f"{capture.name}, {tool.name}: {cpu:.2f} CPU s, {peak:.0f} MiB", file=sys.stderr, flush=True)
    return field_of_tools


def steady(capture: Path, core: int) -> tuple[int, int, float]:
    """Packets, flows and the CPU seconds of the last of three passes in one process."""
    _, _, said, status = measure([sys.executable, "-c", STEADY, str(capture)], core)
    if status != 0:
        raise SystemExit(said)
    packets, flows, seconds = said.splitlines()[-1].split()
    return int(packets), int(flows), float(seconds)


def speed_report(name: str, capture: Path, made: str, runs: int, core: int, nfstream: bool) -> list[str]:
    """A table of the race on one capture; every figure is CPU seconds of one core, children included."""
    passes = [steady(capture, core) for _ in range(runs)]
    packets, flows, _ = passes[0]
    settled = statistics.median(seconds for _, _, seconds in passes)
    lines = [
        f"### {name}: {packets:,} packets, {capture.stat().st_size / 1e6:,.0f} MB, {flows:,} flows ({made})",
        "",
        "| tool | CPU s | least to most | packets/s | flows/s | over kshot | over its steady state | peak MiB |",
        "|---|---|---|---|---|---|---|---|",
        f"| kshot, library, steady state | {settled:.2f} | {min(p[2] for p in passes):.2f} to "
        f"{max(p[2] for p in passes):.2f} | {packets / settled:,.0f} | {flows / settled:,.0f} | | 1.0 | |",
    ]
    raced = race(capture, runs, core, nfstream)
    whole = next(statistics.median(t.cpu_seconds) for t in raced if t.name == LIBRARY)
    for tool in raced:
        if tool.absent:
            lines.append(f"| {tool.name} | | | | | | | skipped: {tool.absent} |")
            continue
        cpu = statistics.median(tool.cpu_seconds)
        spread = f"{min(tool.cpu_seconds):.2f} to {max(tool.cpu_seconds):.2f}"
        lines.append(
            f"| {tool.name} | {cpu:.2f} | {spread} | {packets / cpu:,.0f} | {flows / cpu:,.0f} | {cpu / whole:.2f} "
            f"| {cpu / settled:.2f} | {statistics.median(tool.peak_mib):,.0f} |"
        )
    lines.append("")
    return lines


def machine() -> str:
    """Where and when."""
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.processor(),
    )
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=ROOT / "out/load", help="where the captures are built")
    parser.add_argument("--copies", type=int, default=8, help="of the shared captures in the mix; 8 are 4.5 M packets")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--captures", nargs="+", choices=CAPTURES, default=CAPTURES)
    parser.add_argument("--skip-nfstream", action="store_true", help="it takes a hundred times as long as the others")
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--skip-speed", action="store_true")
    parser.add_argument("--skip-agreement", action="store_true")
    parser.add_argument("--output", type=Path, help="write the report here as well")
    arguments = parser.parse_args()
    mix, flood, made = build_loads(arguments.folder, arguments.copies)
    loads = {"mix": (mix, made), "flood": (flood, made)}
    if "dense" in arguments.captures:
        loads["dense"] = (build_dense(arguments.folder), "benchmarks/load.py, 20 packets a flow")
    given = " ".join(sys.argv[1:])
    lines = ["## The meter", "", f"`python -m benchmarks.meter {given}`; {machine()}. One core, whole process.", ""]
    if not arguments.skip_speed:
        for name in arguments.captures:
            lines += speed_report(name, *loads[name], arguments.runs, arguments.core, not arguments.skip_nfstream)
    if not arguments.skip_agreement:
        from benchmarks.agreement import agreement_report

        small, _, _ = build_loads(arguments.folder / "one", 1)
        lines += agreement_report(small)
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.output:
        arguments.output.write_text(text)


if __name__ == "__main__":
    main()
