"""What a repository's own copy of Dassl has and ours has not: found in the sources of both."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from cerviclip.adopt.repository import own_classes, parsed, walk
from cerviclip.places import PACKAGE

OURS = PACKAGE.parent / "dassl"
#: Folders of upstream's that hold one method or data set a file; UPGRADING.md says which we have.
METHODS = {("engine", "da"), ("engine", "dg"), ("engine", "ssl")}
DATA_SETS = ("data", "datasets")


def additions(patched: Path, users: list[Path]) -> list[tuple[str, str]]:
    """What the copy adds and the repository's own files use: (file in the copy, name).

    A function or class counts where it is imported from Dassl, a method of the engine or of the
    data where something of its name is read from an object.

    Args:
        patched: the folder ``dassl`` of the copy.
        users: Python files of the repository outside it.
    """
    ours = _names(OURS)
    imported = {name for path in users for name in _imported_from(path, ("dassl", patched.name))}
    used = "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in users)
    read = set(re.findall(r"\.([A-Za-z]\w*)", used))
    found = []
    for path in sorted(p for p in walk(patched) if p.suffix == ".py"):
        inner = path.relative_to(patched)
        if inner.parts[:2] in METHODS or inner.parts[:2] == DATA_SETS and len(inner.parts) > 3:
            continue
        for name in _defined(path):
            owner, _, last = name.rpartition(".")
            wanted = last in read and owner in ours and inner.parts[0] != "modeling"
            if last not in ours and (wanted if owner else last in imported):
                found.append((inner.as_posix(), name))
    return found


def _imported_from(path: Path, packages: tuple[str, ...]) -> set[str]:
    """Names that a file imports from one of these packages, at whatever depth of theirs."""
    tree = parsed(path)
    return {
        alias.name
        for node in (ast.walk(tree) if tree else ())
        if isinstance(node, ast.ImportFrom) and set(packages) & set((node.module or "").split("."))
        for alias in node.names
    }


def added_defaults(patched: Path) -> list[str]:
    """Config keys that the copy's defaults have and ours have not."""
    from cerviclip.runs.settings.config_hash import flatten
    from dassl.config import get_cfg_default

    known = set(flatten(get_cfg_default()))
    sections = {key.rpartition(".")[0] for key in known}
    return sorted(
        key for key in default_keys(patched / "config" / "defaults.py")
        if key not in known and key not in sections
    )  # fmt: skip


def default_keys(path: Path) -> dict[str, object]:
    """Dotted keys of ``_C.A.B = value`` in a file of defaults, and the literal values."""
    found: dict[str, object] = {}
    tree = parsed(path)
    for node in tree.body if tree else ():
        if not (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute)):
            continue
        parts, target = [], node.targets[0]
        while isinstance(target, ast.Attribute):
            parts.append(target.attr)
            target = target.value  # type: ignore[assignment]
        try:
            found[".".join(reversed(parts))] = ast.literal_eval(node.value)
        except ValueError:  # a node of its own
            continue
    return found


def _names(folder: Path) -> set[str]:
    """Every function, class and method that a package defines, by its last name."""
    names: set[str] = set()
    for path in walk(folder):
        tree = parsed(path) if path.suffix == ".py" else None
        for node in ast.walk(tree) if tree else ():
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                names.add(node.name)
    return names


def _defined(path: Path) -> list[str]:
    tree = parsed(path)
    names = [n.name for n in tree.body if isinstance(n, ast.FunctionDef)] if tree else []
    for name, node in own_classes(path).items():
        names.append(name)
        names += [f"{name}.{n.name}" for n in node.body if isinstance(n, ast.FunctionDef)]
    return names
