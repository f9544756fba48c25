"""Which module imports which, read from the sources: imports inside functions and those for type
checkers count like any other."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

Graph = dict[str, set[str]]


def modules_of(root: Path, packages: Iterable[str]) -> dict[str, Path]:
    """Dotted name -> file of every module of the packages, which are folders of ``root``."""
    found = {}
    for package in packages:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def import_graph(modules: dict[str, Path]) -> Graph:
    """Module -> the modules of the same table that it imports.

    An import of ``a.b.c`` also runs the packages ``a`` and ``a.b``; those that hold the importing
    module itself are left out, as they run before it in any case.
    """
    graph: Graph = {}
    for module, path in modules.items():
        around = set(_with_parents(module))
        graph[module] = {
            target
            for name in _imported_names(module, path, modules)
            for target in _with_parents(name)
            if target in modules and target != module and (target == name or target not in around)
        }
    return graph


def circles(graph: Graph) -> list[list[str]]:
    """Groups of modules that reach each other (strongly connected components), sorted."""
    reach = {module: _reachable(graph, module) for module in graph}
    groups = {
        tuple(sorted({module, *(other for other in reach[module] if module in reach[other])}))
        for module in graph
        if module in reach[module]
    }
    return sorted(list(group) for group in groups)


def _reachable(graph: Graph, start: str) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        for target in graph[waiting.pop()] - seen:
            seen.add(target)
            waiting.append(target)
    return seen


def _with_parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[: n + 1]) for n in range(len(parts))]


def _imported_names(module: str, path: Path, modules: dict[str, Path]) -> Iterator[str]:
    """Every module that the file names in an import; ``pkg.name`` where that is a module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = _absolute(module, path, node)
            for alias in node.names:
                name = f"{start}.{alias.name}"
                yield name if name in modules else start


def _absolute(module: str, path: Path, node: ast.ImportFrom) -> str:
    """The module after ``from``, its leading dots resolved."""
    if node.level == 0:
        return node.module or ""
    parts = module.split(".")
    up = node.level - (path.name == "__init__.py")
    return ".".join([*parts[: len(parts) - up], *([node.module] if node.module else [])])
