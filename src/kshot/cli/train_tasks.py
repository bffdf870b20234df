"""The tasks that `kshot train` draws: from which tables, which of them held out, of what shape."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kshot.cli import flags
from kshot.cli.messages import Messages

if TYPE_CHECKING:
    from kshot.episodes import EpisodeSampler, LabelledTable, TaskMixture

_VALIDATION_SHARE = 0.2


def tables_of(
    data: list[str] | None, paths: list[Path] | None, label: str | None, benign: list[str] | None, messages: Messages
) -> tuple[list[LabelledTable], dict[str, str]]:
    """Return the tables asked for, and the sha256 of what each was made from.

    Raises:
        UserError: none is asked for, one is not imported, or a table cannot be read.
    """
    from kshot.datasets import Library, own_table
    from kshot.datasets.importing import file_sha256
    from kshot.errors import UserError
    from kshot.store import kshot_home

    library = Library(kshot_home())
    names = flags.comma_list(data)
    if names == ["all"]:
        names = library.names()
    tables = [library.load(name) for name in names]
    inputs = {name: library.manifest(name).records_sha256 for name in names}
    for path in paths or []:
        if label is None or not benign:
            raise UserError(f"{path}: say with --label which column names the family, and with --benign what is none")
        table, dropped = own_table(path, label, flags.comma_list(benign))
        if dropped:
            messages.note(f"{path}: left out {', '.join(f'{column} ({why})' for column, why in dropped.items())}")
        tables.append(table)
        inputs[table.name] = file_sha256(path)
    if not tables:
        raise UserError("nothing to train on: give --data NAME,... (see: kshot data list) or --table FILE")
    return tables, inputs


def divide(
    tables: list[LabelledTable], validate: str | None, corpus: str | None, seed: int, messages: Messages
) -> tuple[list[LabelledTable], list[LabelledTable]]:
    """Return the tables to train on, and those of other corpora that tell when to stop.

    Raises:
        EpisodeError: a corpus that no table is of, or nothing left to train on.
    """
    import numpy as np

    from kshot.episodes import split_by_corpus

    corpora = sorted({table.corpus for table in tables})
    if validate == "none":
        return tables, []
    if validate is not None:
        return split_by_corpus(tables, flags.comma_list([validate]))
    others = [name for name in corpora if name != corpus]
    count = int(_VALIDATION_SHARE * len(corpora))
    if not count:
        messages.note("fewer than five corpora: none is held out, and nothing tells when to stop but --steps")
        return tables, []
    held = sorted(np.random.default_rng([seed, 3]).permutation(others)[:count].tolist())
    messages.note(f"held out to tell when to stop: {', '.join(held)}")
    return split_by_corpus(tables, held)


def sampler(
    tables: list[LabelledTable], shape: dict[str, Any], messages: Messages, corpus: str | None = None
) -> EpisodeSampler:
    """Return what draws tasks of `shape` from tables.

    Raises:
        EpisodeError: no table can give such a task.
    """
    from dataclasses import replace

    from kshot.episodes import EpisodeSampler
    from kshot.episodes.samplers import TRAINING

    made = EpisodeSampler(
        tables,
        replace(TRAINING, n_way=shape["n_way"]),
        k_shots=shape["k_shots"],
        scope="intrinsic" if corpus else "cross-domain",
        corpus=corpus,
        pseudo_share=shape["pseudo_share"] if shape["n_way"] == 1 else 0.0,
    )
    gone = [skipped.table for skipped in made.skipped if not skipped.family]
    if gone:
        messages.note(f"too few benign rows for a task: {', '.join(gone)}")
    return made


def with_synthetic(source: EpisodeSampler, share: float) -> EpisodeSampler | TaskMixture:
    """Return `source`, or a mixture in which so many tasks in one are made up, of the same shape.

    Raises:
        UserError: made-up tasks beside tasks of several threats.
    """
    from kshot.episodes import SyntheticTasks, TaskMixture
    from kshot.errors import UserError

    if not share:
        return source
    if source.shape.n_way != 1:
        raise UserError("--synthetic-share: made-up tasks are of one threat; leave out --n-way")
    made_up = SyntheticTasks(shape=source.shape, k_shots=tuple(source.k_shots))
    return TaskMixture([source, made_up], [1.0 - share, share])


def corpora_of(sampler: EpisodeSampler) -> set[str]:
    """Return the corpora that tasks are drawn from; those that choose the best weights were seen as well."""
    gone = {skipped.table for skipped in sampler.skipped if not skipped.family}
    usable = {table.corpus for table in sampler.tables if table.name not in gone}
    return usable & {sampler.corpus} if sampler.scope == "intrinsic" and sampler.corpus else usable
