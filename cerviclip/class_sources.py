"""What classes inherit, read from their source files without importing them.

A class and its bases, from all their files, become empty stand-in classes. So Python itself finds
the order in which an attribute is looked up. A base that is in no file here (torch's, another
library's) is left out.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from cerviclip.places import HOME, PACKAGE, ROOMS
from dassl.paths import is_file


class _Import(NamedTuple):
    """``from <level dots><module> import <name>``; the name is empty for ``import <module>``."""

    module: str
    name: str = ""
    level: int = 0


class _Source(NamedTuple):
    """A file's classes, and what it imports under which name."""

    classes: dict[str, ast.ClassDef]
    imports: dict[str, _Import]


class ClassSources:
    """Stand-ins of classes with some of their attributes.

    Args:
        attributes: those that stand-ins have where a class body sets them to a literal.
    """

    def __init__(self, *attributes: str) -> None:
        self.attributes = attributes
        self._trees: dict[Path, ast.Module] = {}
        self._sources: dict[Path, _Source] = {}
        self._made: dict[tuple[Path, str], type | None] = {}

    def tree(self, path: Path) -> ast.Module:
        """A file's syntax tree, read once.

        Raises:
            OSError, SyntaxError, ValueError: it cannot be read or is no Python.
        """
        if path not in self._trees:
            self._trees[path] = ast.parse(path.read_text(encoding="utf-8"))
        return self._trees[path]

    def stand_in(self, path: Path, name: str) -> type | None:
        """A class named ``name`` with the bases of the one in ``path``; None if none is found."""
        key = (path, name)
        if key not in self._made:
            self._made[key] = None  # for a class that is its own base by a detour
            self._made[key] = self._make(*key)
        return self._made[key]

    def _make(self, path: Path, name: str) -> type | None:
        source = self._read(path)
        if name in source.classes:
            node = source.classes[name]
            found = (self._base(path, base) for base in node.bases)
            bases = tuple(dict.fromkeys(base for base in found if base is not None))
            body = self._body(node)
            try:
                return type(name, bases, body)
            except TypeError:  # Python cannot order these bases either
                return type(name, (), body)
        if name in source.imports:
            file, inner = _place(path, source.imports[name])
            return self.stand_in(file, inner) if file is not None and inner else None
        return None

    def _base(self, path: Path, base: ast.expr) -> type | None:
        if isinstance(base, ast.Name):
            return self.stand_in(path, base.id)
        if isinstance(base, ast.Attribute) and isinstance(base.value, ast.Name):
            module = self._read(path).imports.get(base.value.id)
            file, inner = _place(path, module) if module else (None, "")
            return self.stand_in(file, base.attr) if file is not None and not inner else None
        return None

    def _body(self, node: ast.ClassDef) -> dict[str, Any]:
        found = {}
        for statement in node.body:
            if isinstance(statement, ast.Assign):
                targets = statement.targets
            elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
                targets = [statement.target]
            else:
                continue
            for target in targets:
                if isinstance(target, ast.Name) and target.id in self.attributes:
                    found[target.id] = getattr(statement.value, "value", True)
        return found

    def _read(self, path: Path) -> _Source:
        if path not in self._sources:
            source = self._sources[path] = _Source({}, {})
            try:
                tree = self.tree(path)
            except (OSError, SyntaxError, ValueError):
                return source
            source.classes.update({n.name: n for n in tree.body if isinstance(n, ast.ClassDef)})
            for node in tree.body:
                source.imports.update(_imports(node))
        return self._sources[path]


def registry_name(decorator: ast.expr) -> str:
    """``TRAINER_REGISTRY`` of ``@TRAINER_REGISTRY.register()``, with or without brackets."""
    target = decorator.func if isinstance(decorator, ast.Call) else decorator
    if not (isinstance(target, ast.Attribute) and target.attr == "register"):
        return ""
    owner = target.value
    return owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")


def registered_in(tree: ast.Module, registry: str) -> set[str]:
    """Names that a file registers in one registry: decorated classes, and those of a call."""
    found = set()
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            if any(registry_name(decorator) == registry for decorator in node.decorator_list):
                found.add(node.name)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            if registry_name(node.value) == registry:
                found |= {arg.id for arg in node.value.args if isinstance(arg, ast.Name)}
    return found


def _imports(node: ast.stmt) -> Iterator[tuple[str, _Import]]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            if alias.asname or "." not in alias.name:
                yield alias.asname or alias.name, _Import(alias.name)
    if isinstance(node, ast.ImportFrom):
        for alias in node.names:
            yield alias.asname or alias.name, _Import(node.module or "", alias.name, node.level)


def _place(importer: Path, what: _Import) -> tuple[Path | None, str]:
    """The file an import leads to and the name in it, which is empty for the module itself."""
    if what.name:
        module = f"{what.module}.{what.name}".strip(".")
        file = _file_of(importer, module, what.level)
        if file is None:
            return _file_of(importer, what.module, what.level), what.name
        return file, ""
    return _file_of(importer, what.module), ""


def _file_of(importer: Path, module: str, level: int = 0) -> Path | None:
    """The source of a module of ours, or of one beside the importing file."""
    parts = module.split(".") if module else []
    if level:
        roots = [importer.parents[level - 1]]
    elif parts[0] == PACKAGE.name and len(parts) > 1 and parts[1] in ROOMS:
        parts, roots = parts[1:], [HOME]
    else:
        roots = [PACKAGE.parent, HOME, importer.parent, _above_packages(importer)]
    for root in roots:
        place = root.joinpath(*parts)
        for file in (place.with_name(f"{place.name}.py"), place / "__init__.py"):
            if is_file(file):
                return file
    return None


def _above_packages(importer: Path) -> Path:
    """The folder that the outermost package of a file lies in."""
    folder = importer.parent
    while is_file(folder / "__init__.py") and folder != folder.parent:
        folder = folder.parent
    return folder
