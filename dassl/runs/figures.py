"""Figures of one run: confusion matrices of all centres and the training curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

INK, GRID = "#222222", "#dddddd"
PNG = {"compress_level": 1}  # a run's figures must cost next to nothing


def run_figures(
    folder: Path, centers: Mapping[str, Any], history: Sequence[Mapping[str, Any]], title: str
) -> None:
    """Write ``confusion.png`` and, where something was trained by steps, ``history.png``."""
    confusion_figure(folder / "confusion.png", centers, title)
    if len(history) > 1:
        history_figure(folder / "history.png", history, title)


def new_figure(width: float, height: float) -> Any:
    """A figure outside pyplot, which would keep every figure of a sweep in memory."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=100)
    FigureCanvasAgg(figure)
    return figure


def confusion_figure(path: Path, centers: Mapping[str, Any], title: str) -> None:
    """One row-normalised confusion matrix per centre, counts in the cells."""
    shown = {name: entry for name, entry in centers.items() if entry["n_images"]}
    if not shown:
        return
    figure = new_figure(3.3 * len(shown) + 1.2, 4.0)
    for i, (name, entry) in enumerate(shown.items()):
        axes = figure.add_subplot(1, len(shown), i + 1)
        draw_confusion(axes, np.array(entry["confusion_matrix"]), list(entry["per_class"]), i == 0)
        axes.set_title(f"{name}: {entry['accuracy']['value']:.1f} %", fontsize=9, color=INK)
    figure.suptitle(title, fontsize=10, color=INK)
    figure.subplots_adjust(left=0.16, right=0.99, top=0.84, bottom=0.22, wspace=0.08)
    figure.savefig(path, pil_kwargs=PNG)


def draw_confusion(axes: Any, counts: np.ndarray, classnames: list[str], labelled: bool) -> None:
    support = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, support, out=np.zeros(counts.shape), where=support > 0)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for r in range(len(counts)):
        for c in range(len(counts)):
            if counts[r, c]:
                ink = "white" if share[r, c] > 0.55 else INK
                axes.text(c, r, str(counts[r, c]), ha="center", va="center", fontsize=7, color=ink)
    names = [short_name(name) for name in classnames]
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=7)
    axes.set_yticks(range(len(names)), names if labelled else [""] * len(names), fontsize=7)
    axes.tick_params(length=0)


def short_name(name: str, limit: int = 16) -> str:
    """A class name short enough for a tick."""
    name = name.replace("_", " ")
    known = {"high-grade squamous intraepithelial lesion": "HSIL"}
    name = known.get(name, name)
    return name if len(name) <= limit else name[: limit - 1] + "…"


def history_figure(path: Path, history: Sequence[Mapping[str, Any]], title: str) -> None:
    """Loss and validation accuracy over epochs."""
    figure = new_figure(5.2, 3.0)
    axes = figure.add_subplot(1, 1, 1)
    numeric = [k for k in history[-1] if _is_number(history[-1][k]) and k not in ("epoch", "lr")]
    x = [row.get("epoch", i) for i, row in enumerate(history)]
    for key in (k for k in numeric if "loss" in k):
        axes.plot(x, [row.get(key, np.nan) for row in history], label=key, lw=1.4)
    axes.set_xlabel("epoch", fontsize=8)
    axes.set_ylabel("loss", fontsize=8)
    axes.grid(color=GRID, lw=0.5)
    axes.tick_params(labelsize=7)
    axes.set_title(title, fontsize=9, color=INK)
    if axes.lines:
        axes.legend(fontsize=7, frameon=False)
    figure.subplots_adjust(left=0.13, right=0.97, top=0.88, bottom=0.17)
    figure.savefig(path, pil_kwargs=PNG)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
