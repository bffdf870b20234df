"""Threats on disk, and files written whole or not at all."""

from kshot.store.atomic import Whole, output_error, whole_file
from kshot.store.builtin import builtin_names, builtin_prior, builtin_reference, builtin_threat, builtin_threats
from kshot.store.bundles import read_bundle, write_bundle
from kshot.store.fitted import FittedStore
from kshot.store.folders import read_folder
from kshot.store.home import kshot_home
from kshot.store.threats import ThreatStore

__all__ = [
    "FittedStore",
    "ThreatStore",
    "Whole",
    "builtin_names",
    "builtin_prior",
    "builtin_reference",
    "builtin_threat",
    "builtin_threats",
    "kshot_home",
    "output_error",
    "read_bundle",
    "read_folder",
    "whole_file",
    "write_bundle",
]
