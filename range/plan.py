"""A run's plan: hosts, addresses, ports, links, TCP stacks and names, all drawn from the seed."""

from __future__ import annotations

import random

SERVERS = ("web", "cdn", "update", "files", "shell", "dns", "auth", "mqtt", "plc", "db", "mail", "ntp")
CLIENTS = (
    "desk1", "desk2", "desk3", "mobile", "dev", "admin", "partner", "backup",
    "monitor", "sensor1", "sensor2", "hmi", "app", "crawler",
)  # fmt: skip
ATTACK = ("attacker", "c2")
FAR = {"cdn", "update", "auth", "mobile", "partner", "crawler", "c2"}
"""Hosts that are always across a wide-area link."""

PORTS = {
    "http": (80, 8080, 8000, 8888, 3000),
    "https": (443, 8443, 4443, 9443),
    "ssh": (22, 2222, 2022, 22022),
    "ftp": (21, 2121, 8021),
    "mqtt": (1883, 11883, 8884),
    "modbus": (502, 5020, 1502),
    "postgres": (5432, 5433, 15432),
    "smtp": (25, 587, 2525),
}
STACKS = {
    # Defaults of well-known systems: TTL, TCP options, receive buffer (so the first window), MTU, port range, control
    "linux": (64, 1, 1, "4096 131072 6291456", 1500, "32768 60999", "cubic"),
    "linux-new": (64, 1, 1, "4096 131072 6291456", 1500, "32768 60999", "bbr"),
    "windows": (128, 0, 1, "4096 65535 6291456", 1500, "49152 65535", "cubic"),
    "dsl": (64, 1, 1, "4096 87380 6291456", 1452, "32768 60999", "cubic"),
    "embedded": (255, 0, 0, "4096 11680 32768", 1500, "1025 9999", "reno"),
    "bsd": (64, 1, 1, "4096 65535 2097152", 1500, "10000 65535", "reno"),
}
LINKS = {
    # (delay, jitter in milliseconds), loss, megabits a second: each a range to draw from
    "lan": ((0.05, 0.6), (0.01, 0.1), (0.0, 0.0), (80.0, 400.0)),
    "wifi": ((0.8, 4.0), (0.4, 2.5), (0.0, 0.002), (20.0, 80.0)),
    "metro": ((3.0, 12.0), (0.1, 1.0), (0.0, 0.0005), (20.0, 100.0)),
    "wan": ((12.0, 60.0), (0.3, 4.0), (0.0, 0.003), (8.0, 50.0)),
    "far": ((60.0, 130.0), (1.0, 10.0), (0.0, 0.006), (4.0, 20.0)),
}
OUTSIDE = ("198.18.{0}.{1}", "198.19.{0}.{1}", "203.0.113.{1}", "198.51.100.{1}")
"""Address space set aside for benchmarks and documentation (RFC 2544, 5737): nobody's, in any case."""
WORDS = (
    "alder",
    "birch",
    "cedar",
    "delta",
    "ember",
    "falcon",
    "garnet",
    "harbor",
    "iris",
    "jasper",
    "kestrel",
    "linden",
)
USERS = ("anna", "boris", "chloe", "dmitri", "elena", "farid", "greta", "hugo", "ines", "jonas", "karin", "liam")


def _mac(rng: random.Random) -> str:
    return ":".join(f"{byte:02x}" for byte in (0x02, *(rng.randrange(256) for _ in range(5))))


def _link(rng: random.Random, kind: str) -> dict:
    delay, jitter, loss, rate = (rng.uniform(*bounds) for bounds in LINKS[kind])
    return {
        "link": kind,
        "delay_seconds": round(delay / 1000, 6),
        "jitter_seconds": round(jitter / 1000, 6),
        "loss": round(loss, 5),
        "rate_bits_per_second": round(rate * 1e6),
        "hops": 0 if kind in ("lan", "wifi") else rng.randint(2, 14),
    }


def _link_kind(rng: random.Random, name: str, attacker_is: str) -> str:
    if name in FAR or (name == "attacker" and attacker_is == "outside"):
        return rng.choice(("metro", "wan", "wan", "far"))
    if name in SERVERS:
        return rng.choice(("lan", "lan", "metro"))
    return rng.choice(("lan", "lan", "wifi", "metro"))


def _inside_prefixes(rng: random.Random) -> tuple[str, str, str]:
    """Three /24 prefixes: people, servers, machines."""
    kind = rng.randrange(3)
    a, b = rng.randrange(1, 250), rng.sample(range(1, 250), 3)
    if kind == 0:
        return tuple(f"10.{a}.{third}." for third in b)  # type: ignore[return-value]
    if kind == 1:
        return tuple(f"172.{16 + a % 16}.{third}." for third in b)  # type: ignore[return-value]
    return tuple(f"192.168.{third}." for third in b)  # type: ignore[return-value]


def _outside_address(rng: random.Random, taken: set[str]) -> str:
    while True:
        address = rng.choice(OUTSIDE).format(rng.randrange(1, 255), rng.randrange(2, 254))
        if address not in taken:
            return address


def make_plan(seed: int, attacker_is: str = "inside") -> dict:
    """All that a run's start needs, as JSON-able data.

    `attacker_is`: "inside" or "outside" the plan's own prefixes.
    """
    rng = random.Random(f"plan {seed}")
    people, servers, machines = _inside_prefixes(rng)
    free = {prefix: rng.sample(range(2, 254), 252) for prefix in (people, servers, machines)}
    taken: set[str] = set()
    gateway_mac = _mac(rng)
    hosts = []
    for number, name in enumerate((*SERVERS, *CLIENTS, *ATTACK)):
        if name in FAR or (name == "attacker" and attacker_is == "outside"):
            address = _outside_address(rng, taken)
        else:
            is_machine = name in ("plc", "sensor1", "sensor2", "hmi", "mqtt")
            prefix = servers if name in SERVERS and not is_machine else machines if is_machine else people
            address = prefix + str(free[prefix].pop())
        taken.add(address)
        if name in ("plc", "sensor1", "sensor2"):
            stack = rng.choice(("embedded", "embedded", "linux"))
        elif name in SERVERS:
            stack = rng.choice(("linux", "linux-new", "bsd"))
        else:
            stack = rng.choice(("linux", "linux-new", "windows", "windows", "dsl", "bsd"))
        ttl, timestamps, scaling, rmem, mtu, ports, control = STACKS[stack]
        hosts.append(
            {
                "name": name,
                "address": address,
                "gateway": address.rsplit(".", 1)[0] + ".1",
                "mac": _mac(rng),
                "gateway_mac": gateway_mac,
                "tap": f"tap{number}",
                "stack": stack,
                "mtu": mtu,
                "initcwnd": rng.choice((4, 10, 10, 10, 16)),
                "sysctl": {
                    "net.ipv4.ip_default_ttl": ttl,
                    "net.ipv4.tcp_timestamps": timestamps,
                    "net.ipv4.tcp_window_scaling": scaling,
                    "net.ipv4.tcp_rmem": rmem,
                    "net.ipv4.ip_local_port_range": ports,
                    "net.ipv4.tcp_congestion_control": control,
                    "net.ipv4.icmp_ratelimit": rng.choice((0, 100, 1000)),
                },
                **_link(rng, _link_kind(rng, name, attacker_is)),
            }
        )
    word = rng.sample(WORDS, 4)
    domain = f"{word[0]}-{word[1]}.example"
    return {
        "seed": seed,
        "attacker_is": attacker_is,
        "hosts": hosts,
        "prefixes": {"people": people + "0/24", "servers": servers + "0/24", "machines": machines + "0/24"},
        "ports": {name: rng.choice(ports) if rng.random() < 0.5 else ports[0] for name, ports in PORTS.items()},
        "domain": domain,
        "site": f"{word[2]}-media.example",
        "tunnel_domain": f"{rng.choice('abtxz')}{rng.randrange(10, 99)}.{word[3]}-{rng.randrange(100, 999)}.example",
        "users": {name: f"{rng.choice(WORDS)}-{rng.randrange(1000, 9999)}" for name in rng.sample(USERS, 6)},
    }


def address_of(plan: dict, name: str) -> str:
    """The address of the host of that name."""
    return next(host["address"] for host in plan["hosts"] if host["name"] == name)
