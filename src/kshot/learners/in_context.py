"""In-context learning: one forward pass reads reference, shots and queries; no gradient adapts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import relu, scaled_dot_product_attention, softplus

from kshot.learners.encoding import N_CHANNELS
from kshot.learners.networks import PRESENT
from kshot.learners.reading import LearnerInputError
from kshot.learners.tasks import TaskBatch
from kshot.learners.torch_learner import TorchLearner

_HEADS = 4
_FAR = -1e4
"""Added to the logit of what must not be attended to."""
SHARP_ENDS = ((0.01, 0.5), (0.04, 0.25), (0.1, 0.25), (1.0, 0.5))
"""Of the loss: among which share of a task's benign queries, the highest, a threat's rank counts, and how much."""
_CROSS_ENTROPY = 0.1
"""Weight of the cross-entropy beside it: it keeps scores comparable between tasks."""


class Attention(nn.Module):
    """Rows attend to the shots and, apart from that, to the reference; then think alone (Vaswani et al. 2017).

    One softmax over both would let hundreds of reference rows drown one shot. A learned key of nothing stands beside
    each, so that a row may find neither like itself.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.before = nn.LayerNorm(width)
        self.query = nn.Linear(width, 2 * width)
        self.of_shots = nn.Linear(width, 2 * width)
        self.of_reference = nn.Linear(width, 2 * width)
        self.nothing = nn.Parameter(torch.zeros(2, 2 * width))
        self.join = nn.Linear(2 * width, width)
        self.between = nn.LayerNorm(width)
        self.think = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))

    def forward(self, rows: Tensor, support: Tensor, shots: Tensor, reference: Tensor) -> Tensor:
        """(T, m, E) rows and (T, n, E) support -> (T, m, E).

        `shots` and `reference` are (T, 1 or m, n) masks, True where a row may look.
        """
        to_shots, to_reference = self.query(self.before(rows)).chunk(2, -1)
        shown = self.before(support)
        seen = torch.cat(
            [
                self._look(to_shots, self.of_shots(shown), self.nothing[0], shots),
                self._look(to_reference, self.of_reference(shown), self.nothing[1], reference),
            ],
            -1,
        )
        rows = rows + self.join(seen)
        out: Tensor = rows + self.think(self.between(rows))
        return out

    def _look(self, query: Tensor, shown: Tensor, nothing: Tensor, mask: Tensor) -> Tensor:
        tasks, m, width = query.shape
        key, value = torch.cat([nothing.expand(tasks, 1, -1), shown], 1).chunk(2, -1)
        allowed = torch.cat([mask.new_ones(*mask.shape[:2], 1), mask], -1)[:, None]

        def heads(x: Tensor) -> Tensor:
            return x.view(tasks, -1, _HEADS, width // _HEADS).transpose(1, 2)

        seen = scaled_dot_product_attention(heads(query), heads(key), heads(value), attn_mask=allowed)
        return seen.transpose(1, 2).reshape(tasks, m, width)


class ColumnAttention(nn.Module):
    """What is known of each column, told to the others."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.before = nn.LayerNorm(width)
        self.query = nn.Linear(width, 3 * width)
        self.join = nn.Linear(width, width)
        self.between = nn.LayerNorm(width)
        self.think = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))

    def forward(self, columns: Tensor, there: Tensor) -> Tensor:
        """(T, d, W) columns, (T, d) which of them are no padding -> (T, d, W)."""
        tasks, d, width = columns.shape

        def heads(x: Tensor) -> Tensor:
            return x.view(tasks, d, _HEADS, width // _HEADS).transpose(1, 2)

        query, key, value = (heads(x) for x in self.query(self.before(columns)).chunk(3, -1))
        seen = scaled_dot_product_attention(query, key, value, attn_mask=there[:, None, None])
        columns = columns + self.join(seen.transpose(1, 2).reshape(tasks, d, width))
        out: Tensor = columns + self.think(self.between(columns))
        return out


@dataclass(frozen=True, slots=True)
class Context:
    """T tasks read once: what every query is then scored against."""

    there: Tensor
    """(T, d) which columns are no padding."""
    offset: Tensor
    """(T, d, W) what each column adds to its cells."""
    gate: Tensor
    """(T, d, G) how much each gate heeds each column, before it sees a cell."""
    layers: tuple[Tensor, ...]
    """(T, n, E) the support rows before each layer of attention."""
    shots: Tensor
    """(T, n)."""
    reference: Tensor
    """(T, n)."""


class InContextNetwork(nn.Module):
    """Cells -> columns told of each other -> gated sum over columns -> rows that attend to the support -> a score.

    No weight belongs to a column or a place: columns and support rows may come in any order and number.
    """

    def __init__(self, width: int, gates: int, row_width: int, column_layers: int, row_layers: int) -> None:
        super().__init__()
        self.cell = nn.Sequential(nn.Linear(N_CHANNELS, width), nn.ReLU(), nn.Linear(width, width))
        self.column = nn.Linear(3 * width, width)
        self.columns = nn.ModuleList(ColumnAttention(width) for _ in range(column_layers))
        self.offset = nn.Linear(width, width)
        self.gate = nn.Linear(width, gates)
        self.column_gate = nn.Linear(width, gates)
        self.row = nn.Sequential(nn.Linear(width * (gates + 1), row_width), nn.ReLU(), nn.Linear(row_width, row_width))
        self.role = nn.Parameter(0.1 * torch.randn(3, row_width))
        self.rows = nn.ModuleList(Attention(row_width) for _ in range(row_layers))
        self.last = nn.LayerNorm(row_width)
        self.score = nn.Linear(row_width, 1)

    def read(self, support: Tensor, shots: Tensor, reference: Tensor) -> Context:
        """(T, n, d, channels) support with (T, n) masks of its two parts."""
        there = support[..., PRESENT].amax(1) > 0.5
        cells = self.cell(support)
        of_shots, of_reference = (m[:, :, None, None].to(cells.dtype) for m in (shots, reference))
        mean_shot = (cells * of_shots).sum(1) / of_shots.sum(1).clamp_min(1.0)
        mean_benign = (cells * of_reference).sum(1) / of_reference.sum(1).clamp_min(1.0)
        farthest = (cells + _FAR * (1.0 - of_shots)).amax(1)
        columns = self.column(torch.cat([mean_shot, mean_benign, farthest], -1))
        for layer in self.columns:
            columns = layer(columns, there)
        offset, gate = self.offset(columns), self.column_gate(columns)
        rows = self._pool(cells, there, offset, gate)
        rows = rows + torch.where(shots[..., None], self.role[0], self.role[1])
        # A support row does not see itself: it stands for a query that is not in the support.
        others = ~torch.eye(rows.shape[1], dtype=torch.bool, device=rows.device)
        layers = [rows]
        for layer in self.rows[:-1]:
            rows = layer(rows, rows, shots[:, None] & others, reference[:, None] & others)
            layers.append(rows)
        return Context(there, offset, gate, tuple(layers), shots, reference)

    def forward(self, context: Context, queries: Tensor) -> Tensor:
        """(T, m, d, channels) -> (T, m) log-odds, up to a shift of each task."""
        rows = self._pool(self.cell(queries), context.there, context.offset, context.gate) + self.role[2]
        for layer, support in zip(self.rows, context.layers, strict=True):
            rows = layer(rows, support, context.shots[:, None], context.reference[:, None])
        out: Tensor = self.score(self.last(rows))[..., 0]
        return out

    def _pool(self, cells: Tensor, there: Tensor, offset: Tensor, gate: Tensor) -> Tensor:
        """(T, n, d, W) cells -> (T, n, E) rows: a softmax over columns for each gate, and their plain mean."""
        hidden = relu(cells + offset[:, None])
        inside = there[:, None, :, None].to(hidden.dtype)
        shares = torch.softmax(self.gate(hidden) + gate[:, None] + _FAR * (1.0 - inside), 2)
        pooled = shares.transpose(-1, -2) @ hidden
        mean = (hidden * inside).sum(2) / inside.sum(2).clamp_min(1.0)
        out: Tensor = self.row(torch.cat([pooled.flatten(-2), mean], -1))
        return out


@dataclass(kw_only=True, eq=False)
class InContext(TorchLearner):
    """A network that has learned to learn: the support set is its input, adapting is reading it.

    In-context learning on tables as in prior-data fitted networks (Mueller et al. 2022; TabPFN: Hollmann et al. 2023),
    with the columns attended to before the rows (as in TabICL: Qu et al. 2025). Here rows enter as cells relative to
    the reference and the shots, so that any schema fits; rows attend to shots and reference apart; and training
    minimises the share of benign rows at the sharp end that outrank a threat, not the mean error.
    """

    name: ClassVar[str] = "in-context"
    width: int = 48
    """Of a cell."""
    gates: int = 6
    row_width: int = 96
    column_layers: int = 2
    row_layers: int = 2

    def __post_init__(self) -> None:
        if self.rows != "relative":
            raise LearnerInputError("in-context reads rows of any schema as relative cells only; leave rows as it is")

    def default_network(self) -> nn.Module:
        """The network of these settings."""
        return InContextNetwork(self.width, self.gates, self.row_width, self.column_layers, self.row_layers)

    def build(self, network: nn.Module) -> nn.Module:
        """Nothing is learned but the network."""
        return network

    def adapt_batch(self, batch: TaskBatch) -> Context:
        """Read the support sets."""
        inside = batch.support_weights > 0
        shots = inside & (batch.support_labels == 1)
        return cast(InContextNetwork, self.module).read(batch.support, shots, inside & ~shots)

    def outputs(self, state: Context, rows: Tensor, n_classes: int) -> Tensor:
        """(T, m, 2): nothing, and the score."""
        score = self.module(state, rows)
        return torch.stack([torch.zeros_like(score), score], -1)

    def training_losses(self, batch: TaskBatch) -> Tensor:
        """(T,) `sharp_loss` and a little cross-entropy."""
        outputs = self.outputs(self.adapt_batch(batch), batch.queries, batch.n_classes)
        score, weights = outputs[..., 1], batch.query_weights
        threat = batch.query_labels == 1
        entropy = (weights * softplus(torch.where(threat, -score, score))).sum(1)
        return sharp_loss(score, threat & (weights > 0), ~threat & (weights > 0)) + _CROSS_ENTROPY * entropy

    def query_losses(self, batch: TaskBatch) -> Tensor:
        """(T,) `sharp_loss` alone: what validation goes by."""
        outputs = self.outputs(self.adapt_batch(batch), batch.queries, batch.n_classes)
        inside, threat = batch.query_weights > 0, batch.query_labels == 1
        return sharp_loss(outputs[..., 1], threat & inside, ~threat & inside)


def sharp_loss(score: Tensor, threat: Tensor, benign: Tensor) -> Tensor:
    """(T,) how far benign rows outrank threats, most of all the benign rows that score highest.

    For every share q of `SHARP_ENDS` the mean of sigmoid(benign - threat) over all threats and the ceil(q n) highest of
    n benign rows: a smooth 1 - AUROC over false-positive rates up to q (partial AUROC: McClish 1989). Bounded, so that
    threats which cannot be told from benign rows do not pull all else with them.

    Args:
        score: (T, m).
        threat: (T, m) bool.
        benign: (T, m) bool; rows that are neither count for nothing.
    """
    losses = []
    for own, is_threat, is_benign in zip(score, threat, benign, strict=True):
        high, low = own[is_threat], own[is_benign].sort(descending=True).values
        if not len(high) or not len(low):
            losses.append(own.sum() * 0.0)
            continue
        outranks = torch.sigmoid(low[None] - high[:, None]).mean(0)
        parts = [
            weight * outranks[: max(1, -(-int(share * 1000) * len(low) // 1000))].mean() for share, weight in SHARP_ENDS
        ]
        losses.append(torch.stack(parts).sum())
    return torch.stack(losses)
