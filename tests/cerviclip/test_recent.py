"""A dict with a bound: what was unused for longest goes first."""

from __future__ import annotations

from cerviclip.recent import Recent


def test_the_longest_unused_goes_first():
    kept = Recent(2)
    kept["a"] = kept["b"] = 1
    assert kept.get("a") == 1  # used again
    kept["c"] = 1
    assert list(kept) == ["a", "c"] and kept.get("b") is None


def test_the_bound_is_on_weights_and_counts_what_is_replaced_once():
    kept = Recent(10, weight=len)
    kept["a"], kept["b"] = "1234", "1234"
    kept["a"] = "123456"
    assert set(kept) == {"a", "b"} and kept.total == 10
    kept["c"] = "1"
    assert set(kept) == {"a", "c"} and kept.total == 7
    del kept["a"]
    assert kept.total == 1


def test_one_entry_is_kept_however_heavy():
    kept = Recent(3, weight=len)
    kept["a"] = "1234567"
    assert list(kept) == ["a"]


def test_a_cleared_one_has_room_for_as_much_as_a_new_one():
    recent = Recent(2)
    recent["a"], recent["b"] = 1, 2
    recent.clear()
    recent["c"], recent["d"] = 3, 4
    assert list(recent) == ["c", "d"]
