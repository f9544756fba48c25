"""Smooth random fields that neighbouring frames of one volume share."""

from __future__ import annotations

from functools import lru_cache

import numpy as np


@lru_cache(maxsize=256)
def spline_basis(length: int, cells: int) -> np.ndarray:
    """Cubic B-spline basis over ``length`` samples, ``(length, cells + 3)``.

    Rows have unit norm, so independent unit normals as coefficients give unit variance everywhere.
    """
    u = np.linspace(0.0, cells, length, endpoint=False, dtype=np.float64)
    left = np.floor(u).astype(int)
    t = u - left
    weights = np.stack(
        [
            (1 - t) ** 3,
            3 * t**3 - 6 * t**2 + 4,
            -3 * t**3 + 3 * t**2 + 3 * t + 1,
            t**3,
        ],
        axis=1,
    )
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    basis = np.zeros((length, cells + 3), dtype=np.float32)
    rows = np.arange(length)
    for k in range(4):
        basis[rows, left + k] = weights[:, k]
    return basis


class VolumeFields:
    """Random fields of one patient, seen at one position of the scan.

    Each named field turns slowly from one random pattern into another as the position moves, at
    constant variance, so frames of a patient look alike without being copies.

    Args:
        seed: entropy of the patient's anatomy (a sequence of integers).
        position: place of the frame in the volume, in radians of that turn.
    """

    def __init__(self, seed: tuple[int, ...], position: float) -> None:
        self._seed = seed
        self._cos = float(np.cos(position))
        self._sin = float(np.sin(position))

    def _coefficients(self, key: int, shape: tuple[int, ...]) -> np.ndarray:
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([*self._seed, key])))
        pair = rng.standard_normal((2, *shape), dtype=np.float32)
        return self._cos * pair[0] + self._sin * pair[1]

    def line(self, key: int, length: int, scale: float) -> np.ndarray:
        """Unit-variance curve ``(length,)`` whose features are about ``scale`` px wide."""
        basis = spline_basis(length, max(1, round(length / scale)))
        return _product(basis, self._coefficients(key, (basis.shape[1],)))

    def plane(
        self, key: int, height: int, width: int, scale_y: float, scale_x: float
    ) -> np.ndarray:
        """Unit-variance field ``(height, width)``, features about ``scale_y x scale_x`` px."""
        rows = spline_basis(height, max(1, round(height / scale_y)))
        cols = spline_basis(width, max(1, round(width / scale_x)))
        inner = _product(rows, self._coefficients(key, (rows.shape[1], cols.shape[1])))
        return _product(inner, cols.T)


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``a @ b`` of finite numbers. numpy was seen to warn here of an invalid value, once and not
    again, so the numbers themselves are asked."""
    with np.errstate(invalid="ignore"):
        found = a @ b
    if not np.isfinite(found).all():
        raise FloatingPointError("a product of finite matrices is not finite")
    return found
