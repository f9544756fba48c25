"""CSV files of other people: their rows, or one line that says what is wrong with them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from dassl.errors import UserError

Rows = list[tuple[int, dict[str, str]]]


def read_rows(path: Path, even: bool = True, **options: Any) -> tuple[list[str], Rows]:
    """A CSV file's head, and each row by column with the number of its line.

    Args:
        path: in UTF-8, with or without a byte order mark.
        even: each row has as many cells as the head. Else the cells that a short row lacks are
            empty, and those that a long one has beyond the head are left out.
        options: of ``csv.reader``, such as the delimiter.

    Raises:
        UserError: it is no CSV in UTF-8, has a column twice, or its rows are uneven.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as handle:
            reader = csv.reader(handle, strict=True, **options)
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
                "holds a comma in quotes"
            )
    empty = dict.fromkeys(head, "")
    found = [(n, empty | dict(zip(head, row, strict=False))) for n, row in lines[1:]]
    return head, found
