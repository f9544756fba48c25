"""A run's ``flow`` as boxes: what each source gave, what was left out and why, what was used."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cerviclip.counted import counted
from cerviclip.runs.report.figures import INK, new_figure, short_name

WIDTH, GAP = 2.35, 0.3  # inches, of a box and between two
LINE = 0.155  # inches, height of a line of text
STEP = 0.45  # inches between two levels, for the arrows
_EDGE = 0.15  # inches of white above and below
_SLOTS = 3  # columns of a row: a page's width, with letters of 6 points
_LINE = {"color": "#667788", "lw": 1.0}
_LETTERS = 34  # of a line
_CLASSES = 8  # named in a box; the others are counted
_FILL = {"seen": "#eef3f8", "excluded": "#fbeee6", "part": "#ffffff", "used": "#e8f4ee"}
_TITLES = {"train": "Training part", "val": "Validation part", "test": "Test part",
           "unlabelled": "Unlabelled"}  # fmt: skip


@dataclass(frozen=True)
class _Source:
    """One source's boxes: what was seen on top, what was left out beside the path down to the
    parts, and of each part what was drawn. A box is its lines."""

    seen: list[str]
    excluded: list[str]
    parts: list[tuple[list[str], list[str]]]

    @property
    def slots(self) -> int:
        """Columns that it takes: its parts, and room for a box beside the path."""
        return max(len(self.parts), 2 if self.excluded else 1)

    def heights(self) -> list[float]:
        """Inches of its boxes, level by level."""
        tall = [[_height(part[i]) for part in self.parts] for i in (0, 1)]
        return [_height(self.seen), _height(self.excluded), *(max(t, default=0.0) for t in tall)]


def flow_figure(flow: Mapping[str, Any]) -> Any:
    """The figure of results.json's ``flow``: a group of columns for each source. As STARD has it,
    what was left out stands beside the path from what was seen to what was used. Sources that do
    not fit beside each other stand in further rows, so that letters can be read in print."""
    rows = _rows([_source(name, source) for name, source in flow["sources"].items()])
    levels = [[max(tall) for tall in zip(*(s.heights() for s in row), strict=True)] for row in rows]
    gaps = [[STEP if level else 0.0 for level in row] for row in levels]
    tall = [sum(level) + sum(gap[1:]) + STEP for level, gap in zip(levels, gaps, strict=True)]
    width = max(sum(source.slots for source in row) for row in rows) * (WIDTH + GAP) + GAP
    height = sum(tall) - STEP + 2 * _EDGE
    figure = new_figure(width, height, dpi=200)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(0, height)
    axes.axis("off")
    top = height - _EDGE
    for row, level, gap, whole in zip(rows, levels, gaps, tall, strict=True):
        tops = [top]
        for i in (1, 2, 3):
            tops.append(tops[-1] - level[i - 1] - gap[i])
        column = 0
        for source in row:
            _draw_source(axes, source, column, tops)
            column += source.slots
        top -= whole
    return figure


def _rows(sources: Sequence[_Source]) -> list[list[_Source]]:
    """Sources row by row, in their order; one that is wider than a row has its own."""
    rows: list[list[_Source]] = []
    for source in sources:
        if rows and sum(s.slots for s in (*rows[-1], source)) <= _SLOTS:
            rows[-1].append(source)
        else:
            rows.append([source])
    return rows


def _draw_source(axes: Any, source: _Source, column: int, tops: Sequence[float]) -> None:
    """Draw one source's boxes and arrows, from a column on."""
    count = max(len(source.parts), 1)
    wide = _left(column + count - 1) + WIDTH - _left(column)
    bottom = _box(axes, _left(column), tops[0], wide, source.seen, _FILL["seen"])
    path = _left(column) + WIDTH / 2
    if source.excluded:
        side = _left(column + 1)
        room = min(source.slots - 1, 2) * (WIDTH + GAP) - GAP
        _box(axes, side, tops[1], room, source.excluded, _FILL["excluded"])
        across = tops[1] - _height(source.excluded) / 2
        _arrow(axes, (path, across), (side, across))
    fork = tops[2] + STEP / 2
    if len(source.parts) > 1:
        last = _left(column + count - 1) + WIDTH / 2
        axes.plot([path, path], [bottom, fork], **_LINE)
        axes.plot([path, last], [fork, fork], **_LINE)
        bottom = fork
    for i, (whole, drawn) in enumerate(source.parts):
        left = _left(column + i)
        middle = left + WIDTH / 2
        _arrow(axes, (middle, bottom), (middle, tops[2]))
        end = _box(axes, left, tops[2], WIDTH, whole, _FILL["part"])
        if drawn:
            _arrow(axes, (middle, end), (middle, tops[3]))
            _box(axes, left, tops[3], WIDTH, drawn, _FILL["used"])


def _left(column: int) -> float:
    return GAP + column * (WIDTH + GAP)


def _parts(source: Mapping[str, Any]) -> list[str]:
    return [part for part, count in source["parts"].items() if count["images"]]


def _source(name: str, source: Mapping[str, Any]) -> _Source:
    """The lines of a source's boxes."""
    own = source["role"] == "training"
    place = "data set of the training" if own else "external centre"
    seen = [name, place, amount(source["seen"]) + " found"]
    parts = [_part_lines(source, part, own) for part in _parts(source)]
    letters = _LETTERS * min(max(len(parts) - 1, 1), 2)
    excluded = [
        line
        for entry in source["excluded"]
        for line in textwrap.wrap(f"{entry['reason']}: {amount(entry)}", letters)
    ]
    if not excluded:
        return _Source([*seen, "none left out"], [], parts)
    return _Source(seen, ["Not used", *excluded], parts)


def _part_lines(source: Mapping[str, Any], part: str, own: bool) -> tuple[list[str], list[str]]:
    """The lines of a part, and of what was drawn of it; none where all of it was used."""
    count, used = source["parts"][part], source["used"][part]
    title = _TITLES.get(part, part) if own else "Tested"
    whole = [title, amount(count), *_class_lines(count["per_class"])]
    left = source["not_drawn"].get(part, 0)
    if not left:
        return whole, []
    drawn = ["Drawn", amount(used), *_class_lines(used["per_class"])]
    return whole, [*drawn, f"not drawn: {counted(left, 'image')}"]


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
            facecolor=fill, edgecolor=_LINE["color"], lw=0.9,
        )
    )  # fmt: skip
    for i, line in enumerate(lines):
        weight = "bold" if i == 0 else "normal"
        axes.text(
            left + width / 2, top - 0.1 - LINE * (i + 0.5), line, ha="center", va="center",
            fontsize=7.5, color=INK, fontweight=weight,
        )  # fmt: skip
    return top - height


def _arrow(axes: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "shrinkA": 0, **_LINE})
