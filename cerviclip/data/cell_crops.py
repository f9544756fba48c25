"""Cells cut out of fields of view around points, with a check that the points fit the pictures.

Lists of nuclei go round with pictures that somebody has resized. Crops made of the two together
show no nuclei, and nothing fails. But nuclei are the darkest things in a cell: where the points
fit, they lie on darker ground than what surrounds them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

Point = tuple[float, float]
DARK = 10.0  # grey levels (of 255) by which nuclei are darker than their surround, at least
_NUCLEUS, _SURROUND = 4, 30  # half sides in px of the squares that are compared
_ALIKE = 0.8  # a scale of 1 is kept where it is nearly as good as the best one


@dataclass(frozen=True)
class Scale:
    """How a list's coordinates become a picture's.

    Attributes:
        x, y: factors.
        dark: by how many grey levels nuclei are darker than their surround with these factors.
        unscaled: the same with the coordinates as they are.
    """

    x: float
    y: float
    dark: float
    unscaled: float


class Field:
    """Grey means over squares of one picture."""

    def __init__(self, pixels: np.ndarray) -> None:
        """Args: pixels: (height, width) or (height, width, 3), 0-255."""
        grey = pixels.mean(axis=2) if pixels.ndim == 3 else pixels.astype(float)
        self.height, self.width = grey.shape
        self._sums = np.pad(grey.cumsum(0).cumsum(1), ((1, 0), (1, 0)))

    def darkness(self, points: np.ndarray) -> np.ndarray:
        """Surround minus nucleus in grey levels; 0 for a point outside the picture.

        Args:
            points: (P, 2), x and y in px.
        """
        x, y = np.rint(points).astype(int).T
        inside = (0 <= x) & (x < self.width) & (0 <= y) & (y < self.height)
        x, y = x.clip(0, self.width - 1), y.clip(0, self.height - 1)
        return inside * (self._mean(x, y, _SURROUND) - self._mean(x, y, _NUCLEUS))

    def _mean(self, x: np.ndarray, y: np.ndarray, half: int) -> np.ndarray:
        left, right = (x - half).clip(0), (x + half + 1).clip(max=self.width)
        top, low = (y - half).clip(0), (y + half + 1).clip(max=self.height)
        s = self._sums
        total = s[low, right] - s[top, right] - s[low, left] + s[top, left]
        return total / ((right - left) * (low - top))


def fit_scale(
    fields: Iterable[tuple[np.ndarray, Sequence[Point]]], frame: tuple[int, int]
) -> Scale:
    """The factors for coordinates with which nuclei are darkest against their surround.

    Looked for within 5 % of what the pictures' sizes say, and at 1.

    Args:
        fields: pictures of equal width, each with the points of its nuclei.
        frame: (width, height) in px of the pictures that the points were set in.
    """
    looked = [(Field(pixels), np.asarray(points, float)) for pixels, points in fields]
    number = sum(len(points) for _, points in looked)

    def dark(x: float, y: float) -> float:
        return float(sum(f.darkness(p * (x, y)).sum() for f, p in looked) / number)

    unscaled = dark(1.0, 1.0)
    if unscaled >= DARK and all((f.width, f.height) == frame for f, _ in looked):
        return Scale(1.0, 1.0, unscaled, unscaled)
    width = np.median([f.width for f, _ in looked]) / frame[0]
    height = np.median([f.height for f, _ in looked]) / frame[1]
    steps = np.linspace(0.95, 1.05, 21)
    best = max((dark(width * a, height * b), width * a, height * b) for a in steps for b in steps)
    if unscaled >= _ALIKE * best[0]:
        return Scale(1.0, 1.0, unscaled, unscaled)
    return Scale(float(best[1]), float(best[2]), best[0], unscaled)


def cut(pixels: np.ndarray, x: float, y: float, width: int, height: int) -> np.ndarray:
    """A crop around a point; what lies outside the picture is mirrored at its border.

    Args:
        pixels: (picture height, picture width, 3).
        x, y: the crop's centre in px, inside the picture.
        width, height: of the crop in px.
    """

    def read(left: int, top: int, wide: int, tall: int) -> np.ndarray:
        return pixels[top : top + tall, left : left + wide]

    return cut_from(read, (pixels.shape[1], pixels.shape[0]), x, y, width, height)


def cut_from(
    read: Callable[[int, int, int, int], np.ndarray],
    size: tuple[int, int],
    x: float,
    y: float,
    width: int,
    height: int,
) -> np.ndarray:
    """`cut` of a picture that is too large to hold: only what the crop needs is read.

    Args:
        read: gives the pixels of (left, top, width, height), which lies inside the picture.
        size: (width, height) of the picture.
        x, y, width, height: as of `cut`.
    """
    rows = _mirrored(np.rint(y).astype(int) - height // 2 + np.arange(height), size[1])
    columns = _mirrored(np.rint(x).astype(int) - width // 2 + np.arange(width), size[0])
    top, left = int(rows.min()), int(columns.min())
    pixels = read(left, top, int(columns.max()) - left + 1, int(rows.max()) - top + 1)
    return pixels[np.ix_(rows - top, columns - left)]


def _mirrored(index: np.ndarray, size: int) -> np.ndarray:
    """Indices beyond 0 and size - 1 thrown back, the border itself not doubled."""
    period = max(2 * size - 2, 1)
    folded = np.abs(index) % period
    return np.where(folded < size, folded, period - folded)
