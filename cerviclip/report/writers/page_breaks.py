"""Where a table's rows begin a new page, so that no row stands alone on one."""

from __future__ import annotations

from collections.abc import Sequence

KEPT = 3  # rows that stay together at both ends of a table


def page_starts(heights: Sequence[float], room: float, whole: float) -> list[int]:
    """Rows that begin a page; 0 among them if the table itself is to begin on a new one.

    Args:
        heights: of the rows.
        room: for rows on the present page, without what stands above them.
        whole: the same of a new page.
    """
    starts: list[int] = []
    first, fresh = 0, room >= whole
    while (count := _fitting(heights[first:], whole if fresh else room)) < len(heights) - first:
        left = len(heights) - first - count
        kept = min(count, count + left - KEPT)  # some go over to the last page
        if kept < KEPT:
            kept = max(1, count) if fresh else 0
        first += kept
        if first == len(heights):
            break
        starts.append(first)
        fresh = True
    return starts


def _fitting(heights: Sequence[float], room: float) -> int:
    for count, height in enumerate(heights):
        room -= height
        if room < 0:
            return count
    return len(heights)
