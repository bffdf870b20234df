"""What machines do by themselves: names, time, telemetry, polling, queries, pings and port checks."""

from __future__ import annotations

import random
import socket
import struct
import subprocess
import time

from actors import Actor
from hosts import HOME
from roles_web import read_names, tcp_touch

TYPES = {"A": 1, "NS": 2, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "HTTPS": 65}


def _question(rng: random.Random, name: str, kind: str) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label)
    edns = rng.random() < 0.5
    tail = b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00" if edns else b""
    head = struct.pack(">HHHHHH", rng.randrange(65536), 0x0100, 1, 0, 0, int(edns))
    return head + labels + b"\x00" + struct.pack(">HH", TYPES[kind], 1) + tail


def ask(actor: Actor, name: str, kind: str, server: str = "dns") -> None:
    """One DNS question over UDP (RFC 1035), the answer waited for."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(2)
        sock.sendto(_question(actor.rng, name, kind), (actor.address(server), 53))
        sock.recv(4096)


def _some_name(actor: Actor) -> tuple[str, str]:
    rng, plan = actor.rng, actor.plan
    kind = rng.random()
    if kind < 0.5:
        return rng.choice(read_names()), rng.choice(("A", "A", "AAAA", "HTTPS"))
    if kind < 0.62:
        reverse = ".".join(reversed(rng.choice(plan["hosts"])["address"].split(".")))
        return f"{reverse}.in-addr.arpa", "PTR"
    if kind < 0.75:
        token = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(7, 15)))
        return rng.choice(
            (f"{token}.{plan['domain']}", token + ".example", f"{token}.{rng.randrange(99)}.{plan['site']}")
        ), "A"
    if kind < 0.9:
        return rng.choice((plan["domain"], f"s1._domainkey.{plan['domain']}")), rng.choice(("TXT", "MX", "NS"))
    return f"_ldap._tcp.{plan['domain']}", "SRV"


def look_up(actor: Actor) -> None:
    """A burst of names, as a page or a program asks for them; a socket each, or one for a pair."""
    for _ in range(actor.rng.choice((1, 2, 2, 4, 8))):
        name, kind = _some_name(actor)
        ask(actor, name, kind)
        if kind == "A" and actor.rng.random() < 0.4:
            ask(actor, name, "AAAA")
        actor.wait(0.3)


def mail_lookups(actor: Actor) -> None:
    """What a mail server asks about each sender: PTR, MX, SPF, DKIM, block lists."""
    rng = actor.rng
    reverse = ".".join(str(rng.randrange(1, 255)) for _ in range(4))
    wanted = [(f"{reverse}.in-addr.arpa", "PTR"), (actor.plan["site"], "MX"), (actor.plan["domain"], "TXT")]
    wanted += [(f"{reverse}.zen.blocklist.example", "A"), (f"s1._domainkey.{actor.plan['domain']}", "TXT")]
    for name, kind in wanted[: rng.randint(1, 5)]:
        ask(actor, name, kind)


def transfer_zone(actor: Actor) -> None:
    """dig over UDP and TCP, as an administrator does by hand."""
    name = actor.rng.choice(read_names())
    command = ["dig", f"@{actor.address('dns')}", name, actor.rng.choice(("A", "ANY", "TXT")), "+tries=1"]
    actor.shell([*command, *actor.rng.choice(([], ["+tcp"]))], 8)


def ntp_query(actor: Actor) -> None:
    """One question for the time (RFC 5905), or four in a row at start-up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(2)
        if actor.rng.random() < 0.3:
            try:
                sock.bind(("0.0.0.0", 123))
            except OSError:
                pass
        for _ in range(actor.rng.choice((1, 1, 4))):
            stamp = struct.pack(">II", int(time.time()) + 2_208_988_800, actor.rng.randrange(2**32))
            sock.sendto(bytes([actor.rng.choice((0x23, 0xE3, 0x1B))]) + bytes(39) + stamp, (actor.address("ntp"), 123))
            sock.recv(128)
            actor.pause(actor.rng.choice((0.5, 2.0)))


def _mqtt(actor: Actor, program: str) -> list[str]:
    user, password = actor.user()
    return [
        program, "-h", actor.address("mqtt"), "-p", str(actor.port("mqtt")), "-u", user, "-P", password,
        "-i", f"{actor.host}-{actor.rng.randrange(10**5)}", "-q", str(actor.rng.choice((0, 0, 1, 2))),
    ]  # fmt: skip


def mqtt_publish(actor: Actor) -> None:
    """Connect, one reading, leave."""
    reading = f'{{"value": {actor.rng.gauss(20, 5):.3f}, "unit": "C", "id": "{actor.host}"}}'
    actor.shell([*_mqtt(actor, "mosquitto_pub"), "-t", f"plant/{actor.host}/temperature", "-m", reading], 10)


def mqtt_stream(actor: Actor) -> None:
    """A sensor that stays connected and tells its reading every second or so."""
    command = [*_mqtt(actor, "mosquitto_pub"), "-t", f"plant/{actor.host}/level", "-k", "10", "-l"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, bufsize=1)
    assert process.stdin is not None
    end = min(actor.until - 2, time.time() + actor.rng.uniform(15, 60))
    beat = actor.rng.uniform(0.3, 2.0)
    try:
        while time.time() < end and process.poll() is None:
            process.stdin.write(f"{actor.rng.gauss(50, 9):.2f}\n")
            actor.pause(beat)
        process.stdin.close()
        process.wait(5)
    finally:
        process.kill()
        process.wait()


def mqtt_watch(actor: Actor) -> None:
    """A dashboard that follows one topic for a while."""
    seconds = str(int(actor.rng.uniform(5, 40)))
    actor.shell([*_mqtt(actor, "mosquitto_sub"), "-t", "plant/sensor1/level", "-W", seconds], 45)


def mqtt_probe(actor: Actor) -> None:
    """Monitoring: does the broker take a connection."""
    tcp_touch(actor.address("mqtt"), actor.port("mqtt"))


def modbus_frame(number: int, unit: int, function: int, data: bytes) -> bytes:
    """One request (Modbus over TCP: transaction, protocol 0, length, unit, function, data)."""
    return struct.pack(">HHHBB", number & 0xFFFF, 0, len(data) + 2, unit, function) + data


def _modbus(actor: Actor, seconds: float, beat: float) -> None:
    rng = actor.rng
    with socket.create_connection((actor.address("plc"), actor.port("modbus")), timeout=5) as sock:
        end, number = min(actor.until, time.time() + seconds), rng.randrange(1000)
        while True:
            function = rng.choice((3, 3, 4, 1, 2))
            question = struct.pack(">HH", rng.choice((0, 10, 100, 200)), rng.choice((2, 8, 10, 40)))
            sock.sendall(modbus_frame(number, rng.choice((1, 1, 2)), function, question))
            sock.recv(512)
            number += 1
            if time.time() + beat > end:
                return
            actor.pause(beat * rng.uniform(0.9, 1.1))


def modbus_poll(actor: Actor) -> None:
    """An operator's panel that polls over one long connection."""
    _modbus(actor, actor.rng.uniform(20, 80), actor.rng.choice((0.25, 0.5, 1.0)))


def modbus_read(actor: Actor) -> None:
    """A logger that connects, reads a few values and leaves."""
    _modbus(actor, actor.rng.choice((0.0, 0.5, 2.0)), 0.2)


def modbus_write(actor: Actor) -> None:
    """A set point changed by hand: look, write one register, look again."""
    with socket.create_connection((actor.address("plc"), actor.port("modbus")), timeout=5) as sock:
        place = actor.rng.randrange(100)
        steps = ((3, struct.pack(">HH", place, 1)), (6, struct.pack(">HH", place, actor.rng.randrange(900))))
        for number, (function, data) in enumerate((*steps, steps[0])):
            sock.sendall(modbus_frame(number, 1, function, data))
            sock.recv(512)
            actor.wait(2)


def _psql(actor: Actor) -> list[str]:
    return ["psql", "-h", actor.address("db"), "-p", str(actor.port("postgres")), "-U", "postgres", "-qAt"]


def query_database(actor: Actor) -> None:
    """One query in one connection: a few bytes back, or many."""
    rng = actor.rng
    start = rng.randrange(19000)
    end = start + rng.randrange(1000)
    one, some = (
        f"select * from readings where id = {start}",
        f"select * from readings where id between {start} and {end}",
    )
    query = rng.choice((one, "select count(*) from readings", some))
    actor.shell([*_psql(actor), "-c", query], 15)


def database_session(actor: Actor) -> None:
    """An application's connection: queries and updates for a while."""
    process = subprocess.Popen(_psql(actor), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, bufsize=1)
    assert process.stdin is not None
    end = min(actor.until - 2, time.time() + actor.rng.uniform(3, 25))
    try:
        while time.time() < end and process.poll() is None:
            row = actor.rng.randrange(20000)
            process.stdin.write(f"select value from readings where id = {row};\n")
            if actor.rng.random() < 0.3:
                process.stdin.write(f"update readings set value = random() where id = {row};\n")
            actor.wait(0.4)
        process.stdin.close()
        process.wait(5)
    finally:
        process.kill()
        process.wait()


def dump_database(actor: Actor) -> None:
    """The nightly dump, over the network."""
    command = ["pg_dump", "-h", actor.address("db"), "-p", str(actor.port("postgres")), "-U", "postgres"]
    actor.shell([*command, "-f", str(HOME / "tmp" / "dump.sql"), "postgres"], 40)


def ping(actor: Actor) -> None:
    """Is it there: a few echoes."""
    rng = actor.rng
    target = actor.address(rng.choice(("web", "files", "shell", "db", "mqtt", "plc", "cdn", "dns")))
    size = str(rng.choice((56, 56, 32, 1000)))
    actor.shell(["ping", "-n", "-c", str(rng.choice((1, 3, 4))), "-i", "0.5", "-s", size, "-W", "2", target], 10)


def ping_sweep(actor: Actor) -> None:
    """Monitoring's inventory: one echo to each host it knows, and to some that have been switched off."""
    known = [host["address"] for host in actor.plan["hosts"] if host["name"] not in ("attacker", "c2")]
    gone = [address.rsplit(".", 1)[0] + ".253" for address in actor.rng.sample(known, 2)]
    actor.shell(["fping", "-q", "-c", "1", "-t", "800", *actor.rng.sample(known, 12), *gone], 20)


def check_ports(actor: Actor) -> None:
    """Monitoring: connect to each service it watches and hang up; one of them is off at times."""
    services = {"http": "web", "ssh": "shell", "ftp": "files", "mqtt": "mqtt", "postgres": "db", "smtp": "mail"}
    for service in actor.rng.sample(sorted(services), actor.rng.randint(1, 5)):
        tcp_touch(actor.address(services[service]), actor.port(service))
        actor.pause(0.1)
    if actor.rng.random() < 0.3:
        tcp_touch(actor.address("files"), actor.rng.choice((389, 445, 3306)))


def trace_path(actor: Actor) -> None:
    """An administrator asks a closed UDP port, and gets the ICMP that says so."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(1)
        sock.connect((actor.address(actor.rng.choice(("files", "shell", "web"))), 33434 + actor.rng.randrange(20)))
        sock.send(bytes(32))
        sock.recv(64)
