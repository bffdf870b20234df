"""`kshot bench`: a table of one's own, what it writes, and every mistake one line and exit 2."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import polars as pl
import pytest
from cli_runs import Run, one_line

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

from bench_tables import made_table, write_table

from kshot.bench import RESULTS

COLUMNS = [
    "learner", "data", "corpus", "family", "k", "seed", "split", "auroc", "average_precision", "recall_at_1pct",
    "recall_at_01pct", "adapt_seconds", "score_seconds",
]  # fmt: skip
QUICK = ("--learners", "logistic,anomaly", "--k", "1", "--seeds", "1", "--jobs", "1")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_table(tmp_path / "logins.parquet")


def asked(table: Path) -> tuple[object, ...]:
    return ("--table", table, "--label", "label", "--benign", "benign")


def test_a_table_of_ones_own(run: Run, table: Path, tmp_path: Path) -> None:
    ran = run("bench", *asked(table), *QUICK, "--output", tmp_path / "out")
    assert ran.code == 0
    assert "## blocked, K = 1" in ran.out and "## iid, K = 1" in ran.out
    assert "| anomaly (sees no shot) |" in ran.out
    assert "4 cells: 4 measured now, 0 known from before" in ran.err
    results = pl.read_parquet(tmp_path / "out/results.parquet")
    assert results.columns == COLUMNS == list(RESULTS)
    assert (
        len(results) == 8 and set(results["split"]) == {"blocked", "iid"} and set(results["family"]) == {"worm", "scan"}
    )
    assert (tmp_path / "out/summary.md").read_text() == ran.out
    curves = pl.read_parquet(tmp_path / "out/curves.parquet")
    assert set(curves["learner"]) == {"logistic", "anomaly"} and curves["precision"].is_between(0.0, 1.0).all()
    again = run("bench", *asked(table), *QUICK)
    assert again.out == ran.out and "0 measured now, 4 known from before" in again.err


def test_columns_that_look_like_identifiers_are_left_out_and_listed(run: Run, table: Path) -> None:
    frame = pl.read_parquet(table)
    frame = frame.with_columns(pl.int_range(pl.len()).alias("flow_id"), pl.lit("10.0.0.1").alias("src_ip"))
    frame.write_parquet(table)
    ran = run("bench", *asked(table), *QUICK, "--split", "iid", "--drop", "x3")
    assert ran.code == 0
    assert "logins: left out flow_id (" in ran.err and "src_ip (" in ran.err
    # Without what was left out, and without the column dropped, it is the same table.
    frame.drop("flow_id", "src_ip", "x3").write_parquet(table)
    assert "2 cells: 0 measured now" in run("bench", *asked(table), *QUICK, "--split", "iid").err


def test_without_tables_every_imported_set_takes_part(run: Run, table: Path, tmp_path: Path) -> None:
    assert "no data set is imported" in one_line(run("bench", *QUICK).err)
    for name, made in (("one", made_table(seed=1)), ("two", made_table(seed=2)), ("poor", made_table(n_benign=300))):
        write_table(tmp_path / f"{name}.parquet", made)
        (tmp_path / f"{name}.toml").write_text(
            f'name = "{name}"\ncorpus = "{name}-lab"\nfile = "{name}.parquet"\nlabel = "label"\nbenign = ["benign"]\n'
        )
        assert run("data", "import", "--map", tmp_path / f"{name}.toml").code == 0
    ran = run("bench", *QUICK, "--split", "blocked")
    assert ran.code == 0 and "4 families of 2 tables of 2 corpora" in ran.out
    assert "left out: table poor: 300 benign rows, 1,500 are needed" in ran.err
    refused = run("bench", "--data", "one,poor", *QUICK)
    assert refused.code == 2 and one_line(refused.err).startswith("table poor: 300 benign rows, 1,500 are needed")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--data", "nslkdd"), "there is no data set named nslkdd"),
        (("--data", "net_sdn_ddos"), "data set net_sdn_ddos is not imported; do: kshot data import net_sdn_ddos"),
        (("--learners", "extra-tree"), "there is no learner named extra-tree; did you mean extra-trees?"),
        (("--learners", "maml"), "maml is meta-learned and needs weights; train it with: kshot train --learner maml"),
        (("--learners", "maml", "--weights", "nowhere"), "nowhere: is no folder of trained learners"),
        (("--protocol", "headlines"), "there is no protocol headlines; did you mean headline?"),
        (("--protocol", "reference,noise"), "the reference protocol prepares tables in its own way"),
        (("--protocol", "zero-day", "--learners", "knn"), "knn needs shots, and zero-day has none"),
        (("--k", "1,five"), "--k 1,five: give whole numbers"),
        (("--k", "0"), "--k 0: give at least one shot; --protocol zero-day is for none"),
        (("--label", "verdict"), "--label and --benign are for a table of your own"),
        (("--set", "depth"), "--set depth: write it as KEY=VALUE"),
        (("--set", "depth=3"), "--set depth: there is no such setting; extra-trees has n_trees, seed"),
        (("--set", "maml.inner_steps=3"), "--set maml.inner_steps: maml takes no part"),
        (("--protocol", "packets"), "the protocol packets needs labelled captures; give --captures DIR"),
        (("--captures", "nowhere"), "nowhere: is no folder of labelled captures"),
        (("--captures", ".", "--protocol", "reference"), "the reference protocol is for tables; leave out --captures"),
    ],
)
def test_a_mistake_is_one_line(run: Run, arguments: tuple[str, ...], said: str) -> None:
    ran = run("bench", *arguments)
    assert ran.code == 2 and ran.out == "" and one_line(ran.err).startswith(said)


def test_a_mistake_in_ones_own_table_is_one_line(run: Run, table: Path, tmp_path: Path) -> None:
    def refused(*arguments: object) -> str:
        ran = run("bench", *arguments, *QUICK)
        assert ran.code == 2 and ran.out == ""
        return one_line(ran.err)

    assert "say with --label which column" in refused("--table", table)
    assert "has no column 'verdict', named as label" in refused("--table", table, "--label", "verdict", "--benign", "x")
    assert "no row of column 'label' is fine" in refused("--table", table, "--label", "label", "--benign", "fine")
    assert refused(*asked(table), "--drop", "y").startswith("--drop y: no table has that column")
    assert "no such file" in refused(*asked(tmp_path / "absent.parquet"))
    small = write_table(tmp_path / "small.parquet", made_table(n_family=12))
    assert "small: 0 usable families, 1 are needed (scan has 12 rows, 40 are needed" in refused(*asked(small))
    few = write_table(tmp_path / "few.parquet", made_table(n_benign=900))
    assert "few: 900 benign rows, 1,500 are needed" in refused(*asked(few))
    assert "another table is named logins already" in refused(*asked(table), "--table", table)


def test_a_split_that_would_leak_is_refused(run: Run, table: Path, tmp_path: Path) -> None:
    frame = pl.read_parquet(table)
    # Every worm lies in one session, which cannot be shown and asked; so do all scans in another.
    session = pl.when(pl.col("label") == "benign").then(pl.int_range(pl.len()) // 9).otherwise(-1)
    frame.with_columns(session.alias("session")).filter(pl.col("label") != "scan").write_parquet(table)
    (tmp_path / "logins.toml").write_text(
        'name = "logins"\ncorpus = "shop"\nfile = "logins.parquet"\nlabel = "label"\nbenign = ["benign"]\n'
        'group = "session"\n'
    )
    assert run("data", "import", "--map", tmp_path / "logins.toml").code == 0
    refused = run("bench", "--data", "logins", *QUICK)
    assert refused.code == 2
    assert "worm lies in one group (-1), which cannot be shown and asked" in one_line(refused.err)


def test_a_setting_of_the_learners_is_measured_beside_the_default(run: Run, table: Path, tmp_path: Path) -> None:
    told = (*asked(table), "--learners", "extra-trees", "--k", "1", "--seeds", "1", "--jobs", "1", "--split", "iid")
    few = run("bench", *told, "--set", "n_trees=3", "--output", tmp_path / "few")
    fewer = run("bench", *told, "--set", "extra-trees.n_trees=1", "--output", tmp_path / "fewer")
    assert few.code == fewer.code == 0 and "1 measured now" in fewer.err
    assert "0 measured now" in run("bench", *told, "--set", "extra-trees.n_trees=3").err
    frames = [pl.read_parquet(tmp_path / name / "results.parquet") for name in ("few", "fewer")]
    assert frames[0]["auroc"].to_list() != frames[1]["auroc"].to_list()
    assert pl.read_parquet(tmp_path / "few/trainings.parquet").is_empty(), "nothing was trained across tasks"


def test_a_learner_is_never_scored_on_a_corpus_it_saw(run: Run, table: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    for corpus, folder in (("logins", "all"), ("other", "folds/a"), ("third", "folds/b")):
        write_learner(tmp_path / folder / "prototypical", [corpus])
    told = (*asked(table), "--learners", "prototypical", "--k", "1", "--seeds", "1", "--split", "iid", "--jobs", "1")
    refused = run("bench", *told, "--weights", tmp_path / "all")
    assert refused.code == 2
    assert "was trained on corpus logins and is not scored on logins" in one_line(refused.err)
    ran = run("bench", *told, "--weights", tmp_path / "folds", "--quiet")
    assert ran.code == 0 and "| prototypical |" in ran.out and "| prototypical | a/prototypical |" in ran.out
    wrong = run("bench", *told, "--learners", "relation", "--weights", tmp_path / "folds")
    assert wrong.code == 2 and "holds no trained relation" in one_line(wrong.err)


def write_learner(folder: Path, corpora: list[str]) -> None:
    from kshot.learners import make_learner
    from kshot.learners.torch_learner import TorchLearner
    from kshot.learners.weights import Provenance, pack

    learner = make_learner("prototypical")
    assert isinstance(learner, TorchLearner)
    folder.mkdir(parents=True)
    for name, content in pack(learner, Provenance(tuple(corpora))).items():
        (folder / name).write_bytes(content)
    assert json.loads((folder / "manifest.json").read_text())["corpora"] == corpora


def test_the_report_is_one_file_that_loads_nothing(run: Run, tmp_path: Path) -> None:
    hostile = '</title><script>alert("x")</script>'
    table = made_table(n_benign=2400, families={"worm": 2.5, hostile: -2.0})
    path = write_table(tmp_path / "logins.parquet", table)
    told = ("--k", "1,5", "--learners", "logistic,anomaly", "--seeds", "1", "--jobs", "1")
    ran = run("bench", *asked(path), *told, "--protocol", "headline,calibration", "--report", tmp_path / "report.html")
    assert ran.code == 0
    page = (tmp_path / "report.html").read_text()
    for part in ("shots", "precision", "calibration", "heat"):
        assert f'<section id="{part}"' in page
    assert "<script>alert" not in page and "http://" not in page and "https://" not in page
    assert page.count("<svg") == page.count("</svg>") > 6
