"""Accuracy against shots: a panel per centre, a line per method, a band of one deviation to each
side. A point of fewer runs than the others have is an open marker."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cerviclip.evaluation.names import IN_DOMAIN
from cerviclip.runs.report.figures import (
    GRID,
    INK,
    ConfusionTemplate,
    filled,
    headline,
    new_figure,
    open_frame,
    with_same_classes,
)
from cerviclip.runs.report.groups import Group, most_runs, repeats_text, runs_of
from cerviclip.runs.report.tables import (
    READ_EARLY,
    TRANSDUCTIVE,
    column_name,
    has_fewer,
    row_labels,
)
from cerviclip.runs.report.titles import heading_of, is_fraction
from cerviclip.runs.settings.run_key import shots_order
from cerviclip.runs.study_title import marked_name, shown_name

# Okabe and Ito's colours, told apart by colour-blind readers too; black is for zero-shot.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A6F00", "#7F3C8D")
MARKERS = "osD^vPX*"
KEY_SIZE = 7  # points
LINES = ("-", ":", "-.")  # the next one where the colours begin again
# Of methods that train nothing, which are black; of two equal ones the thicker dots are seen.
IDLE = (("--", 1.2), (":", 2.6), ("-.", 1.2), ((0, (1, 4)), 2.6))


def shots_figure(groups: Sequence[Group], metric: str) -> Any:
    """The figure for the runs of one dataset.

    Args:
        groups: of one dataset, in the order of the legend.
        metric: such as ``accuracy`` or ``binary.auc``.
    """
    centers = list(dict.fromkeys(c for g in groups for c in g.centers)) or [IN_DOMAIN]
    shots = sorted({g.shots for g in groups if g.shots != 0}, key=shots_order)
    beside = _legend_width(groups)
    figure = new_figure(3.4 * len(centers) + beside + 0.1, 3.9)
    panels = figure.subplots(1, len(centers), sharey=True, squeeze=False)[0]
    fewer = [
        _draw_panel(axes, groups, center, metric, shots)
        for axes, center in zip(panels, centers, strict=True)
    ]
    for axes, center in zip(panels, centers, strict=True):
        axes.set_title(center, fontsize=10, color=INK)
        axes.set_xlabel("shots per class", fontsize=9)
    panels[0].set_ylabel(heading_of(metric), fontsize=9)
    entries: dict[str, Any] = {}
    for axes in panels:  # a method may have no score at the first centre
        found = zip(*axes.get_legend_handles_labels(), strict=True)
        entries |= {label: handle for handle, label in found if label not in entries}
    figure.legend(entries.values(), entries.keys(), loc="center right", fontsize=8, frameon=False)
    apart = f", {TRANSDUCTIVE}" if groups[0].transductive else ""
    name = marked_name(groups[0].dataset, runs_of(groups))
    words, size = headline(f"{name}{apart}", figure.get_figwidth() - 0.2, 11, 9, 7.5)
    figure.suptitle(words, fontsize=size, color=INK)
    right = 1 - beside / figure.get_figwidth()
    key = _wrapped(_key(groups, any(fewer)), figure.get_figwidth() - 0.2, KEY_SIZE)
    more = max(0, key.count("\n") - 1)  # lines beyond two
    figure.subplots_adjust(left=0.6 / figure.get_figwidth() + 0.01, right=right,
                           top=0.85 - 0.04 * words.count("\n"),
                           bottom=0.21 + 0.035 * more, wspace=0.06)  # fmt: skip
    left = 0.12 / figure.get_figwidth()
    figure.text(left, 0.02, key, fontsize=KEY_SIZE, color=INK, linespacing=1.3)
    return figure


def _wrapped(text: str, width: float, size: float) -> str:
    """Lines no wider than some inches; a letter takes about 0.55 of its size."""
    letters = int(72 * width / (0.55 * size))
    return "\n".join(filled(line, letters) for line in text.split("\n"))


def _legend_width(groups: Sequence[Group]) -> float:
    """Inches that the names of the methods need beside the panels, with their lines."""
    letters = max((len(label) for label in row_labels(groups).values()), default=0)
    return max(1.6, 0.6 + 0.072 * letters)


def _key(groups: Sequence[Group], fewer: bool) -> str:
    """What bands and marks mean."""
    kinds: dict[int, list[Group]] = {}
    for group in groups:
        kinds.setdefault(group.folds, []).append(group)
    of = [repeats_text(own) for own in kinds.values() if max(most_runs(own).values()) > 1]
    lines = [
        f"band or bar: mean ± 1 standard deviation over {' or '.join(of)}" if of else "one run each"
    ]
    if _learning(groups) > 1:
        lines[0] += "; methods with the same number of shots stand side by side"
    if fewer:
        lines.append(
            "open marker: fewer runs than the others; neither band nor bar where there is only one"
        )
    if any(group.read_early for group in groups):
        lines.append(READ_EARLY)
    return "\n".join(lines)


def _learning(groups: Sequence[Group]) -> int:
    """How many methods have a line over the shots."""
    return len({group.row for group in groups if group.shots != 0})


def _draw_panel(
    axes: Any, groups: Sequence[Group], center: str, metric: str, shots: Sequence[int | str]
) -> bool:
    """Draw one centre's lines; returns whether a point is of fewer runs than the others."""
    most, marked = most_runs(groups), False
    x_of = {k: i for i, k in enumerate(shots)}
    learnt = idle = 0
    asides = side_by_side(_learning(groups))
    for row, label in row_labels(groups).items():
        own = sorted((g for g in groups if g.row == row), key=lambda g: shots_order(g.shots))
        label += READ_EARLY[0] * any(g.read_early for g in own)
        drawn = [g for g in own if g.stat(center, metric).mean is not None]
        stats = [(g.shots, g.stat(center, metric)) for g in drawn]
        if own[0].shots == 0:
            style, width = IDLE[idle % len(IDLE)]
            for _, stat in stats:
                axes.axhline(stat.mean, color=INK, lw=width, ls=style, label=label)
            idle += 1
            continue
        again, place = divmod(learnt, len(COLOURS))
        colour, marker, line = COLOURS[place], MARKERS[place], LINES[again % len(LINES)]
        x = [x_of[k] + asides[learnt] for k, _ in stats]
        learnt += 1
        mean = [s.mean for _, s in stats]
        # A single run has no deviation: a band of no width there would look the most certain.
        sd = [np.nan if s.sd is None else s.sd for _, s in stats]
        most_of_it = 1.0 if is_fraction(metric) else 100.0  # a band ends where the metric does
        low, high = (np.clip(m, 0, most_of_it) for m in (np.subtract(mean, sd), np.add(mean, sd)))
        axes.fill_between(x, low, high, color=colour, alpha=0.15, lw=0)
        if (alone := _alone(np.isfinite(sd))).any():
            at = np.array(x)[alone]
            axes.vlines(at, low[alone], high[alone], color=colour, alpha=0.3, lw=4)
        axes.plot(x, mean, color=colour, marker=marker, ls=line, ms=4, lw=1.5, label=label)
        few = [i for i, g in enumerate(drawn) if has_fewer(g, center, metric, most)]
        if few:
            marked = True
            axes.plot(
                [x[i] for i in few], [mean[i] for i in few], marker, mfc="white", mec=colour,
                ms=5, mew=1.2, zorder=3,
            )  # fmt: skip
    axes.set_xticks(range(len(shots)), [str(k) for k in shots])
    axes.tick_params(labelsize=8)
    axes.grid(color=GRID, lw=0.5)
    open_frame(axes)
    return marked


def side_by_side(count: int, step: float = 0.08, whole: float = 0.6) -> list[float]:
    """How far each of several lines is moved aside, so that none hides another at one place.

    Args:
        count: of the lines.
        step: from one to the next, of the distance of two places on the axis.
        whole: most that all of them take of it.
    """
    step = min(step, whole / max(count - 1, 1))
    return [step * (i - (count - 1) / 2) for i in range(count)]


def _alone(known: np.ndarray) -> np.ndarray:
    """The points with a deviation and none on either side, between which no band can be drawn."""
    padded = np.pad(known, 1)
    return known & ~padded[:-2] & ~padded[2:]


def save_pooled_confusion(group: Group, label: str, path: Path) -> None:
    """Confusion matrices of one method, a panel per centre, the counts of all runs added up."""
    counts, heads = [], []
    classes: list[str] = []
    shown = [with_same_classes(run["centers"]) for run in group.runs]
    centers = list(dict.fromkeys(center for run in shown for center in run))
    for center in centers:
        entries = [run[center] for run in shown if center in run]
        counts.append(np.sum([entry["confusion_matrix"] for entry in entries], axis=0))
        classes = classes or list(entries[0]["per_class"])
        total = counts[-1].sum()
        correct = 100 * np.trace(counts[-1]) / total if total else 0.0
        heads.append(f"{center}: {correct:.1f} %")
    shots = "" if group.shots == 0 else f", {column_name(str(group.shots))}"
    repeats = f", {repeats_text([group])}, counts added up" if len(group.runs) > 1 else ""
    name = shown_name(group.dataset, group.runs)
    title = f"{label} on {name}{shots}{repeats}"
    ConfusionTemplate(centers, classes, dpi=150).save(path, counts, heads, title)
