"""Episodes: tasks of a reference, a few shots and queries, drawn from labelled tables without leaks."""

from kshot.episodes.draw import HEADLINE, TaskShape, check_table, draw_episode, usable_families
from kshot.episodes.episode import UNKNOWN, Episode, Loss
from kshot.episodes.leaks import LeakError, Shortcut, column_auroc, shortcut
from kshot.episodes.mixture import TaskMixture
from kshot.episodes.pool import with_pool
from kshot.episodes.protocol import REFERENCE_SEED, Skipped, headline_episodes, n_way_episodes
from kshot.episodes.pseudo import PseudoThreats
from kshot.episodes.reference import reference_table
from kshot.episodes.samplers import EpisodeSampler
from kshot.episodes.sinusoid import sinusoid_episode
from kshot.episodes.splits import split_by_corpus, split_by_family, split_by_time
from kshot.episodes.suspects import suspect_columns
from kshot.episodes.synthetic import SYNTHETIC, SyntheticTasks
from kshot.episodes.tables import BENIGN, EpisodeError, LabelledTable, labelled_table
from kshot.episodes.transfer import shared_families, transfer_episode

__all__ = [
    "BENIGN",
    "HEADLINE",
    "REFERENCE_SEED",
    "SYNTHETIC",
    "UNKNOWN",
    "Episode",
    "EpisodeError",
    "EpisodeSampler",
    "LabelledTable",
    "LeakError",
    "Loss",
    "PseudoThreats",
    "Shortcut",
    "Skipped",
    "SyntheticTasks",
    "TaskMixture",
    "TaskShape",
    "check_table",
    "column_auroc",
    "draw_episode",
    "headline_episodes",
    "labelled_table",
    "n_way_episodes",
    "reference_table",
    "shared_families",
    "shortcut",
    "sinusoid_episode",
    "split_by_corpus",
    "split_by_family",
    "split_by_time",
    "suspect_columns",
    "transfer_episode",
    "usable_families",
    "with_pool",
]
