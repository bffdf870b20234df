"""The live watch on a wire of its own: packets lost, flows judged, seconds to an alert; needs root.

    python -m benchmarks.live [--seconds 20] [--rate 500000] [load flood alert nfstream ...]

Nothing leaves the machine: two virtual interfaces in a namespace that is removed at the end.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import multiprocessing
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.veth import FAR, Frames, Sender, Wire, why_not

CAPTURES = Path(__file__).resolve().parents[1] / "src/kshot/content/captures"
_HEAD = b"\x02\0\0\0\0\2\x02\0\0\0\0\1\x08\0"
_CLOSE_SECONDS = 600
_RIVAL = """
import threading, time
from nfstream import NFStreamer
total = [0]
def tell():
    while True:
        time.sleep(0.5); print(total[0], flush=True)
threading.Thread(target=tell, daemon=True).start()
print("ready", flush=True)
for flow in NFStreamer(source="far", n_dissections=0, statistical_analysis=True, idle_timeout=2, active_timeout=5):
    total[0] += flow.bidirectional_packets
"""


def tcp(source: int, target: int, ports: tuple[int, int], flags: int, payload: bytes = b"") -> bytes:
    """A TCP segment in an Ethernet frame."""
    segment = struct.pack(">HHIIBBHHH", *ports, 1, 1, 0x50, flags, 1_024, 0, 0) + payload
    return _HEAD + struct.pack(">BBHHHBBHII", 0x45, 0, 20 + len(segment), 0, 0, 64, 6, 0, source, target) + segment


def conversations(flows: int, packets: int, begin: int = 0) -> list[bytes]:
    """`flows` connections of `packets` packets each, a thousand of them at a time, to fifty servers."""
    frames = []
    for first in range(begin, begin + flows, 1_000):
        columns = []
        for flow in range(first, min(first + 1_000, begin + flows)):
            ends = (0x0A000000 + flow // 40, 0x0A640000 + flow % 50)
            ports = (20_000 + flow % 40_000, 443)
            back = (ends[1], ends[0], ports[::-1])
            small, large = tcp(*ends, ports, 0x18, b"q" * 40), tcp(*back, 0x18, b"a" * (200 + flow % 700))
            middle = [small, large] * ((packets - 4) // 2)
            columns.append([tcp(*ends, ports, 2), tcp(*back, 0x12), *middle, tcp(*ends, ports, 0x11), tcp(*back, 0x11)])
        frames += [frame for row in zip(*columns, strict=True) for frame in row]
    return frames


def flood(count: int) -> NDArray[np.uint8]:
    """SYNs to one server, each from an address and a port of its own: (count, 60)."""
    rng = np.random.default_rng(5)
    frames = np.tile(np.frombuffer(tcp(0, 0x0A640001, (0, 443), 2) + bytes(6), np.uint8), (count, 1))
    frames[:, 26:30] = rng.integers(1, 255, (count, 4))
    frames[:, 34:36] = rng.integers(4, 255, (count, 2))
    return frames


def _send(pipe: Any, namespace: str, kind: str, settings: dict[str, Any]) -> None:
    """In a process and on a core of its own: make the frames, say so, wait, send, tell how many and how long."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    moments = None
    if kind == "load":
        frames = Frames(conversations(settings["rate"] // settings["packets"], settings["packets"]))
    elif kind == "flood":
        # Among the flood, connections as they are every day: a fortieth of all frames.
        octets = flood(settings["count"])
        others = conversations(len(octets) // 40 // 10, 10)
        frames = Frames(
            [
                frame
                for i, lone in enumerate(octets)
                for frame in [lone.tobytes(), *others[i // 40 : i // 40 + (i % 40 == 0)]]
            ]
        )
    else:
        frames, moments = attacks(settings["variants"])
    wire = Wire.__new__(Wire)
    wire.namespace = namespace
    sender: Sender = wire.sender()
    pipe.send(len(frames))
    pipe.recv()
    began, wall = time.monotonic(), time.time()
    until = began + settings["seconds"]
    while time.monotonic() < until:
        sender.send(frames, settings.get("rate", float("inf")), until, moments)
        if kind != "load":
            break
    pipe.send((sender.sent, time.monotonic() - began, wall))


@dataclass
class Run:
    """What a run of the watch came to."""

    sent: int
    seconds: float
    began: float
    stats: dict[str, Any]
    alerts: list[dict[str, Any]]
    cpu_seconds: float
    stop_seconds: float


@contextlib.contextmanager
def sending(wire: Wire, kind: str, settings: dict[str, Any]) -> Iterator[Any]:
    """A process that is ready to send; its end of the pipe."""
    context = multiprocessing.get_context("spawn")
    pipe, other = context.Pipe()
    child = context.Process(target=_send, args=(other, wire.namespace, kind, settings))
    child.start()
    try:
        pipe.recv()
        yield pipe
    finally:
        child.join(60)
        child.kill()


def watched(kind: str, flags: tuple[str, ...] = (), **settings: Any) -> Run:
    """Watch while `kind` is sent."""
    with Wire(9_000) as wire, tempfile.TemporaryDirectory() as name, sending(wire, kind, settings) as pipe:
        folder = Path(name)
        stats, log = folder / "stats.json", folder / "log"
        words = (sys.executable, "-m", "kshot", "watch", "--interface", FAR, "--stats", str(stats), *flags)
        environment = os.environ | {"KSHOT_HOME": name}
        with log.open("w") as err:
            watch = subprocess.Popen(wire.command(*words), stdout=subprocess.PIPE, stderr=err, env=environment)
            try:
                assert watch.stdout is not None
                if watch.stdout.readline() != b"ready\n":
                    sys.exit(log.read_text())
                before = _cpu_seconds(watch.pid)
                pipe.send("go")
                sent, seconds, began = pipe.recv()
                cpu = _cpu_seconds(watch.pid) - before
                time.sleep(settings.get("after", 1.0))
                watch.send_signal(signal.SIGINT)
                stopping = time.monotonic()
                code = watch.wait(_CLOSE_SECONDS)
            finally:
                watch.kill()
                watch.wait()
        if code:
            sys.exit(f"the watch ended with {code}: {log.read_text()[-2_000:]}")
        events = [json.loads(line) for line in log.read_text().splitlines()]
        alerts = [event for event in events if event["event"] == "alert"]
        took = time.monotonic() - stopping
        return Run(sent, seconds, began, json.loads(stats.read_text()), alerts, cpu, took)


def _cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def told(what: str, run: Run) -> None:
    """A row of the table; the accounting is checked on the way."""
    stats = run.stats
    source = stats["source"]
    assert stats["packets_read"] + stats["kernel_drops"] == source["kernel_seen"] == run.sent, (
        "the accounting is not exact"
    )
    assert stats["flows_metered"] == stats["flows_scored"] + stats["flows_shed"] == source["flows"]
    shed = stats["flows_shed"]
    print(
        f"| {what} | {run.sent / run.seconds:,.0f} | {run.sent:,} | {stats['kernel_drops']:,} | {source['flows']:,} | "
        f"{stats['flows_scored']:,} | {shed:,} | {shed - stats['flows_thinned']:,} | "
        f"{run.cpu_seconds / run.seconds:.2f} | {run.stop_seconds:.0f} | {_load()} |",
        flush=True,
    )


def _load() -> str:
    return f"{os.getloadavg()[0]:.0f}"


def attacks(variants: int) -> tuple[Frames, NDArray[np.float64]]:
    """The demonstration's capture of attacks, `variants` times over, each in networks of its own and 7 s later."""
    from kshot.sources.pcap import CaptureReader

    one = Frames.of_capture(CAPTURES / "find.pcap.xz")
    times = []
    with CaptureReader(CAPTURES / "find.pcap.xz") as reader:
        for batch in reader:
            times.append((batch.times_nanoseconds * 1e-9).copy())
    seconds = np.concatenate(times)
    seconds -= seconds[0]
    kinds = one.octets[one.starts + 12].astype(int) << 8 | one.octets[one.starts + 13]
    ip = one.starts[kinds == 0x0800]
    frames, moments = [], []
    for variant in range(variants):
        octets = one.octets.copy()
        for at in (27, 31):
            octets[ip + at] += np.uint8(variant * _SHIFT)
        frames += [octets[begin : begin + size].tobytes() for begin, size in zip(one.starts, one.sizes, strict=True)]
        moments.append(seconds + variant * _LATER_SECONDS)
    when = np.concatenate(moments)
    order = np.argsort(when, kind="stable")
    return Frames([frames[i] for i in order]), when[order]


_SHIFT, _LATER_SECONDS = 60, 7.0
"""Between two variants: of the second number of their addresses, and in time."""


def fifth_flows() -> dict[tuple[str, str | None], tuple[str, float]]:
    """Of each attack of the capture, by its parties: threat, and when its fifth flow's last packet comes."""
    import polars as pl

    from kshot.stream.metering import MeterOptions, meter

    flows = pl.concat(list(meter([CAPTURES / "find.pcap.xz"], MeterOptions())))
    begin = flows["first_time"].cast(pl.Int64).min()
    ends: dict[tuple[Any, ...], list[float]] = defaultdict(list)
    names = ("originator", "orig_port", "responder", "resp_port")
    columns = flows.select(*names, pl.col("first_time").cast(pl.Int64), pl.col("last_time").cast(pl.Int64))
    for *key, first, last in columns.iter_rows():
        ends[tuple(key)].append((first, (last - begin) * 1e-9))
    found: dict[tuple[str, str | None], list[float]] = defaultdict(list)
    threats: dict[tuple[str, str | None], str] = {}
    with (CAPTURES / "find.truth.csv").open() as file:
        for row in csv.DictReader(file):
            key = (row["originator"], int(row["orig_port"]), row["responder"], int(row["resp_port"]))
            when = int(datetime.fromisoformat(row["first_time"]).timestamp() * 1e6) * 1_000
            near = [end for first, end in ends.get(key, []) if abs(first - when) < 1_000_000]
            party = (row["originator"], None if row["threat"] == "port-scan" else row["responder"])
            found[party] += near[:1]
            threats[party] = row["threat"]
    return {party: (threats[party], sorted(times)[4]) for party, times in found.items() if len(times) >= 5}


def shifted(address: str | None, variant: int) -> str | None:
    """The address of a variant."""
    if address is None:
        return None
    octets = [int(octet) for octet in address.split(".")]
    octets[1] = (octets[1] + variant * _SHIFT) % 256
    return ".".join(map(str, octets))


def time_to_alert(variants: int) -> None:
    run = watched("alert", ("--alerts-per-hour", "100000"), variants=variants, seconds=180, after=5.0)
    waits, missed = [], []
    for (originator, responder), (threat, due) in sorted(fifth_flows().items()):
        for variant in range(variants):
            parties = {shifted(originator, variant), shifted(responder, variant)} - {None}
            first = next(
                (
                    datetime.fromisoformat(alert["time"]).timestamp()
                    for alert in run.alerts
                    if parties <= {alert["originator"], alert["responder"]}
                ),
                None,
            )
            if first is None:
                missed.append(threat)
            else:
                waits.append(first - (run.began + due + variant * _LATER_SECONDS))
                print(f"  {threat} {originator} {variant}: {waits[-1]:.2f} s", flush=True)
    told("attacks", run)
    waits.sort()
    median, late = np.percentile(waits, (50, 99))
    print(
        f"last packet of an attack's fifth flow to its alert, {len(waits)} attacks: p50 {median:.2f} s, "
        f"p99 {late:.2f} s, "
        f"most {waits[-1]:.2f} s; not alerted: {missed or 'none'}; load {_load()}"
    )


def rival(seconds: float, rate: int) -> None:
    """NFStream on the same wire and load: packets in the flows it gives."""
    try:
        import nfstream  # noqa: F401
    except ImportError:
        print("| NFStream | skipped: pip install 'kshot[bench]' |")
        return
    settings = {"rate": rate, "packets": 250, "seconds": seconds}
    with Wire(9_000) as wire, sending(wire, "load", settings) as pipe:
        command = wire.command(sys.executable, "-c", _RIVAL)
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, process_group=0)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(5.0)
        pipe.send("go")
        sent, took, _ = pipe.recv()
        time.sleep(15.0)
        os.killpg(child.pid, signal.SIGKILL)
        counted = max((int(line) for line in child.stdout.read().split()), default=0)
        child.wait()
    lost = 1 - counted / sent
    print(
        f"NFStream, the same load: {sent / took:,.0f} packets/s, {sent:,} sent, {counted:,} in flows: {lost:.0%} lost; "
        f"load {_load()}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rate", type=int, default=500_000)
    parser.add_argument("--flood", type=int, default=3_000_000, help="SYNs of the flood")
    parser.add_argument("--flood-rate", type=int, default=300_000, help="of them a second")
    parser.add_argument("--variants", type=int, default=4)
    parser.add_argument("what", nargs="*", default=["load", "flood", "alert", "nfstream"])
    asked = parser.parse_args()
    if reason := why_not():
        sys.exit(reason)
    print(
        "| what is sent | packets/s | sent | kernel drops | flows | judged | shed | of these not lone | cores | "
        "s to stop | load |\n|---|---|---|---|---|---|---|---|---|---|---|"
    )
    if "load" in asked.what:
        for packets in (1_000, 250, 50):
            run = watched("load", rate=asked.rate, packets=packets, seconds=asked.seconds)
            told(f"connections of {packets} packets", run)
    if "flood" in asked.what:
        rate = asked.flood_rate * 41 // 40
        told("SYN flood", watched("flood", count=asked.flood, seconds=asked.seconds, rate=rate))
    if "alert" in asked.what:
        time_to_alert(asked.variants)
    if "nfstream" in asked.what:
        rival(asked.seconds, asked.rate)


if __name__ == "__main__":
    main()
