"""The curves of ``robustness``: a panel for each corruption, a line for each centre. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cerviclip.runs.report.curves import COLOURS, side_by_side
from cerviclip.runs.report.figures import GRID, INK, new_figure, open_frame
from cerviclip.runs.report.titles import heading_of

PANEL = 2.6  # inches
_STYLES = ("o-", "s--", "^-.", "D:")


def robustness_figure(record: Mapping[str, Any], metric: str, path: Path) -> None:
    """Write the figure of one metric with its 95 % intervals.

    Args:
        record: of ``measure_robustness``.
        metric: such as ``accuracy`` or ``binary.auc``.
        path: a picture's file.
    """
    kinds, severities = list(record["corruptions"]), record["severities"]
    figure = new_figure(max(PANEL * len(kinds) + 0.5, 5.0), PANEL + 0.9, dpi=200)
    panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    asides = side_by_side(len(record["centers"]))
    for axes, kind in zip(panels, kinds, strict=True):
        for i, (center, curves) in enumerate(record["centers"].items()):
            cells = curves[kind][metric]
            pairs = zip(severities, cells, strict=True)
            known = [(s, c) for s, c in pairs if c["value"] is not None]
            colour = COLOURS[i % len(COLOURS)]
            x, y = [s + asides[i] for s, _ in known], [c["value"] for _, c in known]
            axes.plot(x, y, _STYLES[i % len(_STYLES)], color=colour, ms=4, lw=1.4, label=center)
            if known and all(c["low"] is not None for _, c in known):
                low, high = ([c[side] for _, c in known] for side in ("low", "high"))
                axes.fill_between(x, low, high, color=colour, alpha=0.12, lw=0)
        first, *_, last = record["corruptions"][kind]["levels"]
        axes.set_title(kind, fontsize=10, color=INK)
        axes.set_xlabel(f"severity ({first:g} to {last:g})", fontsize=8)
        axes.set_xticks(severities)
        axes.tick_params(labelsize=8)
        axes.grid(color=GRID, lw=0.5)
        open_frame(axes)
    panels[0].set_ylabel(heading_of(metric), fontsize=9)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="lower center", ncols=4, fontsize=8, frameon=False,
        title="bands: 95 % intervals by patient", title_fontsize=7,
    )  # fmt: skip
    figure.tight_layout(rect=(0, 0.14, 1, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
