"""What local networks hum: leases, names and agents asked over UDP."""

from __future__ import annotations

import select
import socket
import struct
import time

from actors import Actor
from roles_odd import gone

DHCP, NETBIOS, SNMP, RPC, RADIUS = 67, 137, 161, 111, 1813
HELD = "dns"
"""The host that leases addresses and keeps accounts."""


def _ask(actor: Actor, target: tuple[str, int], payload: bytes, own_port: int = 0) -> None:
    """Send, wait for an answer, and without one send again as often as programs do."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        if own_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("0.0.0.0", own_port))
        sock.settimeout(actor.rng.choice((1.0, 2.0, 4.0)))
        for _ in range(actor.rng.choice((1, 1, 2, 4))):
            sock.sendto(payload, target)
            try:
                sock.recv(2048)
                return
            except TimeoutError:
                continue


def _steady(actor: Actor, living: tuple[str, ...], silent_share: float) -> str:
    """Whom this host asks, always the same: one that answers, or one that is no more."""
    rng = type(actor.rng)(f"{actor.plan['seed']} {actor.host} lan")
    if rng.random() >= silent_share:
        return actor.address(rng.choice(living))
    return gone(Actor(actor.plan, actor.host, rng, actor.until, actor.pace))


def renew_lease(actor: Actor) -> None:
    """A lease renewed (RFC 2131): from port 68 to the server's 67; where the server is gone, again and again."""
    rng = actor.rng
    own = socket.inet_aton(actor.address(actor.host))
    hardware = bytes.fromhex(next(h["mac"] for h in actor.plan["hosts"] if h["name"] == actor.host).replace(":", ""))
    head = struct.pack(">BBBBIHH", 1, 1, 6, 0, rng.randrange(2**32), 0, 0) + own + bytes(12) + hardware.ljust(16, b"\0")
    name = actor.host.encode()
    options = b"\x63\x82\x53\x63\x35\x01\x03\x3d\x07\x01" + hardware + b"\x0c" + bytes([len(name)]) + name
    options += b"\x37\x06\x01\x03\x06\x0f\x1c\x2a\xff"
    _ask(actor, (_steady(actor, (HELD,), 0.4), DHCP), (head + bytes(192) + options).ljust(300, b"\0"), 68)


def ask_name(actor: Actor) -> None:
    """A NetBIOS name asked of a peer (RFC 1002), who mostly knows nothing of it."""
    rng = actor.rng
    name = rng.choice(("WORKGROUP", "FILESRV", "PRINTER", "DESKTOP")).ljust(15)[:15] + "\0"
    coded = "".join(chr(0x41 + (ord(c) >> 4)) + chr(0x41 + (ord(c) & 15)) for c in name).encode()
    question = struct.pack(">HHHHHH", rng.randrange(65536), 0x0110, 1, 0, 0, 0) + b"\x20" + coded + b"\0\0\x20\0\1"
    target = gone(actor) if rng.random() < 0.6 else actor.address(rng.choice(("files", "shell", "desk1")))
    _ask(actor, (target, NETBIOS), question, NETBIOS)


def poll_agents(actor: Actor) -> None:
    """Up-time asked of network gear (SNMP, RFC 3416), of which some is switched off."""
    for host in ("files", "web", "shell", ""):
        target = actor.address(host) if host else _steady(actor, (HELD,), 1.0)
        number = struct.pack(">I", actor.rng.randrange(2**31))
        bound = bytes.fromhex("300e300c06082b060102010103000500")
        inner = b"\x02\x04" + number + b"\x02\x01\x00\x02\x01\x00" + bound
        body = b"\x02\x01\x01\x04\x06public\xa0" + bytes([len(inner)]) + inner
        _ask(actor, (target, SNMP), b"\x30" + bytes([len(body)]) + body)


def find_service(actor: Actor) -> None:
    """A portmapper asked where a service listens (RFC 1833), as before a mount."""
    program = actor.rng.choice((100003, 100005, 100021))
    call = struct.pack(">IIIIII", actor.rng.randrange(2**32), 0, 2, 100000, 2, 3) + bytes(16)
    _ask(actor, (_steady(actor, ("files",), 0.3), RPC), call + struct.pack(">IIII", program, 3, 17, 0))


def account(actor: Actor) -> None:
    """A session accounted for (RADIUS, RFC 2866)."""
    rng = actor.rng
    user = actor.user()[0].encode()
    told = b"\x28\x06\0\0\0" + bytes([rng.choice((1, 2, 3))]) + b"\x01" + bytes([len(user) + 2]) + user
    packet = struct.pack(">BBH", 4, rng.randrange(256), 20 + len(told)) + rng.randbytes(16) + told
    _ask(actor, (_steady(actor, (HELD,), 0.3), RADIUS), packet)


def answer(actor: Actor) -> None:
    """The other end of all of these."""
    sockets = {}
    for port in (DHCP, NETBIOS, SNMP, RPC, RADIUS):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("0.0.0.0", port))
        sockets[sock] = port
    while (left := actor.until - time.time()) > 0:
        for sock in select.select([*sockets], [], [], left)[0]:
            asked, sender = sock.recvfrom(2048)
            if reply := _reply(sockets[sock], asked):
                sock.sendto(reply, sender)


def _reply(port: int, asked: bytes) -> bytes:
    if port == DHCP:
        return b"\x02" + asked[1:16] + asked[12:16] + asked[20:242] + b"\x05" + asked[243:]
    if port == SNMP:
        return asked.replace(b"\xa0", b"\xa2", 1)
    if port == RPC:
        return asked[:4] + struct.pack(">IIIIII", 1, 0, 0, 0, 0, 2049)
    if port == RADIUS:
        return b"\x05" + asked[1:2] + struct.pack(">H", 20) + bytes(16)
    return b""
