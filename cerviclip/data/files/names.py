"""Names as people spell them: of classes, of list columns, of the parts of a split."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dassl.errors import UserError

#: What a column of a list is called, written as `header_key` writes it; the first found counts.
PATH_KEYS = (
    "path impath imagepath imgpath filepath image img file filename imagefile imagefilename "
    "imagename imgname fname images files imageid imgid"
).split()
FOLDER_KEYS = "folder dir directory imagefolder imagedir filefolder foldername dirname".split()
LABEL_KEYS = (
    "classname class label labels labelname classlabel category diagnosis target dx classid labelid"
).split()
PATIENT_KEYS = (
    "patient patientid patientno patientnumber patientname pid subject subjectid case caseid "
    "caseno casenumber participant participantid person personid woman womanid slide slideid"
).split()
PART_KEYS = "split side set subset partition datasplit splitname phase".split()

_PART_WORDS = {
    "train": "train training trn tr",
    "val": "val valid validation validating dev development va",
    "test": "test testing tst te",
}
_PARTS = {word: part for part, words in _PART_WORDS.items() for word in words.split()}
# These mean the test, unless another part is called a test and none a validation.
_SCORED = {"eval", "evaluation", "holdout", "heldout"}
_AROUND = ("images", "image", "data", "set", "split", "folder", "samples")  # "Train_Images"
_BLANK_CELLS = {"", "nan", "#n/a", "<na>"}
_UNSEEN = "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\u00ad"  # characters that nobody sees
# Cyrillic and Greek letters that look like Latin ones.
_LOOK_ALIKE = str.maketrans(
    "АВЕКМНОРСТУХІЅЈавеокрсухіѕјΑΒΕΖΗΙΚΜΝΟΡΤΥΧο", "ABEKMHOPCTYXISJaBeokpcyxisjABEZHIKMNOPTYXo"
)


def composed(text: Any) -> str:
    """A name with its letters composed as Unicode's NFC: one spelling for what looks equal."""
    return unicodedata.normalize("NFC", str(text))


def clean(text: Any) -> str:
    """A name composed, and without blanks and unseen characters around it."""
    text = composed(text)
    while text != (shorter := text.strip().strip(_UNSEEN)):
        text = shorter
    return text


def cell(value: Any) -> str:
    """What a cell of a list says; "" for the marks that programs write for nothing."""
    text = "" if value is None else clean(value)
    return "" if text.casefold() in _BLANK_CELLS else text


def header_key(text: Any) -> str:
    """A column's name without regard to capitals, blanks, dashes, dots and underscores."""
    return re.sub(r"[\s_.\-﻿]+", "", clean(text)).casefold()


def is_number(text: str) -> bool:
    """Whether a label is a bare whole number, as "3" and "3.0" are."""
    return bool(re.fullmatch(r"\d+(\.0+)?", text))


def part_name(text: str) -> str:
    """The part of a split that a word means ("Testing" is test); the word itself if it is none."""
    word = re.sub(r"[\W_]+", "", clean(text)).casefold()
    for _ in range(2):
        if word in _PARTS:
            return _PARTS[word]
        if word in _SCORED:
            return "test"
        for around in _AROUND:
            inner = word.removesuffix(around)
            inner = word.removeprefix(around) if inner == word else inner
            if inner != word and (inner in _PARTS or inner in _SCORED):
                word = inner
                break
    return clean(text).lower()


def parts_of(words: Iterable[str]) -> dict[str, str]:
    """The part of each word that means one, seen together: where there is a test and no
    validation, "eval" is the validation."""
    words = list(words)
    parts = {word: part for word in words if (part := part_name(word)) in _PART_WORDS}
    named = {*parts.values()}
    for word in words:  # "01_train"; "test2" only where nothing is called "test"
        part = part_name(re.sub(r"^[\d\W_]+|[\d\W_]+$", "", word))
        if word not in parts and part in _PART_WORDS and part not in named:
            parts[word] = part
    scored = [w for w in parts if re.sub(r"[\W_]+", "", w).casefold() in _SCORED]
    others = {part for word, part in parts.items() if word not in scored}
    if "test" in others and "val" not in others:
        parts |= dict.fromkeys(scored, "val")
    return parts


def near_equal(names: Iterable[str]) -> list[list[str]]:
    """Groups of names that differ only in capitals, blanks, dashes or underscores, or in what
    nobody sees: characters without width, letters of another script that look the same."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in sorted(set(names)):
        seen = unicodedata.normalize("NFKC", name).translate(dict.fromkeys(map(ord, _UNSEEN)))
        key = re.sub(r"[\s_\-]+", " ", seen.translate(_LOOK_ALIKE)).strip().casefold()
        groups[key].append(name)
    return [group for group in groups.values() if len(group) > 1]


def near_equal_numbers(names: Iterable[str]) -> list[list[str]]:
    """Groups of names that are one number: ``7`` and ``007``."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in sorted(set(names)):
        if name.isdecimal():
            groups[name.lstrip("0") or "0"].append(name)
    return [group for group in groups.values() if len(group) > 1]


def quoted(names: Iterable[str]) -> str:
    """``"a", "b" and "c"``."""
    words = [f'"{name}"' for name in names]
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]])) if words else ""


def class_map_of(options: Mapping[Any, Any]) -> dict[str, str]:
    """``DATASET.CLASS_MAP`` as names; "" alone leaves a class out.

    Raises:
        UserError: a value that yaml reads as nothing or as a truth value.
    """
    names: dict[str, str] = {}
    for key, value in options.items():
        for what, thing in (("maps", key), ("maps to", value)):
            if thing is None or isinstance(thing, bool):
                raise UserError(
                    f"DATASET.CLASS_MAP {what} {thing!r} (at {key!r}), as yaml reads no, yes, on, "
                    'off, null and ~; write the name in quotes, or "" to leave a class out'
                )
        names[clean(key)] = clean(value)
    return names


def is_text(name: str) -> bool:
    """Whether a file's name is UTF-8, which every file that names it is written in."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def distinct_names(paths: Iterable[str | Path]) -> dict[str, str]:
    """Path -> a name for what is written about the file: its own without the ending, with its
    folder's before it where two are alike, and a number where these are alike too."""
    found: dict[str, str] = {}
    files = [Path(path) for path in paths]
    stems = Counter(file.stem for file in files)
    taken: Counter[str] = Counter()
    for file in files:
        name = file.stem if stems[file.stem] == 1 else f"{file.parent.name}-{file.stem}"
        taken[name] += 1
        found[file.as_posix()] = name if taken[name] == 1 else f"{name}-{taken[name]}"
    return found
