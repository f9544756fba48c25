"""What every list of images becomes: `Entries`, and the words they are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cerviclip.data.files.csv_rows import encoding_of
from cerviclip.data.files.names import cell, header_key, is_number, quoted
from cerviclip.data.split.patient_grouped import PARTS
from dassl.errors import UserError

_DIGITS = 10  # of a label's number


@dataclass(frozen=True)
class Entry:
    """One line of a split or list file; what the file does not say is empty.

    Attributes:
        path: with the folder of a column of its own before it.
        classname: of the image.
        patient: whom it is of.
        part: of the split.
        alone: the path without that folder.
    """

    path: str
    classname: str = ""
    patient: str = ""
    part: str = ""
    alone: str = ""


class Entries(list[Entry]):
    """The entries of a file.

    Attributes:
        notes: what the reader should know of how the file was taken.
        unused: columns that were not used.
        few_shot: an upstream pickle, which names no test images.
    """

    def __init__(self, entries: Iterable[Entry] = (), few_shot: bool = False) -> None:
        super().__init__(entries)
        self.notes: list[str] = []
        self.unused: list[str] = []
        self.few_shot = few_shot


def class_of(label: list[Any], classes: tuple[str, ...]) -> str:
    """A class name from a label; a number names one of ``classes`` where the file has them."""
    text = cell(label[0]) if label else ""
    if is_number(text):
        text = text.partition(".")[0]  # 0.0 is what a table with a gap makes of 0
        if classes:
            number = int(text) if len(text) < _DIGITS else len(classes)
            if number >= len(classes):
                raise UserError(
                    f'a label is {text[:_DIGITS]}, and "classes" has {len(classes)} names, from 0 '
                    f"to {len(classes) - 1}; correct one of them"
                )
            return classes[number]
    return text


def text_of(path: Path, kind: str) -> str:
    """A file's text in UTF-8, or in UTF-16 or UTF-32 where it begins as such."""
    content = path.read_bytes()
    code = encoding_of(content[:4])
    try:
        return content.decode(code)
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not a {kind} file in UTF-8 ({error}); save it as such"
        ) from error


def refuse_two_words(parts: Mapping[str, str], where: str) -> None:
    """Refuse two words for one part, "test" beside "holdout": one may have been kept aside."""
    for part in PARTS:
        words = {header_key(word): word for word, of in parts.items() if of == part}
        if len(words) > 1:
            raise UserError(
                f"{where}: {quoted(sorted(words.values()))} both mean {part}; write one word for "
                "them, or take one out"
            )


def clean_path(path: str) -> str:
    """A path with forward slashes."""
    return str(path).strip().replace("\\", "/")
