"""The report on prompts as CSV, as a page and as a figure."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cerviclip.runs.prompts.sensitivity import ENSEMBLE, SET_TEXT, TEMPLATE, Scored, spreads
from cerviclip.runs.report.curves import COLOURS
from cerviclip.runs.report.figures import GRID, INK, headline, new_figure, open_frame, short_name
from dassl.utils.files import atomic_write

CSV, PAGE, FIGURE = "prompts.csv", "prompts.md", "prompts.png"


def write_report(folder: Path, scored: Sequence[Scored], title: str, note: str) -> list[Path]:
    """Write the three files; returns their paths.

    Args:
        title: data set, backbone, split.
        note: what may not be done with the numbers.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / CSV) as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerows(rows(scored))
    with atomic_write(folder / PAGE) as handle:
        handle.write(page(scored, title, note))
    with atomic_write(folder / FIGURE, "wb") as handle:
        figure(scored, title).savefig(handle, dpi=150, format="png")
    return [folder / name for name in (CSV, PAGE, FIGURE)]


def rows(scored: Sequence[Scored]) -> list[list[Any]]:
    """A head, and a row for each prompt: numbers in percent."""
    classes = list(scored[0].recall)
    table: list[list[Any]] = [
        ["kind", "prompt", "accuracy", "low", "high", *(f"recall {name}" for name in classes)]
    ]
    for s in scored:
        numbers = [s.accuracy, s.low, s.high, *s.recall.values()]
        shown = ["" if n is None else round(n, 4) for n in numbers]
        table.append([s.prompt.kind, s.prompt.name, *shown])
    return table


def page(scored: Sequence[Scored], title: str, note: str) -> str:
    """The spread of each class over single prompts, the ensembles beside, then every prompt."""
    together = [s for s in scored if not s.single]
    names = [s.prompt.name for s in together]
    lines = [
        f"# {title}",
        "",
        note,
        "",
        f"## Spread over {len(scored) - len(together)} prompts",
        "",
    ]
    lines += [
        "| recall in % | least | median | most | sd | "
        + "".join(f"{n}, averaged | " for n in names),
        "|---|" + "---:|" * (4 + len(names)),
    ]
    for name, spread in spreads(scored).items():
        beside = [s.accuracy if name == "all classes" else s.recall[name] for s in together]
        values = [spread.least, spread.median, spread.most, spread.sd, *beside]
        lines.append(f"| {name} | " + " | ".join(_number(v) for v in values) + " |")
    lines += ["", "`all classes` is the accuracy. Averaged prompts are no part of the spread.", ""]
    lines += ["## Every prompt", "", "| " + " | ".join(rows(scored)[0]) + " |"]
    lines.append("|---|---|" + "---:|" * (len(rows(scored)[0]) - 2))
    for kind, name, *numbers in rows(scored)[1:]:
        cells = [f"{n:.1f}" if n != "" else "-" for n in numbers]
        lines.append(f"| {kind} | {name.replace('|', '/')} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", f"![each prompt's recall of each class]({FIGURE})", ""])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def figure(scored: Sequence[Scored], title: str) -> Any:
    """A row for all classes and for each: a dot for each prompt, larger signs for averages."""
    names = list(spreads(scored))
    drawn = new_figure(7.2, 1.6 + 0.42 * len(names))
    axes = drawn.subplots()
    together = [s for s in scored if not s.single]
    marks: list[tuple[str, list[Scored], dict[str, Any]]] = [
        (TEMPLATE, [s for s in scored if s.prompt.kind == TEMPLATE], _dot(COLOURS[0])),
        (SET_TEXT, [s for s in scored if s.prompt.kind == SET_TEXT], _dot(COLOURS[5])),
    ]
    for place, s in enumerate(together):
        sign = "Dsv^P*X"[place % 7]
        colour = COLOURS[1 + place % 4]
        look = {"marker": sign, "s": 55, "color": colour, "edgecolors": INK, "linewidths": 0.6}
        label = s.prompt.kind if s.prompt.kind == ENSEMBLE[0] else f"set {s.prompt.name}"
        marks.append((label, [s], look))
    above = iter(_lanes(len(together), -0.08, -0.34) if len(together) > 1 else [-0.14])
    for label, of_kind, look in marks:
        dots = look["marker"] == "o"
        lanes = _lanes(len(of_kind), 0.08, 0.34) if dots else [next(above)]
        points = [
            (_value(s, name), row + lane)
            for row, name in enumerate(names)
            for s, lane in zip(of_kind, lanes, strict=True)
        ]
        if points:
            axes.scatter(*zip(*points, strict=True), label=label, zorder=3, **look)
    axes.set_yticks(range(len(names)), [short_name(name) for name in names], fontsize=8)
    axes.invert_yaxis()
    axes.axhline(0.5, color=GRID, lw=1)
    axes.set_xlim(-3, 103)
    axes.set_xlabel("accuracy (all classes), recall (each class), %", fontsize=9)
    axes.grid(axis="x", color=GRID, lw=0.5)
    axes.tick_params(labelsize=8)
    open_frame(axes)
    words, size = headline(title, 5.4, 10, 8, 6.5)
    axes.set_title(words, fontsize=size, color=INK)
    axes.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    drawn.tight_layout()
    return drawn


def _lanes(count: int, first: float, last: float) -> list[float]:
    """Places beside a row's line, so that equal numbers do not hide each other."""
    return [first + (last - first) * i / max(count - 1, 1) for i in range(count)]


def _dot(colour: str) -> dict[str, Any]:
    return {"marker": "o", "s": 14, "color": colour, "alpha": 0.55, "linewidths": 0}


def _value(s: Scored, name: str) -> float:
    found = s.accuracy if name == "all classes" else s.recall[name]
    return float("nan") if found is None else found
