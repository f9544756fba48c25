"""Figures of one run: confusion matrices of all centres and the training curve.

A sweep draws a few hundred of them, so what all runs share (axes, class names) is drawn once and
kept as a picture; a run only adds its own cells and titles.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any
from unicodedata import east_asian_width

import numpy as np

from cerviclip.drawing.figure_fonts import fit_texts, take_fonts

INK, GRID, ABSENT = "#222222", "#dddddd", "#eeeeee"
CELL = 0.5  # inches


def run_figures(
    folder: Path, centers: Mapping[str, Any], history: Sequence[Mapping[str, Any]], title: str
) -> None:
    """Write ``confusion.png`` and, where something was trained by steps, ``history.png``."""
    shown = with_same_classes({name: e for name, e in centers.items() if e["n_images"]})
    if shown:
        classes = tuple(next(iter(shown.values()))["per_class"])
        template = confusion_template(tuple(shown), classes)
        counts = [np.array(entry["confusion_matrix"]) for entry in shown.values()]
        heads = [f"{name}: {e['accuracy']['value']:.1f} %" for name, e in shown.items()]
        save_png(folder / "confusion.png", template.render(counts, heads, title))
    if len(history) > 1:
        save_png(folder / "history.png", render_history(history, title))


def with_same_classes(centers: Mapping[str, Any]) -> dict[str, Any]:
    """The centres with a confusion matrix of the first one's classes: a coarser centre has none,
    new classes are others, and results of elsewhere may lack the names."""
    found = {
        name: entry
        for name, entry in centers.items()
        if entry.get("confusion_matrix") and entry.get("per_class")
    }
    classes = list(next(iter(found.values()))["per_class"]) if found else []
    return {name: e for name, e in found.items() if list(e["per_class"]) == classes}


def new_figure(width: float, height: float, dpi: int = 100) -> Any:
    """A figure outside pyplot, which would keep every figure of a sweep in memory. It shows names
    in Chinese where a font has them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = _figure_class()(figsize=(width, height), dpi=dpi)
    FigureCanvasAgg(figure)
    return figure


@lru_cache(maxsize=1)
def _figure_class() -> Any:
    from matplotlib.figure import Figure

    class WithFonts(Figure):
        def draw(self, renderer: Any) -> None:
            take_fonts(self)
            super().draw(renderer)

    return WithFonts


def open_frame(axes: Any) -> None:
    """Take away the frame's upper and right side."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def headline(text: str, width: float, *sizes: float) -> tuple[str, float]:
    """A figure's heading and the size of its letters: one line if it fits, else two smaller ones,
    with "…" in the middle if these do not hold it.

    Args:
        text: the heading.
        width: that it has, inches.
        sizes: points, from the wished one down; a letter takes about 0.55 of it.
    """
    shown, size, letters = text, sizes[0], 0
    for size in sizes:
        letters = max(20, int(72 * width / (0.55 * size)))
        shown = filled(text, letters)
        if shown.count("\n") <= (size < sizes[0]):
            return shown, size
    kept = len(text)
    while shown.count("\n") > 1 and kept > 2:
        kept -= 1  # the end says which run it is, and that data are phantoms
        shown = filled(f"{text[: kept // 2]}…{text[len(text) - kept + kept // 2 :]}", letters)
    return shown, size


_OF_WIDE = "\0"  # stands behind a letter of double width while lines are filled


def filled(text: str, letters: int) -> str:
    """A text in lines of so many letters; those of Chinese and its like take the place of two, and
    a line may end behind each."""
    wide = (char + _OF_WIDE if east_asian_width(char) in "WF" else char for char in text)
    lines = textwrap.fill("".join(wide), letters)
    return lines.replace(_OF_WIDE, "")


def save_png(path: Path, pixels: np.ndarray) -> None:
    """Write RGBA pixels, lightly compressed: time counts for more than bytes here."""
    from PIL import Image

    Image.fromarray(np.ascontiguousarray(pixels[..., :3])).save(path, compress_level=1)


@lru_cache(maxsize=4)
def confusion_template(centers: tuple[str, ...], classes: tuple[str, ...]) -> ConfusionTemplate:
    """The template for these centres and classes, made once per process."""
    return ConfusionTemplate(centers, classes)


class ConfusionTemplate:
    """Confusion matrices side by side: rows are true classes, shares of a row are shaded."""

    def __init__(self, centers: Sequence[str], classes: Sequence[str], dpi: int = 100) -> None:
        n, names = len(classes), [short_name(name) for name in classes]
        side = max(1.8, CELL * n)
        longest = max(len(name) for name in names)
        label, under = 0.35 + 0.07 * longest, 0.35 + 0.05 * longest
        width = label + len(centers) * (side + 0.25)
        height = side + under + 0.65
        self.figure = new_figure(width, height, dpi)
        self.images, self.texts, self.heads = [], [], []
        for i in range(len(centers)):
            left = label + i * (side + 0.25)
            box = (left / width, under / height, side / width, side / height)
            axes = self.figure.add_axes(box)
            self._frame(axes, names, labelled=i == 0)
            self.images.append(axes.imshow(np.zeros((n, n, 3)), animated=True))
            cell = {"ha": "center", "va": "center", "fontsize": 7, "animated": True}
            self.texts.append([axes.text(k % n, k // n, "", **cell) for k in range(n * n)])
            head = axes.set_title("", fontsize=9, color=INK, pad=5)
            head.set_animated(True)
            self.heads.append(head)
        self.title = self.figure.suptitle("", fontsize=10, color=INK, y=1 - 0.12 / height)
        self.title.set_animated(True)
        self.figure.canvas.draw()
        self.background = self.figure.canvas.copy_from_bbox(self.figure.bbox)

    @staticmethod
    def _frame(axes: Any, names: Sequence[str], labelled: bool) -> None:
        ticks = range(len(names))
        axes.set_xticks(ticks, names, rotation=45, ha="right", rotation_mode="anchor", fontsize=7)
        axes.set_yticks(ticks, names if labelled else [""] * len(names), fontsize=7)
        axes.tick_params(length=0)
        axes.set_xlabel("predicted", fontsize=8, color=INK)
        if labelled:
            axes.set_ylabel("true", fontsize=8, color=INK)
        for spine in axes.spines.values():
            spine.set_color(GRID)

    def fill(self, counts: Sequence[np.ndarray], heads: Sequence[str], title: str) -> list[Any]:
        """Put one run's numbers in; returns the artists that show them."""
        from matplotlib import colormaps

        shown: list[Any] = [self.title]
        words, size = headline(title, self.figure.get_figwidth() - 0.1, 10, 8, 6.5)
        self.title.set(text=words, fontsize=size)
        panels = zip(self.images, self.texts, self.heads, counts, heads, strict=True)
        for image, texts, head, count, words in panels:
            support = count.sum(axis=1, keepdims=True)
            share = np.divide(count, support, out=np.zeros(count.shape), where=support > 0)
            colours = colormaps["Blues"](0.9 * share)[..., :3]
            colours[support[:, 0] == 0] = [int(ABSENT[i : i + 2], 16) / 255 for i in (1, 3, 5)]
            image.set_data(colours)
            head.set_text(words)
            shown += [image, head]
            for text, number, part in zip(texts, count.ravel(), share.ravel(), strict=True):
                text.set_text(str(number) if number else "")
                text.set_color("white" if part > 0.55 else INK)
                shown += [text] if number else []
        return shown

    def render(self, counts: Sequence[np.ndarray], heads: Sequence[str], title: str) -> np.ndarray:
        """RGBA pixels of one run's matrices."""
        canvas = self.figure.canvas
        canvas.restore_region(self.background)
        renderer = canvas.get_renderer()
        shown = self.fill(counts, heads, title)
        fit_texts([self.title, *self.heads])
        for artist in shown:
            artist.draw(renderer)
        return np.asarray(canvas.buffer_rgba())

    def save(
        self, path: Path, counts: Sequence[np.ndarray], heads: Sequence[str], title: str
    ) -> None:
        """Write the figure in any of matplotlib's formats."""
        for artist in self.fill(counts, heads, title):
            artist.set_animated(False)
        self.figure.savefig(path)


_SHORT = {"high-grade squamous intraepithelial lesion": "HSIL"}


def plain_name(name: str) -> str:
    """A class name as people read it: blanks, and the short form that the field uses."""
    name = name.replace("_", " ")
    return _SHORT.get(name, name)


def short_name(name: str, limit: int = 18) -> str:
    """A class name short enough for a tick."""
    name = plain_name(name)
    return name if len(name) <= limit else name[: limit - 1] + "…"


def render_history(history: Sequence[Mapping[str, Any]], title: str) -> np.ndarray:
    """RGBA pixels of the losses over epochs, and of val accuracy where it was measured."""
    figure = new_figure(5.2, 2.8, dpi=90)
    axes = figure.add_axes((0.12, 0.17, 0.76, 0.7))
    x = [row.get("epoch", i + 1) for i, row in enumerate(history)]
    words, size = headline(title, 4.8, 9, 7.5, 6.5)
    axes.set_title(words, fontsize=size, color=INK)
    axes.set_xlabel("epoch", fontsize=8)
    axes.set_ylabel("loss", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.grid(color=GRID, lw=0.5)
    keys = [key for key in history[-1] if "loss" in key and _is_number(history[-1][key])]
    for key in keys:
        axes.plot(x, [row.get(key, np.nan) for row in history], label=key, lw=1.4)
    val = [row.get("val_accuracy", np.nan) for row in history]
    if np.isfinite(val).any():
        right = axes.twinx()
        right.plot(x, val, color="#009E73", marker=".", lw=1.2)
        right.set_ylabel("val accuracy (%)", fontsize=8, color="#009E73")
        right.tick_params(labelsize=7)
    if len(keys) > 1:
        axes.legend(fontsize=7, frameon=False)
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
