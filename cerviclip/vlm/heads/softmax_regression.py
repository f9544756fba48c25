"""Multinomial logistic regression along a grid of penalties: one solver, started warm.

The fit of each C is the start of the next, weaker penalty's, by Newton steps whose equations are
solved by conjugate gradients (Nocedal and Wright, Numerical Optimization, algorithm 7.1) in the
basis of the features' principal axes. There the Hessian is nearly diagonal, so its diagonal is the
preconditioner, and with fewer rows than features there are only as many axes as rows.

The products are small, so BLAS keeps to one thread: two that wait for each other take many times
as long where other processes run, and the sums no longer depend on the number of threads.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from dassl.errors import UserError

TOLERANCE = 1e-4  # of the weights, relative
_ROUNDING = 1e-13  # of a gradient, beside the size of the rows
_FORCING = 0.1  # by how much conjugate gradients must lessen a Newton equation's residual
_MOST_PRODUCTS = 500  # of the Hessian with a vector in one Newton step
_SMALLEST_STEP = 1e-8


class SoftmaxPath:
    """The rows, and the fits of one penalty after the other.

    Args:
        features: (N, D), of zero mean or near it.
        labels: (N,) in 0..C-1, every class present.
        max_iter: Newton steps for each penalty.
    """

    def __init__(self, features: np.ndarray, labels: np.ndarray, max_iter: int) -> None:
        self.max_iter = max_iter
        rows, self.axes = principal(features)
        self.rows = np.concatenate([rows, np.ones((len(rows), 1))], axis=1)  # the bias is last
        self.size = np.linalg.norm(self.rows)
        self.squares = np.ascontiguousarray((self.rows**2).T)
        # Newton's direction need not be exact: its products are made in half the memory.
        self.short = self.rows.astype(np.float32)
        self.short_t = np.ascontiguousarray(self.short.T)
        self.targets = np.eye(labels.max() + 1)[labels]
        self.weights = np.zeros((self.rows.shape[1], self.targets.shape[1]))
        self.weights[-1] = np.log(self.targets.mean(axis=0))

    def fit(self, c: float) -> tuple[np.ndarray, np.ndarray]:
        """Weight (C, D) and bias (C,) at the inverse penalty ``c``, from where the last fit ended.

        Minimises  sum_n -log softmax(W x_n + b)[y_n] + |W|^2 / (2 c).
        """
        penalty = np.full((len(self.weights), 1), 1 / c)
        penalty[-1] = 0
        loss, gradient, probs = self._loss(self.weights, penalty)
        for _ in range(self.max_iter):
            if self._near(gradient, c):
                break
            step = self._direction(gradient, probs, penalty)
            slope, size = float((gradient * step).sum()), 1.0
            while True:
                weights = self.weights + size * step
                found = self._loss(weights, penalty)
                if found[0] <= loss + 1e-4 * size * slope or size < _SMALLEST_STEP:
                    break
                size /= 2
            if size < _SMALLEST_STEP:  # rounding is all that is left
                break
            self.weights, (loss, gradient, probs) = weights, found
        else:
            warnings.warn(
                f"logistic regression with C = {c:g} has not converged in {self.max_iter} Newton "
                "steps; give it more, or a smaller C",
                stacklevel=2,
            )
        bias = self.weights[-1] - self.weights[-1].mean()
        return self.weights[:-1].T @ self.axes.T, bias

    def _near(self, gradient: np.ndarray, c: float) -> bool:
        """Whether the weights are within the tolerance: the loss is curved by 1 / c or more, so
        |W - W*| <= c |gradient|."""
        size = np.linalg.norm(gradient)
        if size <= _ROUNDING * self.size:
            return True
        return bool(c * size <= TOLERANCE * np.linalg.norm(self.weights[:-1]))

    def _loss(
        self, weights: np.ndarray, penalty: np.ndarray
    ) -> tuple[float, np.ndarray, np.ndarray]:
        """Loss, its gradient (R, C), and probabilities (N, C)."""
        logits = self.rows @ weights
        logits -= logits.max(axis=1, keepdims=True)
        probs = np.exp(logits)
        sums = probs.sum(axis=1, keepdims=True)
        probs /= sums
        of_true = (logits * self.targets).sum() - np.log(sums).sum()
        loss = 0.5 * (penalty * weights**2).sum() - of_true
        return float(loss), self.rows.T @ (probs - self.targets) + penalty * weights, probs

    def _direction(
        self, gradient: np.ndarray, probs: np.ndarray, penalty: np.ndarray
    ) -> np.ndarray:
        """Newton's direction (R, C), nearly: H step = -gradient by conjugate gradients."""
        curvature = self.squares @ (probs * (1 - probs)) + penalty
        curvature = np.maximum(curvature, 1e-9).astype(np.float32)
        probs, penalty = probs.astype(np.float32), penalty.astype(np.float32)
        scale = float(np.abs(gradient).max()) or 1.0  # short floats end at 1e-38
        residual = (-gradient / scale).astype(np.float32)
        step = np.zeros_like(residual)
        along = eased = residual / curvature
        first = now = float((residual * eased).sum())
        for _ in range(_MOST_PRODUCTS):
            change = probs * (self.short @ along)
            change -= probs * change.sum(axis=1, keepdims=True)
            product = self.short_t @ change + penalty * along
            bend = float((along * product).sum())
            if bend <= 0:  # by rounding: the loss is convex
                break
            step += (now / bend) * along
            residual -= (now / bend) * product
            eased = residual / curvature
            before, now = now, float((residual * eased).sum())
            if now <= _FORCING**2 * first:
                break
            along = eased + (now / before) * along
        return step.astype(np.float64) * scale


def principal(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows (N, R) in the basis of the features' principal axes (D, R), R <= min(N, D).

    ``features = rows @ axes.T``. An axis along which nothing differs is left out: a penalised
    weight along it is zero.
    """
    if len(features) > features.shape[1]:
        _, axes = np.linalg.eigh(features.T @ features)
        return features @ axes, axes
    left, sizes, right = np.linalg.svd(features, full_matrices=False)
    kept = sizes > sizes[0] * 1e-12
    return left[:, kept] * sizes[kept], right[kept].T


def fit_path(
    features: np.ndarray, labels: np.ndarray, cs: Sequence[float], max_iter: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weight (C, D) and bias (C,) for each of ``cs``, in their order; see `SoftmaxPath`.

    Raises:
        UserError: features that are not finite, or a C that is not above 0.
    """
    from threadpoolctl import threadpool_limits

    if not np.isfinite(features).all():
        raise UserError("the training images' features are not finite; check weights and precision")
    if not all(0 < c < np.inf for c in cs):
        raise UserError(f"inverse penalties C are {list(cs)}; each must be above 0 and finite")
    found: dict[float, tuple[np.ndarray, np.ndarray]] = {}
    with threadpool_limits(limits=1, user_api="blas"):
        path = SoftmaxPath(features, labels, max_iter)
        for c in sorted(set(cs)):
            found[c] = path.fit(c)
    return [found[c] for c in cs]
