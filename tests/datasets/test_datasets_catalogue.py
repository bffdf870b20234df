"""The catalogue: every entry is whole, and is what the real bytes are."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from data_maps import SHARED

from kshot.datasets import Library, UnknownDataSetError, catalogue, entry, import_dataset
from kshot.episodes import BENIGN, column_auroc, shortcut

ENTRIES = catalogue()
TABLES = SHARED / "data/tables"
LARGE = {"net_sdn_ddos", "net_unsw_nb15_82k", "net_nf_botiot_v2_reduced", "net_cicids2017_improved_sample"}
"""Measuring all of their columns takes seconds: the declared one alone is measured."""


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    """The reference implementation beside the checkout."""
    path = SHARED / "evaluate/fewshot.py"
    if not path.exists():
        pytest.skip("needs shared/evaluate beside the checkout")
    spec = importlib.util.spec_from_file_location("fewshot_tables", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings():  # it silences all warnings for the whole process
        spec.loader.exec_module(module)
    return module


def test_every_entry_says_what_a_reader_needs() -> None:
    assert len(ENTRIES) == 28
    for dataset in ENTRIES:
        assert dataset.title and dataset.domain and dataset.licence and dataset.sha256 and dataset.note + dataset.title
        assert dataset.file == f"{dataset.name}.parquet"
        assert (dataset.shortcut is not None) == bool(dataset.benign), "one-sided sets have nothing to measure"
        assert not dataset.dropped & {dataset.label, dataset.family, dataset.order, *dataset.group}


def test_the_shop_of_csic_2010_is_one_corpus() -> None:
    assert {entry(name)[0].corpus for name in ("web_csic2010", "web_torpeda", "web_httpparams")} == {"csic"}


@pytest.mark.shared
def test_entries_agree_with_the_reference_protocol(reference: ModuleType) -> None:
    for name, (label, benign, corpus) in reference.DEV.items():
        dataset = entry(name)[0]
        assert (dataset.label, dataset.benign, dataset.corpus) == (label, (benign,), corpus)


@pytest.mark.shared
def test_there_is_an_entry_for_every_table_and_no_other() -> None:
    if not TABLES.exists():
        pytest.skip("needs shared/data beside the checkout")
    assert {d.file for d in ENTRIES} == {p.name for p in TABLES.iterdir()}


@pytest.mark.shared
@pytest.mark.parametrize("dataset", ENTRIES, ids=lambda d: d.name)
def test_an_entry_imports_the_real_bytes(dataset, tmp_path: Path) -> None:
    path = TABLES / dataset.file
    if not path.exists():
        pytest.skip("needs shared/data beside the checkout")
    library = Library(tmp_path)
    manifest = import_dataset(library, dataset, entry(dataset.name)[1], path, "")
    assert manifest.verified and manifest.rows > 0
    assert bool(manifest.families.get(BENIGN)) == bool(dataset.benign)
    unknown = [label for label in dataset.families if "*" not in label and not dataset.families[label].name]
    assert set(unknown) <= set(manifest.families), "the map names families that the source has not"
    table = library.load(dataset.name)
    assert not set(table.features.columns) & {*dataset.dropped, dataset.label, dataset.order, dataset.fold}
    if dataset.shortcut is not None:
        attacks = np.asarray(table.labels != BENIGN, bool)
        alone = column_auroc(table.features[dataset.shortcut.column], attacks)
        assert alone == pytest.approx(dataset.shortcut.auroc, abs=6e-4)
        if dataset.name not in LARGE:
            best = shortcut(table)
            assert best is not None and best.auroc == alone


@pytest.mark.shared
@pytest.mark.parametrize("name", ["net_nsl_kdd_test", "net_stratosphere_zeek_conn_dev", "android_cicmaldroid99"])
def test_an_imported_set_is_the_reference_protocols_table(name: str, reference: ModuleType, tmp_path: Path) -> None:
    dataset, told = entry(name)
    if not (TABLES / dataset.file).exists():
        pytest.skip("needs shared/data beside the checkout")
    library = Library(tmp_path)
    import_dataset(library, dataset, told, TABLES / dataset.file, "")
    frame, labels, corpus = reference.load(TABLES, {name: reference.DEV[name]})[name]
    ours = library.load_reference(name)
    assert ours.corpus == corpus and ours.features.equals(frame)
    assert np.array_equal(np.where(labels == "__benign", BENIGN, labels), ours.labels)


def test_an_unknown_name_is_told_with_the_nearest() -> None:
    with pytest.raises(UnknownDataSetError, match="no data set named net_sdn_dos; did you mean net_sdn_ddos"):
        entry("net_sdn_dos")
    with pytest.raises(UnknownDataSetError, match="see: kshot data list"):
        entry("qqqq")
