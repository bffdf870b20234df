"""The page of a scan: it loads nothing, runs nothing of an input's, and says what was found."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import polars as pl
import pytest

from kshot.report import Known, render_page, report_of_scan
from kshot.stream.learning import LearnOptions, learn
from kshot.stream.pipeline import Records, ScanOptions, ScanResult, scan

EVIL = "<script>alert(1)</script>\"'><img src=http://evil.example/x onerror=alert(2)>"
ATTACKS = 12


class Page(HTMLParser):
    """What a browser would load or run, and what it would show."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def records() -> Records:
    rng = np.random.default_rng(0)
    n = 400
    attack = np.arange(n) >= n - ATTACKS
    frame = pl.DataFrame(
        {
            "src_ip": [EVIL if hit else f"10.0.0.{i % 9}" for i, hit in enumerate(attack)],
            "dst_ip": ["10.0.1.1"] * n,
            "ts": 1_700_000_000 + np.arange(n, dtype=np.float64),
            f"size {EVIL}": rng.normal(100, 10, n) + 400 * attack,
            "gap": rng.normal(5, 1, n) + 30 * attack,
            "label": np.where(attack, "bad", "good"),
        }
    )
    return Records("table", frame, frame)


@pytest.fixture(scope="module")
def scanned() -> tuple[Records, ScanResult, Known, str]:
    table = records()
    lesson = learn("exfil", [("t.csv", table)], options=LearnOptions(where="label = 'bad'", max_shots=4))
    reference = table.filter(table.frame["label"] == "good")
    result = scan(table, [lesson.threat], reference=reference, options=ScanOptions(false_alarm_rate=0.01))
    before = ScanResult(result.alerts.clear(), result.verdicts.with_columns(alarm=pl.lit(False)), "site", 0.01, [])
    bad = table.frame["label"] == "bad"
    truth = pl.select(
        threat=pl.when(bad).then(pl.lit("exfil")).otherwise(pl.lit("")),
        tool=pl.when(bad).then(pl.lit(EVIL)).otherwise(pl.lit("")),
        part=pl.when(bad).then(pl.lit("attack")).otherwise(pl.lit("")),
    )
    known = Known(truth, before, "exfil")
    report = report_of_scan(
        table, [lesson.threat], result, reference=reference, title=EVIL, lead=EVIL, made_by=EVIL, known=known
    )
    return table, result, known, render_page(report)


def test_it_loads_nothing(scanned: tuple[Records, ScanResult, Known, str]) -> None:
    page = Page(scanned[3])
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "img", "base", "form"), tag
        assert not {"src", "srcset", "background", "action", "xlink:href"} & set(attributes), attributes
        assert (attributes.get("href") or "#").startswith("#"), attributes
    style = re.search(r"<style>(.*?)</style>", scanned[3], re.S)
    assert style and "url(" not in style[1] and "@import" not in style[1]


def test_nothing_of_an_input_runs(scanned: tuple[Records, ScanResult, Known, str]) -> None:
    page = Page(scanned[3])
    assert sum(tag == "script" for tag, _ in page.elements) == 1
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert "alert(1)" in page.text, "what the traffic said is shown, as text"
    policy = next(a["content"] for t, a in page.elements if t == "meta" and "http-equiv" in a)
    assert policy is not None and "default-src 'none'" in policy
    assert "unsafe-inline" not in policy.partition("script-src")[2].partition(";")[0]


def test_the_policy_lets_our_own_script_run(scanned: tuple[Records, ScanResult, Known, str]) -> None:
    import base64
    import hashlib

    script = re.search(r"<script>(.*?)</script>\s*</body>", scanned[3], re.S)
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"'sha256-{digest}'" in scanned[3]


def test_it_says_what_was_found(scanned: tuple[Records, ScanResult, Known, str]) -> None:
    _, result, _, text = scanned
    page = Page(text)
    found = int(result.verdicts.tail(ATTACKS)["alarm"].sum())
    assert found == ATTACKS, "the case is an easy one"
    assert f"0 of {ATTACKS} flows, then {ATTACKS} of {ATTACKS}" in page.text
    for heading in (
        "When it happened",
        "Alerts",
        "What stands behind an alert",
        "The scores of all flows",
        "Against the truth",
    ):
        assert heading in page.text


def test_every_link_has_a_target_and_every_table_its_heads(scanned: tuple[Records, ScanResult, Known, str]) -> None:
    page = Page(scanned[3])
    ids = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    links = {str(a["href"]).removeprefix("#") for t, a in page.elements if t == "a"}
    assert links and links <= ids
    named = [a for t, a in page.elements if t == "svg" and a.get("aria-hidden") != "true"]
    assert named and all(a.get("role") == "img" and a.get("aria-label") for a in named)
    assert sum(t == "table" for t, _ in page.elements) == sum(t == "caption" for t, _ in page.elements)


def test_a_scan_without_alerts_or_times_has_a_page() -> None:
    table = records()
    bare = Records("table", table.frame.drop("ts"), table.features.drop("ts"))
    lesson = learn("exfil", [("t.csv", table)], options=LearnOptions(where="label = 'bad'", max_shots=4))
    quiet = bare.filter(table.frame["label"] == "good")
    result = scan(quiet, [lesson.threat], reference=quiet, options=ScanOptions(false_alarm_rate=0.003))
    none = result.verdicts.with_columns(alarm=pl.lit(False))
    calm = ScanResult(result.alerts.clear(), none, "site", 0.003, ["a note"])
    page = Page(render_page(report_of_scan(quiet, [lesson.threat], calm, reference=quiet, title="t.csv")))
    assert "Nothing alarmed." in page.text and "When it happened" not in page.text and "a note" in page.text
