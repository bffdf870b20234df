"""A laboratory that was fitted once is read back; anything that it was learned from makes it another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from kshot.detection import panel
from kshot.store import FittedStore, builtin_reference, builtin_threat
from kshot.stream import keeping, laboratory
from kshot.stream.keeping import Keeper
from kshot.stream.laboratory import Laboratory
from kshot.stream.metering import Metering
from kshot.stream.pipeline import Records, scan


@pytest.fixture(scope="module")
def flows() -> pl.DataFrame:
    return pl.concat([builtin_reference()[0][1::40], builtin_threat("dns-tunnel").shots[:10]])


def _laboratory(home: Path, *, shots: int = 10) -> Laboratory:
    threat = builtin_threat("dns-tunnel")
    store = Keeper(FittedStore(home))
    return Laboratory([replace(threat, shots=threat.shots[:shots])], builtin_reference()[0][::10], store)


def test_a_second_scan_does_not_fit_again(tmp_path: Path, flows: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(laboratory, "_TREES", 40)
    first = _laboratory(tmp_path).bench(flows.columns)
    before = first.judge(flows)
    kept = sorted(path.name for path in (tmp_path / "cache/fitted").iterdir())
    assert kept
    with monkeypatch.context() as patch:
        patch.setattr(laboratory, "Detector", None)  # fitting would fail
        second = _laboratory(tmp_path).bench(flows.columns)
        after = second.judge(flows)
        names = [str(name) for name in after.threat[-3:]]
        reasons = second.explain(flows[-3:], names)
    assert np.array_equal(before.p_value, after.p_value) and np.array_equal(before.score, after.score)
    assert before.threat.tolist() == after.threat.tolist() and before.attainable == after.attainable
    assert reasons == first.explain(flows[-3:], names)


def test_other_shots_settings_or_code_are_fitted_anew(
    tmp_path: Path, flows: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(laboratory, "_TREES", 10)

    def kept() -> int:
        return len(list((tmp_path / "cache/fitted").iterdir()))

    few = flows[-5:]
    _laboratory(tmp_path).bench(flows.columns).judge(few)
    once = kept()
    _laboratory(tmp_path).bench(flows.columns).judge(few)
    assert kept() == once
    _laboratory(tmp_path, shots=9).bench(flows.columns).judge(few)
    assert kept() == 2 * once
    _laboratory(tmp_path).bench(flows.columns, random_state=1).judge(few)
    assert kept() == 3 * once
    _laboratory(tmp_path).bench(flows.columns[:-1]).judge(few)
    assert kept() == 4 * once
    monkeypatch.setattr(keeping, "_code", lambda: "another")
    _laboratory(tmp_path).bench(flows.columns).judge(few)
    assert kept() == 5 * once


def test_a_second_scan_with_a_reference_does_not_fit_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    benign, shots = builtin_reference()[0], builtin_threat("dns-tunnel").shots
    seen = pl.concat([benign[1::80], shots[10:20]])
    records, reference = (Records("flow", frame, frame, Metering()) for frame in (seen, benign[::20]))
    threat = builtin_threat("dns-tunnel")
    home = Laboratory([replace(threat, shots=shots[:10])], benign, Keeper(FittedStore(tmp_path)))
    first = scan(records, [], reference=reference, laboratory=home)
    with monkeypatch.context() as patch:
        patch.setattr(panel, "Detector", None)  # fitting would fail
        second = scan(records, [], reference=reference, laboratory=home)
        assert second.verdicts.equals(first.verdicts)
        assert second.alerts.equals(first.alerts)
        with pytest.raises(TypeError):
            scan(records, [], reference=Records("flow", benign[::21], benign[::21], Metering()), laboratory=home)
