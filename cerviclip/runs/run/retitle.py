"""A new ``DATASET.TITLE`` for a finished run, which stays finished: a title changes no number."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

from cerviclip.locks import claimed
from cerviclip.runs.results_json import read_results
from cerviclip.runs.settings.folders import RESULTS
from cerviclip.runs.study_title import KEY, title_of
from cerviclip.shapes import plain_json
from dassl.errors import UserError


def retitle(folder: Path, title: str, held: bool = False) -> bool:
    """Write a title into the results.json of a finished run; all else in it stays as it is.

    Args:
        folder: the run's.
        title: "" leaves the run as it is, whatever title it has.
        held: the caller has claimed the folder.

    Returns:
        Whether the run had another title, or none.

    Raises:
        UserError: the file cannot be written, or another process is at work on the run.
    """
    from dassl.utils.files import atomic_write

    results = read_results(folder)
    if not title or results is None or title_of(results) == title:
        return False
    path = folder / RESULTS
    try:
        with nullcontext() if held else claimed(folder):
            content = plain_json(path.read_text(encoding="utf-8"))
            content["runtime"] = {**(content.get("runtime") or {}), "title": title}
            with atomic_write(path) as handle:
                handle.write(json.dumps(content, indent=1, allow_nan=False) + "\n")
    except OSError as error:
        raise UserError(
            f"{path} cannot be given the title {title!r} ({error}); leave {KEY} out"
        ) from error
    return True
