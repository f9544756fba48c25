"""The button for a PDF, where the part that writes it is installed."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from cerviclip.app.predictor import Prediction
from cerviclip.app.web.models import Model
from cerviclip.app.web.views._files import Given


def find_write_pdf() -> Callable[..., Any] | None:
    """``cerviclip.app.pdf.write_pdf``; None where it is not installed."""
    try:
        return importlib.import_module("cerviclip.app.pdf").write_pdf
    except ImportError:
        return None


def pdf_button(
    page: Any, model: Model, answers: Sequence[Prediction], given: Sequence[Given]
) -> None:
    """Make the PDF on demand, then offer it; the file is gone from the disk before it is shown."""
    t, write = page.t, find_write_pdf()
    if write is None:
        st.caption(t("no_pdf"))
        return
    key = (page.run, tuple(one.key for one in given))
    if st.button(t("make_pdf")):
        with st.spinner(t("making_pdf")), tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "report.pdf"
            write(list(answers), out)
            st.session_state["pdf"] = (key, out.read_bytes())
    kept, content = st.session_state.get("pdf", (None, b""))
    if kept == key:
        st.download_button(t("download_pdf"), content, "report.pdf", "application/pdf")
