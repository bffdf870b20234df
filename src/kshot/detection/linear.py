"""Class-balanced logistic regression by Newton's method, with every row's score had it been left out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, solve_triangular

Floats = NDArray[np.float64]
_STEPS = 30
_INTERCEPT_VARIANCE = 100.0
"""Of the prior on the intercept where it is one more column: as good as free."""


@dataclass(frozen=True, slots=True)
class Logistic:
    """One threat against the reference."""

    weights: Floats
    """(d,)"""
    intercept: float

    def scores(self, rows: Floats) -> Floats:
        """(n,) log-odds."""
        out: Floats = rows @ self.weights + self.intercept
        return out


def fit_logistic(rows: Floats, positive: NDArray[np.bool_], penalty: float) -> tuple[Logistic, Floats]:
    """Fit on (n, d) rows, both classes weighing n / 2; return it and (n,) approximate leave-one-out scores.

    Minimises sum_i c_i log(1 + exp(-y_i f_i)) + penalty / 2 |w|^2. The leave-one-out scores are one Newton step
    from the full fit (Pregibon 1981): f_i + g_i h_i / (1 - v_i h_i), g and v the slopes of its loss, h_i its leverage.
    """
    n = len(rows)
    design = np.column_stack([rows, np.ones(n)])
    ridge = np.append(np.full(rows.shape[1], penalty), 1e-6)
    weight = np.where(positive, n / (2.0 * max(1, positive.sum())), n / (2.0 * max(1, (~positive).sum())))
    target = positive.astype(np.float64)
    theta = np.zeros(design.shape[1])

    def objective(scores: Floats, at: Floats) -> float:
        margin = np.where(positive, scores, -scores)
        return float(weight @ np.logaddexp(0.0, -margin) + 0.5 * ridge @ (at * at))

    scores = design @ theta
    value = objective(scores, theta)
    for _ in range(_STEPS):
        gradient, curvature = _slopes(scores, target, weight)
        step = cho_solve(_factor(design, curvature, ridge), design.T @ gradient + ridge * theta, check_finite=False)
        size = 1.0
        while True:
            tried = theta - size * step
            tried_scores = design @ tried
            tried_value = objective(tried_scores, tried)
            if tried_value <= value or size < 1e-4:
                break
            size *= 0.5
        gained = value - tried_value
        theta, scores, value = tried, tried_scores, tried_value
        if gained < 1e-7 * max(1.0, value):
            break
    gradient, curvature = _slopes(scores, target, weight)
    lower, _ = _factor(design, curvature, ridge)
    leverage = (solve_triangular(lower, design.T, lower=True, check_finite=False) ** 2).sum(0)
    left_out = scores + gradient * leverage / np.maximum(1.0 - curvature * leverage, 0.05)
    return Logistic(theta[:-1], float(theta[-1])), left_out


def _factor(design: Floats, curvature: Floats, ridge: Floats) -> tuple[Floats, bool]:
    """Cholesky factor of the Hessian, as `cho_solve` takes it."""
    rooted = design * np.sqrt(curvature)[:, None]
    hessian = rooted.T @ rooted  # of one matrix with itself: half the work
    hessian[np.diag_indices_from(hessian)] += ridge
    factor: tuple[Floats, bool] = cho_factor(hessian, lower=True, overwrite_a=True, check_finite=False)
    return factor


def _slopes(scores: Floats, target: Floats, weight: Floats) -> tuple[Floats, Floats]:
    p = 0.5 * (1.0 + np.tanh(0.5 * scores))
    return weight * (p - target), weight * np.maximum(p * (1.0 - p), 1e-9)


def fit_kernel_logistic(gram: Floats, positive: NDArray[np.bool_], penalty: float) -> tuple[Floats, float, Floats]:
    """Do the same through (n, n) inner products, for rows with far more columns than there are rows.

    Returns (n,) weights a, so that a row's score is its inner products with the fitted rows times a, plus the
    intercept (second), and (n,) leave-one-out scores. Newton steps as in Rasmussen and Williams 2006, algorithm 3.1.
    """
    n = len(gram)
    kernel = gram / penalty + _INTERCEPT_VARIANCE
    weight = np.where(positive, n / (2.0 * max(1, positive.sum())), n / (2.0 * max(1, (~positive).sum())))
    target = positive.astype(np.float64)
    dual = np.zeros(n)
    scores = np.zeros(n)
    value = np.inf
    for _ in range(_STEPS):
        gradient, curvature = _slopes(scores, target, weight)
        root = np.sqrt(curvature)
        factor = cho_factor(np.eye(n) + root[:, None] * kernel * root, lower=True, check_finite=False)
        wanted = curvature * scores - gradient
        step = wanted - root * cho_solve(factor, root * (kernel @ wanted), check_finite=False) - dual
        size = 1.0
        while True:
            tried = dual + size * step
            tried_scores = kernel @ tried
            loss = weight @ np.logaddexp(0.0, np.where(positive, -tried_scores, tried_scores))
            tried_value = float(loss + 0.5 * tried @ tried_scores)
            if tried_value <= value or size < 1e-4:
                break
            size *= 0.5
        gained, value, dual, scores = value - tried_value, tried_value, tried, tried_scores
        if gained < 1e-7 * max(1.0, value):
            break
    gradient, curvature = _slopes(scores, target, weight)
    root = np.sqrt(curvature)
    factor = cho_factor(np.eye(n) + root[:, None] * kernel * root, lower=True, check_finite=False)
    half = root[:, None] * kernel
    leverage = np.diag(kernel) - np.einsum("ij,ij->j", half, cho_solve(factor, half, check_finite=False))
    left_out = scores + gradient * leverage / np.maximum(1.0 - curvature * leverage, 0.05)
    return dual / penalty, float(_INTERCEPT_VARIANCE * dual.sum()), left_out
