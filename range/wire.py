"""The wire: a user-space router with delay, jitter, loss and rate, and a span port to capture.

Every host of the range is one TAP device whose other end lies in that host's network namespace. This process owns all
TAP file descriptors, routes IPv4 between them by address and writes each frame, as the router sees it, to a span
device that tcpdump listens on. It knows by which TAP a frame came in: a source address that is not its own namespace's
is a forged one, and is written down with the namespace that sent it. That, and not a guess, is the ground truth.

netem would do for the links, but is missing from many kernels (containers, small VMs); TAPs also give true packets:
no segmentation offload, checksums computed.
"""

from __future__ import annotations

import fcntl
import heapq
import json
import os
import random
import select
import struct
import sys
import time
from pathlib import Path

TUNSETIFF = 0x400454CA
IFF_TAP = 0x0002
IFF_NO_PI = 0x1000
READ_AT_ONCE = 64
QUEUE_SECONDS = 0.4
"""How much a link's queue may hold before it drops its tail."""


def open_tap(name: str) -> int:
    """Make a TAP device in the current namespace and return its file descriptor."""
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    return fd


class Link:
    """One host's line to the router."""

    def __init__(self, fd: int, host: dict) -> None:
        self.fd = fd
        self.name = host["name"]
        self.address = bytes(int(part) for part in host["address"].split("."))
        self.mac = bytes.fromhex(host["mac"].replace(":", ""))
        self.gateway_mac = bytes.fromhex(host["gateway_mac"].replace(":", ""))
        self.delay = host["delay_seconds"]
        self.jitter = host["jitter_seconds"]
        self.loss = host["loss"]
        self.rate = host["rate_bits_per_second"]
        self.hops = host["hops"]
        self.free = [0.0, 0.0]
        """When the line is free again: up, down."""
        self.last_due = [0.0, 0.0]

    def due(self, direction: int, now: float, size: int, rng: random.Random) -> float:
        """When a frame given to this line now comes out of it; 0 if it is lost."""
        start = max(now, self.free[direction])
        if start - now > QUEUE_SECONDS or (self.loss and rng.random() < self.loss):
            return 0.0
        self.free[direction] = start + size * 8 / self.rate
        due = self.free[direction] + self.delay + (rng.expovariate(1 / self.jitter) if self.jitter else 0.0)
        due = max(due, self.last_due[direction])  # lines delay, they do not reorder
        self.last_due[direction] = due
        return due


def lower_ttl(frame: bytearray, hops: int) -> bool:
    """Take `hops` off the TTL and mend the header checksum (RFC 1624); False when it dies on the way."""
    ttl = frame[22]
    if ttl <= hops:
        return False
    frame[22] = ttl - hops
    total = (frame[24] << 8 | frame[25]) + (hops << 8)
    total = (total & 0xFFFF) + (total >> 16)
    frame[24], frame[25] = total >> 8, total & 0xFF
    return True


class Wire:
    """All links, and what is on its way."""

    def __init__(self, hosts: list[dict], span: int, seed: int) -> None:
        self.span = span
        self.rng = random.Random(seed)
        self.links = [Link(open_tap(host["tap"]), host) for host in hosts]
        self.by_address = {link.address: link for link in self.links}
        self.by_fd = {link.fd: link for link in self.links}
        self.on_its_way: list[tuple[float, int, int, Link, bytearray]] = []
        self.sequence = 0
        self.forged: dict[tuple[bytes, str], list[float]] = {}
        self.counts = {"frames": 0, "lost": 0, "unrouted": 0, "span_full": 0}

    def push(self, direction: int, now: float, link: Link, frame: bytearray) -> None:
        """Put a frame on a link: direction 0 up to the router, 1 down to the host."""
        due = link.due(direction, now, len(frame), self.rng)
        if not due:
            self.counts["lost"] += 1
            return
        self.sequence += 1
        heapq.heappush(self.on_its_way, (due, self.sequence, direction, link, frame))

    def take_in(self, link: Link, now: float) -> None:
        """Read what a host has sent."""
        for _ in range(READ_AT_ONCE):
            try:
                frame = bytearray(os.read(link.fd, 2048))
            except OSError:
                return
            kind = frame[12:14]
            if kind == b"\x08\x00" and len(frame) >= 34:
                self.push(0, now, link, frame)
            elif kind == b"\x08\x06" and frame[20:22] == b"\x00\x01":
                self.answer_arp(link, frame)

    def answer_arp(self, link: Link, frame: bytearray) -> None:
        """Some tools ask for the gateway's MAC by themselves."""
        wanted, asker = bytes(frame[38:42]), bytes(frame[28:32])
        if wanted == link.address:
            return
        head = link.mac + link.gateway_mac + b"\x08\x06\x00\x01\x08\x00\x06\x04\x00\x02"
        self.send(link.fd, head + link.gateway_mac + wanted + link.mac + asker)

    def route(self, link: Link, now: float, frame: bytearray) -> None:
        """A frame has come to the router: show it to the span port and send it on."""
        if not lower_ttl(frame, link.hops):
            return
        source = bytes(frame[26:30])
        if source != link.address:
            times = self.forged.setdefault((source, link.name), [time.time(), 0.0])
            times[1] = time.time()
        self.counts["frames"] += 1
        if not self.send(self.span, frame):
            self.counts["span_full"] += 1
        target = self.by_address.get(bytes(frame[30:34]))
        if target is None:
            self.counts["unrouted"] += 1
            return
        frame[0:6], frame[6:12] = target.mac, target.gateway_mac
        self.push(1, now, target, frame)

    def send(self, fd: int, frame: bytes | bytearray) -> bool:
        """Write one frame; False when the device's queue is full or it is down."""
        try:
            os.write(fd, frame)
        except OSError:
            return False
        return True

    def deliver(self, now: float) -> None:
        """Whatever is due."""
        while self.on_its_way and self.on_its_way[0][0] <= now:
            _, _, direction, link, frame = heapq.heappop(self.on_its_way)
            if direction == 0:
                self.route(link, now, frame)
            else:
                self.send(link.fd, frame)

    def run(self, control: int) -> None:
        """Carry frames until the control pipe is closed."""
        poll = select.epoll()
        for fd in (*self.by_fd, control):
            poll.register(fd, select.EPOLLIN)
        while True:
            timeout = 0.5
            if self.on_its_way:
                timeout = min(max(self.on_its_way[0][0] - time.monotonic(), 0.0), timeout)
            for fd, _ in poll.poll(timeout):
                if fd == control:
                    return
                self.take_in(self.by_fd[fd], time.monotonic())
            self.deliver(time.monotonic())


def main() -> None:
    """wire.py PLAN REPORT: make the devices, say "ready", carry frames until stdin is closed, write the report."""
    plan = json.loads(Path(sys.argv[1]).read_text())
    os.nice(-15)  # a busy machine must not show up as delays on the lines
    span = open_tap("span0")
    wire = Wire(plan["hosts"], span, plan["seed"])
    print("ready", flush=True)
    wire.run(0)
    forged = [
        {"address": ".".join(map(str, source)), "host": host, "start": times[0], "end": times[1]}
        for (source, host), times in wire.forged.items()
    ]
    Path(sys.argv[2]).write_text(json.dumps({"counts": wire.counts, "forged": forged}))


if __name__ == "__main__":
    main()
