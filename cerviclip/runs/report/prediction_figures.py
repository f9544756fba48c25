"""Figures of one run's predictions: ROC, reliability, decision curve, probabilities by outcome.

Each has a panel per centre. All come from predictions.csv and from what was chosen on val
(``Home``); nothing is fitted on the images that are drawn. Needs no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_curve

from cerviclip.evaluation.measures import Home, Sample, decision_curve, reliability
from cerviclip.evaluation.measures.thresholds.operating_points import same_threshold
from cerviclip.runs.report.curves import COLOURS
from cerviclip.runs.report.figures import GRID, INK, new_figure, open_frame

POINT_TITLES = {
    "sensitivity_95": "95 % sensitivity on val",
    "specificity_95": "95 % specificity on val",
    "youden": "Youden on val",
    "cost": "least cost on val",
}
POINT_MARKERS = {"sensitivity_95": "^", "specificity_95": "s", "youden": "o", "cost": "D"}
POINT_LINES = {  # width and style; a thick dotted line shows beside a thin whole one
    "sensitivity_95": (2.4, ":"),
    "specificity_95": (1.0, "--"),
    "youden": (0.8, "-"),
    "cost": (1.0, "-."),
}
HIGHEST = 0.8  # threshold of a decision curve: one false alarm weighs as much as 4 missed positives
PANEL = 3.0  # inches
PER_ROW = 3  # panels
_ON_VAL = " on val"
_POINT_COLOURS = dict(zip(POINT_TITLES, COLOURS[1:], strict=False))
_GREY = "#888888"
_BINS = np.linspace(0, 1, 21)

Draw = Callable[[Any, Sample, Home], None]


def prediction_figures(
    folder: Path, samples: Sequence[Sample], home: Home, prefix: str = ""
) -> dict[str, Path]:
    """Write the four figures as PNG.

    Args:
        folder: for the files.
        samples: of every centre; those without positives and negatives are left out.
        home: what the run has chosen on val.
        prefix: of the files' names.

    Returns:
        ``roc``, ``reliability``, ``decision`` and ``probabilities`` -> file; empty where no centre
        has positives and negatives.
    """
    shown = [s for s in samples if not s.no_binary]
    if not shown:
        return {}
    makers: Mapping[str, tuple[Draw, str, str]] = {
        "roc": (_roc, "1 − specificity", "sensitivity"),
        "reliability": (_reliability, "mean predicted probability", "observed share of positives"),
        "decision": (_decision, "threshold probability", "net benefit per image"),
        "probabilities": (_probabilities, "probability of the positive group", "share of images"),
    }
    paths = {}
    for name, (draw, x_label, y_label) in makers.items():
        paths[name] = folder / f"{prefix}{name}.png"
        drawn = panels_figure(shown, home, draw, x_label, y_label)
        drawn.savefig(paths[name], bbox_inches="tight", pad_inches=0.05)
    return paths


def points_title(names: Sequence[str]) -> str:
    """``95 % sensitivity and Youden on val``: the points that one sign stands for."""
    *first, last = (POINT_TITLES[name].removesuffix(_ON_VAL) for name in names)
    return " and ".join(filter(None, [", ".join(first), last])) + _ON_VAL


def panels_figure(
    samples: Sequence[Sample], home: Home, draw: Draw, x_label: str, y_label: str
) -> Any:
    """A panel per sample with one legend below."""
    columns = min(PER_ROW, len(samples))
    rows = -(-len(samples) // columns)
    figure = new_figure(max(PANEL * columns + 0.5, 5.0), PANEL * rows + 0.75, dpi=200)
    axes = figure.subplots(rows, columns, squeeze=False)
    for panel, sample in zip(axes.flat, samples, strict=False):
        draw(panel, sample, home)
        panel.set_title(sample.center, fontsize=10, color=INK)
        panel.grid(color=GRID, lw=0.5)
        panel.tick_params(labelsize=8)
        panel.set_xlabel(x_label, fontsize=9)
        open_frame(panel)
    for panel in axes.flat[len(samples) :]:
        panel.set_visible(False)
    for row in axes:
        row[0].set_ylabel(y_label, fontsize=9)
    figure.tight_layout(w_pad=1.5)
    _add_legend(figure, axes.flat[: len(samples)])
    return figure


def _add_legend(figure: Any, panels: Sequence[Any]) -> None:
    """The signs of all panels below them, in as many columns as the figure is wide."""
    entries: dict[str, Any] = {}
    for panel in panels:
        entries |= {label: h for h, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    figure.canvas.draw()
    low = min(panel.get_tightbbox().y0 for panel in panels) / figure.bbox.height
    for columns in (3, 2, 1):
        legend = figure.legend(
            entries.values(), entries.keys(), loc="upper center", bbox_to_anchor=(0.5, low),
            ncols=columns, fontsize=8, frameon=False,
        )  # fmt: skip
        if columns == 1 or legend.get_window_extent().width <= figure.bbox.width:
            break
        legend.remove()


def _roc(axes: Any, sample: Sample, home: Home) -> None:
    false_alarms, found, _ = roc_curve(sample.is_positive, sample.score)
    axes.plot([0, 1], [0, 1], color=_GREY, lw=0.8, ls="--")
    axes.plot(false_alarms, found, color=COLOURS[0], lw=1.6, label="model")
    places: dict[tuple[float, float], list[str]] = {}
    for name, threshold in home.thresholds.items():
        called = sample.score >= threshold
        place = called[~sample.is_positive].mean(), called[sample.is_positive].mean()
        places.setdefault((float(place[0]), float(place[1])), []).append(name)
    for (x, y), names in places.items():
        axes.plot(x, y, ls="none", label=points_title(names), **_point_look(names))
    axes.set_aspect("equal")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)


def _point_look(names: Sequence[str]) -> dict[str, Any]:
    """A sign for one operating point, and a star for several in one place, of the colours of the
    first and of the last."""
    colours = [_POINT_COLOURS[name] for name in names]
    if len(names) > 1:
        return {"marker": "*", "color": colours[0], "mec": colours[-1], "ms": 13, "mew": 1.2}
    return {"marker": POINT_MARKERS[names[0]], "color": colours[0], "mec": "white", "ms": 8}


def _scores(sample: Sample, home: Home) -> dict[str, np.ndarray]:
    """The positive group's probability as it is and as val's maps change it."""
    found = {"as predicted": sample.score}
    if home.temperature is not None:
        found["temperature of val"] = sample.with_probs(home.temperature.apply(sample.probs)).score
    if home.isotonic is not None:
        found["isotonic map of val"] = home.isotonic.apply(sample.score)
    return found


def _reliability(axes: Any, sample: Sample, home: Home) -> None:
    axes.plot([0, 1], [0, 1], color=_GREY, lw=0.8, ls="--", label="perfect")
    styles = zip(_scores(sample, home).items(), ("o-", "s:", "^-."), COLOURS, strict=False)
    for (name, score), style, colour in styles:
        bins = reliability(sample, score)
        x, y = np.array(bins["predicted"]), np.array(bins["observed"])
        axes.plot(x, y, style, color=colour, ms=4, lw=1.3, label=name)
        if name == "as predicted" and bins["low"][0] is not None:
            # An observed share may lie outside a robust interval by rounding: no negative bars.
            reach = np.clip([y - np.array(bins["low"]), np.array(bins["high"]) - y], 0, None)
            axes.errorbar(x, y, reach, fmt="none", ecolor=colour, elinewidth=0.8, alpha=0.6)
    axes.set_aspect("equal")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)


def _decision(axes: Any, sample: Sample, home: Home) -> None:
    curves = {name: decision_curve(sample, score) for name, score in _scores(sample, home).items()}
    first = next(iter(curves.values()))
    threshold = np.array(first["threshold"])
    shown = threshold <= HIGHEST + 1e-9  # near 1 a single false alarm moves the whole curve

    def plot(values: Sequence[float], *style: Any, **look: Any) -> None:
        axes.plot(threshold[shown], np.array(values)[shown], *style, **look)

    plot(first["all"], color=_GREY, lw=1.2, ls="--", label="treat all")
    axes.axhline(0, color=INK, lw=1.0, label="treat none")
    for (name, curve), style, colour in zip(
        curves.items(), ("-", ":", "-."), COLOURS, strict=False
    ):
        plot(curve["model"], style, color=colour, lw=1.5, label=name)
    share = sample.is_positive.mean()
    axes.set_xlim(0, HIGHEST)
    axes.set_ylim(-0.25 * share, 1.1 * share)


def _probabilities(axes: Any, sample: Sample, home: Home) -> None:
    for name, chosen, colour in (
        ("negative", ~sample.is_positive, COLOURS[0]),
        ("positive", sample.is_positive, COLOURS[1]),
    ):
        share = np.histogram(sample.score[chosen], _BINS)[0] / chosen.sum()
        axes.stairs(share, _BINS, fill=True, color=colour, alpha=0.45, label=name)
        axes.stairs(share, _BINS, color=colour, lw=1.0)
    for names, threshold in same_threshold(home.thresholds).items():
        width, style = POINT_LINES[names[0]]
        axes.axvline(threshold, color=INK, lw=width, ls=style, label=points_title(names))
    axes.set_xlim(0, 1)
