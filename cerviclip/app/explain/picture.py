"""An explanation as a picture: the image, and the map over it with its scale."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import numpy as np

from cerviclip.app.explain.details import CLASS_BLIND, METHODS, Explanation
from cerviclip.drawing.figure_fonts import take_fonts
from dassl.utils.files import atomic_write

RESEARCH_ONLY = "Research use only. Not a medical device."
_COLOURS, _OPACITY = "inferno", 0.6
_LONGEST = 900  # px of an image's longer side in the picture


def draw(explanation: Explanation, target: Path) -> None:
    """Write the picture as a PNG; the file is there whole or not at all."""
    from matplotlib.figure import Figure

    width, height = explanation.image.size
    panel = (4.2, min(6.0, max(2.0, 4.2 * height / width)))  # inches
    figure = Figure(figsize=(2 * panel[0] + 0.9, panel[1] + 1.1), layout="constrained")
    left, right = figure.subplots(1, 2)
    shown, heat = _small(explanation)
    for axes in (left, right):
        axes.imshow(shown, extent=(0, width, height, 0))
        axes.set_xticks([])
        axes.set_yticks([])
    scale = overlay(right, explanation, heat)
    _mark_seen(left, explanation)
    colours = figure.colorbar(scale, ax=right, fraction=0.046, pad=0.02)
    colours.set_label("weight in this image, 0 to 1", fontsize=8)
    colours.ax.tick_params(labelsize=7)
    left.set_title(_about_image(explanation), fontsize=9)
    right.set_title(_about_map(explanation), fontsize=9)
    figure.supxlabel(_below(explanation), fontsize=8)
    take_fonts(figure)
    with atomic_write(target, "wb") as file:
        figure.savefig(file, dpi=110, format="png", bbox_inches="tight", pad_inches=0.08)


def overlay(axes: Any, explanation: Explanation, heat: np.ndarray) -> Any:
    """The map over an image: the higher, the less transparent."""
    width, height = explanation.image.size
    return axes.imshow(
        heat,
        cmap=_COLOURS,
        vmin=0,
        vmax=1,
        alpha=_OPACITY * np.sqrt(heat.clip(0, 1)),
        extent=(0, width, height, 0),
        interpolation="nearest",
    )


def _small(explanation: Explanation) -> tuple[np.ndarray, np.ndarray]:
    """Image and map of at most ``_LONGEST`` px: more would not show."""
    from PIL import Image

    size = explanation.image.size
    factor = min(1.0, _LONGEST / max(size))
    small = (max(1, round(size[0] * factor)), max(1, round(size[1] * factor)))
    heat = Image.fromarray(explanation.map).resize(small, Image.Resampling.BILINEAR)
    return np.asarray(explanation.image.resize(small)), np.asarray(heat)


def _mark_seen(axes: Any, explanation: Explanation) -> None:
    """A dashed frame around what the model saw, where that is not the whole image."""
    from matplotlib.patches import Rectangle

    top, left, bottom, right = explanation.seen
    if (right - left, bottom - top) != explanation.image.size:
        frame: dict[str, Any] = {
            "fill": False,
            "edgecolor": "#4dd0e1",
            "linestyle": "--",
            "linewidth": 1.4,
        }
        axes.add_patch(Rectangle((left, top), right - left, bottom - top, **frame))


def _about_image(explanation: Explanation) -> str:
    top, left, bottom, right = explanation.seen
    name = Path(explanation.path).name or "image in memory"
    lines = textwrap.wrap(name, 46, max_lines=2, placeholder=" ...")
    if (right - left, bottom - top) != explanation.image.size:
        lines.append("the model saw what lies in the dashed frame")
    return "\n".join(lines)


def _about_map(explanation: Explanation) -> str:
    name = explanation.class_name.replace("_", " ")
    percent = f"{100 * explanation.probability:.1f} %"
    text = f"{name}: {percent}"
    if explanation.class_name != explanation.predicted:
        text += f" (predicted: {explanation.predicted.replace('_', ' ')})"
    lines = textwrap.wrap(text, 46)
    what = METHODS[explanation.method]
    if explanation.is_empty:
        what += "; it found nothing that speaks for this class"
    return "\n".join([*lines, *textwrap.wrap(what, 46)])


def _below(explanation: Explanation) -> str:
    """Faithfulness in words, and that this is research."""
    lines = [RESEARCH_ONLY]
    found = explanation.faithfulness
    if found is not None:
        text = (
            f"Deletion {found.deletion:.3f} (random maps {found.random_deletion:.3f}; lower is "
            f"better), insertion {found.insertion:.3f} (random maps {found.random_insertion:.3f}; "
            f"higher is better)."
        )
        lines.insert(0, text)
    elif explanation.method not in CLASS_BLIND:
        lines.insert(0, "How faithful this map is was not measured.")
    return "\n".join(lines)
