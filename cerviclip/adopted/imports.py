"""Importing what a run needs of a repository: the trainer's file, and ``extend_cfg``."""

from __future__ import annotations

import argparse
import ast
import functools
import importlib
import inspect
import sys
import traceback
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cerviclip.adopt.repository import ForeignTrainer, Repository, parsed
from cerviclip.adopt.stand_in import merge
from cerviclip.adopted.failures import adopted_error, one_line
from cerviclip.runs.settings.config_hash import flatten


def import_trainer(repository: Repository, trainer: ForeignTrainer, notes: list[str]) -> Any:
    """The trainer's class.

    Args:
        notes: what to know of the import is added to them.

    Raises:
        UserError, AdoptedCodeError: its file, or one that it imports, cannot be imported.
    """
    try:
        module = import_past_packages(trainer.module, repository.root, notes)
        return getattr(module, trainer.name)
    except (Exception, SystemExit) as error:  # anything may go wrong in somebody else's file
        raise adopted_error(error, repository.root) from error


def import_past_packages(name: str, root: Path, notes: list[str]) -> types.ModuleType:
    """A module of the repository, where need be without the ``__init__.py`` of a package of its.

    Such a file often imports all files of its folder. One of those may fail which this module does
    not need.
    """
    first: BaseException | None = None
    emptied: list[str] = []
    while True:
        try:
            return importlib.import_module(name)
        except (Exception, SystemExit) as error:
            first = first or error
            package = _failed_package(error, root)
            if not package or package in emptied:
                for done in emptied:
                    sys.modules.pop(done, None)
                raise first from None
            emptied.append(package)
            if not any(note.startswith(f"{package}/__init__.py ") for note in notes):
                notes.append(
                    f"{package}/__init__.py is left out, since it fails: {one_line(error, root)}"
                )
            bare = types.ModuleType(package)
            bare.__path__ = [str(root.joinpath(*package.split(".")))]  # type: ignore[attr-defined]
            bare.__package__ = package
            sys.modules[package] = bare


def _failed_package(error: BaseException, root: Path) -> str:
    """The innermost package of the repository whose ``__init__.py`` an error came through."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename).resolve()
        if path.name == "__init__.py" and path.parent != root and path.is_relative_to(root):
            return ".".join(path.parent.relative_to(root).parts)
    return ""


def extend(cfg: Any, repository: Repository, trainer: ForeignTrainer) -> list[str]:
    """Run the ``extend_cfg`` of the repository's script, and of the trainer's file if it has one.

    Returns:
        What of the script could not be run, one line each; often nothing.

    Raises:
        UserError, AdoptedCodeError: ``extend_cfg`` itself fails.
    """
    notes: list[str] = []
    functions: list[Any] = []
    script: Path | None = None
    space: dict[str, Any] = {}
    for script in repository.config_scripts()[:1]:
        space, failed = run_script(script)
        notes += failed
        notes += _add_own_defaults(cfg, script, space)
        if "extend_cfg" in space:
            functions.append(_with_args(space["extend_cfg"], script, space, notes))
    own = getattr(sys.modules.get(trainer.module), "extend_cfg", None)
    try:
        for function in (*functions, own):
            if function is not None:
                function(cfg)
    except Exception as error:
        raise adopted_error(error, repository.root) from error
    if script is not None:
        notes += _add_keys_of_arguments(cfg, script, space)
    return notes


def _add_own_defaults(cfg: Any, script: Path, space: dict[str, Any]) -> list[str]:
    """Keys of a configuration of the repository's own, which its script takes in place of Dassl's,
    that Dassl's lacks; returns a line that says so."""
    make = space.get("get_cfg_default")
    if not callable(make) or getattr(make, "__module__", "").split(".")[0] == "dassl":
        return []
    own = {key: value for key, value in flatten(make()).items() if not _holds(cfg, key)}
    for key, value in own.items():
        merge(cfg, _nested(key, value))
    names = ", ".join(sorted(own))
    return [f"{script.name} has defaults of its own ({make.__module__}): {names}"] if own else []


def _nested(key: str, value: Any) -> dict[str, Any]:
    return functools.reduce(lambda tree, part: {part: tree}, reversed(key.split(".")), value)


def _add_keys_of_arguments(cfg: Any, script: Path, space: dict[str, Any]) -> list[str]:
    """Keys that a script sets from its arguments (``cfg.topk = args.topk``) and that nothing else
    has, with the arguments' defaults; returns a line for each."""
    new = {key: arg for key, arg in _keys_of_arguments(script).items() if not _holds(cfg, key)}
    if not new:
        return []
    notes: list[str] = []
    args = _arguments(script, space, notes)
    for key, arg in new.items():
        if arg in vars(args):
            value = getattr(args, arg)
            if "device" in arg.lower() and value in ("", None):
                value = "cuda"
            merge(cfg, _nested(key, value))
            notes.append(f"{script.name} sets {key} from --{arg}: {value!r}")
    return notes


def _keys_of_arguments(script: Path) -> dict[str, str]:
    """Key -> argument of each ``cfg.KEY = args.ARGUMENT`` in a script."""
    tree, found = parsed(script), {}
    for node in ast.walk(tree) if tree else ():
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Attribute):
            continue
        value, target = ast.unparse(node.value), ast.unparse(node.targets[0])
        if value.startswith("args.") and target.startswith("cfg."):
            found[target.removeprefix("cfg.")] = value.removeprefix("args.")
    return found


def _holds(cfg: Any, key: str) -> bool:
    for part in key.split("."):
        if not hasattr(cfg, "keys") or part not in cfg:
            return False
        cfg = cfg[part]
    return True


def run_script(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Run the top of a script, but for its ``__main__`` part, statement by statement.

    Imports of modules that only register something (``import datasets.food101``) are left out: each
    of them may need something that this run does not. A statement that fails is noted.

    Returns:
        The script's names, and what failed.
    """
    tree = parsed(path)
    module = types.ModuleType(path.stem)
    module.__file__ = str(path)
    space, failed = vars(module), []
    for node in tree.body if tree else ():
        if _only_registers(node, path.parent) or _is_main_part(node):
            continue
        code = compile(ast.Module([node], []), str(path), "exec")
        try:
            exec(code, space)
        except SystemExit:
            break
        except Exception as error:
            failed.append(str(adopted_error(error, path.parent)))
    return space, failed


def _with_args(function: Any, path: Path, space: dict[str, Any], notes: list[str]) -> Any:
    """``extend_cfg`` with the script's ``args``, which some take or read."""
    takes = len(inspect.signature(function).parameters) > 1
    if not takes and "args" not in function.__code__.co_names:
        return function
    _arguments(path, space, notes)
    return (lambda cfg: function(cfg, space["args"])) if takes else function


def _arguments(path: Path, space: dict[str, Any], notes: list[str]) -> argparse.Namespace:
    """A script's ``args``: those of an empty command line, from the parser of the ``__main__``
    part. They join the script's names."""
    if "args" in space:
        return space["args"]
    argv, sys.argv = sys.argv, [str(path)]
    try:
        for node in filter(_is_main_part, parsed(path).body):  # type: ignore[union-attr]
            for inner in node.body:  # type: ignore[attr-defined]
                call = getattr(inner, "value", None) if isinstance(inner, ast.Expr) else None
                if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
                    continue  # main(args)
                exec(compile(ast.Module([inner], []), str(path), "exec"), space)
                if "args" in space:  # what follows runs the script
                    break
    except (Exception, SystemExit) as error:
        notes.append(f"{path.name}: its arguments cannot be had ({error})")
    finally:
        sys.argv = argv
    space["args"] = _Arguments(path.name, space.get("args"), notes)
    return space["args"]


class _Arguments(argparse.Namespace):
    """A script's arguments; one that its parser lacks is None, with a note."""

    def __init__(self, script: str, args: Any, notes: list[str]) -> None:
        super().__init__(**(vars(args) if isinstance(args, argparse.Namespace) else {}))
        object.__setattr__(self, "_missing", (script, notes))

    def __getattr__(self, name: str) -> None:
        if name.startswith("_"):
            raise AttributeError(name)
        script, notes = object.__getattribute__(self, "_missing")
        notes.append(f"{script} reads args.{name}, which its parser does not have: None")
        setattr(self, name, None)


def own_modules(root: Path) -> Iterator[types.ModuleType]:
    """Imported modules whose files lie in the repository."""
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and Path(file).resolve().is_relative_to(root):
            yield module


def clip_modules(root: Path) -> list[types.ModuleType]:
    """The repository's modules, and those of a ``clip`` that it takes from elsewhere."""
    found = {id(m): m for m in own_modules(root)}
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] == "clip" and isinstance(module, types.ModuleType):
            found[id(module)] = module
    return list(found.values())


def _only_registers(node: ast.stmt, root: Path) -> bool:
    if not isinstance(node, ast.Import):
        return False
    tops = [alias.name.split(".")[0] for alias in node.names if not alias.asname]
    inner = [alias for alias in node.names if "." in alias.name]
    return len(inner) == len(tops) == len(node.names) and all((root / t).is_dir() for t in tops)


def _is_main_part(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and any(
        isinstance(inner, ast.Name) and inner.id == "__name__" for inner in ast.walk(node.test)
    )
