"""Reading yaml strictly, and yaml files that build on others by ``_BASE_``.

PyYAML keeps the last of two equal keys and says nothing; here that is an error. A number, a date or
``no`` may be meant as a name, so the text of every scalar is kept beside its value.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from dassl.errors import MissingFileError, UserError, no_file
from dassl.paths import at_home, is_file

BASE = "_BASE_"
MOST_NESTED = 100  # levels of one file; ours have six, and Python copies some three hundred
MOST_REPEATED = 100_000  # values of one file that stand there by aliases alone
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster where it is there
_MERGE = "tag:yaml.org,2002:merge"


class YamlFile(NamedTuple):
    """A yaml file's mapping, twice."""

    path: Path
    tree: dict[Any, Any]
    typed: dict[str, Any]  # the same mapping with every scalar, keys too, as the text in the file


def read_yaml(
    path: str | Path, what: str = "file", holds: str = "keys such as 'NAME: value'"
) -> dict[Any, Any]:
    """The mapping that a yaml (or JSON) file holds; an empty file holds an empty one.

    Args:
        path: the file, in UTF-8, with or without a byte order mark.
        what: what the file is, for messages: "config file".
        holds: what it must hold, for messages.

    Raises:
        MissingFileError: there is no such file.
        UserError: it is not UTF-8, not yaml, no mapping, or has a key twice.
    """
    return read_typed(path, what, holds).tree


def read_typed(
    path: str | Path, what: str = "file", holds: str = "keys such as 'NAME: value'"
) -> YamlFile:
    """As `read_yaml`, with the text of every scalar beside its value."""
    path = Path(path)
    if not is_file(path):
        raise MissingFileError(f"{what} {path} {no_file(path)}; check the path")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{what} {path} is not UTF-8 text (byte {error.start + 1}); save it as UTF-8"
        ) from error
    tree, typed = parse_typed(text, f"{what} {path}")
    if tree is None:
        return YamlFile(path, {}, {})
    if not isinstance(tree, dict):
        raise UserError(f"{what} {path} must hold {holds}, not a {type(tree).__name__}")
    return YamlFile(path, tree, typed)


def parse_typed(text: str, source: str) -> tuple[Any, Any]:
    """The value of a yaml text, and the same with every scalar as it was typed.

    Args:
        text: one yaml document.
        source: where it stands, for messages.
    """
    try:
        _refuse_depth(text, source)
        node = _root_of(text)
        if node is None:
            return None, ""
        _refuse_bombs(node, source)
        _refuse_repeated_keys(node, source)
        value = yaml.constructor.SafeConstructor().construct_document(node)
        typed = _AsTyped().construct_document(node)
    except UserError:
        raise
    except (yaml.YAMLError, RecursionError, *_NO_SUCH_VALUE) as error:
        detail = " ".join(str(error).split()) or "it is nested too deep"
        if isinstance(error, (AttributeError, LookupError)):
            detail = "a value is not of the type that its tag (such as !!int) says"
        raise UserError(f"{source} is not valid yaml: {detail}") from error
    _refuse_lost_keys(value, typed, source)
    return value, typed


# What PyYAML's constructors raise of a scalar that is not what it looks like (2021-13-01, a date)
# or what its tag says (!!bool maybe, !!timestamp soon).
_NO_SUCH_VALUE = (ValueError, TypeError, OverflowError, AttributeError, LookupError)


def _root_of(text: str) -> yaml.Node | None:
    """The node of the one document in a text."""
    loader = _LOADER(text)
    try:
        return loader.get_single_node()
    finally:
        loader.dispose()


def layers_of(path: str | Path, what: str = "config file") -> list[YamlFile]:
    """A file and all files that it builds on; a later one overrides those before it.

    ``_BASE_: other.yaml``, or a list of files, names what a file builds on, relative to its own
    folder. A file that is reached twice counts once, where it is reached first.

    Raises:
        UserError: as `read_yaml`; and a ``_BASE_`` that is no file or leads back to its own file.
    """
    return list(_layers(Path(path), what, (), set()))


def merged_tree(path: str | Path) -> dict[Any, Any]:
    """What a file says together with all that it builds on."""
    whole: dict[Any, Any] = {}
    for layer in layers_of(path):
        _overlay(whole, layer.tree)
    return whole


def odd_number(value: Any, typed: Any) -> str:
    """Why a number may not be the one that was meant; "" where it is.

    Args:
        value: as yaml reads it.
        typed: the text that stands in the file.
    """
    if type(value) in (int, float) and re.fullmatch(
        r"[-+]?(0[0-9_]+|[0-9_]+(:[0-9_.]+)+)", str(typed)
    ):
        return (
            f"{typed}, which yaml reads as {value}; write {value}, or quote it if a name is meant"
        )
    return ""


class _AsTyped(yaml.constructor.SafeConstructor):
    """Every scalar as text."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if isinstance(node, yaml.ScalarNode):
            return node.value
        return super().construct_object(node, deep)  # type: ignore[no-untyped-call]


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [child for pair in node.value for child in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _refuse_depth(text: str, source: str) -> None:
    """Refuse nesting without end before nodes are made of it: libyaml 0.2.5, which many a PyYAML
    brings, makes them by recursion in C and ends the process."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MOST_NESTED:
            raise _too_deep(source, event.start_mark.line)


def _too_deep(source: str, line: int) -> UserError:
    return UserError(
        f"{source} is nested in more than {MOST_NESTED} levels, in line {line + 1}; close what is "
        "open there"
    )


def _refuse_bombs(root: yaml.Node, source: str) -> None:
    """Refuse aliases that lead back to what holds them, that nest it without end, or that a few
    lines make billions of values with: what walks, copies or prints the values would not end, or
    would end in a RecursionError."""
    sizes: dict[int, int] = {}  # 0: its children are being counted
    levels: dict[int, int] = {}
    todo = [root]
    while todo:
        node, children = todo[-1], _children(todo[-1])
        if id(node) not in sizes:
            sizes[id(node)] = 0
            if any(sizes.get(id(child)) == 0 for child in children):
                line = node.start_mark.line + 1
                raise UserError(f"{source} has an alias within its own anchor, in line {line}")
            todo += [child for child in children if id(child) not in sizes]
            continue
        todo.pop()
        if sizes[id(node)] == 0:
            sizes[id(node)] = 1 + sum(sizes[id(child)] for child in children)
            levels[id(node)] = 1 + max((levels[id(child)] for child in children), default=0)
        if levels[id(node)] > MOST_NESTED:
            raise _too_deep(source, root.start_mark.line)
        if sizes[id(node)] > len(sizes) + MOST_REPEATED:
            raise UserError(
                f"{source} repeats more than {MOST_REPEATED:,} values by aliases (*name); write "
                "out what is meant"
            )


def _refuse_lost_keys(value: Any, typed: Any, source: str) -> None:
    """Refuse mappings in which two keys of different text are one to Python, as ``1`` and ``0x1``
    of a merge (``<<``) are."""
    todo = [(value, typed)]
    while todo:
        one, text = todo.pop()
        if isinstance(one, dict) and isinstance(text, dict):
            if len(one) != len(text):
                raise UserError(
                    f"{source} has a key twice in other words, such as 1 and 0x1, among "
                    f"{', '.join(map(str, text))[:200]}; only one can count: rename one"
                )
            todo += zip(one.values(), text.values(), strict=True)
        elif isinstance(one, list) and isinstance(text, list):
            todo += zip(one, text, strict=True)


def _refuse_repeated_keys(root: yaml.Node, source: str) -> None:
    todo, seen = [root], {id(root)}
    while todo:
        node = todo.pop()
        children = _children(node)
        if isinstance(node, yaml.MappingNode):
            _refuse_repeated_keys_of(node, source)
        new = [child for child in children if id(child) not in seen]
        seen |= {id(child) for child in new}
        todo += new


def _refuse_repeated_keys_of(node: yaml.MappingNode, source: str) -> None:
    by_value: dict[Any, int] = {}
    by_text: dict[str, int] = {}  # 0 and "0" are two keys to yaml and one name
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
            continue
        value = yaml.constructor.SafeConstructor().construct_document(key)
        line = key.start_mark.line + 1
        first = by_value.get(value) or by_text.get(key.value)
        if first:
            where = f"line {line}" if first == line else f"lines {first} and {line}"
            raise UserError(
                f"{source} has the key {key.value!r} twice, in {where}; only one can count: join "
                "or rename them"
            )
        by_value[value] = by_text[key.value] = line


def _layers(
    path: Path, what: str, way: tuple[YamlFile, ...], done: set[Path]
) -> Iterator[YamlFile]:
    """Bases first; ``way`` leads here from the file that was asked for."""
    file = read_typed(path, what, "sections such as 'OPTIM:'")
    bases = _bases(file)
    for base in bases:
        place = base.resolve()
        if place in {f.path.resolve() for f in (*way, file)}:
            raise UserError(f"config file {file.path} has {base} as {BASE}, which builds on it")
        if not is_file(base):
            raise MissingFileError(
                f"{BASE} {base} of config file {file.path} does not exist; a path there starts at "
                "the file's own folder"
            )
        if place not in done:
            yield from _layers(base, what, (*way, file), done)
    done.add(path.resolve())
    yield YamlFile(
        file.path,
        {key: value for key, value in file.tree.items() if key != BASE},
        {key: value for key, value in file.typed.items() if key != BASE},
    )


def _bases(file: YamlFile) -> list[Path]:
    named = file.tree.get(BASE, [])
    names = [named] if isinstance(named, str) else named
    if not isinstance(names, list) or not all(isinstance(n, str) and n for n in names):
        raise UserError(
            f"{BASE} in config file {file.path} is {named!r}; it takes one yaml file or a list"
        )
    return [file.path.parent / at_home(name) for name in names]


def _overlay(below: dict[Any, Any], above: dict[Any, Any]) -> None:
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(below.get(key), dict):
            _overlay(below[key], value)
        elif value is not None or not isinstance(below.get(key), dict):  # an empty section
            below[key] = copy.deepcopy(value)
