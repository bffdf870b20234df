"""The benign users of one host: its roles side by side, each with its own seed and pace."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hosts import HOME
from plan import address_of


@dataclass
class Actor:
    """What a role knows: the plan, its host, its own random generator, and when to stop."""

    plan: dict
    host: str
    rng: random.Random
    until: float
    pace: float
    """Waiting times are divided by it: compressed days."""

    def address(self, name: str) -> str:
        """A host's address."""
        return address_of(self.plan, name)

    def port(self, service: str) -> int:
        """A service's port in this run."""
        return int(self.plan["ports"][service])

    def user(self) -> tuple[str, str]:
        """One of the run's accounts."""
        return self.rng.choice(sorted(self.plan["users"].items()))

    def wait(self, mean_seconds: float) -> None:
        """Think for about that long."""
        self.pause(self.rng.expovariate(1 / mean_seconds) / self.pace)

    def pause(self, seconds: float) -> None:
        """Sleep so long, but not past the end."""
        time.sleep(max(0.0, min(seconds, self.until - time.time())))

    def shell(self, command: list[str], timeout_seconds: float = 60, text: str | None = None) -> int:
        """Run a program quietly; one that takes too long is ended."""
        left = max(1.0, min(timeout_seconds, self.until - time.time() + 5))
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        try:
            if text is None:
                return subprocess.run(command, timeout=left, stdin=subprocess.DEVNULL, **quiet).returncode
            return subprocess.run(command, timeout=left, input=text, text=True, **quiet).returncode
        except subprocess.TimeoutExpired:
            return 124


Role = Callable[[Actor], None]


def _roles() -> dict[str, list[tuple[Role, float]]]:
    """Which roles a host plays, and the mean seconds between two actions of each."""
    import roles_files as files
    import roles_lan as lan
    import roles_machines as machines
    import roles_odd as odd
    import roles_web as web

    desk = [
        (web.browse, 6), (web.browse, 10), (machines.look_up, 3), (files.send_mail, 20), (machines.ntp_query, 25),
        (web.post_form, 15), (web.telemetry, 11), (odd.call_gone_peer, 14), (odd.ask_gone_server, 20),
        (web.look_through, 9), (lan.renew_lease, 15), (lan.ask_name, 20),
    ]  # fmt: skip
    # fmt: off
    return {
        "desk1": [*desk, (odd.answer_calls, 1), (web.mistype_basic, 40), (web.download, 40)],
        "desk2": [*desk, (files.ftp_transfer, 30), (web.upload, 40)],
        "desk3": [*desk, (web.telemetry_tls, 7), (web.browse, 5)],
        "mobile": [
            (web.browse, 5), (web.telemetry_tls, 9), (web.post_form, 15), (web.upload, 45), (odd.call, 25),
            (web.look_through, 8), (odd.seek_peers, 20), (lan.renew_lease, 15),
        ],
        "dev": [
            (files.ssh_session, 12), (files.copy_files, 20), (machines.query_database, 8), (web.browse, 10),
            (machines.look_up, 6), (web.download, 25), (files.ssh_command, 8), (odd.load_test, 45), (odd.call, 40),
            (odd.call_closed_port, 15),
        ],
        "admin": [
            (files.ssh_command, 7), (files.ssh_mistyped, 16), (files.ftp_mistyped, 25), (files.ssh_session, 20),
            (web.mistype_basic, 25), (machines.look_up, 8), (web.browse, 14), (machines.check_ports, 25),
            (machines.modbus_write, 25), (machines.transfer_zone, 40), (machines.trace_path, 35),
        ],
        "partner": [
            (files.ftp_transfer, 14), (files.copy_files, 25), (web.browse, 12), (files.ftp_mistyped, 50),
            (web.look_through, 10),
        ],
        "backup": [(files.back_up, 18), (machines.dump_database, 30), (files.ssh_command, 30), (lan.find_service, 15)],
        "monitor": [
            (web.health, 2), (web.health_tls, 3), (machines.check_ports, 6), (machines.ping, 4),
            (machines.look_up, 5), (machines.ping_sweep, 30), (odd.collect_logs, 0.2),
            (machines.mqtt_probe, 12), (files.smtp_probe, 11), (lan.poll_agents, 12),
        ],
        "sensor1": [
            (machines.mqtt_stream, 1), (machines.ntp_query, 16), (machines.mqtt_publish, 4), (odd.seek_peers, 12),
            (lan.renew_lease, 8),
        ],
        "sensor2": [
            (machines.mqtt_publish, 3), (machines.ntp_query, 16), (web.telemetry, 5), (machines.look_up, 20),
            (odd.send_logs, 12), (odd.seek_peers, 15), (odd.call_lost_home, 8), (lan.renew_lease, 6),
        ],
        "hmi": [
            (machines.modbus_poll, 1), (machines.modbus_read, 3), (machines.mqtt_watch, 6), (machines.ntp_query, 20),
            (lan.renew_lease, 12),
        ],
        "app": [
            (machines.query_database, 2), (machines.database_session, 6), (web.telemetry_tls, 6), (machines.look_up, 4),
            (web.health, 3), (files.send_mail, 15), (odd.send_logs, 6), (odd.call_closed_port, 10),
            (web.update, 30), (machines.ntp_query, 20), (lan.account, 6), (lan.find_service, 25),
        ],
        "crawler": [(web.crawl, 12), (web.browse, 8)],
        "shell": [
            (web.update, 25), (machines.look_up, 8), (machines.ntp_query, 20), (lan.answer, 0.2), (lan.account, 10),
        ],
        "files": [(lan.answer, 0.2)],
        "web": [(lan.answer, 0.2)],
        "dns": [(lan.answer, 0.2)],
        "mail": [(machines.mail_lookups, 5)],
    }
    # fmt: on


def play(role: Role, mean_seconds: float, actor: Actor) -> None:
    """One role's day: act, think, act again. What fails, fails as it does for people: quietly."""
    actor.wait(mean_seconds)
    while time.time() < actor.until:
        try:
            role(actor)
        except (OSError, EOFError, ValueError, subprocess.SubprocessError):
            pass
        except Exception as error:  # one role's mistake must not end the others
            print(f"{actor.host} {role.__name__}: {type(error).__name__}: {error}", flush=True)
        actor.wait(mean_seconds)


def hosts_with_roles() -> list[str]:
    """The hosts that somebody uses."""
    return list(_roles())


def main() -> None:
    """actors.py PLAN HOST UNTIL PACE: play that host's roles until the Unix time UNTIL."""
    plan, host = json.loads(Path(sys.argv[1]).read_text()), sys.argv[2]
    until, pace = float(sys.argv[3]), float(sys.argv[4])
    os.chdir(HOME / "tmp")
    threads = []
    for number, (role, mean) in enumerate(_roles()[host]):
        rng = random.Random(f"{plan['seed']} {host} {number} {role.__name__}")
        lively = rng.choice((0.5, 1.0, 1.0, 2.0))
        actor = Actor(plan, host, rng, until, pace)
        threads.append(threading.Thread(target=play, args=(role, mean / lively, actor), daemon=True))
        threads[-1].start()
    time.sleep(max(0.0, until - time.time() + 1))
    os._exit(0)


if __name__ == "__main__":
    main()
