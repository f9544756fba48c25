"""The page's entries in the audit log, where the server keeps one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from cerviclip.app.append_file import DiskFullError
from cerviclip.app.audit_log import AuditLog, answer_entry
from cerviclip.app.predictor import Prediction
from cerviclip.app.web.models import Model
from dassl.errors import UserError

REVIEW = "review"  # the route of what a reader decides there


@st.cache_resource(show_spinner=False)
def _audit_log(path: str) -> AuditLog:
    """One for all sessions of the server."""
    return AuditLog(path)


def record_answers(
    page: Any, model: Model, answers: Sequence[Prediction], hashes: Sequence[str]
) -> list[str]:
    """Write answers down before any of them is shown.

    Args:
        page: whose settings name the log.
        model: that gave the answers.
        answers: of pictures.
        hashes: sha256 of each picture's file.

    Returns:
        Id of each entry; "" for each where no log is kept.

    Raises:
        UserError: the log cannot be written; then no answer may be shown.
    """
    entries = [
        answer_entry(answer, "page", "page", model.model_id, sha256)
        for answer, sha256 in zip(answers, hashes, strict=True)
    ]
    return _record(page, entries, "audit_full")


def record_correction(page: Any, reader: str, model: str, of: str, classname: str) -> None:
    """Write down which class a reader gave to a picture whose answer the reader saw.

    Args:
        page: whose settings name the log.
        reader: as the journal names them.
        model: identity of the model that answered.
        of: id of the answer's entry.
        classname: the reader's; "" where the reader takes the class back.

    Raises:
        UserError: the log cannot be written; then the decision may not be taken.
    """
    entry = {
        "kind": "correction",
        "who": reader,
        "route": REVIEW,
        "model": model,
        "of": of,
        "output": {"predicted": classname},
    }
    _record(page, [entry], "audit_full_review")


def _record(page: Any, entries: Sequence[Mapping[str, Any]], refusal: str) -> list[str]:
    if not page.settings.audit_log:
        return [""] * len(entries)
    try:
        return _audit_log(page.settings.audit_log).append(entries)
    except DiskFullError:
        raise UserError(page.t(refusal)) from None
