"""``Task``: what a model may know of its data when it is built, and nothing of the images.

The data set makes it and a run keeps it as ``task.json``, so that a saved model is built again on a
machine that has neither the images nor the data set's code. Imports no torch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from cerviclip.data.texts.templates import wrong_in_template
from cerviclip.shapes import parse_json
from dassl.errors import UserError

FILE = "task.json"
VERSION = 1
DEFAULT_TEMPLATES = ("a photo of a {}.",)


@dataclass(frozen=True)
class Task:
    """Classes and their texts.

    Args:
        dataset: registered name of the data set.
        classnames: in the order of the labels.
        templates: prompts with ``{}`` for the class name.
        descriptions: prompt set -> class -> its texts.
        positive: classes that count as disease, in label order.
        all_classnames: with those that a base-to-new split leaves out; empty for ``classnames``.
    """

    dataset: str
    classnames: tuple[str, ...]
    templates: tuple[str, ...] = DEFAULT_TEMPLATES
    descriptions: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    positive: tuple[str, ...] = ()
    all_classnames: tuple[str, ...] = ()

    @property
    def num_classes(self) -> int:
        return len(self.classnames)

    @classmethod
    def of(cls, dataset: Any) -> Task:
        """The task of a data set: its own ``task``, or one made of the attributes that it has.

        Args:
            dataset: any ``DatasetBase``; ``templates``, ``descriptions`` and ``positive_classes``
                are read where it has them.
        """
        own = getattr(dataset, "task", None)
        return own if isinstance(own, Task) else cls.from_attributes(dataset)

    @classmethod
    def from_attributes(cls, dataset: Any) -> Task:
        """The task made of what a data set has. A data set written elsewhere may use the same names
        for something else: what is no text is then left out."""
        classnames = tuple(map(str, dataset.classnames))
        positive = set(getattr(dataset, "positive_classes", None) or ())
        every = tuple(map(str, getattr(dataset, "all_class_names", None) or classnames))
        return cls(
            dataset=type(dataset).__name__,
            classnames=classnames,
            templates=_or_none(_texts, getattr(dataset, "templates", None)) or DEFAULT_TEMPLATES,
            descriptions=_or_none(_prompt_sets, getattr(dataset, "descriptions", None)) or {},
            positive=tuple(name for name in classnames if name in positive),
            all_classnames=() if every == classnames else every,
        )

    def to_json(self) -> str:
        return json.dumps({"version": VERSION, **asdict(self)}, indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, source: object = FILE) -> Task:
        """The inverse of ``to_json``. Keys that this code does not know are left out.

        Args:
            text: JSON.
            source: the file's name, for errors.

        Raises:
            UserError: no task, or one of a later version.
        """
        try:
            values = dict(parse_json(text))
            version = int(values["version"])
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise UserError(f"{source} is no task ({_short(error)})") from error
        if version > VERSION:
            raise UserError(f"{source} has version {version}, newer than this code reads")
        try:
            task = cls(
                dataset=str(values["dataset"]),
                classnames=_texts(values["classnames"]),
                descriptions=_prompt_sets(values["descriptions"]),
                **{key: _texts(values[key]) for key in _LISTS if key in values},
            )
        except (TypeError, KeyError, AttributeError) as error:
            raise UserError(f"{source} is no task ({_short(error)})") from error
        if wrong := task.contradiction():
            raise UserError(f"{source} is no task: {wrong}")
        return task

    def contradiction(self) -> str:
        """What cannot be in a task that a file gives; "" for a sound one."""
        if not self.classnames or len(set(self.classnames)) < len(self.classnames):
            return f"its {len(self.classnames)} classes are none, or one is there twice"
        if strange := set(self.positive) - {*self.classnames, *self.all_classnames}:
            return f"the positive {min(strange)!r} is no class of it"
        for text in self.templates:
            if wrong := wrong_in_template(text):
                return f"the template {text!r} {wrong}"
        return ""

    def save(self, folder: str | Path) -> Path:
        """Write ``task.json`` into a run's folder, whole or not at all."""
        from dassl.utils.files import atomic_write

        path = Path(folder) / FILE
        with atomic_write(path) as handle:
            handle.write(self.to_json() + "\n")
        return path

    @classmethod
    def load(cls, folder: str | Path) -> Task | None:
        """The task in a run's folder; None where there is no ``task.json``."""
        path = Path(folder) / FILE
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path} cannot be read ({error})") from error
        return cls.from_json(text, path)


_LISTS = [f.name for f in fields(Task) if f.name not in ("dataset", "classnames", "descriptions")]


def _texts(values: Sequence[str]) -> tuple[str, ...]:
    """A list of texts as a tuple; one text alone is a list of one."""
    texts = (values,) if isinstance(values, str) else tuple(values)
    if not all(isinstance(text, str) for text in texts):
        raise TypeError(f"texts are expected, not {values!r}")
    return texts


def _prompt_sets(sets: Mapping[str, Any]) -> dict[str, dict[str, tuple[str, ...]]]:
    return {
        str(name): {str(classname): _texts(texts) for classname, texts in of_class.items()}
        for name, of_class in sets.items()
    }


def _or_none(read: Callable[[Any], Any], value: Any) -> Any:
    try:
        return read(value) if value else None
    except (TypeError, ValueError, AttributeError):
        return None


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def check_same_classes(run: str | Path, trained: Sequence[str], data: Sequence[str]) -> None:
    """Refuse data whose classes are not those of a run, in their order.

    A model's outputs are numbered. Other classes of the same number fit it and mean something else.

    Raises:
        UserError: they differ.
    """
    if trained and tuple(trained) != tuple(data):
        raise UserError(
            f"{run} was trained on {', '.join(trained)}; the data have {', '.join(data)}"
        )
