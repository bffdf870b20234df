"""The network namespaces of a run, one a host, with no way out; and processes started in them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
HOME = Path("/run/range")
"""Where a run keeps its files while it lasts: in memory, in a mount namespace of its own."""
INTRUDER = 4242
"""The group id of whatever an attacker runs on somebody else's host."""

NAMESPACES = ["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"]
"""How unshare(1) starts a run. When the run's first process ends, however it ends, the kernel ends every other in there
and drops all of its network namespaces, devices and mounts: nothing is left behind, and no route ever leads out."""
_RECORDER = """
table inet truth {{
  set intruder_tcp {{ typeof ip daddr . tcp sport . tcp dport; flags dynamic,timeout; timeout 1h; size 65535; }}
  set intruder_udp {{ typeof ip daddr . udp sport . udp dport; flags dynamic,timeout; timeout 1h; size 65535; }}
  set owner_tcp {{ typeof ip daddr . tcp sport . tcp dport; flags dynamic,timeout; timeout 1h; size 65535; }}
  set owner_udp {{ typeof ip daddr . udp sport . udp dport; flags dynamic,timeout; timeout 1h; size 65535; }}
  chain output {{
    type filter hook output priority 0;
    meta skgid {group} tcp flags & (syn | ack) == syn add @intruder_tcp {{ ip daddr . tcp sport . tcp dport }}
    meta skgid {group} meta l4proto udp add @intruder_udp {{ ip daddr . udp sport . udp dport }}
    meta skgid != {group} tcp flags & (syn | ack) == syn add @owner_tcp {{ ip daddr . tcp sport . tcp dport }}
    meta skgid != {group} meta l4proto udp add @owner_udp {{ ip daddr . udp sport . udp dport }}
  }}
}}
"""
"""Which connections the intruder's processes opened and which the owner's, by the kernel's own socket ownership; the
timeout is there to tell when each was noted."""


def prepare_mounts() -> None:
    """Memory-backed /run, and /etc, /home and /root over themselves, so that what is written there vanishes with us."""
    run = ["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"]
    subprocess.run(run, check=True)
    for folder in ("/etc", "/home", "/root"):
        upper, work = Path(f"/run/over{folder}/upper"), Path(f"/run/over{folder}/work")
        upper.mkdir(parents=True)
        work.mkdir()
        options = f"lowerdir={folder},upperdir={upper},workdir={work}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, folder], check=True)
    for folder in (HOME, HOME / "tmp", Path("/run/sshd"), Path("/run/vsftpd/empty"), Path("/run/netns")):
        folder.mkdir(parents=True, exist_ok=True)
    (HOME / "tmp").chmod(0o1777)


def _batch(commands: list[str], namespace: str | None = None) -> None:
    where = ["-n", namespace] if namespace else []
    subprocess.run(["ip", *where, "-batch", "-"], input="\n".join(commands), text=True, check=True)


class Net:
    """The namespaces of one run and every process started in them."""

    def __init__(self, plan: dict) -> None:
        self.plan = plan
        self.hosts = {host["name"]: host for host in plan["hosts"]}
        self.processes: list[subprocess.Popen] = []
        self.wire: subprocess.Popen | None = None
        self.capture: subprocess.Popen | None = None

    def build(self, plan_file: Path, report_file: Path) -> None:
        """Start the wire and move its devices into their namespaces."""
        self.wire = subprocess.Popen(
            [sys.executable, str(HERE / "wire.py"), str(plan_file), str(report_file)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        if not self.wire.stdout or self.wire.stdout.readline().strip() != "ready":
            raise SystemExit("range: the wire did not start; is /dev/net/tun there?")
        Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text("1")
        _batch(["link set span0 mtu 1600", "link set span0 txqueuelen 20000", "link set span0 up"])
        for name, host in self.hosts.items():
            _batch([f"netns add {name}", f"link set {host['tap']} netns {name}"])
            folder = Path("/etc/netns") / name
            folder.mkdir(parents=True, exist_ok=True)
            resolver = self.hosts["dns"]["address"]
            (folder / "resolv.conf").write_text(f"nameserver {resolver}\noptions timeout:2 attempts:2\n")
            self.set_up(name, host)

    def set_up(self, name: str, host: dict) -> None:
        """Address, route and TCP stack of one host."""
        allowed = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control").read_text().split()
        if host["sysctl"]["net.ipv4.tcp_congestion_control"] not in allowed:
            host["sysctl"]["net.ipv4.tcp_congestion_control"] = allowed[
                0
            ]  # cubic is kept from namespaces on some systems
        settings = {"net.ipv6.conf.all.disable_ipv6": 1, **host["sysctl"]}
        self.call(name, ["sysctl", "-q", "-w", *(f"{key}={value}" for key, value in settings.items())])
        gateway, mac = host["gateway"], host["gateway_mac"]
        _batch(
            [
                "link set lo up",
                f"link set {host['tap']} name eth0 mtu {host['mtu']} txqueuelen 2000 address {host['mac']}",
                f"addr add {host['address']}/32 dev eth0",
                "link set eth0 up",
                f"neigh add {gateway} lladdr {mac} dev eth0 nud permanent",
                f"route add default via {gateway} dev eth0 onlink initcwnd {host['initcwnd']}",
            ],
            name,
        )

    def call(self, name: str, command: list[str], **options: object) -> subprocess.CompletedProcess:
        """Run a command on a host and wait; its output goes to the run's log unless asked for."""
        return subprocess.run(["ip", "netns", "exec", name, *command], **options)  # type: ignore[call-overload]

    def spawn(self, name: str, command: list[str], log: str, group: int = 0) -> subprocess.Popen:
        """Start a process on a host, in that group; its output goes to a log of that name."""
        prefix = ["ip", "netns", "exec", name]
        if group:
            prefix += ["setpriv", f"--regid={group}", "--clear-groups"]
        home = HOME / "tmp" / f"home-{group}"
        home.mkdir(exist_ok=True)
        environment = {**os.environ, "HOME": str(home), "TERM": "dumb", "LC_ALL": "C"}
        with (HOME / "tmp" / f"{log}.log").open("ab") as out:
            process = subprocess.Popen(
                [*prefix, *command], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                cwd=home, env=environment,
            )  # fmt: skip
        self.processes.append(process)
        return process

    def record_owners(self, name: str) -> None:
        """From now on, have the kernel note on that host who opens which connection."""
        self.call(name, ["nft", "-f", "-"], input=_RECORDER.format(group=INTRUDER), text=True, check=True)

    def owners(self, name: str) -> tuple[str, float]:
        """What the kernel noted, as nft's JSON, and the Unix time of asking."""
        done = self.call(name, ["nft", "-j", "list", "table", "inet", "truth"], capture_output=True, text=True)
        return done.stdout, time.time()

    def start_capture(self, path: Path, snap_bytes: int) -> None:
        """tcpdump on the router's span port."""
        command = [
            "nice",
            "-n",
            "-15",
            "tcpdump",
            "-i",
            "span0",
            "-s",
            str(snap_bytes),
            "-B",
            "65536",
            "-w",
            str(path),
            "-Z",
            "root",
            "-U",
        ]
        self.capture = subprocess.Popen([*command, "ip"], stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 5
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.3)

    def stop_capture(self) -> str:
        """End tcpdump; returns its counts."""
        if self.capture is None:
            return ""
        time.sleep(0.5)
        self.capture.terminate()
        return " ".join((self.capture.communicate(timeout=20)[1] or "").split())

    def close(self) -> None:
        """End what was started here; the namespaces themselves go with this process."""
        for process in reversed(self.processes):
            if process.poll() is None:
                process.terminate()
        if self.wire and self.wire.stdin:
            self.wire.stdin.close()
            self.wire.wait(timeout=10)
