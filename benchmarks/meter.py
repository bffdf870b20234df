"""The meter against NFStream, argus and nfpcapd: CPU, memory, agreement. `python -m benchmarks.meter --help`."""

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

from benchmarks.load import ROOT, build_loads

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


def tools() -> list[Tool]:
    """All that are compared, with the reason beside those that are absent."""

    def program(name: str) -> str:
        return "" if shutil.which(name) else f"{name} is not installed"

    nfstream = "" if importlib.util.find_spec("nfstream") else "pip install 'kshot[bench]'"
    command = [sys.executable, "-m", "kshot", "flows"]
    return [
        Tool(
            "kshot flows -o parquet", lambda c, out: [*command, str(c), "-q", "-o", "parquet", "--output", f"{out}/f"]
        ),
        Tool("kshot, library", lambda c, out: [sys.executable, "-c", KSHOT, str(c)]),
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


def race(capture: Path, runs: int, core: int) -> list[Tool]:
    """Run every tool `runs` times, in turns, so that a noisy minute hits all of them."""
    field_of_tools = tools()
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


def speed_report(name: str, capture: Path, made: str, runs: int, core: int) -> list[str]:
    """A table of the race on one capture."""
    packets, flows, seconds = steady(capture, core)
    lines = [
        f"### {name}: {packets:,} packets, {capture.stat().st_size / 1e6:,.0f} MB, {flows:,} flows ({made})",
        "",
        "| tool | CPU s (median) | least to most | packets/s | CPU vs kshot flows | peak MiB |",
        "|---|---|---|---|---|---|",
    ]
    raced = race(capture, runs, core)
    ours = next((t for t in raced if not t.absent), None)
    for tool in raced:
        if tool.absent:
            lines.append(f"| {tool.name} | | | | | skipped: {tool.absent} |")
            continue
        cpu = statistics.median(tool.cpu_seconds)
        ratio = cpu / statistics.median(ours.cpu_seconds) if ours else float("nan")
        spread = f"{min(tool.cpu_seconds):.2f} to {max(tool.cpu_seconds):.2f}"
        peak = statistics.median(tool.peak_mib)
        lines.append(f"| {tool.name} | {cpu:.2f} | {spread} | {packets / cpu:,.0f} | {ratio:.2f}x | {peak:,.0f} |")
    lines += [
        "",
        f"Steady state (third pass in one process): {seconds:.2f} CPU s, **{packets / seconds:,.0f} packets/s**, "
        f"{flows / seconds:,.0f} flows/s.",
        "",
    ]
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
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--skip-speed", action="store_true")
    parser.add_argument("--skip-agreement", action="store_true")
    parser.add_argument("--output", type=Path, help="write the report here as well")
    arguments = parser.parse_args()
    mix, flood, made = build_loads(arguments.folder, arguments.copies)
    given = " ".join(sys.argv[1:])
    lines = ["## The meter", "", f"`python -m benchmarks.meter {given}`; {machine()}. One core, whole process.", ""]
    if not arguments.skip_speed:
        for name, capture in (("mix", mix), ("flood", flood)):
            lines += speed_report(name, capture, made, arguments.runs, arguments.core)
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
