"""A run's ``flow`` as boxes: what each source gave, what was left out and why, what was used."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from cerviclip.counted import counted
from cerviclip.runs.report.figures import INK, new_figure, short_name

WIDTH, GAP = 2.35, 0.3  # inches, of a box and between two
LINE = 0.155  # inches, height of a line of text
_LETTERS = 34  # of a line
_CLASSES = 8  # named in a box; the others are counted
_FILL = {"seen": "#eef3f8", "excluded": "#fbeee6", "part": "#ffffff", "used": "#e8f4ee"}
_TITLES = {"train": "Training part", "val": "Validation part", "test": "Test part",
           "unlabelled": "Unlabelled"}  # fmt: skip


def flow_figure(flow: Mapping[str, Any]) -> Any:
    """The figure of results.json's ``flow``: a group of columns for each source."""
    columns = _columns(flow["sources"])
    names = [name for name, source in flow["sources"].items() for _ in _parts(source)]
    levels = [max(_height(column[level]) for column in columns) for level in range(4)]
    width = len(columns) * (WIDTH + GAP) + GAP
    height = sum(levels) + 0.45 * 3 + 0.3
    figure = new_figure(width, height, dpi=200)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(0, height)
    axes.axis("off")
    tops = [height - 0.15 - sum(levels[:level]) - 0.45 * level for level in range(4)]
    for name in flow["sources"]:
        own = [i for i, other in enumerate(names) if other == name]
        left, right = (_left(i) for i in (own[0], own[-1]))
        wide = right + WIDTH - left
        centre = left + wide / 2
        bottom = tops[0]
        for level, kind in enumerate(("seen", "excluded")):
            lines = columns[own[0]][level]
            if not lines:
                continue
            if level:
                _arrow(axes, centre, bottom, tops[level])
            bottom = _box(axes, left, tops[level], wide, lines, _FILL[kind])
        for i in own:
            middle = _left(i) + WIDTH / 2
            _arrow(axes, middle, bottom, tops[2])
            end = _box(axes, _left(i), tops[2], WIDTH, columns[i][2], _FILL["part"])
            if columns[i][3]:
                _arrow(axes, middle, end, tops[3])
                _box(axes, _left(i), tops[3], WIDTH, columns[i][3], _FILL["used"])
    return figure


def _left(column: int) -> float:
    return GAP + column * (WIDTH + GAP)


def _parts(source: Mapping[str, Any]) -> list[str]:
    return [part for part, count in source["parts"].items() if count["images"]]


def _columns(sources: Mapping[str, Any]) -> list[tuple[list[str], ...]]:
    """Of each column the lines of its four boxes: seen, excluded, part, used."""
    columns: list[tuple[list[str], ...]] = []
    for name, source in sources.items():
        place = "data set of the training" if source["role"] == "training" else "external centre"
        seen = [name, place, amount(source["seen"]) + " found"]
        excluded = [
            line
            for entry in source["excluded"]
            for line in textwrap.wrap(f"{entry['reason']}: {amount(entry)}", 2 * _LETTERS)
        ]
        excluded = ["Not used", *excluded] if excluded else ["Not used", "none left out"]
        for part in _parts(source):
            count, used = source["parts"][part], source["used"][part]
            if source["role"] == "training":
                title = _TITLES.get(part, part)
            else:
                title = "Tested"
            whole = [title, amount(count), *_class_lines(count["per_class"])]
            left = source["not_drawn"].get(part, 0)
            drawn = []
            if left:
                drawn = ["Drawn", amount(used), *_class_lines(used["per_class"])]
                drawn.append(f"not drawn: {counted(left, 'image')}")
            columns.append((seen, excluded, whole, drawn))
    return columns


def amount(count: Mapping[str, Any]) -> str:
    """``451 images of 45 patients``; without the patients where nobody knows them."""
    images = counted(count["images"], "image")
    if count.get("patients") is None:
        return images
    return f"{images} of {counted(count['patients'], 'patient')}"


def _class_lines(per_class: Mapping[str, Any]) -> list[str]:
    lines = [
        f"{short_name(name)}: {c['images']}"
        + ("" if c["patients"] is None else f" ({c['patients']})")
        for name, c in list(per_class.items())[:_CLASSES]
    ]
    more = len(per_class) - _CLASSES
    return lines + ([f"and {more} more classes"] if more > 0 else [])


def _height(lines: Sequence[str]) -> float:
    return LINE * len(lines) + 0.2 if lines else 0.0


def _box(
    axes: Any, left: float, top: float, width: float, lines: Sequence[str], fill: str
) -> float:
    """Draw a box with its lines; returns its lower edge."""
    from matplotlib.patches import FancyBboxPatch

    height = _height(lines)
    axes.add_patch(
        FancyBboxPatch(
            (left, top - height), width, height, boxstyle="round,pad=0,rounding_size=0.06",
            facecolor=fill, edgecolor="#667788", lw=0.9,
        )
    )  # fmt: skip
    for i, line in enumerate(lines):
        weight = "bold" if i == 0 else "normal"
        axes.text(
            left + width / 2, top - 0.1 - LINE * (i + 0.5), line, ha="center", va="center",
            fontsize=7.5, color=INK, fontweight=weight,
        )  # fmt: skip
    return top - height


def _arrow(axes: Any, x: float, start: float, end: float) -> None:
    axes.annotate(
        "", (x, end), (x, start), arrowprops={"arrowstyle": "-|>", "color": "#667788", "lw": 1.0}
    )
