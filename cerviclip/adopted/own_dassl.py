"""What a repository's own copy of Dassl adds to ours, brought into ours for this process.

Ours stays as it is; a name, a method or a module that only the copy has is taken from there. A copy
that is imported by another name (``my_dassl``) is ours by that name.
"""

from __future__ import annotations

import ast
import importlib
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from cerviclip.adopt.repository import parsed


def bring_modules(patched: Path) -> None:
    """Let modules of ``dassl`` that only the copy has be imported from there."""
    sys.meta_path.append(_OfTheCopy(patched))  # type: ignore[arg-type]


def let_be_called(names: Sequence[str]) -> None:
    """Let our ``dassl`` be imported by these names as well."""
    for name in names:
        sys.meta_path.insert(0, _Alias(name))  # type: ignore[arg-type]


def take(patched: Path, where: str, name: str) -> bool:
    """Take a name that a file of the copy defines: ``TrainerFork``, or ``TrainerX.new_method``.

    Args:
        patched: the folder ``dassl`` of the copy.
        where: the file, relative to it.
        name: the function, class or method.

    Returns:
        Whether it is there now.
    """
    module = _module_of(Path(where))
    with suppress(Exception):  # whatever their file needs: the caller says what is missing
        space = _filled(importlib.import_module(module), patched / where)
        owner, _, last = name.rpartition(".")
        if not owner:
            for package in _packages(module):
                vars(importlib.import_module(package)).setdefault(name, space[name])
            return True
        kind = space[owner]
        if not hasattr(kind, last):
            setattr(kind, last, _method(parsed(patched / where), owner, last, space))
        return True
    return False


def _module_of(file: Path) -> str:
    parts = file.with_suffix("").parts
    return ".".join(("dassl", *(parts[:-1] if parts[-1] == "__init__" else parts)))


def _packages(module: str) -> list[str]:
    """A module and the packages around it, which often hand its names on; not ``dassl`` itself."""
    parts = module.split(".")
    return [".".join(parts[:n]) for n in range(len(parts), 1, -1)]


def _filled(ours: types.ModuleType, file: Path) -> dict[str, Any]:
    """Names of our module, and those of the copy's file that ours has not."""
    space = {**vars(ours)}
    tree = parsed(file)
    for node in tree.body if tree else ():
        names = _bound(node)
        if names and not set(names) <= space.keys():
            before = {name: space[name] for name in names if name in space}
            with suppress(Exception):
                exec(compile(ast.Module([node], []), str(file), "exec"), space)
            space.update(before)
    return space


def _bound(node: ast.stmt) -> list[str]:
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return [node.name]
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return [(alias.asname or alias.name).split(".")[0] for alias in node.names]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return []


def _method(tree: ast.Module | None, owner: str, name: str, space: dict[str, Any]) -> Any:
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.ClassDef) and node.name == owner:
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef) and inner.name == name:
                    if "super(" in ast.unparse(inner):
                        raise NotImplementedError("super() of a class that it is not in")
                    body: dict[str, Any] = {}
                    exec(compile(ast.Module([inner], []), owner, "exec"), space, body)
                    return body[name]
    raise AttributeError(name)


class _OfTheCopy:
    """The last finder to be asked: a module below ``dassl`` that only the copy has."""

    def __init__(self, patched: Path) -> None:
        self.patched = patched

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if not fullname.startswith("dassl."):
            return None
        place = self.patched.joinpath(*fullname.split(".")[1:])
        if (place / "__init__.py").is_file():
            return importlib.util.spec_from_file_location(
                fullname, place / "__init__.py", submodule_search_locations=[str(place)]
            )
        file = place.with_suffix(".py")
        return importlib.util.spec_from_file_location(fullname, file) if file.is_file() else None


class _Alias:
    """The first finder to be asked: ``my_dassl.x`` is ``dassl.x``, the same module."""

    def __init__(self, name: str) -> None:
        self.name = name

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname != self.name and not fullname.startswith(f"{self.name}."):
            return None
        ours = importlib.import_module(f"dassl{fullname.removeprefix(self.name)}")
        return importlib.machinery.ModuleSpec(fullname, _Same(ours), is_package=True)  # type: ignore[arg-type]


class _Same:
    """Loads what is loaded already."""

    def __init__(self, module: types.ModuleType) -> None:
        self.module = module
        self.spec = module.__spec__

    def create_module(self, spec: Any) -> types.ModuleType:
        return self.module

    def exec_module(self, module: types.ModuleType) -> None:
        module.__spec__ = self.spec
