"""Occlusion (Zeiler & Fergus, ECCV 2014, arXiv:1311.2901): how much the answer for a class falls
when a window of the view is covered. It needs no gradient and no layer, so every model has it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from cerviclip.app.explain.scorer import Scorer, log_odds

CELLS = 8  # a side of the view; the map's grain
_WINDOW = 2  # cells a side
_BATCH = 16  # covered images at a time


def occlusion(
    scorer: Scorer, label: int, progress: Callable[[int, int], None] | None = None
) -> np.ndarray:
    """Fall of the class's log-odds (`CELLS`, `CELLS`), the mean over the windows on each cell; 0
    where covering it raises them.

    A window becomes the mean colour of the view, as deletion's pixels do.

    Args:
        label: index of the class.
        progress: called with passes done and all passes.
    """
    windows = list(_windows())
    pixels, score = scorer.pixels, log_odds(label)
    mean = pixels.mean((2, 3), keepdim=True)
    rows, columns = (_edges(length) for length in scorer.size)
    falls = np.zeros(len(windows))
    with torch.no_grad():
        whole = score(scorer.logits(pixels)[0]).item()
        for start in range(0, len(windows), _BATCH):
            some = windows[start : start + _BATCH]
            covered = pixels.repeat(len(some), 1, 1, 1)
            for one, (top, left) in zip(covered, some, strict=True):
                inside = slice(rows[top], rows[top + _WINDOW])
                one[:, inside, columns[left] : columns[left + _WINDOW]] = mean[0]
            said = scorer.logits(covered)
            falls[start : start + len(some)] = [whole - score(row).item() for row in said]
            if progress is not None:
                progress(start + len(some), len(windows))
    return _mean_by_cell(windows, falls).clip(0)


def _windows() -> Iterator[tuple[int, int]]:
    """Upper left cell of each window, all of which lie in the view."""
    last = CELLS - _WINDOW
    return ((top, left) for top in range(last + 1) for left in range(last + 1))


def _edges(length: int) -> list[int]:
    """Where cells begin and end, px."""
    return [round(length * i / CELLS) for i in range(CELLS + 1)]


def _mean_by_cell(windows: list[tuple[int, int]], falls: np.ndarray) -> np.ndarray:
    total, count = np.zeros((CELLS, CELLS)), np.zeros((CELLS, CELLS))
    for (top, left), fall in zip(windows, falls, strict=True):
        total[top : top + _WINDOW, left : left + _WINDOW] += fall
        count[top : top + _WINDOW, left : left + _WINDOW] += 1
    return total / count
