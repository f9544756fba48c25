"""Lists in tables: CSV and the like, and lines of "path label"."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from cerviclip.data.files.folders import IMAGE_SUFFIXES
from cerviclip.data.files.lists.columns import READ
from cerviclip.data.files.lists.entries import Entries, Entry, clean_path, text_of
from cerviclip.data.files.lists.rows import from_rows
from cerviclip.data.files.names import LABEL_KEYS, PATH_KEYS, header_key, quoted
from dassl.errors import UserError

_DELIMITERS = ",;\t|"


def read_table(path: Path) -> Entries:
    return from_rows(table_rows(path), ())


def table_rows(path: Path) -> list[tuple[str, dict[str, str]]]:
    """Rows of a table with a column of paths, each with where it stands; empty ones are left out.

    Raises:
        UserError: no CSV, no column of paths, or a row of more cells than the head.
    """
    lines = text_of(path, "CSV").splitlines()
    start, delimiter = 0, ""
    while start < len(lines) and _is_before_head(lines[start]):
        if lines[start].lower().startswith("sep="):
            delimiter = lines[start][4:5]
        start += 1
    if start == len(lines):
        return []
    delimiter = delimiter or _delimiter_of(lines[start])
    try:
        rest = (f"{line}\n" for line in lines[start:])  # a cell in quotes may hold several lines
        table = list(csv.reader(rest, delimiter=delimiter, skipinitialspace=True))
    except (csv.Error, TypeError, ValueError) as error:  # these of a sign that cannot part cells
        raise UserError(f"{path} is not a CSV file ({error})") from error
    head = [text.strip() for text in table[0]]
    _refuse_twin_columns(path, head)
    if not any(header_key(name) in PATH_KEYS for name in head):
        raise UserError(
            f"{path} line {start + 1} has no column of paths (it has {', '.join(head)}); such a "
            f"column is called {', '.join(PATH_KEYS[:8])}, that of the classes "
            f"{', '.join(LABEL_KEYS[:4])}"
        )
    twice = sorted({name for name in head if name and head.count(name) > 1})
    if twice:
        raise UserError(
            f"{path} line {start + 1} has {quoted(twice)} as the head of several columns; keep one"
        )
    rows = []
    for n, cells in enumerate(table[1:], start=start + 2):
        if not any(text.strip() for text in cells) or _is_comment(cells, f"{path} line {n}"):
            continue
        if any(text.strip() for text in cells[len(head) :]):
            raise UserError(
                f"{path} line {n} has {len(cells)} cells, its head {len(head)}; put names that "
                f'hold "{delimiter}" in quotes'
            )
        rows.append((f"{path} line {n}", dict(zip(head, cells, strict=False))))
    return rows


def _is_comment(cells: Sequence[str], where: str) -> bool:
    """Whether a row is a comment.

    Raises:
        UserError: it may as well be an image whose name begins with "#".
    """
    if not cells[0].startswith("#"):
        return False
    if any(text.strip().lower().endswith(IMAGE_SUFFIXES) for text in cells):
        raise UserError(
            f'{where} begins with "#" and names an image; write ./# where a name begins so, and '
            "take the line out where it is a comment"
        )
    return True


def _refuse_twin_columns(path: Path, head: Sequence[str]) -> None:
    """Refuse two columns of one name, of which only one could count."""
    names = [name for name in head if header_key(name) in READ]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f'{path} has the column "{twice}" twice; rename one or take it out')


def read_pairs(path: Path, part: str) -> Entries:
    """Entries of lines "path label" without a head; a path may hold blanks, a label may not.

    Raises:
        UserError: a line has no label, or the file is not text in UTF-8.
    """
    entries = Entries()
    for n, line in enumerate(text_of(path, "list").splitlines(), start=1):
        if not line.strip():
            continue
        pair = line.strip().rsplit(maxsplit=1)
        if len(pair) < 2:
            raise UserError(f'{path} line {n} is "{line.strip()}"; a line is "path label"')
        entries.append(Entry(clean_path(pair[0]), pair[1], part=part))
    return entries


def _is_before_head(line: str) -> bool:
    return not line.strip() or line.startswith("#") or line.lower().startswith("sep=")


def _delimiter_of(head: str) -> str:
    """The sign that parts a head in which a column of paths is found."""
    for sign in _DELIMITERS:
        if sign in head and any(header_key(c.strip('" ')) in PATH_KEYS for c in head.split(sign)):
            return sign
    return max(_DELIMITERS, key=head.count)
