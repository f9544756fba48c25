"""Shapes of JSON values: what a file must contain before its values are used.

A shape is a function ``(value, where)`` that raises `Misshapen` with the place at fault. Files come
from other people, other versions and from disks that were full. Needs no torch.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dassl.errors import UserError
from dassl.paths import can_be_written

Shape = Callable[[Any, str], None]
_ROUNDING = 1e-6  # of a value that another machine has rounded
_MOST = 2**63  # counts, seeds


class Misshapen(ValueError):
    """A value is not what it must be; the message names its place."""


def text(value: Any, where: str) -> None:
    _say(isinstance(value, str), where, value, "a text")


def name(value: Any, where: str) -> None:
    _say(isinstance(value, str) and value != "" and value.isprintable(), where, value, "a name")


def flag(value: Any, where: str) -> None:
    _say(isinstance(value, bool), where, value, "true or false")


def count(value: Any, where: str) -> None:
    _say(type(value) is int and 0 <= value < _MOST, where, value, "a number from 0")


def whole(value: Any, where: str) -> None:
    _say(type(value) is int and abs(value) < _MOST, where, value, "a whole number")


def number(value: Any, where: str) -> None:
    """A finite number; ``int`` too."""
    _say(_is_number(value), where, value, "a number")


def anything(value: Any, where: str) -> None:
    """What nobody looks into."""


def either(*shapes: Shape) -> Shape:
    """One of several shapes; the last one's complaint is told."""

    def check(value: Any, where: str) -> None:
        for shape in shapes[:-1]:
            try:
                return shape(value, where)
            except Misshapen:
                continue
        shapes[-1](value, where)

    return check


def unless_empty(shape: Shape) -> Shape:
    """The shape, or ``{}`` of what was never written."""

    def check(value: Any, where: str) -> None:
        if value != {}:
            shape(value, where)

    return check


def absent(value: Any, where: str) -> None:
    _say(value is None, where, value, "null")


def maybe(shape: Shape) -> Shape:
    """The shape, or null."""

    def check(value: Any, where: str) -> None:
        if value is not None:
            shape(value, where)

    return check


def listed(shape: Shape) -> Shape:
    """A list of that shape."""

    def check(value: Any, where: str) -> None:
        _say(isinstance(value, list), where, value, "a list")
        for i, item in enumerate(value):
            shape(item, f"{where}[{i}]")

    return check


def mapping(shape: Shape) -> Shape:
    """A mapping of names to that shape."""

    def check(value: Any, where: str) -> None:
        _say(isinstance(value, Mapping), where, value, "a mapping")
        for key, item in value.items():
            shape(item, f"{where}.{key}")

    return check


def record(needed: Mapping[str, Shape], others: Mapping[str, Shape] | None = None) -> Shape:
    """A mapping with needed keys, and others of a shape where they are there; more are let be."""
    others = others or {}

    def check(value: Any, where: str) -> None:
        _say(isinstance(value, Mapping), where, value, "a mapping")
        for key, shape in needed.items():
            if key not in value:
                raise Misshapen(f"it lacks the key {f'{where}.{key}' if where else key}")
            shape(value[key], f"{where}.{key}" if where else key)
        for key, shape in others.items():
            if key in value:
                shape(value[key], f"{where}.{key}" if where else key)

    return check


def metric(lowest: float = -math.inf, highest: float = math.inf) -> Shape:
    """``{"value", "low", "high"}``: null or numbers in a range, ``low`` not above ``high``."""
    least, most = lowest - _ROUNDING, highest + _ROUNDING

    def check(value: Any, where: str) -> None:
        _say(isinstance(value, Mapping) and "value" in value, where, value, "a number with limits")
        for key in ("value", "low", "high"):
            part = value.get(key)
            if part is not None and not (_is_number(part) and least <= part <= most):
                wanted = "a number" if most == math.inf else f"in {lowest:g}-{highest:g}"
                raise Misshapen(f"{where}.{key} is {_short(part)}, not {wanted}")
        low, high = value.get("low"), value.get("high")
        if low is not None and high is not None and low > high + _ROUNDING:
            raise Misshapen(f"{where} has the limits {low} to {high}, the lower above the upper")

    return check


def parse_json(text: str, any_text: bool = False) -> Any:
    """A JSON text, read strictly: no NaN, no key twice, no nesting without end, no text in it that
    could not be written again.

    Args:
        text: the whole of it.
        any_text: take such texts too, in logs of what others have sent.

    Raises:
        ValueError: in one line, what is wrong with it.
    """
    found = plain_json(text, parse_constant=refuse_constant, object_pairs_hook=_with_keys_once)
    if not any_text and _ODD_ESCAPE.search(text):
        _refuse_no_text(found)
    return found


_ODD_ESCAPE = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")  # also of characters that are whole


def _refuse_no_text(value: Any) -> None:
    inner = [value]
    while inner:
        one = inner.pop()
        if isinstance(one, str) and not can_be_written(one):
            raise ValueError(f"it has {one[:40]!r}, which holds a zero byte or is not Unicode")
        if isinstance(one, dict):
            inner += [*one, *one.values()]
        elif isinstance(one, list):
            inner += one


def plain_json(text: str | bytes, **how: Any) -> Any:
    """``json.loads`` of a text that others may have written: nesting without end is a ValueError.

    ``json`` itself raises RecursionError there, which no reader expects. A byte order mark, which
    Windows' editors write, is passed over.
    """
    try:
        return json.loads(text.removeprefix("\ufeff") if isinstance(text, str) else text, **how)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def read_own_json(path: Path, shape: Shape, way_out: str) -> Any:
    """A JSON file that a command of ours wrote, and others may have altered since.

    Args:
        path: of the file.
        shape: what it must look like.
        way_out: what to do if it does not, for the message.

    Raises:
        UserError: it is no such file.
    """
    try:
        value = parse_json(path.read_text(encoding="utf-8"))
        shape(value, "")
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be used: {error}; {way_out}") from None
    return value


def refuse_constant(name: str) -> float:
    """For ``json.loads``: NaN and Infinity are no JSON."""
    raise ValueError(f"it holds {name}, which is no number")


def _with_keys_once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"it has the key {_short(key)} twice")
        found[key] = value
    return found


def _is_number(value: Any) -> bool:
    if type(value) is float:
        return math.isfinite(value)
    return type(value) is int and abs(value) < 10**300


def _say(holds: bool, where: str, value: Any, wanted: str) -> None:
    if not holds:
        raise Misshapen(f"{where or 'it'} is {_short(value)}, not {wanted}")


def _short(value: Any) -> str:
    """A value for a message: of a long one the kind."""
    if isinstance(value, (Mapping, Sequence)) and not isinstance(value, str):
        return "a list" if isinstance(value, Sequence) else "a mapping"
    shown = repr(value) if not isinstance(value, int) or abs(value) < 10**30 else "a huge number"
    return shown if len(shown) < 80 else f"{shown[:80]}..."
