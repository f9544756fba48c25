"""Entries for our data set in a repository's tables of texts.

Repositories keep templates in dictionaries by the names of their data sets, and descriptions in
dictionaries by class name or in one file per data set. Ours gets an entry of the same shape in each
of them, from its own templates and descriptions. Nothing that is there is changed.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from dassl.errors import UserError

TEMPLATE, TEXT = "template", "text"
LAST_RESORT = "a photo of a {}."


@dataclass
class Texts:
    """The texts of our data set.

    Attributes:
        dataset: its registered name.
        templates: sentences with ``{}``.
        descriptions: class name -> sentences.
        notes: what was added where, one line each.
    """

    dataset: str
    templates: Sequence[str]
    descriptions: Mapping[str, Sequence[str]]
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, dataset: Any, name: str) -> Texts:
        """Those of a data set; a class without descriptions gets its templates filled in."""
        templates = [t for t in getattr(dataset, "templates", ()) or () if "{}" in t]
        templates = templates or [LAST_RESORT]
        sets = getattr(dataset, "descriptions", None) or {}
        described: Mapping[str, Any] = next(iter(sets.values()), {})
        texts = {
            name: list(described.get(name) or [t.format(name) for t in templates])
            for name in dataset.classnames
        }
        return cls(name, templates, texts)

    @property
    def names(self) -> list[str]:
        """The spellings of the data set's name that tables are kept under."""
        return list(dict.fromkeys((self.dataset, self.dataset.lower(), self.dataset.upper())))

    def fill(self, modules: Sequence[ModuleType], root: Path) -> None:
        """Add entries to every table at the top of these modules and of their classes."""
        done: set[int] = set()
        for module in modules:
            for where, table in _tables(module):
                if id(table) in done:
                    continue
                done.add(id(table))
                added = self._add(table)
                if added:
                    file = Path(str(module.__file__)).relative_to(root)
                    self.notes.append(f"{file}: {where} got an entry for {added}")

    def _add(self, table: dict[Any, Any]) -> str:
        """Add what a table lacks; returns for what, "" where it is no table of texts."""
        sample = next(iter(table.values()))
        kind = _kind(table.values())
        if kind == TEMPLATE:
            for name in self.names:
                table.setdefault(name, _like(sample, self.templates))
            return self.dataset
        if kind == TEXT:
            missing = [c for c in self.descriptions if not set(_spellings(c)) & table.keys()]
            for name in missing:
                for spelling in _spellings(name):
                    table.setdefault(spelling, _like(sample, self.descriptions[name]))
            return ", ".join(missing)
        if all(isinstance(v, dict) and v for v in table.values()):
            inner = _kind(sample.values())
            if inner == TEXT:  # data set -> class -> texts
                like = next(iter(sample.values()))
                entry = {
                    spelling: _like(like, texts)
                    for name, texts in self.descriptions.items()
                    for spelling in _spellings(name)
                }
                for name in self.names:
                    table.setdefault(name, entry)
                return self.dataset
        return ""

    def file_for(self, path: Path) -> str | None:
        """The text of a description file that is named after our data set and is not there.

        It has the form of the other JSON files of its folder. None where the path names another.
        """
        wanted = {"".join(filter(str.isalnum, name.lower())) for name in self.names}
        stem = "".join(filter(str.isalnum, path.stem.lower()))
        if path.suffix != ".json" or not any(name in stem for name in wanted):
            return None
        like: Any = [""]
        for other in sorted(path.parent.glob("*.json")):
            content = json.loads(other.read_text(encoding="utf-8", errors="replace"))
            if isinstance(content, dict) and content:
                like = next(iter(content.values()))
                break
        if not isinstance(like, (str, list)):
            raise UserError(f"{path} is not there, and its neighbours hold no texts of classes")
        self.notes.append(f"{path}: made of the data set's descriptions")
        return json.dumps({name: _like(like, texts) for name, texts in self.descriptions.items()})


def _tables(module: ModuleType) -> Iterator[tuple[str, dict[Any, Any]]]:
    """Non-empty dictionaries with text keys, of a module and of the classes it defines."""
    spaces: list[tuple[str, Mapping[str, Any]]] = [("", vars(module))]
    spaces += [
        (f"{name}.", vars(value)) for name, value in list(vars(module).items())
        if isinstance(value, type) and value.__module__ == module.__name__
    ]  # fmt: skip
    for prefix, space in spaces:
        for name, value in list(space.items()):
            if name.startswith("__") or not isinstance(value, dict) or not value:
                continue
            if all(isinstance(key, str) for key in value):
                yield prefix + name, value


def _kind(values: Any) -> str:
    """What the entries of a table are: templates with a place for the class, texts, or neither."""
    kinds = {_kind_of_entry(value) for value in values}
    return kinds.pop() if len(kinds) == 1 else ""


def _kind_of_entry(value: Any) -> str:
    lines = [value] if isinstance(value, str) else value
    if not isinstance(lines, (list, tuple)) or not lines:
        return ""
    if not all(isinstance(line, str) for line in lines):
        return ""
    if all("{}" in line for line in lines):
        return TEMPLATE
    return TEXT if all(" " in line.strip() for line in lines) else ""


def _like(sample: Any, lines: Sequence[str]) -> Any:
    """Our lines in the shape of another entry: one line, or as many as it has, over and over."""
    if isinstance(sample, str):
        return lines[0]
    count = max(len(lines), len(sample))
    return type(sample)(itertools.islice(itertools.cycle(lines), count))


def _spellings(classname: str) -> list[str]:
    return list(dict.fromkeys((classname, classname.replace("_", " "), classname.lower())))
