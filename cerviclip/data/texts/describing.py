"""Descriptions of classes and of images, from phrases on morphology, nucleus, cytoplasm and
architecture; and a check that texts of images tell no label.

A class may be described to any method: every class is, for every image. A text of one image that
was made from that image's own label is another thing. Where a model reads it at test time, it reads
the answer.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from cerviclip.data.split.patient_grouped import hash_order
from cerviclip.places import ASPECTS
from dassl.config.yaml_file import read_typed
from dassl.errors import MissingFileError, UserError
from dassl.paths import is_file

NAMES = ("morphology", "nucleus", "cytoplasm", "architecture")
TRAINED = "train"  # the one part whose images may have texts made from their labels


@dataclass(frozen=True)
class Aspects:
    """Phrases of each class.

    Attributes:
        image: what the pictures are, such as "Pap smear photomicrograph".
        phrases: class -> aspect -> phrases.
    """

    image: str
    phrases: Mapping[str, Mapping[str, Sequence[str]]]

    @property
    def neutral(self) -> str:
        """A text that fits every image and tells nothing of its label."""
        return f"a {self.image}."


@dataclass(frozen=True)
class Row:
    """One image with its text."""

    path: str
    label: str
    split: str
    patient: str
    text: str


def load_aspects(source: str, classnames: Sequence[str]) -> Aspects:
    """The phrases of the given classes.

    Args:
        source: a yaml file, or the name of one in ``configs/aspects``.
        classnames: each must have phrases for all four aspects.

    Raises:
        UserError: no such file, a class or an aspect without phrases.
    """
    path = next((p for p in (Path(source), ASPECTS / f"{source}.yaml") if is_file(p)), None)
    if path is None:
        known = ", ".join(sorted(p.stem for p in ASPECTS.glob("*.yaml")))
        raise MissingFileError(
            f"no phrases at {source}; there are {known}, and --skeleton FILE writes one to fill in"
        )
    tree = read_typed(path, "file of phrases", "image and classes").tree
    classes = tree.get("classes")
    if not isinstance(classes, dict):
        raise UserError(f"{path} has no classes; --skeleton FILE writes a file to fill in")
    texts = {str(name): value for name, value in classes.items()}
    phrases = {name: _of_class(path, name, texts.get(name)) for name in classnames}
    return Aspects(str(tree.get("image") or "microscope image"), phrases)


def _of_class(path: Path, name: str, value: object) -> dict[str, list[str]]:
    found = {}
    for aspect in NAMES:
        texts = value.get(aspect) if isinstance(value, dict) else None
        texts = [texts] if isinstance(texts, str) else texts
        sound = isinstance(texts, list) and all(isinstance(t, str) and t.strip() for t in texts)
        if not texts or not sound:
            raise UserError(
                f"{path} has no {aspect} for class {name}; --aspects names another file"
            )
        found[aspect] = [" ".join(text.split()) for text in texts]
    return found


def skeleton(classnames: Sequence[str]) -> str:
    """A file of phrases to fill in."""
    lines = ["image: microscope image", "classes:"]
    for name in classnames:
        lines.append(f'  "{name}":')
        lines += [f'    {aspect}: [""]' for aspect in NAMES]
    return "\n".join(lines) + "\n"


def prompt_sets(aspects: Aspects) -> dict[str, dict[str, list[str]]]:
    """Prompt sets for ``DATASET.DESCRIPTIONS``: one for each aspect, and ``combined``."""
    sets: dict[str, dict[str, list[str]]] = {
        aspect: {
            name: [f"a {aspects.image} of {text}." if aspect == "morphology" else
                   f"a {aspects.image}: {text}." for text in of[aspect]]
            for name, of in aspects.phrases.items()
        }
        for aspect in NAMES
    }  # fmt: skip
    sets["combined"] = {name: _combined(aspects, name) for name in aspects.phrases}
    return sets


def _combined(aspects: Aspects, name: str) -> list[str]:
    """Sentences that each take one phrase of every aspect; every phrase occurs."""
    of = aspects.phrases[name]
    rows = zip_longest(*(of[aspect] for aspect in NAMES))
    filled = [
        [text or of[aspect][-1] for aspect, text in zip(NAMES, row, strict=True)] for row in rows
    ]
    return [_sentence(aspects.image, row) for row in filled]


def _sentence(image: str, texts: Sequence[str]) -> str:
    morphology, *others = texts
    return f"a {image} of {morphology}: {'; '.join(others)}."


def image_text(aspects: Aspects, label: str, path: str, seed: int) -> str:
    """A text of one image, from its label: of each aspect one phrase, chosen by the path."""
    of = aspects.phrases[label]
    chosen = [hash_order(of[aspect], "describe", seed, aspect, path)[0] for aspect in NAMES]
    return _sentence(aspects.image, chosen)


def image_rows(
    rows: Iterable[tuple[str, str, str, str]], aspects: Aspects, by_label: Iterable[str], seed: int
) -> list[Row]:
    """A text for each image: from its label in train, the same for all elsewhere.

    Args:
        rows: (path, label, part, patient) of each image.
        aspects: the phrases.
        by_label: parts whose texts are to be made from labels; only train may.
        seed: another seed chooses other phrases.

    Raises:
        UserError: texts from labels are asked for val or test.
    """
    told = set(by_label)
    if refused := sorted(told - {TRAINED}):
        raise UserError(
            f"texts of images in {' and '.join(refused)} are not made from labels: a model that "
            "reads them reads the answer, and its score means nothing. All images of val and test "
            "get one neutral text; classes are described by --out, for every image alike"
        )
    found = [
        Row(p, label, part, patient,
            image_text(aspects, label, p, seed) if part in told else aspects.neutral)
        for p, label, part, patient in rows
    ]  # fmt: skip
    if leaks := find_leaks(found):
        raise UserError(f"the texts would leak: {leaks[0]}")  # by phrases that name a class
    return found


def find_leaks(rows: Sequence[Row]) -> list[str]:
    """What tells the labels of val and test images in their texts; empty where nothing does.

    Three signs: texts are the same for images of one class and different between classes; texts
    recur that in train belong to the same class alone; texts name their own class.
    """
    said = []
    train: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row.split == TRAINED:
            train[_plain(row.text)].add(row.label)
    for part in sorted({row.split for row in rows} - {TRAINED}):
        scored = [row for row in rows if row.split == part]
        guessed, majority = _guessed_by_text(scored)
        if guessed > majority:
            said.append(
                f"in {part} the text alone tells the label of {guessed} of {len(scored)} images "
                f"(by the others with the same text; the commonest class has {majority})"
            )
        of_train = [row for row in scored if train.get(_plain(row.text)) == {row.label}]
        if len(of_train) > majority:
            said.append(
                f"{len(of_train)} of {len(scored)} texts in {part} are of one class of train, "
                f"and it is the image's own (such as {of_train[0].path})"
            )
        naming = [row for row in scored if _names(row.text, row.label)]
        others = [row for row in scored for n in {r.label for r in scored} - {row.label}
                  if _names(row.text, n)]  # fmt: skip
        if len(naming) > len(others):
            said.append(
                f"{len(naming)} of {len(scored)} texts in {part} name the image's own class (such "
                f'as {naming[0].path}: "{naming[0].text}")'
            )
    return said


def _guessed_by_text(rows: Sequence[Row]) -> tuple[int, int]:
    """Images whose label is the commonest of the others with the same text; and of the commonest
    class."""
    by_text: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        by_text[_plain(row.text)][row.label] += 1
    hits = 0
    for row in rows:
        others = by_text[_plain(row.text)].copy()
        others[row.label] -= 1
        best = max(others, key=lambda name: (others[name], name))
        hits += best == row.label and others[best] > 0
    return hits, max(Counter(row.label for row in rows).values(), default=0)


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def _names(text: str, label: str) -> bool:
    return bool(label) and f" {_plain(label.replace('_', ' '))} " in f" {_plain(text)} "
