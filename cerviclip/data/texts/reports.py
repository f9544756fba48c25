"""Reports: a free text that belongs to an image, from a table beside the data set.

A report is worth something only where it was written without the label in view. `Reports.check`
refuses the two leaks that can be seen: a text that names a class, and texts that are nothing but
the label in other words.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from cerviclip.data.files.lists.entries import clean_path
from cerviclip.data.files.lists.tables import table_rows
from cerviclip.data.files.names import PATH_KEYS, cell, clean, header_key
from dassl.errors import MissingFileError, UserError
from dassl.paths import at_home, is_file

TEXT_KEYS = (
    *("report", "reporttext", "text", "freetext", "findings", "description", "impression"),
    *("caption", "indication", "history"),
)


class Labelled(Protocol):
    """What a check must know of an image."""

    impath: str
    label: int


class Reports:
    """The report of each image, found by the last parts of its path.

    Args:
        path: a CSV with a column of paths and one of texts (``report``, ``text``, ``findings``).
            An empty text says that the image has no report.

    Raises:
        MissingFileError: there is no such file.
        UserError: a column is missing, or two rows of one path differ.
    """

    def __init__(self, path: str | Path) -> None:
        self.source = at_home(path)
        if not is_file(self.source):
            raise MissingFileError(f"there is no table of reports {path}")
        self._texts: dict[str, str] = {}
        rows = table_rows(self.source)
        if not rows:
            raise UserError(f"{self.source} holds no reports")
        column = self._text_column(rows[0][1])
        for where, row in rows:
            by_key = {header_key(name): value for name, value in row.items()}
            key = _key(next((t for k in PATH_KEYS if (t := cell(by_key.get(k)))), ""))
            text = " ".join(cell(row[column]).split())
            if self._texts.setdefault(key, text) != text:
                raise UserError(f"{where}: {key} has another report above; keep one of the two")

    def _text_column(self, row: dict[str, str]) -> str:
        found = {header_key(name): name for name in row}
        for key in TEXT_KEYS:
            if key in found:
                return found[key]
        raise UserError(
            f"{self.source} has no column of reports (it has {', '.join(row)}); such a column is "
            f"called {', '.join(TEXT_KEYS[:5])}"
        )

    @property
    def texts(self) -> list[str]:
        """The different texts, sorted, without the empty one."""
        return sorted(set(self._texts.values()) - {""})

    def of(self, impath: str) -> str:
        """The text of one image; "" where the table says that there is none.

        Raises:
            UserError: the table does not list the image.
        """
        parts = _key(impath).split("/")
        for start in range(len(parts)):
            text = self._texts.get("/".join(parts[start:]))
            if text is not None:
                return text
        raise UserError(
            f"{self.source} has no row for {impath}; give it a report, or an empty text if it "
            "has none"
        )

    def check(self, items: Sequence[Labelled], classnames: Sequence[str]) -> dict[str, int]:
        """Refuse reports that give the label away.

        Args:
            items: images of training and val. Labels of test images are not looked at.
            classnames: of all classes.

        Returns:
            Counts for results.json: ``images``, ``without_report`` and different ``texts``.

        Raises:
            UserError: a text names a class, or equal texts stand for the classes.
        """
        texts = [self.of(item.impath) for item in items]
        pattern = _pattern(classnames)
        found = [(item, pattern.search(text)) for item, text in zip(items, texts, strict=True)]
        named = [(item.impath, match.group()) for item, match in found if match]
        if named:
            impath, name = named[0]
            raise UserError(
                f"{self.source}: {len(named)} reports name a class (such as {name!r} for "
                f"{Path(impath).name}); a report that states the diagnosis gives the answer away. "
                "Take the words out, or set TRAINER.CLIVP.REPORT_WORDS to mask"
            )
        self._check_copies(items, texts)
        written = [text for text in texts if text]
        return {
            "images": len(texts),
            "without_report": len(texts) - len(written),
            "texts": len(set(written)),
        }

    def _check_copies(self, items: Sequence[Labelled], texts: Sequence[str]) -> None:
        """Refuse texts that are repeated within classes and never shared between classes."""
        classes: dict[str, set[int]] = defaultdict(set)
        for item, text in zip(items, texts, strict=True):
            if text:
                classes[text].add(item.label)
        images = sum(bool(text) for text in texts)
        several = len({item.label for item in items}) > 1
        if several and images >= 2 * len(classes) and all(len(c) == 1 for c in classes.values()):
            raise UserError(
                f"{self.source}: {len(classes)} texts stand for {images} images, and no text is "
                "shared by two classes, so the report is the label in other words; give texts "
                "that were written image by image"
            )

    def masked(self, classnames: Sequence[str]) -> Reports:
        """The same reports without the words that name a class."""
        pattern = _pattern(classnames)
        copy = object.__new__(Reports)
        copy.source = self.source
        copy._texts = {
            key: " ".join(pattern.sub(" ", text).split()) for key, text in self._texts.items()
        }
        return copy


def _key(path: str) -> str:
    return clean(os.path.normpath(clean_path(path)).replace(os.sep, "/")).casefold()


def _pattern(classnames: Sequence[str]) -> re.Pattern[str]:
    """Class names as words, their parts joined by blanks, hyphens or underscores."""
    spelt = []
    for name in classnames:
        words = [re.escape(word) for word in re.split(r"[\s_\-]+", name.casefold()) if word]
        if words:
            spelt.append(r"[\s_\-]+".join(words))
    longest_first = sorted(spelt, key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(longest_first)})(?!\w)", re.IGNORECASE)
