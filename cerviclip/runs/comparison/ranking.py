"""Methods ranked over data sets, and the critical-difference diagram."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cerviclip.evaluation.comparing.quantities import LOSSES
from cerviclip.evaluation.comparing.ranks import (
    LEAST_METHODS,
    LEAST_SETS,
    NEMENYI,
    Ranking,
    rank_methods,
)
from cerviclip.evaluation.names import IN_DOMAIN
from cerviclip.plugins import is_phantom
from cerviclip.runs.report.figures import INK, new_figure
from cerviclip.runs.report.groups import Group, in_tables, runs_of
from cerviclip.runs.report.tables import READ_EARLY, column_name, row_labels
from cerviclip.runs.report.titles import title_of
from cerviclip.runs.settings.run_key import Shots, shots_order, shots_words
from cerviclip.runs.study_title import shown_name
from dassl.errors import UserError

_LINE = 0.24  # inches


@dataclass(frozen=True)
class RankedMethods:
    """A ranking with the names of what is ranked.

    ``names`` are the data sets as people are told of them;
    ``labels`` have a dagger where a run has read its test set early; ``left_out`` lack a data set,
    ``transductive`` are no rivals of the others.
    """

    labels: list[str]
    datasets: list[str]
    names: list[str]
    left_out: list[str]
    transductive: list[str]
    metric: str
    shots: Shots
    ranking: Ranking


def rank_groups(groups: Sequence[Group], metric: str, post_hoc: str = NEMENYI) -> RankedMethods:
    """Ranks by a metric's mean over seeds on each data set's own test part.

    The greatest number of shots is taken that most data sets have. A method that lacks a data set
    is left out, and named; so are transductive methods, unless there are no others.

    Raises:
        UserError: fewer than three data sets or methods are left.
    """
    early = {v for part in in_tables(groups) for v in _read_early(part)}
    transductive = [v for part in in_tables(groups) if part[0].transductive for v in _names(part)]
    groups = [g for g in groups if not g.transductive] or list(groups)
    datasets = list(dict.fromkeys(g.dataset for g in groups))
    trained = {d: {g.shots for g in groups if g.dataset == d and g.shots != 0} for d in datasets}
    every = {k for shots in trained.values() for k in shots} or {0}
    shots = max(every, key=lambda k: (sum(k in s for s in trained.values()), shots_order(k)))
    of_set = {d: _values([g for g in groups if g.dataset == d], metric, shots) for d in datasets}
    of_set = {d: values for d, values in of_set.items() if values}
    labels = list(dict.fromkeys(label for values in of_set.values() for label in values))
    whole = [label for label in labels if all(label in values for values in of_set.values())]
    if len(of_set) < LEAST_SETS or len(whole) < LEAST_METHODS:
        raise UserError(
            f"a ranking needs {LEAST_SETS} data sets and {LEAST_METHODS} methods with {metric} on "
            f"each at {shots_words(shots)}; here are {len(of_set)} ({', '.join(of_set) or 'none'}) "
            f"and {len(whole)} ({', '.join(whole) or 'none'})"
        )
    values = np.array([[of_set[d][label] for label in whole] for d in of_set])
    better = metric.rsplit(".", 1)[-1] not in LOSSES
    ranking = rank_methods(values, better, post_hoc)
    left_out = [label for label in labels if label not in whole]
    apart = [v for v in dict.fromkeys(transductive) if not groups[0].transductive]
    shown = [label + "†" * (label in early) for label in whole]
    names = [shown_name(d, runs_of(g for g in groups if g.dataset == d)) for d in of_set]
    return RankedMethods(shown, list(of_set), names, left_out, apart, metric, shots, ranking)


def _names(groups: Sequence[Group]) -> list[str]:
    return list(row_labels(groups).values())


def _read_early(groups: Sequence[Group]) -> set[str]:
    labels = row_labels(groups)
    return {labels[g.row] for g in groups if g.read_early}


def _values(groups: Sequence[Group], metric: str, shots: Shots) -> dict[str, float]:
    labels, found = row_labels(groups), {}
    for group in groups:
        if group.shots in (0, shots):
            mean = group.stat(IN_DOMAIN, metric).mean
            if mean is not None:
                found[labels[group.row]] = mean
    return found


def ranking_text(ranked: RankedMethods) -> str:
    """The ranks as a Markdown table, with the tests below."""
    r, title = ranked.ranking, title_of(ranked.metric)
    lines = [
        f"### Ranks over {len(ranked.datasets)} data sets, {title}, {_shots(ranked)}",
        "",
        "| trainer | mean rank | not told apart from |",
        "|---|---:|---|",
    ]
    for i in np.argsort(r.ranks, kind="stable"):
        alike = [v for j, v in enumerate(ranked.labels) if j != i and not r.apart(int(i), j)]
        lines.append(f"| {ranked.labels[i]} | {r.ranks[i]:.2f} | {', '.join(alike) or '-'} |")
    return "\n".join([*lines, "", "; ".join(ranking_notes(ranked)) + ".", ""])


def ranking_notes(ranked: RankedMethods) -> list[str]:
    """What was tested, and what is left out."""
    r = ranked.ranking
    notes = [f"data sets: {', '.join(ranked.names)}"]
    if any(map(is_phantom, ranked.datasets)):
        notes.append("phantom data are among them")
    notes.append(f"Friedman's test that all are alike: p = {r.friedman:.3g}")
    if r.friedman >= r.level:
        notes.append("so no two methods are told apart")
    if r.critical is not None:
        notes.append(f"Nemenyi's critical difference at {r.level:g}: {r.critical:.2f} ranks")
    else:
        notes.append("pairs: Wilcoxon's signed-rank tests with Holm's correction")
    if ranked.left_out:
        notes.append(f"left out, not on every data set: {', '.join(ranked.left_out)}")
    if ranked.transductive:
        names = ", ".join(ranked.transductive)
        notes.append(f"left out, transductive (they see the whole test set): {names}")
    if any("†" in label for label in ranked.labels):
        notes.append(READ_EARLY)
    return notes


def _shots(ranked: RankedMethods) -> str:
    return "no training" if ranked.shots == 0 else column_name(str(ranked.shots))


def save_ranking(ranked: RankedMethods, path: Path) -> None:
    """The critical-difference diagram: better to the left, bars join what is not told apart."""
    ranking, count = ranked.ranking, len(ranked.labels)
    order = [int(i) for i in np.argsort(ranking.ranks, kind="stable")]
    cliques = ranking.cliques()
    half = (count + 1) // 2
    bars = 0.16 * len(cliques) + 0.14
    height = 1.25 + bars + _LINE * half
    figure = new_figure(7.2, height, dpi=150)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(-1.9, 4.0 + 1.9)
    axes.set_ylim(-(bars + _LINE * half + 0.12), height - (bars + _LINE * half + 0.12))
    axes.axis("off")

    def x(rank: float) -> float:
        return 4.0 * (rank - 1) / (count - 1)

    axes.plot((0, 4), (0, 0), color=INK, lw=1)
    for rank in range(1, count + 1):
        axes.plot((x(rank),) * 2, (0, 0.07), color=INK, lw=1)
        axes.text(x(rank), 0.1, str(rank), ha="center", va="bottom", fontsize=8, color=INK)
    if ranking.critical is not None:
        _draw_critical(axes, min(x(1 + ranking.critical), 4.0), ranking.critical)
    for k, clique in enumerate(cliques):
        ends = [x(ranking.ranks[i]) for i in clique]
        y = -0.14 - 0.16 * k
        axes.plot((min(ends) - 0.04, max(ends) + 0.04), (y, y), color="#0072B2", lw=3.5)
    for place, i in enumerate(order):
        _draw_name(axes, ranked, i, place, half, bars, x(ranking.ranks[i]))
    title = title_of(ranked.metric)
    head = f"Mean rank by {title}, {_shots(ranked)}, {len(ranked.datasets)} data sets"
    axes.text(2, height - bars - _LINE * half - 0.3, head, ha="center", fontsize=9, color=INK)
    figure.savefig(path)


def _draw_critical(axes: Any, end: float, critical: float) -> None:
    axes.plot((0, end), (0.42, 0.42), color=INK, lw=1.5)
    for at in (0, end):
        axes.plot((at, at), (0.38, 0.46), color=INK, lw=1.5)
    words = f"critical difference {critical:.2f}"
    axes.text(end / 2, 0.48, words, ha="center", va="bottom", fontsize=7, color=INK)


def _draw_name(
    axes: Any, ranked: RankedMethods, i: int, place: int, half: int, bars: float, x: float
) -> None:
    """A method's name beside the axis: the better half to the left, the rest to the right."""
    left = place < half
    line = place if left else len(ranked.labels) - 1 - place
    y = -(bars + _LINE * line + 0.05)
    edge = -0.1 if left else 4.1
    axes.plot((x, x, edge), (0, y, y), color=INK, lw=0.8)
    text = f"{ranked.labels[i]} ({ranked.ranking.ranks[i]:.2f})"
    at = edge - 0.05 if left else edge + 0.05
    axes.text(at, y, text, ha="right" if left else "left", va="center", fontsize=8, color=INK)
