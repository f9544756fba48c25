"""What stands behind a model, for the last pages of a report: training, test figures, versions."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cerviclip.app.export.card import said
from cerviclip.app.web.basis import by_threshold, joined, point_titles
from cerviclip.app.web.texts import Texts
from cerviclip.evaluation.names import patients_known
from cerviclip.plugins import is_phantom
from cerviclip.runs.study_title import shown_name
from dassl._version import __version__

if TYPE_CHECKING:
    from cerviclip.app.pdf.document import Document
    from cerviclip.app.predictor import Predictor

_FIGURES = ("accuracy", "balanced_accuracy", "macro_auc")
_BINARY = ("sensitivity", "specificity")
_HASH = 16  # hexadecimal digits that are shown of one


def add_warrant(pdf: Document, t: Texts, predictor: Predictor | None) -> None:
    """The pages that say what the model was trained and tested on."""
    pdf.headline(t("warrant"))
    if predictor is None:
        pdf.paragraph(t("no_warrant"))
        pdf.rows((), [[t("software"), _software()]], (28, 72))
        return
    blocks = predictor.knowledge.blocks
    members = predictor.members
    if is_phantom(predictor.task.dataset):
        pdf.paragraph(t("phantom"), alarm=True)
    for number, member in enumerate(members, 1):
        results = member.results
        title = t("member", n=number, total=len(members)) if len(members) > 1 else ""
        pdf.rows((), facts(t, predictor, results), (28, 72), title)
        _figures(pdf, t, results)
    _points(pdf, t, blocks)


def facts(t: Texts, predictor: Predictor, results: Mapping[str, Any]) -> list[list[str]]:
    """Rows of name and value on one run."""

    def known(key: str) -> str:
        value = results.get(key)
        return t("not_recorded") if value is None else str(value)

    task = predictor.task
    home = t(
        "home_is",
        dataset=shown_name(results.get("dataset") or task.dataset, [results]),
        split=known("split_hash")[:_HASH],
        draw=known("draw_hash")[:_HASH],
    )
    return [
        [t("method"), f"{known('trainer')}, {known('backbone')}"],
        [t("trained_on"), home],
        [t("shots"), t("shots_is", shots=known("shots"), seed=known("seed"))],
        [t("classes"), ", ".join(task.classnames)],
        [t("positive_classes"), ", ".join(task.positive) or "–"],
        [t("weights"), known("weights_sha256")],
        [t("settings"), known("config_hash")],
        [t("model"), predictor.model_id],
        [t("software"), _software()],
    ]


def _software() -> str:
    import torch

    return f"CerviCLIP {__version__}, torch {torch.__version__}, Python {platform.python_version()}"


def _figures(pdf: Document, t: Texts, results: Mapping[str, Any]) -> None:
    """Figures with intervals, a row for each centre."""
    centers = results.get("centers") or {}
    if not centers:
        pdf.heading(t("test_figures"))
        pdf.paragraph(t("no_figures"))
        return
    rows = []
    for name, entry in centers.items():
        binary = entry.get("binary") or {}
        patients = entry.get("n_patients", "–") if patients_known(entry) else "–"
        rows.append(
            [name, f"{entry.get('n_images', '–')} / {patients}"]
            + [said(entry.get(key), t("to")) for key in _FIGURES]
            + [said(binary.get(key), t("to")) for key in _BINARY]
        )
    head = [t(key) for key in ("center", "images_patients", *_FIGURES, *_BINARY)]
    pdf.rows(head, rows, (15, 13, 15, 15, 15, 14, 14), t("test_figures"))
    if results.get("test_read_early"):
        pdf.paragraph(t("read_early"), alarm=True)
    pdf.paragraph(t("figures_note", method=_interval(t, results)), quiet=True)
    for name, entry in centers.items():
        if entry.get("note"):
            pdf.paragraph(f"{name}: {entry['note']}", quiet=True)


def _interval(t: Texts, results: Mapping[str, Any]) -> str:
    """How the intervals of the home centre were made; other centres have the same method."""
    home = (results.get("centers") or {}).get("test") or {}
    methods = (home.get("uncertainty") or {}).get("method") or {}
    if not methods.get("default"):
        return t("interval_default")
    told: dict[str, list[str]] = {}
    for key in (*_FIGURES, *(f"binary/{key}" for key in _BINARY)):
        name = t(key.rpartition("/")[2])
        told.setdefault(str(methods.get(key) or methods["default"]), []).append(name)
    if len(told) == 1:
        return next(iter(told))
    return "; ".join(f"{', '.join(names)}: {method}" for method, names in told.items())


def _points(pdf: Document, t: Texts, blocks: Mapping[str, Any]) -> None:
    """What each threshold of home did at each centre."""
    if rows := point_rows(t, blocks):
        head = [t(key) for key in ("point", "threshold", "center", *_BINARY)]
        pdf.rows(head, rows, (24, 14, 20, 21, 21), t("point_figures"))


def point_rows(t: Texts, blocks: Mapping[str, Any]) -> list[list[str]]:
    """A row for each threshold and centre."""
    points = (blocks.get("operating_points") or {}).get("points") or {}
    known = {name: point.get("threshold") for name, point in points.items()}
    thresholds = {name: value for name, value in known.items() if value is not None}
    return [
        [joined(t, point_titles(t, names)), threshold, center]
        + [said(entry.get(key), t("to")) for key in _BINARY]
        for names, threshold in by_threshold(thresholds)
        for center, entry in (points[names[0]].get("centers") or {}).items()
    ]
