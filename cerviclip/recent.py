"""``Recent``: a dict of limited size that keeps the most recent entries. Needs nothing heavy."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Recent(OrderedDict[Key, Value]):
    """A dict that forgets the entries unused for longest when it grows too large.

    Args:
        limit: bound on the sum of the entries' weights.
        weight: of an entry, by its value; without it each weighs 1.
    """

    def __init__(self, limit: float, weight: Callable[[Value], float] | None = None) -> None:
        super().__init__()
        self.limit = limit
        self.total = 0.0
        self._weight = weight or (lambda value: 1)

    def __getitem__(self, key: Key) -> Value:
        value = super().__getitem__(key)
        self.move_to_end(key)
        return value

    def get(self, key: Key, default: Value | None = None) -> Value | None:  # type: ignore[override]
        return self[key] if key in self else default

    def __setitem__(self, key: Key, value: Value) -> None:
        if key in self:
            del self[key]
        super().__setitem__(key, value)
        self.total += self._weight(value)
        while self.total > self.limit and len(self) > 1:
            del self[next(iter(self))]

    def __delitem__(self, key: Key) -> None:
        self.total -= self._weight(super().__getitem__(key))
        super().__delitem__(key)

    def clear(self) -> None:
        super().clear()
        self.total = 0.0
