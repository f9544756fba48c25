"""What a study of labelling leaves: the chosen units, the budget curves as table and figure."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cerviclip.runs.active.rounds import Round
from cerviclip.runs.active.strategies import STRATEGIES
from cerviclip.runs.report.curves import COLOURS, MARKERS
from cerviclip.runs.report.figures import GRID, INK, headline, new_figure, open_frame
from dassl.utils.files import atomic_write

CHOSEN, CURVES, PAGE, FIGURE = "chosen.csv", "curves.csv", "active.md", "active.png"


@dataclass(frozen=True)
class Point:
    """A strategy at a budget.

    Args:
        units, images: labelled; images as the mean over seeds.
        seeds: behind the numbers.
        mean, sd: accuracy on the test set in percent over the seeds.
        low, high: means of the limits of each seed's 95 % interval over patients; None where a
            seed has none.
    """

    strategy: str
    units: int
    images: float
    seeds: int
    mean: float
    sd: float
    low: float | None
    high: float | None


def points(rounds: Sequence[Round]) -> list[Point]:
    """One for each strategy and budget, in the strategies' order."""
    cells: dict[tuple[str, int], list[Round]] = {}
    for one in rounds:
        cells.setdefault((one.strategy, one.budget), []).append(one)
    order = list(STRATEGIES)
    return [
        _point(strategy, budget, cells[strategy, budget])
        for strategy, budget in sorted(cells, key=lambda key: (order.index(key[0]), key[1]))
    ]


def _point(strategy: str, budget: int, rounds: Sequence[Round]) -> Point:
    scores = [one.results["centers"]["test"]["accuracy"] for one in rounds]
    values = [score["value"] for score in scores]
    limits = [
        None if any(score[key] is None for score in scores)
        else statistics.fmean(score[key] for score in scores)
        for key in ("low", "high")
    ]  # fmt: skip
    return Point(
        strategy,
        budget,
        statistics.fmean(one.labelled for one in rounds),
        len(rounds),
        statistics.fmean(values),
        statistics.stdev(values) if len(values) > 1 else 0.0,
        *limits,
    )


def write_study(out: Path, rounds: Sequence[Round], by: str, title: str) -> list[Path]:
    """Write the four files; returns their paths.

    Args:
        by: ``image`` or ``patient``.
        title: data set, method, backbone.
    """
    found = points(rounds)
    with atomic_write(out / CHOSEN) as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["strategy", "seed", "round", "budget", "order", by, "score"])
        writer.writerows(_chosen(rounds))
    with atomic_write(out / CURVES) as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["strategy", f"{by}s", "images", "seeds", "mean", "sd", "low", "high"])
        for p in found:
            numbers = [p.mean, p.sd, p.low, p.high]
            shown = ["" if n is None else round(n, 4) for n in numbers]
            writer.writerow([p.strategy, p.units, f"{p.images:g}", p.seeds, *shown])
    with atomic_write(out / PAGE) as handle:
        handle.write(page(found, by, title))
    with atomic_write(out / FIGURE, "wb") as handle:
        figure(found, by, title).savefig(handle, dpi=150, format="png")
    return [out / name for name in (CHOSEN, CURVES, PAGE, FIGURE)]


def _chosen(rounds: Sequence[Round]) -> list[list[Any]]:
    """Each unit in the order of its choice; the last seed's rounds come last."""
    rows: list[list[Any]] = []
    numbers: dict[tuple[str, int], int] = {}
    for one in rounds:
        key = (one.strategy, one.seed)
        numbers[key] = numbers.get(key, 0) + 1
        for order, (name, score) in enumerate(one.units, 1):
            rows.append(
                [one.strategy, one.seed, numbers[key], one.budget, order, name, round(score, 6)]
            )
    return rows


def page(found: Sequence[Point], by: str, title: str) -> str:
    """A row for each strategy, a column for each budget."""
    budgets = sorted({p.units for p in found})
    cells = {(p.strategy, p.units): p for p in found}
    lines = [
        f"# {title}",
        "",
        f"| accuracy in %, labelled {by}s | " + " | ".join(map(str, budgets)),
    ]
    lines[-1] += " |"
    lines.append("|---|" + "---:|" * len(budgets))
    for strategy in dict.fromkeys(p.strategy for p in found):
        row = [_cell(cells.get((strategy, budget))) for budget in budgets]
        lines.append(f"| {strategy} | " + " | ".join(row) + " |")
    seeds = max(p.seeds for p in found)
    lines += [
        "",
        f"Mean ± sd over {seeds} seed{'s' * (seeds > 1)}; in brackets the mean of the limits of "
        "each seed's 95 % interval over patients. Val labels are beside the budget. Choices see "
        "training images without labels, never the test set.",
        "",
        f"![accuracy against labelled {by}s]({FIGURE})",
        "",
    ]
    return "\n".join(lines)


def _cell(p: Point | None) -> str:
    if p is None:
        return "-"
    sd = f" ± {p.sd:.1f}" if p.seeds > 1 else ""
    limits = "" if p.low is None or p.high is None else f" [{p.low:.1f}, {p.high:.1f}]"
    return f"{p.mean:.1f}{sd}{limits}"


def figure(found: Sequence[Point], by: str, title: str) -> Any:
    """A line for each strategy over the budgets, with its interval as bars beside each other."""
    drawn = new_figure(6.4, 3.8)
    axes = drawn.subplots()
    strategies = list(dict.fromkeys(p.strategy for p in found))
    budgets = sorted({p.units for p in found})
    for place, strategy in enumerate(strategies):
        own = [p for p in found if p.strategy == strategy]
        colour = INK if strategy == "random" else COLOURS[place % len(COLOURS)]
        shift = (place - (len(strategies) - 1) / 2) * 0.08
        x = [budgets.index(p.units) + shift for p in own]
        axes.plot(
            x, [p.mean for p in own], color=colour, marker=MARKERS[place % len(MARKERS)], ms=4,
            lw=1.5, ls="--" if strategy == "random" else "-", label=strategy,
        )  # fmt: skip
        for at, p in zip(x, own, strict=True):
            if p.low is not None and p.high is not None:
                axes.plot([at, at], [p.low, p.high], color=colour, lw=1, alpha=0.45)
    axes.set_xticks(range(len(budgets)), [str(b) for b in budgets])
    axes.set_xlabel(f"labelled {by}s", fontsize=9)
    axes.set_ylabel("accuracy on the test set, %", fontsize=9)
    axes.grid(color=GRID, lw=0.5)
    axes.tick_params(labelsize=8)
    open_frame(axes)
    words, size = headline(title, 5.4, 10, 8, 6.5)
    axes.set_title(words, fontsize=size, color=INK)
    axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    drawn.tight_layout()
    return drawn
