"""No row of a table stands alone on a page."""

from __future__ import annotations

from itertools import pairwise

import pytest

from cerviclip.report.writers.page_breaks import KEPT, page_starts


@pytest.mark.parametrize("count", range(1, 30))
@pytest.mark.parametrize("room", [-2, 0, 1, 2, 3, 4, 5, 7])
def test_rows_stay_together(count, room):
    whole = 7
    starts = page_starts([1.0] * count, room, whole)
    lengths = [b - a for a, b in pairwise([0, *starts, count])]
    assert lengths[0] <= max(room, 0)
    assert max(lengths) <= whole
    assert all(n >= min(KEPT, count) for n in lengths if n) and sum(lengths) == count
    assert count > room or not starts


def test_a_row_higher_than_a_page_has_one_of_its_own():
    assert page_starts([20.0, 1.0, 20.0], 5, 10) == [0, 1, 2]
    assert page_starts([20.0], 10, 10) == []
