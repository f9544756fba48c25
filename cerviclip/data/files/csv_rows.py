"""CSV files of other people: their rows, or one line that says what is wrong with them."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from dassl.errors import UserError

Rows = list[tuple[int, dict[str, str]]]


def encoding_of(start: bytes) -> str:
    """The encoding that four bytes tell: by their mark, or by where their zeros stand."""
    if start in (b"\xff\xfe\0\0", b"\0\0\xfe\xff"):
        return "utf-32"
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    zeros = tuple(n for n, byte in enumerate(start) if byte == 0)
    known = {(1, 3): "utf-16-le", (0, 2): "utf-16-be", (1, 2, 3): "utf-32-le"}
    return known.get(zeros, "utf-32-be" if zeros == (0, 1, 2) else "utf-8-sig")


def _delimiter_of(text: str) -> str:
    """What parts the names of a head: what it has most of, a comma where none is there."""
    return max(",;\t", key=text.strip("\r\n").partition("\n")[0].count)


def read_rows(path: Path, even: bool = True, **options: Any) -> tuple[list[str], Rows]:
    """A CSV file's head, and each row by column with the number of its line.

    Args:
        path: in UTF-8 with or without a byte order mark, or in UTF-16 or UTF-32.
        even: each row has as many cells as the head. Else the cells that a short row lacks are
            empty, and those that a long one has beyond the head are left out.
        options: of ``csv.reader``, such as the delimiter; without it that is a comma, a semicolon
            or a tab, of which the head has most.

    Raises:
        UserError: it is no CSV in UTF-8, has a column twice, or its rows are uneven.
    """
    try:
        content = path.read_bytes()
        text = content.decode(encoding_of(content[:4]))
        options.setdefault("delimiter", _delimiter_of(text))
        reader = csv.reader(io.StringIO(text, newline=""), strict=True, **options)
        lines = [(reader.line_num, row) for row in reader if row]
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error})") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no CSV file in UTF-8 ({error}); save it as such") from error
    head = [name.strip() for name in lines[0][1]] if lines else []
    if len(set(head)) < len(head) and even:
        twice = next(name for name in head if head.count(name) > 1)
        raise UserError(f"{path} has the column {twice!r} twice; rename one or take it out")
    for number, row in lines[1:]:
        if len(row) != len(head) and even:
            raise UserError(
                f"{path}, line {number} has {len(row)} cells, its head {len(head)}; put text that "
                f"holds {options['delimiter']!r} in quotes"
            )
    empty = dict.fromkeys(head, "")
    found = [(n, empty | dict(zip(head, row, strict=False))) for n, row in lines[1:]]
    return head, found
