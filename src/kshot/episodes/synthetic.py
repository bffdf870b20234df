"""Made-up tasks: causal models of normal life in which an attack changes a few mechanisms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.episodes.draw import HEADLINE, TaskShape
from kshot.episodes.episode import Episode

Floats = NDArray[np.float64]
SYNTHETIC = "synthetic"
"""The corpus and table of these tasks."""
_LEAST_FAMILY = 40
_MOST_CATEGORIES = 20
_LARGEST = 30.0
"""Beyond it exponentials say nothing new."""


@dataclass(frozen=True, kw_only=True)
class SyntheticTasks:
    """Draws tasks in which nothing is real but the kinds of things that records do.

    Benign rows come from clusters (services) of hidden causes; a cell is a noisy function of one to three causes or of
    other cells, then logged, cut off, rounded, tied at zero, turned into a truth value or a category. An attack
    intervenes on few causes or cells, is a cluster of its own, a box of benign-looking cells (a conjunction), or a
    burst of near-copies. Later benign rows may drift; a reference may hold a few attacks; values may be missing.

    The idea of training on tasks drawn from causal models: Mueller et al. 2022 and Hollmann et al. 2023 (prior-data
    fitted networks). The mechanisms here are our own, chosen for records of networks and hosts.
    """

    shape: TaskShape = HEADLINE
    k_shots: tuple[int, ...] = ()
    """K is drawn from these, where given, instead of the shape's."""
    most_columns: int = 70
    drift_share: float = 0.5
    """Of the tasks, those whose queries come from a slightly different mix of services than the reference."""
    contaminated_share: float = 0.1
    """Of the tasks, those whose reference hides up to 20 attacks."""
    missing_share: float = 0.3
    """Of the tasks, those in which cells are missing."""

    def draw(self, rng: np.random.Generator) -> Episode:
        """Draw one episode; the same generator state gives the same one."""
        shape = self.shape
        k_shot = int(rng.choice(np.asarray(self.k_shots))) if self.k_shots else shape.k_shot
        n_family = max(_LEAST_FAMILY, k_shot + shape.n_family_queries)
        sizes = (shape.n_reference, shape.n_benign_queries, n_family)
        cells, services = self._world(rng, sizes).cells()
        frame = _frame(cells, services, rng, holes=rng.random() < self.missing_share)
        at = np.cumsum([0, *sizes])
        reference, benign, family = (np.arange(at[i], at[i + 1]) for i in range(3))
        family = rng.permutation(family)
        shots, asked = family[:k_shot], family[k_shot : k_shot + shape.n_family_queries]
        hidden = 0
        if rng.random() < self.contaminated_share:
            # What hides takes the place of benign rows; none of it is shown or asked.
            spare = family[k_shot + shape.n_family_queries // 2 :]
            hidden = min(20, len(spare) // 2, len(reference) // 20)
            reference = np.concatenate([reference[hidden:], spare[:hidden]])
            asked = np.setdiff1d(asked, spare[:hidden])
        queries = rng.permutation(np.concatenate([benign, asked]))
        is_attack = queries >= at[2]
        return Episode(
            frame[reference],
            frame[shots],
            np.ones(k_shot, np.int64),
            frame[queries],
            is_attack.astype(np.int64),
            (SYNTHETIC,),
            np.where(is_attack, SYNTHETIC, "benign").astype(object),
            SYNTHETIC,
            SYNTHETIC,
            k_shot,
            hidden_attacks=hidden,
        )

    def _world(self, rng: np.random.Generator, sizes: tuple[int, int, int]) -> _World:
        return _World(rng, sizes, self.most_columns, drifts=rng.random() < self.drift_share)


class _World:
    """One made-up network: hidden causes, services, mechanisms, and an attack on them."""

    def __init__(self, rng: np.random.Generator, sizes: tuple[int, int, int], most_columns: int, *, drifts: bool):
        self._rng = rng
        self._n_reference, n_later, self._n_attack = sizes
        self._n_benign = self._n_reference + n_later
        small, middle = max(5, most_columns // 6), max(6, most_columns // 2)
        low, high = ((4, small), (small, middle), (middle, most_columns))[rng.integers(3)]
        self._n_columns = int(rng.integers(low, high + 1))
        self._n_causes = int(rng.integers(2, 13))
        self._n_services = int(rng.choice([1, 2, 3, 5, 8, 12]))
        self._tails = int(rng.integers(4))
        share = rng.dirichlet(np.full(self._n_services, rng.choice([0.5, 1.0, 5.0])))
        spread = rng.lognormal(0.3, 0.6) * (rng.random((self._n_services, self._n_causes)) < rng.uniform(0.3, 1.0))
        centre = rng.normal(size=spread.shape) * spread
        self._width = np.exp(rng.normal(0.0, 0.5, spread.shape))
        later_share = rng.dirichlet(share * 20.0 + 0.3) if drifts else share
        later = centre + (rng.normal(size=centre.shape) * rng.choice([0.0, 0.1, 0.3]) if drifts else 0.0)
        of_attack = rng.dirichlet(np.full(self._n_services, 0.3)) if self._n_services > 1 else share
        parts = [
            self._causes(self._n_reference, share, centre),
            self._causes(n_later, later_share, later),
            self._causes(self._n_attack, of_attack, later),
        ]
        self._services = np.concatenate([services for _, services in parts])
        self._kind = rng.choice(
            ["intervention", "own cluster", "box", "burst", "cells", "both"], p=[0.3, 0.2, 0.15, 0.15, 0.1, 0.1]
        )
        attack = self._intervene(parts[2][0], share, centre)
        self._hidden = np.vstack([parts[0][0], parts[1][0], attack])

    def cells(self) -> tuple[Floats, NDArray[np.intp]]:
        """(n, d) cells, reference rows first, then later benign ones, then the attack's; and (n,) services."""
        rng = self._rng
        hidden = self._hidden
        if rng.random() < 0.5:  # a second layer of causes
            weights = rng.normal(size=(hidden.shape[1], self._n_causes))
            weights *= rng.random(weights.shape) < 0.5
            mixed = hidden @ weights
            hidden = np.hstack([hidden, np.tanh(0.7 * mixed) if rng.random() < 0.5 else np.maximum(0.5 * mixed, 0.0)])
        noise_level = rng.uniform(0.02, 0.6)
        columns: list[Floats] = []
        for _ in range(self._n_columns):
            columns.append(self._observe(self._mechanism(hidden, columns, noise_level)))
        if self._kind in ("cells", "both"):
            self._change_cells(columns)
        cells = np.stack(columns, 1)
        if self._kind == "box":
            self._box(cells)
        return cells, self._services

    def _noise(self, *shape: int) -> Floats:
        draw = self._rng.normal(size=shape)
        if self._tails == 2:
            draw = self._rng.standard_t(3, size=shape)
        elif self._tails == 3:
            draw = np.sign(draw) * np.abs(draw) ** 1.6
        return np.asarray(draw, np.float64)

    def _causes(self, n: int, share: Floats, centre: Floats) -> tuple[Floats, NDArray[np.intp]]:
        services = self._rng.choice(len(share), n, p=share)
        return centre[services] + self._width[services] * self._noise(n, self._n_causes), services

    def _intervene(self, causes: Floats, share: Floats, centre: Floats) -> Floats:
        """Change the attack's hidden causes, few of them, by chance a little or much."""
        rng, n, q = self._rng, *causes.shape
        strength = rng.lognormal(0.8, 0.6)
        if self._kind in ("intervention", "both"):
            at = rng.choice(q, int(rng.integers(1, min(q, 4) + 1)), replace=False)
            target = rng.normal(size=len(at)) * strength
            if rng.random() < 0.5:
                causes[:, at] = causes[:, at] * rng.uniform(0.05, 1.0) + target
            else:
                causes[:, at] = target + self._noise(n, len(at)) * rng.uniform(0.02, 0.4)
        elif self._kind == "own cluster":
            own = rng.normal(size=q) * strength * 0.6 + np.exp(rng.normal(-0.5, 0.7, q)) * self._noise(n, q)
            causes = np.where(rng.random(q) < rng.uniform(0.3, 1.0), own, causes)
        elif self._kind == "burst":
            first, _ = self._causes(int(rng.integers(1, 5)), share, centre)
            first += rng.normal(size=first.shape) * strength * 0.5 * (rng.random(q) < 0.4)
            causes = first[rng.integers(len(first), size=n)] + self._noise(n, q) * rng.choice([0.0, 0.02, 0.1, 0.3])
        return causes

    def _mechanism(self, hidden: Floats, columns: list[Floats], noise_level: float) -> Floats:
        """(n,) what a cell would be if it were measured as it is, standardised over the reference."""
        rng = self._rng
        if rng.random() < 0.08:
            value = self._noise(len(hidden))
        else:
            parents = rng.choice(hidden.shape[1], int(rng.choice([1, 1, 2, 3])))
            value = hidden[:, parents] @ rng.normal(size=len(parents))
            if columns and rng.random() < 0.15:
                other = columns[int(rng.integers(len(columns)))]
                value = value + (other - other.mean()) / (other.std() + 1e-9) * rng.normal()
            value = value + self._noise(len(hidden)) * noise_level * rng.lognormal(0.0, 0.7) * value.std()
        known = value[: self._n_reference]
        out: Floats = (value - known.mean()) / (known.std() + 1e-9)
        return out

    def _observe(self, value: Floats) -> Floats:
        """How a sensor writes it down."""
        rng = self._rng
        known = value[: self._n_reference]
        chance = [0.15, 0.17, 0.1, 0.16, 0.12, 0.1, 0.05, 0.05, 0.1]
        how = rng.choice(
            ["plain", "heavy", "rounded", "mostly zero", "flag", "levels", "saturated", "by service", "count"], p=chance
        )
        if how == "heavy":
            return np.exp(np.clip(value * rng.uniform(0.5, 2.5), -_LARGEST, _LARGEST))
        if how == "rounded":
            return np.asarray(np.round(value * rng.choice([1, 3, 10])), np.float64)
        if how == "mostly zero":
            least = np.quantile(known, rng.uniform(0.3, 0.98))
            above = np.expm1(np.clip((value - least) * rng.uniform(0.5, 3.0), 0.0, _LARGEST))
            return np.where(value <= least, 0.0, above)
        if how == "flag":
            return (value > np.quantile(known, rng.uniform(0.05, 0.99))).astype(np.float64)
        if how == "levels":
            edges = np.sort(rng.normal(size=int(rng.integers(2, _MOST_CATEGORIES)))) * 1.5
            return rng.permutation(len(edges) + 1)[np.searchsorted(edges, value)].astype(np.float64)
        if how == "saturated":
            low, high = np.quantile(known, [0.1, 0.8])
            return np.clip(value, low, high)
        if how == "by service":
            usual: Floats = rng.integers(0, 8, self._n_services).astype(np.float64)[self._services]
            return usual if rng.random() < 0.5 else usual + 0.1 * self._noise(len(value))
        if how == "count":
            return np.asarray(np.floor(np.exp(np.clip(value * rng.uniform(0.5, 2.0) + 1.0, -5.0, 20.0))), np.float64)
        return value

    def _change_cells(self, columns: list[Floats]) -> None:
        """Set one to four cells of the attack's rows, whatever their causes."""
        rng = self._rng
        for j in rng.choice(self._n_columns, int(rng.integers(1, min(4, self._n_columns) + 1)), replace=False):
            known, attack = columns[j][: self._n_reference], columns[j][self._n_benign :]
            how = rng.integers(4)
            if how == 0:
                attack[:] = rng.choice(known)
            elif how == 1:
                jitter = known.std() * self._rng.normal(0.0, 0.3, len(attack)) * rng.integers(2)
                attack[:] = np.quantile(known, rng.choice([0.001, 0.02, 0.98, 0.999])) + jitter
            elif how == 2:
                attack[:] = rng.choice(known, len(attack))
            else:
                low = rng.uniform(0.0, 0.95)
                attack[:] = np.quantile(known, rng.uniform(low, low + 0.05, len(attack)))

    def _box(self, cells: Floats) -> None:
        """Put the attack's rows where two to four cells lie in a narrow range of benign values: a conjunction."""
        rng = self._rng
        for j in rng.choice(self._n_columns, min(int(rng.integers(2, 5)), self._n_columns), replace=False):
            known = cells[: self._n_reference, j]
            low = rng.uniform(0.0, 0.9)
            least, most = np.quantile(known, [low, min(1.0, low + rng.uniform(0.03, 0.2))])
            inside = known[(known >= least) & (known <= most)]
            cells[self._n_benign :, j] = rng.choice(inside, self._n_attack)


def _frame(cells: Floats, services: NDArray[np.intp], rng: np.random.Generator, *, holes: bool) -> pl.DataFrame:
    """Columns of numbers and categories, with cells missing at random or by service where `holes`."""
    out: dict[str, pl.Series] = {}
    for j, column in enumerate(cells.T):
        value = column.astype(np.float32).astype(np.float64)
        if holes and rng.random() < 0.3:
            if rng.random() < 0.5:
                gone = rng.random(len(value)) < rng.uniform(0.02, 0.6)
            else:
                n_services = int(services.max()) + 1
                gone = np.isin(services, rng.choice(n_services, max(1, n_services // 2)))
            value[gone] = np.nan
        known = value[~np.isnan(value)]
        if len(np.unique(known)) <= _MOST_CATEGORIES and rng.random() < 0.25:
            words = [None if np.isnan(v) else f"v{v:g}" for v in value.tolist()]
            out[f"c{j}"] = pl.Series(words, dtype=pl.String)
        else:
            out[f"c{j}"] = pl.Series(value).fill_nan(None)
    return pl.DataFrame(out)
