"""The benchmark: learners on labelled tables under fixed protocols, with intervals and ranks."""

from kshot.bench.cache import Cache, fingerprint
from kshot.bench.contestants import DEFAULT, WITHOUT_SHOTS, Contestant, Roster, known_learners
from kshot.bench.protocols import PROTOCOLS, Cell, Protocol, cells_of
from kshot.bench.results import RESULTS, curves_frame, measures_frame, results_frame, trainings_frame, write_frame
from kshot.bench.running import Failure, Run, Unit, run_units, trainings_of, units_of
from kshot.bench.summary import Section, as_markdown, not_converged, sections_of
from kshot.bench.tables import Loaded, OwnTable, load_tables

__all__ = [
    "DEFAULT",
    "PROTOCOLS",
    "RESULTS",
    "WITHOUT_SHOTS",
    "Cache",
    "Cell",
    "Contestant",
    "Failure",
    "Loaded",
    "OwnTable",
    "Protocol",
    "Roster",
    "Run",
    "Section",
    "Unit",
    "as_markdown",
    "cells_of",
    "curves_frame",
    "fingerprint",
    "known_learners",
    "load_tables",
    "measures_frame",
    "not_converged",
    "results_frame",
    "run_units",
    "sections_of",
    "trainings_frame",
    "trainings_of",
    "units_of",
    "write_frame",
]
