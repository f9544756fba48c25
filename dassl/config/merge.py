"""Merging yaml files and ``KEY VALUE`` overrides into a cfg, with errors that name the way out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from yacs.config import CfgNode

from dassl.config.defaults import NAME_MAPS
from dassl.config.values import Written, coerce, decode, name, name_map
from dassl.config.yaml_file import layers_of
from dassl.errors import UnknownNameError, UserError, nearest


def all_keys(cfg: CfgNode, prefix: str = "") -> Iterator[str]:
    """Every key of the tree in dotted form, sections included."""
    for key, value in cfg.items():
        yield prefix + key
        if isinstance(value, CfgNode):
            yield from all_keys(value, f"{prefix}{key}.")


def unknown_key_message(cfg: CfgNode, key: str, source: str) -> str:
    """One line: which key, where it stands, and the nearest known key."""
    near = _near_key(cfg, key)
    hint = f"did you mean {near}?" if near else _section_hint(cfg, key)
    return f"unknown config key {key} in {source}; {hint}"


def merge_file(cfg: CfgNode, path: str | Path) -> None:
    """Merge a yaml file into ``cfg``, after the files that it names as its ``_BASE_``.

    Raises:
        MissingFileError: there is no such file.
        UnknownNameError: a key is in no section of the tree.
        UserError: the file is no yaml mapping, or a value has another type than its default.
    """
    for file in layers_of(path):
        _merge_mapping(cfg, cfg, file.tree, file.typed, "", str(file.path))


def merge_opts(cfg: CfgNode, opts: Sequence[Any]) -> None:
    """Merge command-line overrides ``[KEY, VALUE, KEY, VALUE, ...]`` into ``cfg``.

    Raises:
        UnknownNameError: a key is in no section of the tree.
        UserError: a key has no value, or a value has another type than its default.
    """
    source = "the command line"
    opts = list(opts or [])
    if len(opts) % 2:
        numbers = [word for word in opts[::2] if str(word)[:1].isdigit()]  # "--shots 1 2"
        lone = numbers[0] if numbers else opts[-1]
        raise UserError(
            f"overrides on the command line come as KEY VALUE pairs; '{lone}' has no partner"
        )
    for full_key, value in zip(opts[::2], opts[1::2], strict=True):
        node, parts = cfg, _parts(full_key)
        for part in parts[:-1]:
            if part not in node or not isinstance(node[part], CfgNode):
                raise UnknownNameError(unknown_key_message(cfg, full_key, source))
            node = node[part]
        _set(cfg, node, parts[-1], Written(value, _as_text(value), full_key, source))


def _parts(full_key: str) -> list[str]:
    """Where a dotted key leads; a name below an open section may hold dots of its own."""
    for section in NAME_MAPS:
        if full_key.startswith(f"{section}."):
            return [*section.split("."), full_key.removeprefix(f"{section}.")]
    return full_key.split(".")


def _as_text(value: Any) -> Any:
    """A program's value with its scalars as text."""
    if isinstance(value, dict):
        return {str(key): _as_text(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_text(v) for v in value]
    return "" if value is None else str(value)


def _merge_mapping(
    cfg: CfgNode,
    node: CfgNode,
    new: dict[Any, Any],
    typed: dict[str, Any],
    prefix: str,
    source: str,
) -> None:
    for (key, value), text in zip(new.items(), typed.values(), strict=True):
        full_key = f"{prefix}{key}"
        if isinstance(node.get(key), CfgNode) and full_key not in NAME_MAPS:
            if value is None:  # an empty section in the yaml
                continue
            if not isinstance(value, dict):
                _refuse_section(Written(value, text, full_key, source))
            _merge_mapping(cfg, node[key], value, text, f"{full_key}.", source)
        else:
            _set(cfg, node, key, Written(value, text, full_key, source))


def _set(cfg: CfgNode, node: CfgNode, key: Any, written: Written) -> None:
    section = written.full_key.rpartition(f".{key}")[0]
    if key not in node and not node.is_new_allowed():
        raise UnknownNameError(unknown_key_message(cfg, written.full_key, written.source))
    if node.is_frozen():
        raise UserError(
            f"config key {written.full_key} cannot be changed any more: the config is frozen"
        )
    if written.full_key in NAME_MAPS:
        _fill_name_map(node[key], written)
    elif isinstance(node.get(key), CfgNode):
        _refuse_section(written)
    elif section in NAME_MAPS:
        node[str(key)] = name(written)
    elif key in node:
        value = coerce(written, node[key])
        _check_plain(value, written)
        node[key] = value
    else:
        value = decode(written.value)
        _check_plain(value, written)
        node[key] = CfgNode(value) if isinstance(value, dict) else value


def _refuse_section(written: Written) -> NoReturn:
    raise UserError(
        f"config key {written.full_key} in {written.source} is a section; it takes keys below it, "
        f"not {written.value!r}"
    )


_PLAIN = (str, int, float, bool, type(None))  # what yacs takes and writes again


def _check_plain(value: Any, written: Written) -> None:
    """Refuse what yacs cannot write: a date, a set, bytes, a mapping with other keys than text."""
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        for inner in value.values():
            _check_plain(inner, written)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            _check_plain(inner, written)
    elif not isinstance(value, _PLAIN):
        raise UserError(
            f"{written.where} holds {value!r} ({type(value).__name__}), which is no plain value; "
            "quote it if a name is meant"
        )


def _fill_name_map(node: CfgNode, written: Written) -> None:
    if written.value is None:  # an empty section in the yaml
        return
    values, typed = name_map(written)
    for (key, value), (key_text, text) in zip(values.items(), typed.items(), strict=True):
        full_key = f"{written.full_key}.{key_text}"
        key_name = name(Written(key, key_text, f"{written.full_key}", written.source))
        node[key_name] = name(Written(value, text, full_key, written.source))


def _near_key(cfg: CfgNode, key: str) -> str:
    """The known key most like ``key``: in its own section, then anywhere; "" if none is near."""
    known = list(all_keys(cfg))
    section, _, leaf = key.upper().rpartition(".")
    same = {k.rpartition(".")[2].upper(): k for k in known if k.rpartition(".")[0] == section}
    if section and same:
        near = nearest(leaf, same, cutoff=0.5)
        if near:
            return same[near]
    leaves = {k.rpartition(".")[2].upper(): k for k in reversed(known)}
    if leaf in leaves:  # the right name in the wrong section
        return leaves[leaf]
    if section and same:
        return ""
    whole = {k.upper(): k for k in known}
    near = nearest(key.upper(), whole, cutoff=0.75)
    return whole[near] if near else ""


def _section_hint(cfg: CfgNode, key: str) -> str:
    parts, node, where = key.split("."), cfg, ""
    for part in parts[:-1]:
        if not isinstance(node.get(part), CfgNode):
            break
        node, where = node[part], f"{where}{part}."
    name = where.rstrip(".") or "the config"
    return f"{name} has {', '.join(sorted(node)) or 'no keys'}"
