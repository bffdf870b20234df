"""From capture to verdict: CPU seconds per 100,000 flows with twelve threats taught, and where they go.

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
from pathlib import Path

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
    """Scan `mix` in this process and print the CPU seconds of each stage; the last line is the whole process."""
    from kshot.store import ThreatStore
    from kshot.stream.metering import MeterOptions
    from kshot.stream.pipeline import meter, read_records, scan

    library = ThreatStore(home)
    threats = [library.load(name) for name in library.names()]
    loaded = time.process_time()
    flows = sum(frame.height for frame in meter([mix], MeterOptions()))
    metered = time.process_time()
    records = read_records([mix], MeterOptions())
    featured = time.process_time()
    result = scan(records, threats)
    judged = time.process_time()
    metering = metered - loaded
    seconds = {
        "start and imports": loaded,
        "metering": metering,
        "features": featured - metered - metering,
        "detection (fit, score, calibrate, group, explain)": judged - featured,
        "the whole process": judged - metering,  # the mix was metered once more only to split the time
    }
    print(f"{flows:,} flows, {len(threats)} threats, {result.alerts.height} alerts, calibrated: {result.calibrated}\n")
    print("| stage | CPU seconds | CPU seconds per 100,000 flows |\n|---|---|---|")
    for stage, taken in seconds.items():
        print(f"| {stage} | {taken:.2f} | {taken * 100_000 / flows:.2f} |")


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
        mix = given.mix or build_loads(home, copies=4)[0]
        command = [sys.executable, "-m", "benchmarks.verdict", "--measure", str(home), str(mix)]
        run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    sys.stdout.write(run.stdout)
    if given.output:
        given.output.write_text(run.stdout)


if __name__ == "__main__":
    main()
