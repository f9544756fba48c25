"""What was computed last, for those who ask for the same interval of the same images again.

The blocks of results.json ask for the interval of a centre's errors six times, and for that of each
class's AUC twice. An interval is a function of its arrays alone, so what is remembered is what
would be computed again, to the last digit.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from hashlib import blake2b
from typing import Generic, TypeVar

import numpy as np

T = TypeVar("T")
MOST = 256  # results held: those of a centre of many classes, by image and by patient


class Memory(Generic[T]):
    """The last ``most`` results by their key; the one longest unused goes first."""

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self._found: OrderedDict[Hashable, T] = OrderedDict()

    def get(self, key: Hashable) -> T | None:
        if key in self._found:
            self._found.move_to_end(key)
        return self._found.get(key)

    def put(self, key: Hashable, found: T) -> None:
        self._found[key] = found
        self._found.move_to_end(key)
        while len(self._found) > self.most:
            self._found.popitem(last=False)

    def clear(self) -> None:
        self._found.clear()


def key_of(*arrays: np.ndarray) -> bytes:
    """A hash of the arrays' numbers, shapes and kinds."""
    digest = blake2b(digest_size=16)
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.digest()


def read_only(*arrays: np.ndarray) -> None:
    """What is remembered must not be changed by one of those who get it."""
    for array in arrays:
        array.flags.writeable = False
