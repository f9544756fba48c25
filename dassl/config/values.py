"""From what a user wrote to a config value: its default's type, and names as they were typed.

``07``, ``no`` and ``2021`` are numbers and truth values to yaml and to Python. Where a name is
meant (a class, a folder, a template) the text counts.
"""

from __future__ import annotations

import ast
import math
from typing import Any, NamedTuple, NoReturn

from yacs.config import CfgNode

from dassl.config.defaults import NAME_LISTS
from dassl.config.yaml_file import odd_number, parse_typed
from dassl.errors import UserError
from dassl.paths import can_be_written


class Written(NamedTuple):
    """What stands in a file or on the command line for a key."""

    value: Any  # as yaml or a program gives it; a word of the command line is a string
    typed: Any  # the same with every scalar as text
    full_key: str
    source: str  # the file, or "the command line"

    @property
    def where(self) -> str:
        return f"config key {self.full_key} in {self.source}"


def decode(value: Any) -> Any:
    """Strings are read as Python literals where they are one (yaml reads 1e-4 as a string)."""
    if isinstance(value, str):
        try:
            return ast.literal_eval(value)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            return value  # TypeError: {[1]: 2}, a key that cannot be hashed
    return value


def coerce(written: Written, default: Any) -> Any:
    """The value in its default's type; None on either side means any type, as in yacs.

    Raises:
        UserError: the value is of another type.
    """
    refuse_no_text(written)
    if written.value is None and written.full_key in NAME_LISTS:
        return type(default)()  # nothing after the colon
    if written.value is not None and _takes_names(written.full_key, default):
        return type(default)(names(written))
    value, raw = decode(written.value), written.value
    if raw is None and isinstance(default, str) and written.full_key.startswith("DATASET."):
        return ""  # nothing after the colon; in a data set's keys "" says "as the data set has it"
    _refuse_no_numbers(written, value)
    if isinstance(default, (int, float)) and (odd := odd_number(raw, written.typed)):
        raise UserError(f"{written.where} is {odd}")
    if value is None and isinstance(default, (bool, int, float)):
        raise UserError(
            f"{written.where} has nothing where a number or a truth value is meant; give one, such "
            f"as {default}, or take the line out"
        )
    if default is None or value is None or type(value) is type(default):
        return value
    if isinstance(default, tuple) and isinstance(value, list):
        return tuple(value)
    if isinstance(default, list) and isinstance(value, tuple):
        return list(value)
    if isinstance(default, float) and type(value) is int:
        return float(value)
    if type(default) is int and isinstance(value, float) and value.is_integer():
        return int(value)  # 1e2
    if isinstance(default, str) and isinstance(raw, str):
        return raw
    if isinstance(default, str) and not isinstance(raw, (bool, list, tuple, dict)):
        return str(written.typed)
    _refuse_type(written, value, default)


def refuse_no_text(written: Written) -> None:
    """Refuse text that no file can be called by or hold: zero bytes, and what is not Unicode.

    A run writes its settings down before anything else.
    """
    values = written.typed if isinstance(written.typed, (list, tuple)) else [written.typed]
    for value in values:
        if isinstance(value, str) and not can_be_written(value):
            raise UserError(
                f"{written.where} is {value!r}, which holds a zero byte or is not Unicode; "
                "rename what it names"
            )


def _refuse_no_numbers(written: Written, value: Any) -> None:
    """Refuse NaN and infinities, in a list too: every comparison with a NaN is false, so checks of
    ranges let it pass."""
    parts = value if isinstance(value, (list, tuple)) else [value]
    if wrong := [part for part in parts if isinstance(part, float) and not math.isfinite(part)]:
        raise UserError(f"{written.where} is not a number ({wrong[0]}); give one")


def name(written: Written) -> str:
    """One name, as it was typed.

    Raises:
        UserError: yaml takes it for a truth value or for nothing, or it is a list.
    """
    refuse_no_text(written)
    if written.value is None or isinstance(written.value, bool):
        meaning = "nothing" if written.value is None else "a truth value"
        raise UserError(
            f"{written.where} has {written.typed or 'null'} where a name is meant, but yaml reads "
            f'it as {meaning}; quote it ("" for none)'
        )
    if isinstance(written.value, (list, tuple, dict, set)):
        raise UserError(f"{written.where} has {written.value!r} where one name is meant")
    return str(written.typed)


def names(written: Written) -> list[str]:
    """A list of names, as they were typed; a single word is a list of one."""
    value, typed = written.value, written.typed
    if isinstance(value, str):
        value, typed = _names_in_word(value, written)
    elif not isinstance(value, (list, tuple)):
        value, typed = [value], [typed]
    return [name(written._replace(value=v, typed=t)) for v, t in zip(value, typed, strict=True)]


def name_map(written: Written) -> tuple[dict[Any, Any], dict[str, Any]]:
    """A mapping as values and as text; a word of the command line is read as ``{a: b, c: d}``."""
    value, typed = written.value, written.typed
    if isinstance(value, str):
        value, typed = parse_typed(value, written.where)
    if not isinstance(value, dict):
        raise UserError(
            f"{written.where} is {written.value!r}; it takes names such as '{{theirs: ours}}', or "
            f"{written.full_key}.THEIRS OURS"
        )
    return value, typed


def _takes_names(full_key: str, default: Any) -> bool:
    if not isinstance(default, (list, tuple)):
        return False
    return full_key in NAME_LISTS or (bool(default) and all(isinstance(d, str) for d in default))


def _names_in_word(word: str, written: Written) -> tuple[list[Any], list[str]]:
    """The names in ``('a', 'b')``, ``[07, 08]`` or ``a``."""
    literal, text = decode(word), word.strip()
    if isinstance(literal, (list, tuple)) and all(isinstance(x, str) for x in literal):
        return list(literal), list(literal)
    if isinstance(literal, str) and literal != word:  # ('a') or 'a': quotes without a comma
        return [literal], [literal]
    inner = text[1:-1] if text[:1] + text[-1:] in ("()", "[]") else ""
    if inner or isinstance(literal, tuple):
        try:
            value, typed = parse_typed(f"[{inner or text}]", written.where)
        except UserError:  # one name in brackets, such as a template
            return [word], [word]
        return value, typed
    if "," in text and not any(c.isspace() for c in text):
        listed = ", ".join(repr(part) for part in text.split(","))
        raise UserError(f'{written.where} is {word!r}; write several names as "({listed})"')
    return ([word], [word]) if text else ([], [])


def _refuse_type(written: Written, value: Any, default: Any) -> NoReturn:
    example = default
    if isinstance(default, (list, tuple)) and not default and not isinstance(value, (str, dict)):
        example = type(default)([value])
    wanted = f"{type(default).__name__} such as {example!r}"
    if isinstance(default, CfgNode):
        wanted = "section with keys below it"
    elif isinstance(default, str):
        wanted += "; quote it if a name is meant"
    raise UserError(
        f"{written.where} is {written.value!r} ({type(value).__name__}); it takes a {wanted}"
    )
