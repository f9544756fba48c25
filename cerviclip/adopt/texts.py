"""Entries for our data set in a repository's tables of texts.

Repositories keep templates in dictionaries by the names of their data sets, and descriptions in
dictionaries by class name or in one file per data set. Ours gets an entry of the same shape in each
of them, from its own templates and descriptions. Nothing that is there is changed.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from cerviclip.shapes import plain_json
from dassl.errors import UserError

TEMPLATE, TEXT = "template", "text"
LAST_RESORT = "a photo of a {}."
#: Names of the data sets that came with CoOp, by which a table of data sets is known.
USUAL_DATA_SETS = {
    *("ImageNet", "Caltech101", "OxfordPets", "StanfordCars", "OxfordFlowers", "Food101"),
    *("FGVCAircraft", "SUN397", "DescribableTextures", "EuroSAT", "UCF101"),
}


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

    def fill_inner(self, table: dict[Any, Any], where: str) -> None:
        """The same for a table that a function has just made; ``where`` is its place."""
        if table and all(isinstance(key, str) for key in table) and (added := self._add(table)):
            note = f"{where}: a table got an entry for {added}"
            if note not in self.notes:
                self.notes.append(note)

    def _add(self, table: dict[Any, Any]) -> str:
        """Add what a table lacks; returns for what, "" where it is no table of texts."""
        sample = next(iter(table.values()))
        kind = _kind(table.values())
        if kind == TEMPLATE:
            for name in self.names:
                table.setdefault(name, _like(sample, self.templates))
            return self.dataset
        if kind == TEXT and _by_data_set(table):  # how a prompt begins
            begins = [t.partition("{}")[0].strip() or t.replace("{}", "").strip(" .,")
                      for t in self.templates[:1]]  # fmt: skip
            for name in self.names:
                table.setdefault(name, _like(sample, begins))
            return self.dataset
        if kind == TEXT:
            missing = [c for c in self.descriptions if not set(_spellings(c)) & table.keys()]
            for name in missing:
                for spelling in _spellings(name):
                    table.setdefault(spelling, _like(sample, self.descriptions[name]))
            return ", ".join(missing)
        if _names_data_sets(table):  # their short names, in paths
            short = "".join(filter(str.isalnum, self.dataset))
            short = short.lower() if sample == sample.lower() else short
            for name in self.names:
                table.setdefault(name, short)
            return self.dataset
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

        It has the form of the other JSON files of its folder. None where the path names another
        data set, or there are no other files.
        """
        wanted = {"".join(filter(str.isalnum, name.lower())) for name in self.names}
        stem = "".join(filter(str.isalnum, path.stem.lower()))
        if path.suffix != ".json" or not any(name in stem for name in wanted):
            return None
        read = (_json_of(other) for other in sorted(path.parent.glob("*.json")))
        others = [content for content in read if isinstance(content, dict) and content]
        if not others:
            return None
        values = (value for content in others for value in content.values() if value)
        like = next(values, [""])
        lines = [like] if isinstance(like, str) else like
        if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
            raise UserError(
                f"{path} is not there, and its neighbours hold more than texts of classes; make it "
                "for your classes as the repository says"
            )
        marks = ["".join(content) for content in others]
        spaced, joined = (sum(mark in text for text in marks) for mark in (" ", "_"))
        spelled = _with_blanks if spaced > joined else str
        self.notes.append(f"{path}: made of the data set's descriptions")
        return json.dumps(
            {spelled(name): _like(like, texts) for name, texts in self.descriptions.items()}
        )


def _json_of(path: Path) -> Any:
    """The content of a JSON file; None where it has none, as a pointer of git-LFS."""
    try:
        return plain_json(path.read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError):
        return None


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


def _by_data_set(table: dict[Any, Any]) -> bool:
    return len(USUAL_DATA_SETS & table.keys()) > 1


def _names_data_sets(table: dict[Any, Any]) -> bool:
    """Whether a table gives each of some known data sets another name."""
    words = all(isinstance(v, str) and re.fullmatch(r"[\w-]+", v) for v in table.values())
    return words and _by_data_set(table)


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


def _with_blanks(classname: str) -> str:
    return classname.replace("_", " ")


def _spellings(classname: str) -> list[str]:
    return list(dict.fromkeys((classname, _with_blanks(classname), classname.lower())))
