"""Page "Results": tables and curves of any folder of runs, ROC and reliability of one of them."""

from __future__ import annotations

from typing import Any

import streamlit as st

from cerviclip.app.web.charts import reliability_chart, roc_chart, shots_chart
from cerviclip.app.web.points import in_percent
from cerviclip.plugins import is_phantom
from cerviclip.runs.many.federations import tests_by_center, without_idle_rows
from cerviclip.runs.many.tidy import long_table
from cerviclip.runs.predictions import read_predictions
from cerviclip.runs.report.groups import METRICS, TITLES, group_runs, load_runs, sweep_order
from cerviclip.runs.report.tables import build_tables, column_name
from cerviclip.runs.settings.run_key import shots_words
from cerviclip.runs.study_title import shown_name


def show(page: Any) -> None:
    """Choose a folder, a metric and a run."""
    t, folders = page.t, page.settings.results
    if not folders:
        st.write(t("no_results"))
        return
    folder = st.selectbox(t("folder"), folders)
    runs = load_runs(folder)
    done = [run for run in runs if run["status"] == "done"]
    if len(done) < len(runs):
        st.warning(t("runs_failed", n=len(runs) - len(done)))
    if not done:
        return
    metric = st.selectbox(
        t("metric"), METRICS, format_func=lambda m: t.maybe(f"metric_{m}", TITLES.get(m, m))
    )
    groups = group_runs(tests_by_center(done), sweep_order(folder))
    for table in map(without_idle_rows, build_tables(groups, metric)):
        kind = (table.dataset, table.transductive)
        own = [group for group in groups if (group.dataset, group.transductive) == kind]
        _dataset(page, table, own, metric)
    _download(page, done)
    _one_run(page, done)


def _dataset(page: Any, table: Any, groups: Any, metric: str) -> None:
    st.subheader(table.title)
    if is_phantom(table.dataset):
        st.warning(page.t("phantom_data"), icon=":material/blur_on:")
    for center, rows in table.blocks:
        st.markdown(f"**{center}**")
        heads = [column_name(shots) for shots in table.columns]
        method = page.t("method")
        st.table([{method: label} | dict(zip(heads, cells, strict=True)) for label, cells in rows])
        if len(table.columns) > 1:
            axes = (page.t("shots"), table.heading)
            figure = shots_chart(groups, metric, center, axes)
            st.plotly_chart(
                figure, alt=page.t("alt_curve"), key=f"curve_{table.dataset}_{table.title}_{center}"
            )
    for note in table.notes:
        st.caption(note)


def _download(page: Any, runs: Any) -> None:
    csv = long_table(runs).to_csv(index=False, lineterminator="\n")
    st.download_button(page.t("download_results"), csv, "results.csv", "text/csv")


def _one_run(page: Any, runs: Any) -> None:
    t = page.t
    st.subheader(t("one_run"))
    number = st.selectbox(t("run"), range(len(runs)), format_func=lambda i: _title(runs[i]))
    run = runs[number]
    rows = []
    for center, entry in run["centers"].items():
        row = {t("center"): center, t("pictures"): entry.get("n_images")}
        row[t("metric_accuracy")] = in_percent(entry.get("accuracy"))
        for key in ("sensitivity", "specificity"):
            row[t(key)] = in_percent((entry.get("binary") or {}).get(key))
        rows.append(row)
    st.table(rows)
    try:
        parts = read_predictions(run["folder"])
    except FileNotFoundError:
        st.caption(t("no_predictions"))
        return
    positive = run.get("positive_classes") or ()
    left, right = st.columns(2)
    with left:
        st.markdown(f"**{t('roc')}**")
        axes = (t("false_positive_rate"), t("true_positive_rate"))
        _chart_or(page, roc_chart(parts, positive, axes), "alt_roc")
    with right:
        st.markdown(f"**{t('reliability')}**")
        axes = (t("said_probability"), t("observed_share"))
        _chart_or(page, reliability_chart(parts, positive, axes), "alt_reliability")


def _chart_or(page: Any, figure: Any, alt: str) -> None:
    if figure is None:
        st.caption(page.t("no_curve"))
    else:
        st.plotly_chart(figure, alt=page.t(alt), key=alt)


def _title(run: Any) -> str:
    name = shown_name(run["dataset"], [run])
    names = [name, *(run[key] for key in ("trainer", "backbone", "variant"))]
    fold = f", fold {run['fold']}" if run.get("fold") else ""
    shots = shots_words(run["shots"])
    return f"{', '.join(names)}, {shots}, seed {run['seed']}{fold}"
