"""Page "Batch": many pictures in a table, the least certain first."""

from __future__ import annotations

from typing import Any

import streamlit as st

from cerviclip.app.table.columns import Columns
from cerviclip.app.table.verdicts import PatientFinder, verdicts
from cerviclip.app.web.answers import UNCERTAINTY, answer_table, filtered
from cerviclip.app.web.basis import coinciding, rests_on
from cerviclip.app.web.views._files import answers_for, gather
from cerviclip.app.web.views._pdf import pdf_button
from cerviclip.app.web.views.predict import class_title

_TEXT = ("path", "patient_id", "prediction", "error", "note")


def show(page: Any) -> None:
    """Upload, filter, download."""
    t, model = page.t, page.need_model()
    given = gather(page, model, each=5)
    if not given:
        st.write(t("batch_begin" if page.settings.samples else "begin"))
        return
    answered = answers_for(page, model, given)
    answers = [one.answer for one in answered]
    names = model.predictor.classnames
    contents = [one.content for one in given]
    table = answer_table(answers, model.predictor, model.model_id, model.pattern, contents)
    failed = int((table["error"] != "").sum())
    st.write(t("batch_counts", n=len(table), failed=failed))
    first, second, third = st.columns(3)
    classes = first.multiselect(
        t("filter_class"), names, format_func=lambda name: class_title(page, model, name)
    )
    least = second.slider(t("filter_uncertainty"), 0, 100, 0, step=5, format="%d %%")
    text = third.text_input(t("filter_text"))
    errors = st.checkbox(t("filter_errors"), value=True)
    shown = filtered(table, classes, least / 100, text, errors)
    _table(page, model, shown)
    csv = shown.to_csv(index=False, lineterminator="\n")
    st.download_button(t("download_csv"), csv, "answers.csv", "text/csv", type="primary")
    st.caption(t("csv_note", n=len(shown)))
    home = model.predictor.knowledge.home
    for told in (*coinciding(t, home.thresholds, home.chosen_on), rests_on(t, home)):
        if told:
            st.caption(told)
    _patients(page, model, answers)
    pdf_button(page, model, answered, given, lambda name: class_title(page, model, name))


def _table(page: Any, model: Any, shown: Any) -> None:
    t = page.t
    percent = {
        column: st.column_config.NumberColumn(title, format="percent")
        for column, title in [
            ("positive_probability", t("positive")), (UNCERTAINTY, t("uncertainty")),
            *((f"p_{n}", class_title(page, model, n)) for n in model.predictor.classnames),
        ]
    }  # fmt: skip
    columns = Columns.of(model.predictor)
    text = {
        key: st.column_config.TextColumn(t(f"column_{key}"))
        for key in (*_TEXT, "conformal_set", "out_of_distribution")
    } | {
        key: st.column_config.TextColumn(t("column_called", point=t.maybe(f"point_{name}", name)))
        for key, name in zip(columns.calls, columns.points, strict=True)
    }
    order = ["path", "prediction", UNCERTAINTY, "positive_probability", "patient_id"]
    order += [*columns.probabilities, *columns.calls, "conformal_set", "out_of_distribution"]
    order += ["error", *(["note"] if shown["note"].any() else [])]
    st.dataframe(
        shown, hide_index=True, column_order=order, column_config=percent | text,
        alt=t("alt_table"),
    )  # fmt: skip


def _patients(page: Any, model: Any, answers: Any) -> None:
    """A verdict for each patient that file names tell."""
    t, patient_of = page.t, PatientFinder(model.pattern)
    told = (
        (patient_of(a.path), a.probabilities, a.out_of_distribution) for a in answers if not a.error
    )
    task = model.predictor.task
    found = verdicts(told, task.classnames, task.positive)
    if not found.patients:
        return
    with st.expander(t("patients", n=len(found.patients))):
        st.caption(t("patients_rule"))
        if found.left_out:
            st.caption(t("patients_left_out", n=found.left_out))
        st.table([
            {
                t("column_patient_id"): verdict.patient,
                t("pictures"): verdict.pictures,
                t("column_prediction"): class_title(page, model, verdict.answer.predicted),
                t("positive"): "–" if verdict.answer.positive_probability is None
                else f"{100 * verdict.answer.positive_probability:.1f} %",
                t("column_out_of_distribution"): "–" if verdict.unlike is None
                else f"{verdict.unlike} / {verdict.pictures}",
            }
            for verdict in found.patients
        ])  # fmt: skip
