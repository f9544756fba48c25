"""Where tissue begins in an OCT B-scan: a classical detector that needs no training.

A catheter's B-scan shows, from the top: dark water, the probe's sheath (two bright lines with dim,
speckled plastic between them), perhaps a dark gap, then tissue. The sheath is as bright as tissue,
so a threshold alone takes it for tissue. The detector traces three rows through all columns at
once: where the water ends, the sheath's lower line, and the first echo of tissue below that.
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter, uniform_filter

# The grid on which rows are traced: averaging a frame down to it suppresses the speckle.
ROWS, COLUMNS = 224, 56
# Grey levels between the darkest and the brightest parts below which a frame shows nothing.
_MIN_CONTRAST = 8.0
_MAX_SHEATH = 76  # rows of the grid below the upper line in which the lower one is sought
_MAX_GAP = 20  # rows below the sheath in which tissue may begin
_MIN_RIDGE = 0.03  # mean contrast of the lower line; below it the frame has no sheath


def tissue_surface(image: np.ndarray) -> np.ndarray | None:
    """First row of tissue in each column.

    Args:
        image: grey (H, W), any size, uint8.

    Returns:
        Rows (W,) as floats, or None where the frame shows no tissue.
    """
    grid = _grid(image)
    low, high = np.percentile(grid, (5, 98))
    if high - low < _MIN_CONTRAST:
        return None
    echo = np.clip((grid - low) / (high - low), 0, None)
    water_end = _water_end(echo)
    start = _below_sheath(echo, water_end)
    height, width = image.shape
    at = (np.arange(width) + 0.5) * COLUMNS / width - 0.5
    return np.interp(at, np.arange(COLUMNS), start) * (height / ROWS)


def tissue_mask(image: np.ndarray) -> np.ndarray | None:
    """Boolean mask (H, W) of everything below the tissue surface, or None where none is found."""
    surface = tissue_surface(image)
    if surface is None:
        return None
    return np.arange(image.shape[0])[:, None] >= np.rint(surface)[None]


def _grid(image: np.ndarray) -> np.ndarray:
    small = Image.fromarray(image).resize((COLUMNS, ROWS), Image.Resampling.BOX)
    return gaussian_filter(np.asarray(small, dtype=np.float32), 1.0)


def _water_end(echo: np.ndarray) -> np.ndarray:
    """Rows (COLUMNS,) of the sheath's upper edge: the strongest rise with only dark above it."""
    means = _row_means(echo)
    rise = np.clip(means(0, 5) - means(-15, 0), 0, 0.5)
    brightest_above = np.maximum.accumulate(uniform_filter(echo, 5), axis=0)
    not_dark = np.clip(np.roll(brightest_above, 6, axis=0) - 0.12, 0, 1)
    return trace(rise - 2.0 * not_dark, max_step=2)


def _below_sheath(echo: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Rows of the first tissue, given those of the sheath's upper edge."""
    means = _row_means(_straightened(echo, upper, _MAX_SHEATH), before=_PAD)
    line, above, below = means(-1, 2), means(-6, -2), means(3, 7)
    ridge = np.clip(line - np.maximum(above, (above + below) / 2), -0.1, 0.3)
    profile = ridge.mean(1)
    upper_line = int(line[:8].mean(1).argmax())  # the traced edge lies a little above the line
    profile[: upper_line + 5] = -1.0
    if profile.max() < _MIN_RIDGE:
        return upper.astype(np.float32)  # no sheath in this frame: tissue meets water
    score = ridge + 0.5 * profile[:, None]
    score[: upper_line + 5] = -1.0
    lower = upper + trace(score, max_step=1)

    means = _row_means(_straightened(echo, lower, 30), before=_PAD)
    depth = means(-1, 2)
    tissue = np.median(depth[14:], axis=0)
    gap = depth[3:8].min(0)
    rows = np.arange(4, 4 + _MAX_GAP)[:, None]
    begins = (depth[4 : 4 + _MAX_GAP] >= (gap + tissue) / 2) & (rows >= depth[3:8].argmin(0) + 3)
    has_gap = (gap < 0.5 * tissue) & begins.any(0)
    return lower + np.where(has_gap, begins.argmax(0) + 4, 2).astype(np.float32)


_PAD = 8  # rows kept above and below a straightened band, for the means at its ends


def _straightened(echo: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """The band of ``count`` rows below ``rows``, its top edge made straight, with padding."""
    at = np.arange(-_PAD, count + _PAD)[:, None] + rows[None]
    return echo[np.clip(at, 0, echo.shape[0] - 1), np.arange(echo.shape[1])[None]]


def _row_means(values: np.ndarray, before: int = 0):
    """Function (a, b) -> means over rows r+a to r+b-1 for each row r (without the padding)."""
    count = values.shape[0]
    sums = np.concatenate([np.zeros_like(values[:1]), np.cumsum(values, axis=0)])
    rows = np.arange(before, count - before)

    def means(a: int, b: int) -> np.ndarray:
        first, last = np.clip(rows + a, 0, count), np.clip(rows + b, 0, count)
        return (sums[last] - sums[first]) / np.maximum(last - first, 1)[:, None]

    return means


def trace(score: np.ndarray, max_step: int, cost: float = 0.15) -> np.ndarray:
    """The path through all columns with the highest total score (dynamic programming).

    Args:
        score: (R, C).
        max_step: rows by which the path may change from one column to the next.
        cost: of each row of change.

    Returns:
        Rows (C,).
    """
    rows, columns = score.shape
    steps = np.arange(-max_step, max_step + 1)
    came_from = np.arange(rows)[None] + steps[:, None]  # (S, R)
    outside = (came_from < 0) | (came_from >= rows)
    came_from = np.clip(came_from, 0, rows - 1)
    penalty = np.where(outside, np.inf, cost * np.abs(steps)[:, None]).astype(np.float32)
    best = np.empty((columns, rows), dtype=np.int64)
    total = score[:, 0]
    index = np.arange(rows)
    for c in range(1, columns):
        candidates = total[came_from] - penalty
        choice = candidates.argmax(0)
        best[c] = came_from[choice, index]
        total = candidates[choice, index] + score[:, c]
    path = np.empty(columns, dtype=np.int64)
    path[-1] = total.argmax()
    for c in range(columns - 1, 0, -1):
        path[c - 1] = best[c, path[c]]
    return path
