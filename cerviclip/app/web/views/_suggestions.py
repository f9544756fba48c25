"""The model's answers for the pictures of a review: computed once, and recorded first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import streamlit as st

from cerviclip.app.web.models import Model
from cerviclip.app.web.views._audit import record_answers
from dassl.utils.files import file_sha256

Key = tuple[str, str, str, str]  # run, audit log, folder, picture
Stamp = tuple[int, int]  # size and mtime in ns of a file; another stamp is another picture


class Suggestion(NamedTuple):
    """An answer of the model.

    Attributes:
        stamp: of the file that was read.
        probabilities: of each class; () for a picture that cannot be read.
        entry: id in the audit log; "" where none is kept.
    """

    stamp: Stamp
    probabilities: tuple[float, ...]
    entry: str


@st.cache_resource(show_spinner=False)
def _known() -> dict[Key, Suggestion]:
    """Answers for all sessions of the server; no picture is kept."""
    return {}


def suggestions(page: Any, model: Model, folder: Path, images: list[str]) -> dict[str, Suggestion]:
    """Of each picture as its file is now; new and changed ones are computed, with a bar.

    Raises:
        UserError: the audit log cannot be written; then there is no answer.
    """
    known, keys = _known(), {image: _key(page, folder, image) for image in images}
    stamps = {image: _stamp(folder / image) for image in images}
    new = [i for i, key in keys.items() if key not in known or known[key].stamp != stamps[i]]
    bar = st.empty()  # always there: what follows keeps its place, and so the keyboard's focus
    if new:
        done = 0

        def on_read(_: Any) -> None:
            nonlocal done
            done += 1
            if len(new) > 1:
                bar.progress(min(1.0, done / len(new)), text=page.t("predicting", n=len(new)))

        hashes: list[str] = []

        def hashed() -> Iterator[str]:
            for image in new:
                hashes.append(_sha256(folder / image) if page.settings.audit_log else "")
                yield image

        answers = model.answers_of_files(folder, hashed(), on_read)
        entries = record_answers(page, model, answers, hashes)
        for image, answer, entry in zip(new, answers, entries, strict=True):
            known[keys[image]] = Suggestion(stamps[image], answer.probabilities, entry)
        bar.empty()
    return {image: known[key] for image, key in keys.items()}


def entry_of(page: Any, folder: Path, image: str) -> str:
    """Id of the entry of the last answer for a picture; "" where there is none."""
    found = _known().get(_key(page, folder, image))
    return found.entry if found else ""


def _key(page: Any, folder: Path, image: str) -> Key:
    return page.run, page.settings.audit_log, str(folder), image


def _stamp(path: Path) -> Stamp:
    """(-1, -1) for a file that is gone."""
    try:
        found = path.stat()
    except OSError:
        return -1, -1
    return found.st_size, found.st_mtime_ns


def _sha256(path: Path) -> str:
    """Of a file; empty for one that cannot be read, whose answer says why."""
    try:
        return file_sha256(path)
    except OSError:
        return ""
