"""Merging yaml files and ``KEY VALUE`` overrides into a cfg, with errors that name the way out."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from yacs.config import CfgNode

from dassl.errors import MissingFileError, UnknownNameError, UserError, nearest


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
    """Merge a yaml file into ``cfg``.

    Raises:
        MissingFileError: there is no such file.
        UnknownNameError: a key is in no section of the tree.
        UserError: the file is no yaml mapping, or a value has another type than its default.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"config file {path} does not exist; check the path")
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        detail = " ".join(str(error).split())
        raise UserError(f"config file {path} is not valid yaml: {detail}") from error
    if loaded is None:
        return
    if not isinstance(loaded, dict):
        raise UserError(
            f"config file {path} must hold sections such as 'OPTIM:', not a {type(loaded).__name__}"
        )
    _merge_mapping(cfg, cfg, loaded, "", str(path))


def merge_opts(cfg: CfgNode, opts: Sequence[str]) -> None:
    """Merge command-line overrides ``[KEY, VALUE, KEY, VALUE, ...]`` into ``cfg``.

    Raises:
        UnknownNameError: a key is in no section of the tree.
        UserError: a key has no value, or a value has another type than its default.
    """
    source = "the command line"
    opts = list(opts or [])
    if len(opts) % 2:
        raise UserError(
            f"overrides on the command line come as KEY VALUE pairs; '{opts[-1]}' has no partner"
        )
    for full_key, value in zip(opts[::2], opts[1::2], strict=True):
        node, parts = cfg, full_key.split(".")
        for part in parts[:-1]:
            if part not in node or not isinstance(node[part], CfgNode):
                raise UnknownNameError(unknown_key_message(cfg, full_key, source))
            node = node[part]
        _set(cfg, node, parts[-1], value, full_key, source)


def _merge_mapping(
    cfg: CfgNode, node: CfgNode, new: dict[Any, Any], prefix: str, source: str
) -> None:
    for key, value in new.items():
        full_key = f"{prefix}{key}"
        if isinstance(node.get(key), CfgNode):
            if value is None:  # an empty section in the yaml
                continue
            if not isinstance(value, dict):
                raise UserError(
                    f"config key {full_key} in {source} is a section; "
                    f"it takes keys below it, not {value!r}"
                )
            _merge_mapping(cfg, node[key], value, f"{full_key}.", source)
        else:
            _set(cfg, node, key, value, full_key, source)


def _set(cfg: CfgNode, node: CfgNode, key: Any, value: Any, full_key: str, source: str) -> None:
    if key not in node:
        if not node.is_new_allowed():
            raise UnknownNameError(unknown_key_message(cfg, full_key, source))
        node[key] = CfgNode(value) if isinstance(value, dict) else _decode(value)
        return
    if node.is_frozen():
        raise UserError(f"config key {full_key} cannot be changed any more: the config is frozen")
    node[key] = _coerce(_decode(value), value, node[key], full_key, source)


def _decode(value: Any) -> Any:
    """Strings are read as Python literals where they are one (yaml reads 1e-4 as a string)."""
    if isinstance(value, str):
        try:
            return ast.literal_eval(value)
        except (ValueError, SyntaxError):
            return value
    return value


def _coerce(value: Any, raw: Any, default: Any, full_key: str, source: str) -> Any:
    """The value in its default's type; None on either side means any type, as in yacs."""
    if default is None or value is None or type(value) is type(default):
        return value
    if isinstance(default, tuple) and isinstance(value, list):
        return tuple(value)
    if isinstance(default, list) and isinstance(value, tuple):
        return list(value)
    if isinstance(default, float) and type(value) is int:
        return float(value)
    if isinstance(default, str) and isinstance(raw, str):
        return raw
    if isinstance(default, str) and type(raw) in (int, float):
        return str(raw)
    wanted = f"{type(default).__name__} such as {default!r}"
    if isinstance(default, CfgNode):
        wanted = "section with keys below it"
    raise UserError(
        f"config key {full_key} in {source} is {raw!r} ({type(value).__name__}); "
        f"it takes a {wanted}"
    )


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
