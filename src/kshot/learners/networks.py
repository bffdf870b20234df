"""Networks that score rows one by one: of any schema through its cells, or of plain numbers."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from kshot.learners.encoding import N_CHANNELS
from kshot.learners.reading import LearnerInputError

PRESENT = 0
"""The channel that tells a true column from padding."""


class EmbeddingNetwork(nn.Module):
    """A network in two parts: an embedding of each row, and a linear `head` on it. Metric learners use the first."""

    head: nn.Linear

    def embed(self, rows: Tensor) -> Tensor:
        """(..., *F) rows -> (..., E)."""
        raise NotImplementedError

    def forward(self, rows: Tensor) -> Tensor:
        """(..., *F) rows -> (..., n_outputs)."""
        out: Tensor = self.head(self.embed(rows))
        return out


class RowNetwork(EmbeddingNetwork):
    """Rows of any schema -> outputs: a shared cell network, columns pooled by learned gates, a row network, a head.

    Each gate is a softmax over the columns of what their cells say, so columns may come in any order and number
    (Zaheer et al. 2017, Deep Sets; the gates as in attention pooling, Lee et al. 2019).
    """

    def __init__(self, n_outputs: int = 2, width: int = 32, gates: int = 4) -> None:
        super().__init__()
        self.cell = nn.Sequential(nn.Linear(N_CHANNELS, width), nn.GELU(), nn.Linear(width, width), nn.GELU())
        self.gate = nn.Linear(width, gates)
        self.row = nn.Sequential(nn.Linear(width * gates, width), nn.GELU())
        self.head = nn.Linear(width, n_outputs)

    def embed(self, rows: Tensor) -> Tensor:
        """(..., d, channels) -> (..., width)."""
        inside = rows[..., PRESENT : PRESENT + 1]
        hidden = self.cell(rows)
        shares = torch.softmax(self.gate(hidden) - 1e4 * (1.0 - inside), dim=-2)
        pooled = shares.transpose(-1, -2) @ hidden
        row: Tensor = self.row(pooled.flatten(-2))
        return row


class Perceptron(EmbeddingNetwork):
    """Rows of plain numbers -> outputs: the network of the sinusoid experiment (Finn et al. 2017, section 5.1)."""

    def __init__(self, n_inputs: int = 1, n_outputs: int = 1, width: int = 40, layers: int = 2) -> None:
        super().__init__()
        sizes = [n_inputs] + [width] * layers
        steps = [nn.Sequential(nn.Linear(a, b), nn.ReLU()) for a, b in pairwise(sizes)]
        self.body = nn.Sequential(*steps)
        self.head = nn.Linear(width, n_outputs)

    def embed(self, rows: Tensor) -> Tensor:
        """(..., n_inputs) -> (..., width)."""
        hidden: Tensor = self.body(rows)
        return hidden


def head_names(network: nn.Module) -> frozenset[str]:
    """Names of the parameters of the last layer: those under `head`, else those of the last module with any."""
    names = [name for name, _ in network.named_parameters()]
    of_head = [name for name in names if name.split(".")[0] == "head"]
    last = names[-1].rpartition(".")[0] if names else ""
    return frozenset(of_head or [name for name in names if name.rpartition(".")[0] == last])


def network_from(path: str, settings: Mapping[str, Any] | None = None) -> nn.Module:
    """Make the network that `package.module:Class` names.

    Raises:
        LearnerInputError: there is none there, or its constructor refuses the settings.
    """
    module_name, colon, class_name = path.partition(":")
    if not colon or not module_name or not class_name:
        raise LearnerInputError(f"--model {path}: name it as package.module:Class")
    try:
        found = getattr(importlib.import_module(module_name), class_name, None)
    except ImportError as error:
        raise LearnerInputError(f"--model {path}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise LearnerInputError(f"--model {path}: {class_name} is no torch.nn.Module of {module_name}")
    try:
        return found(**(settings or {}))
    except TypeError as error:
        raise LearnerInputError(f"--model {path}: {error}") from error
