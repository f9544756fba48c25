"""A reader study as one of the compared: its CSV joined to predictions by the images' paths.

Columns: ``path``, ``reader``, and ``label`` (a class name, or positive or negative), ``score`` (a
number that rises with suspicion), or both. One line per reader and image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from cerviclip.data.files.csv_rows import read_rows
from cerviclip.runs.comparison.outputs import Outputs
from dassl.errors import MissingFileError, UserError

_YES, _NO = ("positive", "(positive)", "1"), ("negative", "(negative)", "0")


@dataclass
class Reader:
    """One reader's verdicts: path -> label, and path -> score."""

    name: str
    labels: dict[str, str] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)

    @property
    def paths(self) -> set[str]:
        return {*self.labels, *self.scores}


@dataclass(frozen=True)
class ReaderStudy:
    """All readers of a file.

    Args:
        path: of the file.
        readers: in the file's order.
        allow_unmatched: images that only one side has are left out instead of refused.
    """

    path: Path
    readers: Sequence[Reader]
    allow_unmatched: bool = False

    def check(self, known: Mapping[str, Outputs], dataset: str) -> list[str]:
        """Refuse images without a partner or with two, or say how many are left out.

        Args:
            known: centre -> a model's outputs on it.
            dataset: the runs' one, for messages.
        """
        of_models = {path for outputs in known.values() for path in outputs.paths}
        notes = []
        for reader in self.readers:
            names = _matched(reader.paths, of_models)
            self._refuse_two_of_one(reader.name, names)
            strange = len(reader.paths) - len(names)
            touched = [o for o in known.values() if set(o.paths) & set(names.values())]
            unread = sum(len(set(o.paths) - set(names.values())) for o in touched)
            if not touched or ((strange or unread) and not self.allow_unmatched):
                raise UserError(
                    f"{self.path}: reader {reader.name!r}: {strange} of {len(reader.paths)} images "
                    f"have no prediction in the runs on {dataset}, and {unread} predicted images "
                    "were not read; "
                    + ("no image is left" if not touched else "--allow-unmatched leaves them out")
                )
            if strange or unread:
                notes.append(
                    f"{reader.name}: {len(names)} images are compared; left out: {strange} of the "
                    f"reader's that have no prediction, {unread} that were not read"
                )
        return notes

    def _refuse_two_of_one(self, reader: str, names: Mapping[str, str]) -> None:
        """Refuse two verdicts on one predicted image: the last would count without a word."""
        first: dict[str, str] = {}
        for own, model in sorted(names.items()):
            if model in first:
                raise UserError(
                    f"{self.path}: reader {reader!r} has {first[model]} and {own}, which are both "
                    f"the predicted image {model}; keep one of them, or write the paths as the "
                    "predictions have them"
                )
            first[model] = own


def read_study(path: str | Path, allow_unmatched: bool = False) -> ReaderStudy:
    """The readers of a CSV file, as the module describes it."""
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"no reader study {path}; give a CSV file")
    readers: dict[str, Reader] = {}
    head, rows = read_rows(path)
    if not {"path", "reader"} <= set(head) or not {"label", "score"} & set(head):
        raise UserError(
            f"{path} needs the columns path, reader, and label or score; it has "
            f"{', '.join(head) or 'none'}"
        )
    for line, row in rows:
        _add(readers, row, f"{path}, line {line}")
    if not readers:
        raise UserError(f"{path} has no line below its head")
    return ReaderStudy(path, list(readers.values()), allow_unmatched)


def _add(readers: dict[str, Reader], row: Mapping[str, str], where: str) -> None:
    name, image = row["reader"].strip(), row["path"].strip().replace("\\", "/")
    label, score = (row.get(key, "").strip() for key in ("label", "score"))
    if not name or not image or not (label or score):
        raise UserError(f"{where} lacks its path, its reader, or both label and score")
    reader = readers.setdefault(name, Reader(name))
    if image in reader.paths:
        raise UserError(f"{where}: reader {name!r} has {image} twice")
    if label:
        reader.labels[image] = label
    if score:
        try:
            reader.scores[image] = float(score)
        except ValueError:
            raise UserError(f"{where}: score {score!r} is no number") from None
        if not np.isfinite(reader.scores[image]):
            raise UserError(f"{where}: score {score!r} is not finite")


def reader_outputs(reader: Reader, of_model: Outputs, where: str) -> Outputs | None:
    """A reader's verdicts on the images of a centre that were read; None if none was.

    Args:
        reader: one of a study.
        of_model: outputs on the centre, which tell its images, patients and truth.
        where: the file, for messages.
    """
    names = {model: own for own, model in _matched(reader.paths, set(of_model.paths)).items()}
    if not names:
        return None
    base = of_model.take(np.array([path in names for path in of_model.paths]))
    own = [names[path] for path in base.paths]
    labels = [reader.labels.get(path) for path in own]
    scores = [reader.scores.get(path) for path in own]
    predicted, said = _verdicts(labels, base, f"{where}, reader {reader.name!r}")
    whole = all(score is not None for score in scores)
    score = np.array(scores, dtype=np.float64) if whole else None
    return replace(base, probs=None, predicted=predicted, said=said, score=score, called={})


def _verdicts(
    labels: Sequence[str | None], base: Outputs, where: str
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """(B,) class numbers and (B,) verdicts; None where the labels do not tell them."""
    if any(label is None for label in labels):
        return None, None
    words = [str(label) for label in labels]
    classes = {name: c for c, name in enumerate(base.classnames)}
    group = np.isin(base.classnames, base.positive)
    if all(word in classes for word in words):
        predicted = np.array([classes[word] for word in words], dtype=np.int64)
        return predicted, group[predicted]
    said = []
    for word in words:
        if word in classes:
            said.append(bool(group[classes[word]]))
        elif word.casefold() in (*_YES, *_NO):
            said.append(word.casefold() in _YES)
        else:
            known = ", ".join(base.classnames)
            raise UserError(f"{where}: label {word!r} is none of {known}, positive, negative")
    return None, np.array(said)


def _matched(own: set[str], of_models: set[str]) -> dict[str, str]:
    """Reader's path -> the predictions' one: the same, or the end of a longer path."""
    found = {path: path for path in own if path in of_models}
    for path in own - set(found):
        parts = path.split("/")
        ends = ("/".join(parts[i:]) for i in range(1, len(parts)))
        end = next((end for end in ends if end in of_models), None)
        if end is not None:
            found[path] = end
    return found
