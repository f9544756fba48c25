"""Where a new page begins, so that no row of a table and no line of a paragraph stands alone."""

from __future__ import annotations

from collections.abc import Sequence

KEPT = 3  # rows that stay together at both ends of a table
LINES = 2  # the same of a paragraph's lines


def page_starts(
    heights: Sequence[float],
    room: float,
    whole: float,
    least: int = KEPT,
    is_new: bool = False,
) -> list[int]:
    """Rows that begin a page; 0 among them if the table itself is to begin on a new one.

    Args:
        heights: of the rows, or of the lines of a paragraph.
        room: for rows on the present page, without what stands above them.
        whole: the same of a new page.
        least: rows that stay together at both ends.
        is_new: whether the present page is empty, so that a new one would not have more room.
    """
    starts: list[int] = []
    first, fresh, room = 0, is_new or room >= whole, min(room, whole)
    while (count := _fitting(heights[first:], room)) < len(heights) - first:
        left = len(heights) - first - count
        kept = min(count, count + left - least)  # some go over to the last page
        if kept < least:
            kept = max(1, count) if fresh else 0
        first += kept
        if first == len(heights):
            break
        starts.append(first)
        fresh, room = True, whole
    return starts


def _fitting(heights: Sequence[float], room: float) -> int:
    for count, height in enumerate(heights):
        room -= height
        if room < -1e-6:  # sums of heights differ in their last digits
            return count
    return len(heights)
