"""The odd but harmless: peers that are gone, services that are off, calls, a load test."""

from __future__ import annotations

import random
import socket
import time

from actors import Actor

LOG_PORT, CALL_PORT = 514, 40_000


def gone(actor: Actor) -> str:
    """An address of the plan's that nobody has any more."""
    taken = {host["address"] for host in actor.plan["hosts"]}
    prefix = actor.plan["prefixes"][actor.rng.choice(("people", "servers", "machines"))].rsplit(".", 1)[0]
    while (address := f"{prefix}.{actor.rng.randrange(2, 254)}") in taken:
        pass
    return address


def call_gone_peer(actor: Actor) -> None:
    """A program that still looks for a printer or server which was taken away: unanswered SYNs, now and then again."""
    address, port = gone(actor), actor.rng.choice((80, 443, 445, 515, 631, 3306, 8080, 9100))
    for _ in range(actor.rng.choice((1, 1, 2, 4))):
        with socket.socket() as sock:
            sock.settimeout(actor.rng.choice((0.8, 2.5, 5.0)))
            try:
                sock.connect((address, port))
            except OSError:
                pass
        actor.wait(2)


def call_closed_port(actor: Actor) -> None:
    """A client whose service is off: refused, waits, tries again."""
    host = actor.rng.choice(("files", "shell", "web", "db", "mqtt"))
    port = actor.rng.choice((389, 636, 5671, 6379, 8009, 9200, 11211))
    for _ in range(actor.rng.choice((1, 2, 3, 8))):
        try:
            socket.create_connection((actor.address(host), port), timeout=3).close()
        except OSError:
            pass
        actor.pause(actor.rng.choice((0.2, 1.0, 1.0, 3.0)))


def ask_gone_server(actor: Actor) -> None:
    """Questions over UDP that nobody answers: an old name server, an old time server, a discovery."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        target = (gone(actor), actor.rng.choice((53, 123, 137, 161, 1900, 5060)))
        size = actor.rng.choice((40, 50, 90, 300))
        for _ in range(actor.rng.choice((1, 2, 3))):
            sock.sendto(actor.rng.randbytes(size), target)
            actor.pause(1.0)


def seek_peers(actor: Actor) -> None:
    """A camera, lock or game that seeks its peers: one socket, small datagrams to several ends, in vain."""
    rng = actor.rng
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        base, size = rng.randrange(1024, 60_000), rng.choice((4, 16, 28, 44, 80))
        hosts = [gone(actor) for _ in range(rng.choice((1, 1, 2, 5)))]
        ports = [base + rng.choice((0, 1, 2, rng.randrange(400))) for _ in range(rng.choice((1, 3, 8)))]
        for _ in range(rng.choice((1, 2, 4))):
            for target in ((host, port) for host in hosts for port in ports):
                sock.sendto(rng.randbytes(size), target)
                actor.pause(rng.choice((0.0, 0.02, 0.3)))
            actor.pause(rng.choice((0.5, 2.0, 5.0)))


def call_lost_home(actor: Actor) -> None:
    """A device whose maker's server is gone for good: the same few addresses, now and then a new connection."""
    rng = random.Random(f"{actor.plan['seed']} home {actor.host}")
    prefix = actor.plan["prefixes"]["servers"].rsplit(".", 1)[0]
    homes = [f"{prefix}.{254 - number}" for number in range(rng.choice((1, 2, 3)))]
    taken = {host["address"] for host in actor.plan["hosts"]}
    port = rng.choice((443, 1883, 5222, 8883, 32100))
    for home in homes:
        if home in taken:
            continue
        with socket.socket() as sock:
            sock.settimeout(actor.rng.choice((1.2, 3.5, 8.0)))
            try:
                sock.connect((home, port))
            except OSError:
                pass
        actor.pause(0.2)


def send_logs(actor: Actor) -> None:
    """Syslog over UDP (RFC 5426): one way, in bursts, from one socket."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _ in range(actor.rng.choice((1, 5, 40, 200))):
            line = f"<{actor.rng.randrange(190)}>1 - {actor.host} app - - - {'word ' * actor.rng.randint(5, 80)}"
            sock.sendto(line.encode(), (actor.address("monitor"), LOG_PORT))
            actor.pause(actor.rng.choice((0.0, 0.0, 0.01, 0.3)))


def _receive(actor: Actor, port: int, answer: bool) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("0.0.0.0", port))
        while (left := actor.until - time.time()) > 0:
            sock.settimeout(left)
            data, sender = sock.recvfrom(4096)
            if answer:
                sock.sendto(data[::-1], sender)


def collect_logs(actor: Actor) -> None:
    """The log server."""
    _receive(actor, LOG_PORT, answer=False)


def answer_calls(actor: Actor) -> None:
    """The other end of a call."""
    _receive(actor, CALL_PORT, answer=True)


def call(actor: Actor) -> None:
    """A call or a meeting: fifty datagrams a second each way, for a while."""
    rng: random.Random = actor.rng
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        target = (actor.address("desk1"), CALL_PORT)
        size = rng.choice((172, 172, 320, 900))
        end = min(actor.until, time.time() + rng.uniform(3, 14))
        while time.time() < end:
            sock.sendto(rng.randbytes(size + rng.randrange(9)), target)
            actor.pause(0.02)


def load_test(actor: Actor) -> None:
    """A developer tries how much the site bears: many short connections at once."""
    rng = actor.rng
    keep = ["-k"] if rng.random() < 0.3 else []
    count, at_once = str(rng.choice((40, 80, 150))), str(rng.choice((2, 5, 10)))
    url = f"http://{actor.address('web')}:{actor.port('http')}{rng.choice(('/', '/health', '/app/list'))}"
    actor.shell(["ab", "-q", *keep, "-n", count, "-c", at_once, "-s", "10", url], 20)
