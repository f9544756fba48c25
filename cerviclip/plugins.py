"""Names of all trainers, data sets and backbones, read from the sources without an import.

A module of ``trainers/`` or ``datasets/`` is imported only when a name that it registers is used.
So ``--list`` is quick, and a module that cannot be imported (a missing extra, a bug in a plug-in)
causes an error only if it is used. Plug-ins are modules or files given by ``--plugin`` and the
entry points of the group ``dassl.plugins``.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.machinery
import importlib.util
import re
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cerviclip.adopt import stand_in
from cerviclip.adopt.spec import is_adopted, is_adoption, read_adoption
from cerviclip.backbones import names
from cerviclip.class_sources import ClassSources, registry_name
from cerviclip.places import HOME, PACKAGE
from dassl.errors import (
    DuplicateNameError,
    MissingFileError,
    UnknownNameError,
    UserError,
    nearest_or_all,
    no_file,
)
from dassl.paths import at_home

ENTRY_POINT_GROUP = "dassl.plugins"

_REGISTRIES = {
    "TRAINER_REGISTRY": "trainer",
    "DATASET_REGISTRY": "dataset",
    "BACKBONE_REGISTRY": "backbone",
}
# Where names that ship with the project are registered: (folder, package).
_OWN_FOLDERS = (
    (HOME / "trainers", "cerviclip.trainers"),
    (HOME / "datasets", "cerviclip.datasets"),
    (PACKAGE.parent / "dassl" / "engine", "dassl.engine"),
)

# Of upstream's methods, which train a network: those that keep the weights they are given.
_DASSL_LEARNS_NOTHING = ("AdaBN",)

_plugin_specs: list[str] = []
_loaded_plugins: dict[str, types.ModuleType] = {}
_failed: dict[str, str] = {}
_entries: dict[str, dict[str, Entry]] | None = None


@dataclass(frozen=True)
class Entry:
    """One registered name, as its source file shows it."""

    name: str
    summary: str
    source: str
    module: str
    plugin: str = ""
    needs_training: bool = True  # of a trainer
    trains_in_seconds: bool = False  # of a trainer: a sweep gives it more draws by default
    learns: str = ""  # of a trainer: nothing, head, prompts or weights; "" if it does not say
    is_phantom: bool = False  # of a data set: rendered, no patient behind it
    own_images: bool = False  # of a data set: it reads what the user names; its text tells no data
    base: str = ""  # the nearest registered class that it derives from


def add_plugins(specs: Iterable[str]) -> None:
    """Take plug-ins into account from now on (modules by dotted name, files by path, and trainers
    of published repositories as `adopt.spec` writes them)."""
    global _entries
    for spec in specs:
        if is_adoption(spec):
            spec = read_adoption(spec).plugin
        elif _looks_like_file(spec):
            path = at_home(spec).resolve()
            if not path.is_file():
                raise MissingFileError(f"plug-in {spec} {no_file(path)}; check the path")
            spec = str(path)
        if spec not in _plugin_specs:
            _plugin_specs.append(spec)
            _entries = None


def plugin_specs() -> list[str]:
    """The plug-ins given so far, to hand to another process."""
    return list(_plugin_specs)


def plugin_files(spec: str) -> list[str]:
    """The source files of a plug-in; of an adopted trainer, those of its repository."""
    if is_adoption(spec):
        adoption = read_adoption(spec)
        return [str(path) for path in adoption.repository.files()]
    return [str(path) for path, _, _ in _plugin_sources(spec)]


def reset_plugins() -> None:
    """Forget every plug-in given by `add_plugins` (for tests)."""
    global _entries
    for name in map(_file_module_name, _plugin_specs):
        if sys.modules.pop(name, None) is not None:
            _unregister(name)
    _plugin_specs.clear()
    _loaded_plugins.clear()
    _failed.clear()
    _entries = None


def _unregister(module: str) -> None:
    """Take a module's classes out of the registries: its ``extend_cfg`` is gone with it."""
    for kind in ("trainer", "dataset"):
        names = _registry(kind)._obj_map
        for name in [n for n, found in names.items() if found.__module__ == module]:
            del names[name]


def discover() -> dict[str, dict[str, Entry]]:
    """Every known name by kind ("trainer", "dataset", "backbone"), sorted; imports none."""
    global _entries
    if _entries is None:
        found: dict[str, dict[str, Entry]] = {"trainer": {}, "dataset": {}, "backbone": {}}
        files = ClassSources(
            "needs_training", "trains_in_seconds", "is_phantom", "own_images", "learns"
        )
        for path, module, plugin in _sources():
            for kind, entry in _read_source(path, module, plugin, files):
                _add(found[kind], kind, entry)
        for spec in filter(is_adoption, _plugin_specs):
            _add(found["trainer"], "trainer", _adopted_entry(spec))
        found["backbone"] = _backbone_entries()
        for kind, entries in found.items():
            found[kind] = {name: entries[name] for name in sorted(entries, key=str.lower)}
        for kind in ("trainer", "dataset"):
            followed = {n: e for n, e in found[kind].items() if not is_adoption(e.plugin)}
            found[kind] |= _follow_bases(followed, files)
        _entries = found
    return _entries


def _add(entries: dict[str, Entry], kind: str, entry: Entry) -> None:
    """Add what a file registers.

    Raises:
        DuplicateNameError: another file registers the name, and one of the two is a plug-in: which
            of them would run could not be seen.
    """
    known = entries.setdefault(entry.name, entry)
    if known.source != entry.source and (known.plugin or entry.plugin):
        raise DuplicateNameError(
            f"{kind} {entry.name!r} of plug-in {entry.source} is also registered by "
            f"{known.source}; rename the plug-in's"
        )


def is_phantom(dataset: str) -> bool:
    """Whether a data set is rendered, with no patient behind it.

    Results of a data set that is not known here (a plug-in's) are judged by its name.
    """
    entry = discover()["dataset"].get(dataset)
    return entry.is_phantom if entry is not None else "phantom" in dataset.lower()


def ensure_loaded(kind: str, name: str) -> Any:
    """Import the one module that registers ``name`` and return what it registered.

    Args:
        kind: "trainer" or "dataset".
        name: as it is registered.

    Raises:
        UnknownNameError: with the nearest match, the sorted names, and the plug-ins that failed.
    """
    registry = _registry(kind)
    if is_adopted(name) and (adopted := discover()[kind].get(name)) is not None:
        stand_in.load(adopted.plugin)  # of an earlier repository of that name nothing may stay
    if name in registry.registered_names():
        return registry.get(name)
    entry = discover()[kind].get(name)
    if entry is not None:
        _import_entry(kind, entry)
    else:  # a plug-in may register in a way that its source does not show
        for spec in _all_plugin_specs():
            if not is_adoption(spec):
                _try_plugin(spec)
    if name not in registry.registered_names():
        raise unknown_name(kind, name, registry.registered_names())
    return registry.get(name)


def unknown_name(kind: str, name: str, registered: Iterable[str] = ()) -> UnknownNameError:
    """The error for a name that nothing registers: what to type instead, or what failed."""
    names = sorted({*discover()[kind], *registered}, key=str.lower)
    message = f"unknown {kind} {name!r}" + nearest_or_all(name, names, "cerviclip list")
    if _failed:
        failures = "; ".join(f"{spec}: {error}" for spec, error in sorted(_failed.items()))
        message += f"; plug-ins that failed to import: {failures}"
    return UnknownNameError(message)


def extend_cfg_of(module: str) -> Callable[[Any], None] | None:
    """The ``extend_cfg(cfg)`` function of an imported module, if it has one."""
    loaded = sys.modules.get(module)
    return getattr(loaded, "extend_cfg", None)


def load_plugins() -> list[types.ModuleType]:
    """Import the plug-ins given by ``--plugin``; the ones that fail are kept for the error text.

    An adopted trainer is no such plug-in: its keys are for its own runs alone.
    """
    specs = [spec for spec in _plugin_specs if not is_adoption(spec)]
    for spec in specs:
        _try_plugin(spec)
    return [_loaded_plugins[spec] for spec in specs if spec in _loaded_plugins]


# -- importing --------------------------------------------------------------------------------


def _registry(kind: str) -> Any:
    if kind == "trainer":
        from dassl.engine import TRAINER_REGISTRY

        return TRAINER_REGISTRY
    if kind == "dataset":
        from dassl.data.datasets import DATASET_REGISTRY

        return DATASET_REGISTRY
    raise ValueError(f"no registry of {kind}s")


def _import_entry(kind: str, entry: Entry) -> None:
    if entry.plugin:
        if not _try_plugin(entry.plugin):
            raise UnknownNameError(
                f"{kind} {entry.name!r} is in plug-in {entry.plugin}, which failed to import: "
                f"{_failed[entry.plugin]}"
            )
        return
    try:
        importlib.import_module(entry.module)
    except ImportError as error:
        raise UserError(
            f"{kind} {entry.name!r} cannot be used: {entry.source} failed to import: {error}"
        ) from error


def _try_plugin(spec: str) -> bool:
    """Import a plug-in once; remember the error instead of raising it."""
    if spec in _loaded_plugins:
        return True
    if spec in _failed:
        return False
    try:
        _loaded_plugins[spec] = _import_file(spec) if _looks_like_file(spec) else _import_name(spec)
    except Exception as error:  # anything at all may go wrong in somebody else's file
        _failed[spec] = f"{type(error).__name__}: {error}"
        return False
    return True


def _import_name(spec: str) -> types.ModuleType:
    return importlib.import_module(spec.split(":")[0])


def _import_file(path: str) -> types.ModuleType:
    name = _file_module_name(path)
    if name in sys.modules:
        return sys.modules[name]
    folder = str(Path(path).parent)
    if folder not in sys.path:
        sys.path.append(folder)  # a plug-in may import the files beside it
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _file_module_name(path: str) -> str:
    digest = hashlib.sha256(path.encode()).hexdigest()[:8]
    return f"dassl_plugin_{Path(path).stem}_{digest}"


def _looks_like_file(spec: str) -> bool:
    return spec.endswith(".py") or "/" in spec or "\\" in spec


def _all_plugin_specs() -> list[str]:
    from importlib.metadata import entry_points

    points = [point.value for point in entry_points(group=ENTRY_POINT_GROUP)]
    return [*_plugin_specs, *sorted(p for p in points if p not in _plugin_specs)]


# -- reading sources --------------------------------------------------------------------------


def _sources() -> Iterator[tuple[Path, str, str]]:
    """(file, module name, plug-in it belongs to) of every source that may register a name."""
    for root, package in _OWN_FOLDERS:
        for path in sorted(root.rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            module = ".".join([package, *(p for p in parts if p != "__init__")])
            yield path, module, ""
    for spec in _all_plugin_specs():
        if not is_adoption(spec):
            yield from _plugin_sources(spec)


def _adopted_entry(spec: str) -> Entry:
    adoption = read_adoption(spec)
    return Entry(
        name=adoption.label,
        summary=adoption.trainer.summary,
        source=str(adoption.trainer.file),
        module="",
        plugin=spec,
        needs_training=adoption.trainer.learns,
    )


def _plugin_sources(spec: str) -> Iterator[tuple[Path, str, str]]:
    if _looks_like_file(spec):
        yield Path(spec), _file_module_name(spec), spec
        return
    name = spec.split(":")[0]
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError) as error:
        _failed[spec] = f"{type(error).__name__}: {error}"
        return
    if found is None:
        _failed[spec] = f"ModuleNotFoundError: no module named {name!r}"
        return
    if found.origin and found.origin.endswith(".py"):
        yield Path(found.origin), name, spec
    for folder in found.submodule_search_locations or ():
        for path in sorted(Path(folder).rglob("*.py")):
            if path.name != "__init__.py":
                parts = path.relative_to(folder).with_suffix("").parts
                yield path, ".".join([name, *parts]), spec


def _read_source(
    path: Path, module: str, plugin: str, files: ClassSources
) -> Iterator[tuple[str, Entry]]:
    """The (kind, entry) pairs that the classes and functions of one file register."""
    try:
        if "_REGISTRY" not in path.read_text(encoding="utf-8"):
            return
        tree = files.tree(path)
    except (OSError, SyntaxError, ValueError) as error:
        if plugin:
            _failed[plugin] = f"{type(error).__name__}: {error}"
        return
    for node in tree.body:
        if not isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            continue
        for decorator in node.decorator_list:
            kind = _REGISTRIES.get(registry_name(decorator))
            if kind is not None:
                doc = ast.get_docstring(node) or ast.get_docstring(tree) or ""
                yield (
                    kind,
                    Entry(
                        name=node.name,
                        summary=_first_line(doc),
                        source=str(path),
                        module=module,
                        plugin=plugin,
                    ),
                )


def _first_line(doc: str) -> str:
    """What a docstring says first, without the marks of its code."""
    return re.sub(r"`+([^`]*)`+", r"\1", doc.strip().partition("\n")[0].strip())


def _follow_bases(entries: dict[str, Entry], files: ClassSources) -> dict[str, Entry]:
    """The entries with what their classes inherit."""
    followed = {}
    for name, entry in entries.items():
        seen = files.stand_in(Path(entry.source), name)
        bases = [base.__name__ for base in seen.__mro__[1:]] if seen is not None else []
        followed[name] = replace(
            entry,
            needs_training=bool(getattr(seen, "needs_training", True)),
            trains_in_seconds=bool(getattr(seen, "trains_in_seconds", False)),
            is_phantom=bool(getattr(seen, "is_phantom", False)),
            own_images=bool(getattr(seen, "own_images", False)),
            learns=str(getattr(seen, "learns", "")) or _learns_in_dassl(entry),
            base=next((base for base in bases if base in entries and base != name), ""),
        )
    return followed


def _learns_in_dassl(entry: Entry) -> str:
    """What a method of upstream's learns, whose classes cannot say it: they are Dassl's API."""
    if not entry.module.startswith("dassl.engine."):
        return ""
    return "nothing" if entry.name in _DASSL_LEARNS_NOTHING else "weights"


def _backbone_entries() -> dict[str, Entry]:
    """Backbones that ``load_backbone`` knows, from its torch-free list of names."""
    path = PACKAGE / "backbones" / "names.py"
    return {
        name: Entry(name, summary, str(path), "cerviclip.vlm")
        for name, summary in names.BACKBONES.items()
    }
