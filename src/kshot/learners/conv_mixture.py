"""The convolutional mixture: a meta-network reads the support set and weighs what convolutions found."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from kshot.learners.encoding import CHANNELS, N_CHANNELS
from kshot.learners.inner_loop import losses_of
from kshot.learners.networks import PRESENT
from kshot.learners.prototypical import class_means, class_members
from kshot.learners.reading import PACKETS, LearnerInputError
from kshot.learners.tasks import TaskBatch
from kshot.learners.torch_learner import TorchLearner

_PACKET = CHANNELS.index("packet")


class _Convolutions(nn.Module):
    """Two 1-D convolutions with a mask; mean and maximum over what is there."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(channels, width, 3, padding=1)
        self.second = nn.Conv1d(width, width, 3, padding=1)

    def forward(self, places: Tensor, there: Tensor) -> Tensor:
        """(rows, channels, L) and (rows, 1, L) whether each place is there -> (rows, 2 width)."""
        hidden = nn.functional.gelu(self.first(places * there)) * there
        hidden = nn.functional.gelu(self.second(hidden)) * there
        mean = hidden.sum(-1) / there.sum(-1).clamp_min(1.0)
        return torch.cat([mean, (hidden - 1e4 * (1.0 - there)).amax(-1).clamp_min(-1.0)], -1)


class _Mixture(nn.Module):
    """One member: components c_i of a row, weights w_i from a support set, and the head on sum_i w_i c_i."""

    def __init__(self, channels: int, width: int, components: int) -> None:
        super().__init__()
        self.sequences = channels == N_CHANNELS
        self.columns = _Convolutions(channels, width)
        self.packets = _Convolutions(2 * channels, width) if self.sequences else None
        found = 2 * width * (2 if self.sequences else 1)
        self.components = nn.Sequential(nn.Linear(found, width), nn.GELU(), nn.Linear(width, components))
        self.summary = nn.Sequential(nn.Linear(components, width), nn.GELU(), nn.Linear(width, width))
        self.weigh = nn.Sequential(
            nn.Linear(2 * width + 2 * components, width), nn.GELU(), nn.Linear(width, components)
        )
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.shift = nn.Parameter(torch.zeros(()))

    def found(self, rows: Tensor) -> Tensor:
        """(T, n, d, channels) -> (T, n, components): the c_i(x)."""
        tasks, n = rows.shape[:2]
        cells = rows.flatten(0, 1).transpose(1, 2)
        there = cells[:, PRESENT : PRESENT + 1] if self.sequences else torch.ones_like(cells[:, :1])
        found = self.columns(cells, there)
        if self.packets is not None:
            found = torch.cat([found, self.packets(*_first_packets(cells))], -1)
        out: Tensor = self.components(found)
        return out.view(tasks, n, out.shape[-1])

    def weights(self, batch: TaskBatch) -> Tensor:
        """(T, W, components): the w_i of each class, from the support set; in no order of its rows."""
        found = self.found(batch.support)
        told = class_means(self.summary(found), batch)
        means = class_means(found, batch)
        benign = torch.cat([told[:, :1], means[:, :1]], -1).expand(-1, told.shape[1], -1)
        out: Tensor = self.weigh(torch.cat([told, means, benign], -1))
        return out

    def logits(self, weights: Tensor, rows: Tensor) -> Tensor:
        """(T, m, W) the detection head: log-odds of each class, benign's being 0."""
        mixed = self.found(rows) @ weights.transpose(1, 2) / math.sqrt(weights.shape[-1])
        logits = self.log_scale.exp() * mixed + self.shift
        return torch.cat([torch.zeros_like(logits[..., :1]), logits[..., 1:]], -1)


@dataclass(kw_only=True, eq=False)
class ConvMixture(TorchLearner):
    """f(x) = sum_i w_i c_i(x): c by 1-D convolutions, w by a meta-network that reads the support set.

    The family of meta-networks that emit the weights of another (Bertinetto et al. 2016, Learning feed-forward
    one-shot learners; Ha et al. 2017), with convolutions over a table's columns in canonical order and over a flow's
    first packets (sizes and pauses) where it has them. The support set is read as class means of an embedding, so
    its order says nothing. A logistic head turns f into log-odds; a class that was not shown cannot win.

    `models` members of different first weights are each trained on their own loss and averaged by outputs, as
    probabilities; the outer loop's `averaging` averages each over time by weights (Izmailov et al. 2018), and
    `averaging.average_weights` several trained ones.
    """

    name: ClassVar[str] = "conv-mixture"
    models: int = 3
    components: int = 32
    width: int = 32

    def build(self, network: nn.Module) -> nn.Module:
        """The members."""
        if self.network is not None:
            raise LearnerInputError("conv-mixture brings its own network; leave out --model")
        channels = N_CHANNELS if self.rows == "relative" else 1
        return nn.ModuleList(_Mixture(channels, self.width, self.components) for _ in range(self.models))

    def most_classes(self) -> int:
        """No limit but sense."""
        return 1_000

    def adapt_batch(self, batch: TaskBatch) -> tuple[list[Tensor], Tensor]:
        """Each member's (T, W, components) weights, and (T, W) whether a class was shown."""
        if not batch.n_classes:
            raise LearnerInputError("conv-mixture tells classes apart and cannot regress on values")
        shown = class_members(batch, torch.float32).sum(1) > 0
        batch = _with_channels(batch)
        return [member.weights(batch) for member in self._members()], shown

    def outputs(self, state: tuple[list[Tensor], Tensor], rows: Tensor, n_classes: int) -> Tensor:
        """(T, m, W) logarithms of the members' mean probabilities."""
        shares = torch.stack([logits.log_softmax(-1) for logits in self._each(state, rows)])
        return torch.logsumexp(shares, 0) - math.log(self.models)

    def training_losses(self, batch: TaskBatch) -> Tensor:
        """(T,) mean of the members' own losses."""
        state = self.adapt_batch(batch)
        each = [
            losses_of(logits, batch.query_labels, batch.query_weights, batch)
            for logits in self._each(state, batch.queries)
        ]
        return torch.stack(each).mean(0)

    def _members(self) -> list[_Mixture]:
        return [cast(_Mixture, member) for member in cast(nn.ModuleList, self.module)]

    def _each(self, state: tuple[list[Tensor], Tensor], rows: Tensor) -> list[Tensor]:
        weights, shown = state
        rows = rows if rows.ndim == 4 else rows[..., None]
        logits = [member.logits(w, rows) for member, w in zip(self._members(), weights, strict=True)]
        return [value.masked_fill(~shown[:, None], -1e4) for value in logits]


def _with_channels(batch: TaskBatch) -> TaskBatch:
    return batch if batch.support.ndim == 4 else replace(batch, support=batch.support[..., None])


def _first_packets(cells: Tensor) -> tuple[Tensor, Tensor]:
    """(rows, channels, d) -> (rows, 2 channels, 8) sizes' cells above pauses', and (rows, 1, 8) whether there."""
    place = cells[:, _PACKET].round()
    sizes, pauses = (
        (place[:, :, None] == torch.arange(1, PACKETS + 1, device=cells.device) + offset).to(cells.dtype)
        for offset in (0, PACKETS)
    )
    return torch.cat([cells @ sizes, cells @ pauses], 1), sizes.amax(1, keepdim=True)
