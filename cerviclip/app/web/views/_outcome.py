"""Below the queue: what was decided, the export to train on, and agreement with other readers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import streamlit as st

from cerviclip.app.review.agreement import agreement
from cerviclip.app.review.export import export
from cerviclip.app.review.journal import Journal, readers_of
from cerviclip.app.review.queue import ReviewQueue
from cerviclip.app.review.training import Origin, train_command, write_labels
from cerviclip.app.table.verdicts import PatientFinder
from cerviclip.app.web.models import Model


def outcome(page: Any, model: Model | None, folder: Path, queue: ReviewQueue) -> None:
    """Counts, downloads, agreement. Other readers' answers show only to one who has finished."""
    t, journal = page.t, queue.journal
    st.divider()
    st.subheader(t("outcome"))
    counts = Counter(d.label or t("flagged") for d in journal)
    said = ", ".join(f"{name}: {number}" for name, number in counts.items())
    st.write(said or t("nothing_decided"))
    others = [name for name in readers_of(journal.path.parent) if name != journal.reader]
    finished = not queue.current
    if len(journal):
        journals = [journal]
        if finished and others and st.toggle(t("export_all_readers")):
            journals += [Journal(journal.path.parent, name) for name in others]
        _export(page, model, folder, journals)
    if not others:
        return
    st.subheader(t("agreement"))
    if not finished:
        st.caption(t("agreement_blind"))
        return
    name = st.selectbox(t("other_reader"), others)
    _agreement(page, queue, Journal(journal.path.parent, name))


def _export(page: Any, model: Model | None, folder: Path, journals: list[Journal]) -> None:
    t, patient_of = page.t, PatientFinder(model.pattern if model else "")
    made = export(journals, patient_of)
    st.download_button(t("export", n=made.rows), made.text, "review.csv", "text/csv")
    if made.flagged:
        st.caption(t("export_flagged", n=len(made.flagged)))
    if made.differing:
        st.caption(t("export_differing", n=len(made.differing)))
    with st.expander(t("train_on_it")):
        labels = write_labels(journals, made.text)
        origin = model.origin if model else Origin()
        st.code(train_command(folder, labels, origin), language="bash", wrap_lines=True)
        if model is None:
            st.caption(t("train_backbone", name=origin.backbone))
        st.caption(t("journal_at", path=journals[0].path))


def _agreement(page: Any, queue: ReviewQueue, other: Journal) -> None:
    t = page.t
    found = agreement(queue.journal, other, queue.classnames)
    kappa = "–" if found.kappa is None else f"{found.kappa:.3f}"
    st.write(t("kappa", kappa=kappa, same=found.same, both=found.both))
    if found.kappa is None:
        st.caption(t("no_kappa"))
    if found.both:
        names = [name.replace("_", " ") for name in queue.classnames]
        st.table([
            {f"{queue.journal.reader} \\ {other.reader}": name}
            | {names[j]: str(n) for j, n in enumerate(row)}
            for name, row in zip(names, found.counts.tolist(), strict=True)
        ])  # fmt: skip
    if found.differing:
        label = t("download_differing", n=len(found.differing))
        st.download_button(label, found.to_csv(), "differing.csv", "text/csv")
