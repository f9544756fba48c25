"""How faithful a map is: deletion and insertion (Petsiuk et al., RISE, BMVC 2018) against chance.

Deletion takes the pixels away, those that the map calls most important first, and insertion brings
them back in that order. A faithful map makes the class's probability fall early (a low deletion
score) and rise early (a high insertion score). Random maps of the same grain show what chance does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from cerviclip.app.explain.scorer import Scorer

STEPS, RANDOM_MAPS = 15, 5
_BATCH = 16  # images of a curve at a time


@dataclass(frozen=True)
class Faithfulness:
    """Areas under the curves of the class's probability, 0-1.

    Attributes:
        deletion: of the map; lower is better.
        insertion: of the map; higher is better.
        random_deletion: mean over random maps.
        random_insertion: mean over random maps.
        beats_deletion: share of the random maps that the map is better than, 0-1; ties count half.
        beats_insertion: the same for insertion.
        steps: parts in which the pixels go.
        random_maps: their number.
    """

    deletion: float
    insertion: float
    random_deletion: float
    random_insertion: float
    beats_deletion: float
    beats_insertion: float
    steps: int
    random_maps: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def faithfulness(
    scorer: Scorer,
    view_map: np.ndarray,
    label: int,
    grid: tuple[int, int],
    steps: int = STEPS,
    random_maps: int = RANDOM_MAPS,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Faithfulness:
    """The scores of a map of the model's view.

    Args:
        scorer: the image and the model.
        view_map: (h, w).
        label: index of the class.
        grid: rows and columns that the map was made of; random maps have as many.
        steps: parts in which the pixels go.
        random_maps: to compare with.
        seed: of the random maps.
        progress: called with curves done and all curves.
    """
    ends = _Ends(scorer)
    total, done = 1 + random_maps, 0

    def areas(one: np.ndarray) -> tuple[float, float]:
        nonlocal done
        found = tuple(
            curve_area(_curve(scorer, one, label, steps, *pair)) for pair in ends.deletion_insertion
        )
        done += 1
        if progress is not None:
            progress(done, total)
        return found[0], found[1]

    deletion, insertion = areas(view_map)
    draws = np.random.default_rng(seed)
    shape = (view_map.shape[0], view_map.shape[1])
    chance = np.array([areas(random_map(draws, grid, shape)) for _ in range(random_maps)])
    chance = chance.reshape(random_maps, 2)
    means = chance.mean(0) if random_maps else np.full(2, np.nan)
    return Faithfulness(
        *(deletion, insertion, float(means[0]), float(means[1])),
        *(_share(chance[:, 0] - deletion), _share(insertion - chance[:, 1])),
        *(steps, random_maps),
    )


def random_map(
    draws: np.random.Generator, grid: tuple[int, int], shape: tuple[int, int]
) -> np.ndarray:
    """Uniform noise on a grid, enlarged to (h, w) as maps are."""
    noise = torch.from_numpy(draws.random((1, 1, *grid)))
    return torch.nn.functional.interpolate(noise, size=shape, mode="bilinear")[0, 0].numpy()


def curve_area(values: np.ndarray) -> float:
    """Area under a curve over equal steps from 0 to 1 (trapezoids)."""
    return float((values[1:] + values[:-1]).mean() / 2)


def rank_steps(view_map: np.ndarray, steps: int) -> np.ndarray:
    """In which step (0 to ``steps`` - 1) each pixel (h, w) goes; equal numbers go in each.

    Pixels of equal weight go from above to below, as they lie.
    """
    order = np.argsort(-view_map.reshape(-1), kind="stable")
    places = np.empty(order.size, np.int64)
    places[order] = np.arange(order.size)
    return (places * steps // order.size).reshape(view_map.shape)


class _Ends:
    """What the pixels become: the mean colour for deletion, a blurred image before insertion."""

    def __init__(self, scorer: Scorer) -> None:
        pixels = scorer.pixels
        height, width = pixels.shape[-2:]
        sigma = min(height, width) / 16  # px; the cells and layers are gone
        kernel = 2 * round(2 * sigma) + 1
        blurred = gaussian_blur(pixels, [kernel, kernel], [sigma, sigma])
        mean = pixels.mean((2, 3), keepdim=True).expand_as(pixels)
        self.deletion_insertion = ((pixels, mean), (blurred, pixels))


def _curve(
    scorer: Scorer, view_map: np.ndarray, label: int, steps: int, start: Tensor, end: Tensor
) -> np.ndarray:
    """Probability of the class as ``start`` turns into ``end``, (steps + 1,)."""
    turn = torch.from_numpy(rank_steps(view_map, steps))
    found = []
    for first in range(0, steps + 1, _BATCH):
        upto = torch.arange(first, min(first + _BATCH, steps + 1))
        turned = (turn < upto[:, None, None]).unsqueeze(1)  # (b, 1, h, w)
        found.append(scorer.probabilities(torch.where(turned, end, start))[:, label])
    return torch.cat(found).numpy()


def _share(better: np.ndarray) -> float:
    """Share of positive differences; zeros count half."""
    return float(((better > 0) + 0.5 * (better == 0)).mean()) if len(better) else float("nan")
