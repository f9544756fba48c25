"""Tables of texts that stand within a function of a repository.

Such a table exists only while the function runs. So the repository's files are compiled with a call
around each of them, which adds the entry for our data set. The files stay as they are.
"""

from __future__ import annotations

import ast
import importlib.machinery
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cerviclip.adopt.texts import USUAL_DATA_SETS

_CALL = "__cerviclip_table__"


class InnerTables:
    """Compiles the files of a repository; `fill` is asked for each table as it is made.

    Args:
        root: the repository's folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.fill: Callable[[dict[Any, Any], str], None] = lambda table, where: None

    def install(self) -> None:
        """Compile every file of the repository that is imported from here on."""
        import builtins

        plain = importlib.machinery.SourceFileLoader.source_to_code
        tables = self

        def source_to_code(self: Any, data: Any, path: Any, *args: Any, **kwargs: Any) -> Any:
            if isinstance(path, str) and Path(path).resolve().is_relative_to(tables.root):
                if not isinstance(data, ast.AST) and any(n.encode() in data for n in _MARKS):
                    data = with_calls(ast.parse(data, path))
            return plain(self, data, path, *args, **kwargs)

        importlib.machinery.SourceFileLoader.source_to_code = source_to_code  # type: ignore
        setattr(builtins, _CALL, self._filled)

    def _filled(self, table: dict[Any, Any], where: str) -> dict[Any, Any]:
        self.fill(table, where)
        return table


_MARKS = sorted(USUAL_DATA_SETS)


def with_calls(tree: ast.Module) -> ast.Module:
    """The same module with a call around each table by data set names within a function."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for inner in node.body:
                _Wrap(node.name).visit(inner)
    return ast.fix_missing_locations(tree)


class _Wrap(ast.NodeTransformer):
    def __init__(self, function: str) -> None:
        self.function = function

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return node  # has its own turn

    def visit_Dict(self, node: ast.Dict) -> ast.AST:
        keys = {k.value for k in node.keys if isinstance(k, ast.Constant)}
        if len(USUAL_DATA_SETS & keys) < 2:
            return self.generic_visit(node)
        where = ast.Constant(f"line {node.lineno}, in {self.function}")
        call = ast.Call(ast.Name(_CALL, ast.Load()), [node, where], [])
        return ast.copy_location(call, node)
