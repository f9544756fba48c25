"""The towers' hospital index as a figure: balanced accuracy of a probe, beside chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cerviclip.runs.report.curves import COLOURS
from cerviclip.runs.report.figures import GRID, INK, new_figure, open_frame


def hospital_figure(
    found: Mapping[str, Mapping[str, Any]], hospitals: Sequence[str], path: Path
) -> None:
    """Write the figure; the tower that tells hospitals best comes last.

    Args:
        found: tower -> its entry, see ``hospital_index``.
        hospitals: which are told apart.
        path: a picture's file.
    """
    order = sorted(found, key=lambda tower: -found[tower]["balanced_accuracy"]["value"])
    figure = new_figure(6.4, 0.42 * len(order) + 1.25, dpi=200)
    axes = figure.subplots()
    for place, tower in enumerate(order):
        cell = found[tower]["balanced_accuracy"]
        axes.plot(cell["value"], place, "o", color=COLOURS[0], ms=6)
        if cell["low"] is not None:
            axes.plot((cell["low"], cell["high"]), (place, place), color=COLOURS[0], lw=1.6)
    chance = found[order[0]]["chance"]
    axes.axvline(chance, color=INK, lw=1.0, ls="--", label=f"chance {chance:.1f} %")
    axes.set_yticks(range(len(order)), order, fontsize=9)
    axes.set_ylim(-0.6, len(order) - 0.4)
    axes.set_xlim(0, 102)
    axes.set_xlabel(f"a probe tells {', '.join(hospitals)} (balanced accuracy, %)", fontsize=8)
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(axis="x", color=GRID, lw=0.5)
    open_frame(axes)
    axes.legend(fontsize=8, frameon=False, loc="lower right")
    figure.tight_layout()
    figure.savefig(path)
