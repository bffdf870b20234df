"""From capture to verdict: CPU and clock seconds for 100,000 flows with twelve threats.

The threats are five flows each of twelve labelled captures beside the checkout; what is scanned is the throughput mix.
Run: python -m benchmarks.verdict [--output FILE] [--mix FILE]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.load import SHARED, build_loads

CAPTURES = SHARED / "data/captures"
THREATS = {
    "iodine": "dns_tunnel_ggyggy/tunnel__iodine-cname.pcap",
    "dnscat2": "dns_tunnel_ggyggy/tunnel__dnscat2-txt*.pcap",
    "masscan-tcp": "esnet/*masscan__tcp*",
    "masscan-udp": "esnet/*masscan__udp*",
    "nmap": "concap_rustiflow/*nmap-a-t4*",
    "syn-scan": "chrissanders/synscan.pcapng",
    "syn-flood": "ddos_stopddos/pkt.TCP.synflood.spoofed.pcap",
    "dns-amplification": "ddos_stopddos/amp.dns.RRSIG.fragmented.pcap",
    "snmp-amplification": "ddos_stopddos/amp.UDP.snmp.src161.pcapng",
    "cryptomining": "cryptomining_nesfit/PCAPs__cgminer.s0.pcapng",
    "zerologon": "sbousseaden/*Zerologon*",
    "sql-injection": "ndpi/*WebattackSQLinj.pcap",
}
SHOTS = 5


def learn_all(home: Path) -> None:
    """Teach every threat through the command line, as a user would."""
    for name, pattern in THREATS.items():
        (capture,) = sorted(CAPTURES.glob(pattern))
        subprocess.run(
            [sys.executable, "-m", "kshot", "learn", name, "--shots", capture, "--max-shots", str(SHOTS), "--quiet"],
            env={**os.environ, "KSHOT_HOME": str(home)},
            check=True,
        )


def measure(home: Path, mix: Path) -> None:
    """Scan `mix` in this process and print the seconds of each stage; the last line is the whole process."""
    from kshot.detection import self_reference
    from kshot.detection.panel import Panel
    from kshot.store import ThreatStore
    from kshot.stream import pipeline, reading
    from kshot.stream.metering import MeterOptions

    library = ThreatStore(home)
    threats = [library.load(name) for name in library.names()]
    taken = {"start, imports and loading the threats": _now() - _BEGUN}
    timed = {
        "features": (reading, "featurize"),
        "detection: finding the attack in the reference": (self_reference, "_suspects"),
        "detection: fit": (Panel, "fit"),
        "detection: calibrate and score": (Panel, "judge"),
        "detection: explain": (Panel, "explain"),
    }
    for stage, (owner, name) in timed.items():
        setattr(owner, name, _timed(getattr(owner, name), stage, taken))
    begun = _now()
    records = pipeline.read_records([mix], MeterOptions())
    taken["metering"] = _now() - begun - taken["features"]
    begun = _now()
    result = pipeline.scan(records, threats)
    told = sum(taken.get(stage, 0.0) for stage in timed if stage != "features")
    taken["detection: grouping and the rest"] = _now() - begun - told
    taken["the whole process"] = _now() - _BEGUN
    flows, alarms = len(records), int(result.verdicts["alarm"].sum())
    print(
        f"{flows:,} flows, {len(threats)} threats, calibrated: {result.calibrated}; {alarms:,} flows alarm, "
        f"in {result.alerts.height:,} alerts\n"
    )
    print("| stage | CPU seconds | of it per 100,000 flows | by the clock, per 100,000 flows |\n|---|---|---|---|")
    last = ("detection: grouping and the rest", "the whole process")
    for stage in ("start, imports and loading the threats", "metering", *timed, *last):
        cpu, clock = taken.get(stage, np.zeros(2))
        print(f"| {stage} | {cpu:.2f} | {cpu * 100_000 / flows:.2f} | {clock * 100_000 / flows:.2f} |")


def _now() -> NDArray[np.float64]:
    """(2,) seconds of CPU of this process, and by the clock."""
    return np.array([time.process_time(), time.perf_counter()])


_BEGUN = np.array([0.0, time.perf_counter()])


def _timed(function: Callable[..., Any], stage: str, taken: dict[str, NDArray[np.float64]]) -> Callable[..., Any]:
    """Let `function` add the seconds that it takes to `taken[stage]`."""

    def timed(*arguments: Any, **named: Any) -> Any:
        begun = _now()
        try:
            return function(*arguments, **named)
        finally:
            taken[stage] = taken.get(stage, np.zeros(2)) + _now() - begun

    return timed


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--output", type=Path)
    arguments.add_argument("--mix", type=Path, help="a capture to scan; default: the mix of the shared load builder")
    arguments.add_argument("--measure", nargs=2, type=Path, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.measure:
        measure(*given.measure)
        return
    if not CAPTURES.exists():
        sys.exit(f"skipped: {CAPTURES} is not there")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        learn_all(home)
        subprocess.run([sys.executable, "-m", "kshot", "doctor", "--warm"], check=True, stdout=subprocess.DEVNULL)
        mix = given.mix or build_loads(home, copies=4)[0]
        command = [sys.executable, "-m", "benchmarks.verdict", "--measure", str(home), str(mix)]
        run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    sys.stdout.write(run.stdout)
    if given.output:
        given.output.write_text(run.stdout)


if __name__ == "__main__":
    main()
