"""Labelled data sets: known, imported into kshot's home, read as tables for episodes."""

from kshot.datasets.catalogue import UnknownDataSetError, catalogue, entry
from kshot.datasets.checking import Finding, check_dataset
from kshot.datasets.declaration import DataSet, Family, parse_declaration, read_declaration
from kshot.datasets.importing import find_file, import_dataset, table_from_file
from kshot.datasets.library import Library, Manifest
from kshot.datasets.own import own_table

__all__ = [
    "DataSet",
    "Family",
    "Finding",
    "Library",
    "Manifest",
    "UnknownDataSetError",
    "catalogue",
    "check_dataset",
    "entry",
    "find_file",
    "import_dataset",
    "own_table",
    "parse_declaration",
    "read_declaration",
    "table_from_file",
]
