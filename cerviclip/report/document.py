"""The report as a list of blocks, which three writers render alike.

A block carries ``topics``: what it says something about. The checklist finds items by them. What
only the authors know is a blank, ``[AUTHORS: ...]``, anywhere in a text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

BLANK = re.compile(r"\[AUTHORS: [^\]]+\]")


def blank(what: str) -> str:
    """A marked blank for the authors to fill."""
    return f"[AUTHORS: {what}]"


@dataclass(frozen=True)
class Block:
    """Something of the report, with what it is about."""

    topics: tuple[str, ...]

    @property
    def words(self) -> str:
        """All its text, in which blanks are looked for."""
        return ""


@dataclass(frozen=True)
class Heading(Block):
    """A numbered heading; level 1 or 2."""

    text: str = ""
    level: int = 1
    number: str = ""

    @property
    def words(self) -> str:
        return self.text


@dataclass(frozen=True)
class Text(Block):
    """A paragraph."""

    text: str = ""

    @property
    def words(self) -> str:
        return self.text


@dataclass(frozen=True)
class Bullets(Block):
    """A list."""

    items: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        return "\n".join(self.items)


@dataclass(frozen=True)
class Table(Block):
    """A table with a numbered caption above and a note below.

    Args:
        head: column titles.
        rows: cells; the first ``labels`` columns are words, the others numbers.
        texts: further columns of words, counted from 0.
    """

    caption: str = ""
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    note: str = ""
    labels: int = 1
    number: int = 0
    texts: tuple[int, ...] = ()

    def is_text(self, column: int) -> bool:
        """Whether a column has words, which stand at its left; numbers stand at its right."""
        return column < self.labels or column in self.texts

    @property
    def words(self) -> str:
        return "\n".join([self.caption, self.note, *(" ".join(row) for row in self.rows)])


@dataclass(frozen=True)
class Figure(Block):
    """A picture with a numbered caption below."""

    caption: str = ""
    path: Path = field(default_factory=Path)
    number: int = 0

    @property
    def words(self) -> str:
        return self.caption


class Document:
    """Blocks in their order; headings, tables and figures are numbered as they come."""

    def __init__(self, title: str, subtitle: str) -> None:
        self.title, self.subtitle = title, subtitle
        self.blocks: list[Block] = []
        self._section, self._part = 0, 0
        self._tables, self._figures = 0, 0

    def heading(self, text: str, *topics: str, level: int = 1) -> None:
        if level == 1:
            self._section, self._part = self._section + 1, 0
            number = str(self._section)
        else:
            self._part += 1
            number = f"{self._section}.{self._part}"
        self.blocks.append(Heading(topics, text, level, number))

    def text(self, text: str, *topics: str) -> None:
        self.blocks.append(Text(topics, text))

    def bullets(self, items: Sequence[str], *topics: str) -> None:
        if items:
            self.blocks.append(Bullets(topics, tuple(items)))

    def table(
        self,
        caption: str,
        head: Sequence[str],
        rows: Sequence[Sequence[str]],
        *topics: str,
        note: str = "",
        labels: int = 1,
        texts: Sequence[int] = (),
    ) -> None:
        """Add a table; none without rows."""
        if rows:
            self._tables += 1
            cells = tuple(tuple(map(str, row)) for row in rows)
            of = (caption, tuple(head), cells, note, labels, self._tables, tuple(texts))
            self.blocks.append(Table(topics, *of))

    def figure(self, caption: str, path: Path, *topics: str) -> None:
        self._figures += 1
        self.blocks.append(Figure(topics, caption, path, self._figures))

    def blanks(self) -> list[str]:
        """Every blank that is left to the authors."""
        return [found for block in self.blocks for found in BLANK.findall(block.words)]


def pieces(text: str) -> list[tuple[str, bool]]:
    """A text in pieces, each with whether it is a blank."""
    found, end = [], 0
    for match in BLANK.finditer(text):
        found += [(text[end : match.start()], False), (match.group(), True)]
        end = match.end()
    return [(piece, is_blank) for piece, is_blank in [*found, (text[end:], False)] if piece]
