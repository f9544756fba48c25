"""Pictures that a reader gives to a page, and their answers, for as long as the session lives."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import streamlit as st

from cerviclip.app.demo import sample_pictures
from cerviclip.app.predictor import Prediction
from cerviclip.app.web.models import Model
from cerviclip.app.web.views._audit import record_answers
from cerviclip.data.files.folders import IMAGE_SUFFIXES
from cerviclip.recent import Recent

_REMEMBERED = 20_000  # answers of a session


class Given(NamedTuple):
    """A picture in memory; ``key`` tells it from another of the same name."""

    name: str
    content: bytes
    key: str


class Answered(NamedTuple):
    """An answer, and the id of its entry in the audit log, "" where none is kept."""

    answer: Prediction
    entry: str


def gather(page: Any, model: Model, each: int) -> list[Given]:
    """The uploader and the choice of samples; what was given by them."""
    t = page.t
    uploads = st.file_uploader(
        t("upload"), type=[s[1:] for s in IMAGE_SUFFIXES], accept_multiple_files=True,
        help=t("upload_help"), key=f"upload_{each}",
    )  # fmt: skip
    given = [Given(u.name, u.getvalue(), u.file_id) for u in uploads]
    if page.settings.samples:
        folder = Path(page.settings.samples)
        paths = sample_pictures(folder, model.predictor.classnames, each)
        label = t("samples_phantom" if model.phantom else "samples")
        if st.toggle(label, key=f"samples_{each}", value=False):
            given += [Given(p.name, p.read_bytes(), str(p)) for p in paths]
    return given


def answers_for(page: Any, model: Model, given: list[Given]) -> list[Answered]:
    """Answers in the order of the pictures; only new ones are computed, with a bar.

    Raises:
        UserError: the audit log cannot be written; then there is no answer.
    """
    known: Recent[tuple[str, str], Answered] = st.session_state.setdefault(
        "answers", Recent(_REMEMBERED)
    )
    new = [one for one in given if (page.run, one.key) not in known]
    bar = st.empty()  # always there: what follows keeps its place, and so the keyboard's focus
    if new:
        bar.progress(0.0, text=page.t("predicting", n=len(new)))
        done = 0

        def on_read(_: Prediction | None) -> None:
            nonlocal done
            done += 1
            bar.progress(min(1.0, done / len(new)), text=page.t("predicting", n=len(new)))

        answers = model.answers(((g.name, g.content) for g in new), on_read)
        entries = record_answers(page, model, answers, [_sha256(one.content) for one in new])
        for one, answer, entry in zip(new, answers, entries, strict=True):
            known[page.run, one.key] = Answered(answer, entry)
        bar.empty()
    return [known[page.run, one.key] for one in given]


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
