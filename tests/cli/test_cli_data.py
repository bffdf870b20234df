"""`kshot data`: import, list and check; the manual's example; every mistake one line and exit 2."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from cli_runs import Run, one_line

MANUAL = Path(__file__).resolve().parents[2] / "docs/datasets.md"


def example_map() -> str:
    """The map that the manual shows."""
    found = re.search(r"```toml\n(.*?)```", MANUAL.read_text(), re.DOTALL)
    assert found is not None
    return found.group(1)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with the manual's map and a table that fits it."""
    n = 300
    verdict = [("ok", "ok-later", "stuffing", "unclear")[i % 4] for i in range(n)]
    frame = pl.DataFrame(
        {
            "user_id": range(n),
            "source_ip": [f"192.0.2.{i % 9}" for i in range(n)],
            "when": [f"2026-03-{1 + i // 24:02d} {i % 24:02d}:00" for i in range(n)],
            "session": [f"s{i // 6}" for i in range(n)],
            "tries": [i % 7 + (30 if verdict[i] == "stuffing" else 0) for i in range(n)],
            "seconds": [(i * 37) % 101 / 10 for i in range(n)],
            "verdict": verdict,
        }
    )
    frame.write_csv(tmp_path / "logins.csv")
    (tmp_path / "shop-logins.toml").write_text(example_map())
    return tmp_path


def test_the_manuals_ten_lines_import_a_table(run: Run, shop: Path) -> None:
    assert len(example_map().strip().splitlines()) == 10
    ran = run("data", "import", "--map", shop / "shop-logins.toml")
    assert ran.code == 0 and ran.out == ""
    told = one_line(ran.err)
    assert re.match(
        r"shop-logins: \d+ of 300 rows kept \(\d+ duplicates and 75 of other labels out\): \d+ benign, 1 family", told
    )
    listed = run("data", "list", "-o", "jsonl")
    rows = {row["name"]: row for row in map(json.loads, listed.out.splitlines())}
    assert len(rows) == 29 and rows["shop-logins"]["imported"] and not rows["net_sdn_ddos"]["imported"]
    assert rows["shop-logins"]["families"] == 1
    checked = run("data", "check", "shop-logins")
    assert checked.code == 0
    assert "leak  column tries alone tells all attacks from benign rows with AUROC 1.000" in checked.out
    assert "50 groups, each whole on one side" in checked.out


def test_the_manuals_python_runs(run: Run, shop: Path) -> None:
    found = re.search(r"```python\n(.*?)```", MANUAL.read_text(), re.DOTALL)
    assert found is not None
    n = 2400
    verdict = ["stuffing" if i % 8 == 0 else "ok" for i in range(n)]
    frame = pl.DataFrame({"user_id": range(n), "source_ip": ["192.0.2.1"] * n, "when": range(n), "verdict": verdict})
    frame = frame.with_columns(session=pl.int_range(n) // 4, tries=pl.int_range(n) % 89, seconds=pl.int_range(n) % 97)
    frame.write_csv(shop / "logins.csv")
    assert run("data", "import", "--map", shop / "shop-logins.toml").code == 0
    names: dict[str, Any] = {}
    exec(found.group(1), names)
    assert names["episode"].family in ("credential-stuffing", "pseudo-threat")


def test_the_list_is_a_table_for_people(run: Run) -> None:
    ran = run("data", "list")
    assert ran.code == 0 and len(ran.out.splitlines()) == 29
    assert re.search(r"net_unsw_nb15_82k +network +unsw .*0\.730 ct_srv_dst", ran.out)


def test_quiet_says_nothing(run: Run, shop: Path) -> None:
    ran = run("data", "import", "--map", shop / "shop-logins.toml", "-q")
    assert (ran.code, ran.out, ran.err) == (0, "", "")


def test_the_file_may_lie_elsewhere(run: Run, shop: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("elsewhere")
    (shop / "logins.csv").rename(folder / "logins.csv")
    assert "no such file" in one_line(run("data", "import", "--map", shop / "shop-logins.toml").err)
    assert run("data", "import", "--map", shop / "shop-logins.toml", "--from", folder).code == 0
    ran = run("data", "import", "--map", shop / "shop-logins.toml", "--from", folder / "logins.csv", "--replace")
    assert ran.code == 0


def test_nothing_imported_is_told(run: Run) -> None:
    ran = run("data", "check")
    assert ran.code == 0 and "no data set is imported" in one_line(ran.err)


def test_damage_is_an_error_and_the_others_are_still_checked(run: Run, shop: Path, home: Path) -> None:
    assert run("data", "import", "--map", shop / "shop-logins.toml").code == 0
    (shop / "shop-logins.toml").write_text(example_map().replace('"shop-logins"', '"a-second"'))
    assert run("data", "import", "--map", shop / "shop-logins.toml").code == 0
    (home / "datasets/a-second/manifest.toml").write_text("format = 1\n")
    ran = run("data", "check")
    assert ran.code == 2 and "a-second/manifest.toml: is damaged" in one_line(ran.err) and "shop-logins" in ran.out
    ran = run("data", "list")
    assert ran.code == 2 and "shop-logins" in ran.out and "a-second/manifest.toml: is damaged" in one_line(ran.err)


def change(shop: Path, old: str, new: str) -> None:
    path = shop / "shop-logins.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'label = "verdict"',
            'label = "verdikt"',
            "has no column 'verdikt', named as label; did you mean",
        ),
        ('label = "verdict"', "", "tells no label"),
        ('"ok", "ok-*"', '"fine"', "no row of column 'verdict' is fine; it holds ok, ok-later"),
        ('"user_id", "source_ip"', '"user"', "has no column 'user', named as drop; did you mean user_id"),
        ('file = "logins.csv"', "", "tells no file; add file = ... or give --from PATH"),
        ('name = "shop-logins"', 'name = "shop logins"', "cannot name a data set"),
        ('file = "logins.csv"', f'file = "logins.csv"\nsha256 = "{"ab" * 32}"', "is not the file that the map"),
        ("families.stuffing", "familie.stuffing", "is no key of a map; did you mean families"),
        ('"user_id", "source_ip"', '"user_id", "source_ip", "tries", "seconds"', "no feature column is left"),
    ],
)
def test_mistakes_in_a_map_are_one_line(run: Run, shop: Path, home: Path, old: str, new: str, message: str) -> None:
    change(shop, old, new)
    ran = run("data", "import", "--map", shop / "shop-logins.toml")
    assert ran.code == 2 and message in one_line(ran.err)
    assert not (home / "datasets").exists(), "nothing is left of an import that failed"


def test_mistakes_in_what_is_asked_are_one_line(run: Run, shop: Path) -> None:
    table = shop / "logins.csv"
    for arguments, message in (
        (("import",), "nothing is downloaded; give --from"),
        (("import", "net_sdn_dos", "--from", table), "no data set named net_sdn_dos; did you mean net_sdn_ddos"),
        (("import", "net_sdn_ddos", "--from", shop), "holds no file net_sdn_ddos.parquet"),
        (("import", "net_sdn_ddos", "--from", table), "is not the file that the map of net_sdn_ddos was made for"),
        (("import", "net_sdn_ddos", "--from", table, "--unverified"), "has no column 'label'"),
        (("import", "net_sdn_ddos", "web_xss", "--from", table), "2 data sets cannot come from one file"),
        (("import", "--from", table), "is no folder; name the data set, or give --map"),
        (("import", "--from", shop), "holds no file of a known data set"),
        (("import", "x", "--map", shop / "shop-logins.toml"), "the map names its data set itself; leave out x"),
        (("import", "--map", shop / "none.toml"), "no such file"),
        (("import", "--map", table), "is not TOML"),
        (("check", "net_sdn_ddos"), "data set net_sdn_ddos is not imported; do: kshot data import"),
        (("check", "nothing-like-it"), "there is no data set named nothing-like-it"),
    ):
        ran = run("data", *arguments)
        assert ran.code == 2 and message in one_line(ran.err), arguments


def test_an_imported_set_is_not_overwritten_by_mistake(run: Run, shop: Path) -> None:
    assert run("data", "import", "--map", shop / "shop-logins.toml").code == 0
    ran = run("data", "import", "--map", shop / "shop-logins.toml")
    assert ran.code == 2 and "imported already; give --replace" in one_line(ran.err)


@pytest.mark.shared
def test_a_folder_is_imported_once(run: Run, tmp_path: Path) -> None:
    source = Path(__file__).resolve().parents[2] / "../shared/data/tables"
    if not source.exists():
        pytest.skip("needs shared/data beside the checkout")
    for name in ("malware_clamp_raw", "net_concap_nfstream"):
        (tmp_path / f"{name}.parquet").write_bytes((source / f"{name}.parquet").read_bytes())
    first, second = run("data", "import", "--from", tmp_path), run("data", "import", "--from", tmp_path)
    assert first.code == second.code == 0
    assert [line.split(":")[1].strip() for line in first.err.splitlines()] == [
        "malware_clamp_raw",
        "net_concap_nfstream",
    ]
    assert second.err.count("imported already") == 2
    assert run("data", "import", "--from", tmp_path, "--replace").err == first.err


def test_a_set_is_removed_and_its_file_stays(run: Run, shop: Path, home: Path) -> None:
    assert run("data", "import", "--map", shop / "shop-logins.toml", "--quiet").code == 0
    ran = run("data", "remove", "shop-logins")
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert [path.name for path in (home / "datasets").iterdir()] == [".lock"]
    assert (shop / "logins.csv").exists()
    assert "shop-logins" not in run("data", "list", "-o", "jsonl").out
    assert run("data", "import", "--map", shop / "shop-logins.toml", "--quiet").code == 0


def test_a_damaged_set_is_removed_too_and_a_strange_name_does_not_stop_the_rest(
    run: Run, shop: Path, home: Path
) -> None:
    assert run("data", "import", "--map", shop / "shop-logins.toml", "--quiet").code == 0
    (home / "datasets/shop-logins/manifest.toml").write_text("torn")
    ran = run("data", "remove", "shop-login", "shop-logins")
    assert ran.code == 2
    assert one_line(ran.err) == "there is no data set named shop-login; did you mean shop-logins?"
    assert not (home / "datasets/shop-logins").exists()
    assert one_line(run("data", "remove", "net_sdn_ddos").err).startswith("data set net_sdn_ddos is not imported;")
