"""The last results, by their arrays."""

import numpy as np

from cerviclip.evaluation.intervals.memory import Memory, key_of


def test_the_one_longest_unused_goes_first():
    memory = Memory(2)
    memory.put("a", 1)
    memory.put("b", 2)
    assert memory.get("a") == 1
    memory.put("c", 3)
    assert (memory.get("a"), memory.get("b"), memory.get("c")) == (1, None, 3)


def test_a_key_tells_numbers_shapes_and_kinds_apart():
    arrays = [np.zeros((2, 3)), np.zeros((3, 2)), np.zeros((2, 3), int), np.ones((2, 3))]
    assert len({key_of(array) for array in arrays}) == len(arrays)
    assert key_of(np.arange(6).reshape(2, 3).T) == key_of(np.array([[0, 3], [1, 4], [2, 5]]))
