"""The button for a PDF, where the part that writes it is installed."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from cerviclip.app.web.models import Model
from cerviclip.app.web.views._files import Answered, Given
from cerviclip.places import install_hint


def find_write_pdf() -> Callable[..., Any] | None:
    """``cerviclip.app.pdf.write_pdf``; None where fpdf2 is not installed."""
    if importlib.util.find_spec("fpdf") is None:
        return None
    from cerviclip.app.pdf import write_pdf

    return write_pdf


def pdf_button(
    page: Any,
    model: Model,
    answers: Sequence[Answered],
    given: Sequence[Given],
    class_title: Callable[[str], str],
) -> None:
    """Make the PDF on demand, then offer it; the file is gone from the disk before it is shown.

    Args:
        page: whose texts are used.
        model: that gave the answers.
        answers: in the order of the pictures.
        given: the pictures.
        class_title: how the page calls a class.
    """
    t, write = page.t, find_write_pdf()
    if write is None:
        st.caption(t("no_pdf", install=install_hint("app")))
        return
    names = st.checkbox(t("pdf_names"), help=t("pdf_names_help"))
    key = (page.run, t.language, names, tuple(one.key for one in given))
    if st.button(t("make_pdf")):
        with st.spinner(t("making_pdf")), tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "report.pdf"
            with model.in_turn():
                write(
                    *([one.answer for one in answers], out),
                    entries=[one.entry for one in answers],
                    predictor=model.predictor,
                    pictures=[one.content for one in given],
                    names=names,
                    language=t.language,
                    class_title=class_title,
                )
            st.session_state["pdf"] = (key, out.read_bytes())
    kept, content = st.session_state.get("pdf", (None, b""))
    if kept == key:
        st.download_button(t("download_pdf"), content, "report.pdf", "application/pdf")
