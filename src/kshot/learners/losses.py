"""The losses an episode can carry, on the outputs of one task."""

from __future__ import annotations

import torch
from torch import Tensor

from kshot.episodes.episode import Loss


def weighted_loss(outputs: Tensor, labels: Tensor, weights: Tensor, loss: Loss, n_classes: int) -> Tensor:
    """Loss of (n, O) outputs against (n,) labels, weighted by (n,) weights that sum to 1; a scalar.

    Binary and multi-class: cross-entropy over the first `n_classes` outputs (two are the same as a sigmoid of their
    difference). Squared error: of the first output. Written for one task, so that `vmap` can run many.
    """
    if loss == "squared-error":
        return (weights * (outputs[:, 0] - labels) ** 2).sum()
    log_shares = torch.log_softmax(outputs[:, :n_classes], -1)
    return -(weights * log_shares.gather(1, labels[:, None])[:, 0]).sum()


def threat_scores(outputs: Tensor, n_classes: int, *, benign: bool) -> Tensor:
    """(..., O) outputs -> (..., W - 1) log-odds of each threat against benign; regression: (..., 1) values.

    Without `benign` rows in the task there is nothing to be against: log shares of the threats among each other.
    """
    if not n_classes:
        return outputs[..., :1]
    if not benign:
        return torch.log_softmax(outputs[..., 1:n_classes], -1) if n_classes > 2 else outputs[..., 1:2]
    return outputs[..., 1:n_classes] - outputs[..., :1]
