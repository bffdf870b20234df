"""What ships with kshot: every threat loads, bears a page, and is of the schema in use."""

from __future__ import annotations

import pytest

from kshot.features import FEATURE_COLUMNS, columns_for_tier, fingerprint
from kshot.intel import SEVERITIES, check_attack_ids
from kshot.records.columns import Tier
from kshot.store import builtin_names, builtin_reference, builtin_threat, builtin_threats
from kshot.store.builtin import CONTENT

_MOST_BYTES = 4_000_000


def test_at_least_twelve_threats_ship() -> None:
    assert len(builtin_threats()) >= 12


@pytest.mark.parametrize("name", builtin_names())
def test_a_shipped_threat_is_whole(name: str) -> None:
    threat = builtin_threat(name)
    assert threat.fingerprint == fingerprint()
    assert tuple(threat.shots.columns) == columns_for_tier(Tier.PACKETS)
    assert dict(threat.shots.schema) == {column.name: column.dtype for column in FEATURE_COLUMNS}
    assert 5 <= threat.shots.height <= 100
    assert threat.severity in SEVERITIES
    assert threat.attack
    assert check_attack_ids(threat.attack) == threat.attack
    assert threat.description
    assert threat.references
    assert threat.source
    page = (CONTENT / "threats" / name / "README.md").read_text()
    assert page.startswith(f"# {name}\n")
    assert threat.description in page


def test_the_reference_is_of_the_schema_in_use() -> None:
    reference, of = builtin_reference()
    assert of == fingerprint()
    assert tuple(reference.columns) == columns_for_tier(Tier.PACKETS)
    assert reference.height >= 2_000


def test_the_wheel_stays_small() -> None:
    files = (path for part in ("threats", "reference") for path in (CONTENT / part).rglob("*") if path.is_file())
    assert sum(path.stat().st_size for path in files) < _MOST_BYTES
