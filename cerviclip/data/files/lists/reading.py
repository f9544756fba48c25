"""A list of images from a file of any form that is known."""

from __future__ import annotations

from pathlib import Path

from cerviclip.data.files.lists.entries import Entries, text_of
from cerviclip.data.files.lists.json_lists import read_json, read_pickle
from cerviclip.data.files.lists.tables import read_table
from dassl.errors import MissingFileError, UserError, no_file
from dassl.paths import is_file

_TABLES = (".csv", ".tsv", ".txt", ".tab", ".lst")
_SHEETS = (".xlsx", ".xls", ".xlsm", ".ods", ".numbers")


def read_list_file(path: str | Path) -> Entries:
    """Entries of a table, JSON or pickle file; ``part`` may be empty."""
    path = Path(path)
    if not is_file(path):
        raise MissingFileError(
            f"split or list file {path} {no_file(path)}; check DATASET.FILE or DATASET.SPLIT_FILE "
            "(looked for here, under --root and in DATASET.FOLDER)"
        )
    suffix = path.suffix.lower()
    if suffix in _SHEETS:
        raise UserError(f"{path} is a spreadsheet; save it as CSV (UTF-8) and name that file")
    if suffix in (".pkl", ".pickle"):
        entries = read_pickle(path)
    elif suffix in _TABLES and not (
        suffix == ".txt" and text_of(path, "list").lstrip()[:1] in ("{", "[")
    ):
        entries = read_table(path)
    else:
        entries = read_json(path)
    if not entries:
        raise UserError(f"{path} lists no images")
    return entries
