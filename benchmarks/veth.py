"""A wire of our own: two virtual interfaces in a network namespace, and who sends on it; needs root.

python -m benchmarks.veth SECONDS RATE CAPTURE    (inside such a namespace: send it on "near", over and over)
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from kshot.sources.pcap import CaptureReader

NEAR, FAR = "near", "far"
"""What is sent on one end is heard on the other."""
_NUMBERS = itertools.count()
_LIBC = ctypes.CDLL(None, use_errno=True)
_BURST = 256
_QDISC_BYPASS = 20
_ENOBUFS, _EAGAIN, _EINTR = 105, 11, 4


def why_not() -> str:
    """Why no wire can be made here; empty if one can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "making network namespaces needs root on Linux"
    if shutil.which("ip") is None:
        return "making network namespaces needs ip (iproute2)"
    try:
        with Wire():
            return ""
    except (OSError, subprocess.SubprocessError) as error:
        return f"no network namespace can be made here: {error}"


class Wire:
    """A namespace with NEAR and FAR, both up, and nobody else on them: no address, no IPv6, no ARP."""

    def __init__(self, mtu: int = 65_535) -> None:
        self.namespace = f"kshot-{os.getpid()}-{next(_NUMBERS)}"
        self._mtu = mtu

    def __enter__(self) -> Wire:
        self._ip("netns", "add", self.namespace)
        try:
            for kind in ("all", "default"):
                self.run("sysctl", "-qw", f"net.ipv6.conf.{kind}.disable_ipv6=1")
            self.lay()
        except BaseException:
            self._ip("netns", "del", self.namespace)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ip("netns", "del", self.namespace)

    def lay(self) -> None:
        """Make the two interfaces."""
        ends = ("link", "add", NEAR, "mtu", str(self._mtu), "type", "veth", "peer", "name", FAR, "mtu", str(self._mtu))
        self._ip("-n", self.namespace, *ends)
        for end in (NEAR, FAR):
            self.set(end, "arp", "off", "up")

    def set(self, end: str, *words: str) -> None:
        """`ip link set`, such as up or down."""
        self._ip("-n", self.namespace, "link", "set", end, *words)

    def cut(self) -> None:
        """Remove both interfaces."""
        self._ip("-n", self.namespace, "link", "del", NEAR)

    def command(self, *words: str) -> list[str]:
        """The command that runs `words` in the namespace."""
        return ["ip", "netns", "exec", self.namespace, *words]

    def run(self, *words: str) -> None:
        """Run a command in the namespace."""
        subprocess.run(self.command(*words), check=True, capture_output=True, timeout=60)

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Sockets that this thread makes meanwhile are in the namespace."""
        own, other = (
            os.open(path, os.O_RDONLY) for path in ("/proc/thread-self/ns/net", f"/run/netns/{self.namespace}")
        )
        try:
            _enter(other)
            yield
        finally:
            _enter(own)
            os.close(own)
            os.close(other)

    def sender(self) -> Sender:
        """Who sends on NEAR."""
        with self.inside():
            return Sender(NEAR)

    @staticmethod
    def _ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True, timeout=60)


def _enter(namespace: int) -> None:
    if _LIBC.setns(namespace, 0):
        raise OSError(ctypes.get_errno(), "setns")


class Frames:
    """Frames in one piece of memory, ready to be sent."""

    def __init__(self, frames: Sequence[bytes]) -> None:
        self.octets = np.frombuffer(b"".join(frames), np.uint8)
        self.sizes = np.array([len(frame) for frame in frames], np.int64)
        self._point()

    @classmethod
    def of_array(cls, octets: NDArray[np.uint8]) -> Frames:
        """(n, size) frames of one size."""
        return cls._of(octets.reshape(-1), np.full(len(octets), octets.shape[1], np.int64))

    @classmethod
    def _of(cls, octets: NDArray[np.uint8], sizes: NDArray[np.int64]) -> Frames:
        self = cls.__new__(cls)
        self.octets, self.sizes = octets, sizes
        self._point()
        return self

    @classmethod
    def of_capture(cls, path: Path, most: int | None = None) -> Frames:
        """The first `most` frames of a capture."""
        pieces, sizes = [], []
        with CaptureReader(path) as reader:
            for batch in reader:
                ends = batch.offsets + batch.captured_bytes
                at = np.repeat(ends - np.cumsum(batch.captured_bytes), batch.captured_bytes)
                pieces.append(batch.buffer[at + np.arange(len(at))])
                sizes.append(batch.captured_bytes.astype(np.int64))
                if most is not None and sum(map(len, sizes)) >= most:
                    break
        return cls._of(np.concatenate(pieces), np.concatenate(sizes)[:most])

    def __len__(self) -> int:
        return len(self.sizes)

    def _point(self) -> None:
        """Lay out struct iovec and struct mmsghdr of every frame, as eight 64-bit words each."""
        self.starts = np.cumsum(self.sizes) - self.sizes
        self._vectors = np.stack([self.starts + self.octets.ctypes.data, self.sizes], axis=1)
        self.headers: NDArray[np.int64] = np.zeros((len(self), 8), np.int64)
        self.headers[:, 2] = self._vectors.ctypes.data + 16 * np.arange(len(self))
        self.headers[:, 3] = 1


class Sender:
    """Sends frames on an interface, at a rate or as fast as it can."""

    def __init__(self, interface: str) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setsockopt(263, _QDISC_BYPASS, 1)
        self._socket.bind((interface, 0))
        self.sent = 0

    def send(
        self,
        frames: Frames,
        rate: float = float("inf"),
        until: float = float("inf"),
        moments: NDArray[np.float64] | None = None,
    ) -> int:
        """Send all `frames` once, `rate` a second, but none after `until` (monotonic); returns how many.

        moments: or each so many seconds after the first.
        """
        began, done = time.monotonic(), 0
        while done < len(frames):
            now = time.monotonic()
            if now >= until:
                break
            if moments is not None:
                due = int(np.searchsorted(moments, now - began, side="right"))
            else:
                due = len(frames) if rate == float("inf") else min(len(frames), int((now - began) * rate) + 1)
            if due <= done:
                time.sleep(0.0005)
                continue
            count = min(_BURST, due - done)
            at = frames.headers.ctypes.data + 64 * done
            sent = _LIBC.sendmmsg(self._socket.fileno(), ctypes.c_void_p(at), count, 0)
            if sent < 0:
                number = ctypes.get_errno()
                if number not in (_ENOBUFS, _EAGAIN, _EINTR):
                    raise OSError(number, os.strerror(number))
                continue
            done += sent
        self.sent += done
        return done

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()
