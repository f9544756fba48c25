"""Packages that a repository imports and that are not installed.

Many files import, at their top, what only another backbone or a logger needs. Such a package is
stood in for by an empty one, which says its name when it is used. Imports within ``try`` are left
alone: there the repository has its own answer.
"""

from __future__ import annotations

import ast
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cerviclip.adopt.repository import parsed, walk
from dassl.errors import UserError

#: What no method can do without, and our own: an error at the import says more.
NEEDED = {"torch", "torchvision", "numpy", "PIL", "dassl", "clip", "yacs", "trainers", "datasets"}

#: Packages that keep or show the course of a training. Ours does that, so theirs may do nothing.
LOGGERS = {"wandb", "swanlab", "comet_ml", "neptune", "tensorboard", "tensorboardX", "visdom"}
TENSORBOARD = "torch.utils.tensorboard"
#: Classes of absent packages that a class of the repository inherits from -> that class.
inherited: dict[str, str] = {}


def missing_packages(root: Path) -> dict[str, Path]:
    """Packages that files of a repository import outright and that are not there -> such a file."""
    outright: dict[str, Path] = {}
    tried: set[str] = set()
    for path in walk(root):
        tree = parsed(path) if path.suffix == ".py" else None
        if tree is None:
            continue
        within_try = {
            id(inner) for node in ast.walk(tree) if isinstance(node, ast.Try)
            for part in node.body for inner in ast.walk(part)
        }  # fmt: skip
        for node in ast.walk(tree):
            for name in _top_names(node):
                if id(node) in within_try:
                    tried.add(name)
                else:
                    outright.setdefault(name, path)
    own = {path.stem for path in root.iterdir()} | NEEDED | tried | set(sys.builtin_module_names)
    return {name: path for name, path in outright.items() if name not in own and not _there(name)}


def stand_in_for(names: Sequence[str]) -> None:
    """Let these packages, and all that is in them, be imported."""
    sys.meta_path.append(_Finder(frozenset(names)))
    if "tensorboard" in names:
        writer = types.ModuleType(TENSORBOARD)
        writer.SummaryWriter = Silent  # type: ignore[attr-defined]
        sys.modules[TENSORBOARD] = writer


def _top_names(node: ast.AST) -> Iterator[str]:
    """Packages that a statement imports."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    else:
        return
    if any(name.startswith(TENSORBOARD) for name in names):
        yield "tensorboard"  # which torch needs for it
    yield from dict.fromkeys(name.split(".")[0] for name in names)


def _there(name: str) -> bool:
    if name in sys.modules:
        return True
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError, AttributeError):
        return False


class _Finder:
    """The last finder to be asked."""

    def __init__(self, names: frozenset[str]) -> None:
        self.names = names

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname.split(".")[0] not in self.names:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)  # type: ignore[arg-type]

    def create_module(self, spec: Any) -> types.ModuleType:
        return _Package(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        module.__path__ = []


class _Package(types.ModuleType):
    """An absent package: whatever is asked of it is absent as well."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        package = self.__name__.split(".")[0]
        return Silent() if package in LOGGERS else absent(package, name)


class Silent:
    """Whatever a logger offers: every call and every attribute is another one."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __call__(self, *_: Any, **__: Any) -> Silent:
        return self

    def __getattr__(self, name: str) -> Silent:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __enter__(self) -> Silent:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __bool__(self) -> bool:
        return False

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def __getitem__(self, key: Any) -> Silent:
        return self


def absent(package: str, name: str) -> type:
    """A class to import and inherit from, whose use says which package is not installed."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise UserError(
            f"{package}.{name} is used, and the package {package} is not installed; install it"
        )

    class Absent(type):
        def __init__(cls, own: str, bases: tuple[type, ...], body: dict[str, Any]) -> None:
            super().__init__(own, bases, body)
            if bases:
                inherited.setdefault(f"{package}.{name}", f"{body['__module__']}.{own}")

        def __getattr__(cls, inner: str) -> Any:
            if inner.startswith("__"):
                raise AttributeError(inner)
            return absent(package, f"{name}.{inner}")

    return Absent(name, (), {"__init__": refuse, "__new__": refuse})
