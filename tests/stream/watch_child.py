"""A watch in its own process, to be killed.

watch_child.py EVE DATABASE BATCH [--until-idle] [--say-failures] [--again]

With --again it stays, forks a watch for each line on its standard input, and says "gone" when that one was killed: a
process forked is a process of its own, and need not import everything once more.


Its detector is made up, so that it starts at once: it alarms by what the history columns say, which a restart must
bring back exactly.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl

from kshot.sources.followed_eve import EveFile, EveThreads
from kshot.store.alerts import AlertStore
from kshot.stream.remembering import RememberingExtractor
from kshot.stream.standing import Verdicts
from kshot.stream.watching import Watch, WatchOptions


class MadeUp:
    """Judges by history alone."""

    rate, notes = 0.001, ()
    attack: ClassVar = {"busy": ("T1046",)}

    def __init__(self, columns: Sequence[str]) -> None:
        assert "orig_peers_100" in columns

    def judge(self, features: pl.DataFrame, flows: pl.DataFrame) -> Verdicts:
        score = features.select(pl.sum_horizontal("orig_peers_100", "orig_ports_100", "pair_flows")).to_series()
        scores = score.fill_null(0.0).cast(pl.Float64).to_numpy()
        threat = np.full(features.height, "busy", dtype=object)
        nan = np.full(features.height, np.nan)
        return Verdicts(threat, scores, nan, scores % 7 > 4, 0, lambda rows: [[f"score {scores[row]}"] for row in rows])


def main() -> None:
    path, database, batch = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    store = AlertStore(f"sqlite:///{database}")

    def log(event: str, **facts: Any) -> None:
        if event in ("input_damaged", "memory_lost"):
            print(event, facts, flush=True)
        if event == "store_failed" and "--say-failures" in sys.argv and not failed:
            failed.append(facts)
            print(json.dumps(facts), flush=True)

    failed: list[dict[str, Any]] = []
    options = WatchOptions(most_batch_records=batch, batch_seconds=0.02)
    watch = Watch(_source(path), store, MadeUp, log=log, options=options)
    watch.prepare()
    if "--until-idle" in sys.argv:
        threading.Thread(target=_stop_when_idle, args=(watch,), daemon=True).start()
    _warm(path)
    print("ready", flush=True)
    watch.run()
    store.close()


def _source(path: Path) -> EveFile | EveThreads:
    """What follows eve.json, or eve.*.json."""
    if "*" in path.name:
        return EveThreads(path.with_name("eve.json"), hold_seconds=0.05, settle_seconds=0.05)
    return EveFile(path, settle_seconds=0.05)


def _warm(path: Path) -> None:
    """Load the kernels before anybody's clock runs: a kill should fall into the work, not into the start."""
    source = _source(path)
    source.resume(None)
    piece = source.read()
    if piece is not None:
        features = RememberingExtractor().transform(piece.frame)
        MadeUp(features.columns).judge(features, piece.frame)
    source.close()


def _stop_when_idle(watch: Watch) -> None:
    """Done when nothing is left to read or judge for a while."""
    idle_since, records = time.monotonic(), -1
    while time.monotonic() - idle_since < 0.5:
        stats = watch.stats()
        if stats["lag_bytes"] or stats["queued"] or stats["records"] != records:
            idle_since, records = time.monotonic(), stats["records"]
        time.sleep(0.02)
    watch.stop()


def main_again() -> None:
    for _ in sys.stdin:
        pid = os.fork()
        if not pid:
            main()
            os._exit(0)
        print(pid, flush=True)
        os.waitpid(pid, 0)
        print("gone", flush=True)


if __name__ == "__main__":
    main_again() if "--again" in sys.argv else main()
