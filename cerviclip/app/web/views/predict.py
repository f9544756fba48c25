"""Page "Predict": one picture at a time, with all that is known of the answer."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import streamlit as st
from PIL import Image

from cerviclip.app.class_info import ClassInfo, class_info
from cerviclip.app.predictor import Prediction
from cerviclip.app.web.answers import thumbnail
from cerviclip.app.web.basis import (
    by_threshold,
    calibrations,
    coinciding,
    joined,
    point_titles,
    rests_on,
)
from cerviclip.app.web.charts import probability_chart
from cerviclip.app.web.models import Model
from cerviclip.app.web.overlay import overlay
from cerviclip.app.web.points import in_percent
from cerviclip.app.web.texts import likeness, possible_classes
from cerviclip.app.web.views._files import Given, answers_for, gather
from cerviclip.app.web.views._pdf import pdf_button


def show(page: Any) -> None:
    """Upload, choose, see."""
    t, model = page.t, page.need_model()
    given = gather(page, model, each=1)
    if not given:
        st.write(t("predict_begin" if page.settings.samples else "begin"))
        return
    answers = answers_for(page, model, given)
    number = 0
    if len(given) > 1:
        label = t("picture")
        number = st.selectbox(label, range(len(given)), format_func=lambda i: given[i].name)
    (answer, entry), one = answers[number], given[number]
    if answer.error:
        st.error(t("unreadable", name=one.name, why=answer.error))
        return
    _headline(page, model, answer)
    if answer.note:
        st.warning(t("note_is", note=answer.note))
    left, right = st.columns((4, 5), gap="large")
    with left:
        _picture(page, model, one, answer)
    with right:
        _chart(page, model, answer)
    _about_class(page, model, answer)
    _operating_points(page, answer)
    _neighbours(page, model, answer)
    if entry:
        st.caption(t("audit_entry", entry=entry))
    pdf_button(page, model, [answers[number]], [one], lambda name: class_title(page, model, name))


def class_title(page: Any, model: Model, classname: str) -> str:
    """A class as the page calls it: its name in the reader's language, or as the run has it."""
    info = _info(page, model, classname)
    return info.name if info else classname.replace("_", " ")


def _info(page: Any, model: Model, classname: str) -> ClassInfo | None:
    return class_info(model.dataset, classname, page.t.language, page.settings.class_info)


def _headline(page: Any, model: Model, answer: Prediction) -> None:
    t = page.t
    title = class_title(page, model, answer.predicted)
    st.subheader(t("answer", name=title, percent=f"{100 * (answer.probability or 0):.1f}"))
    if answer.positive_probability is not None:
        text = t("positive_sum", percent=f"{100 * answer.positive_probability:.1f}")
        if answer.calibrated_positive is not None:
            other = t("by_isotonic", percent=f"{100 * answer.calibrated_positive:.1f}")
            text = t("beside", one=text, other=other)
        st.write(text)
    _likeness(page, answer)
    if possible := possible_classes(t, answer, lambda name: class_title(page, model, name)):
        st.write(possible)
    if few := rests_on(t, model.predictor.knowledge.home):
        st.warning(few)


def _likeness(page: Any, answer: Prediction) -> None:
    """Whether the picture is like those of the training, and what that means."""
    t, told = page.t, likeness(page.t, answer)
    if told is None:
        return
    text, unlike = told
    (st.warning if unlike else st.caption)(text)
    with st.expander(t("ood_what")):
        st.write(t("ood_meaning"))


def _picture(page: Any, model: Model, one: Given, answer: Prediction) -> None:
    t = page.t
    image = thumbnail(one.content, model.predictor)
    if image is None:
        return
    explain, methods = find_explain(model)
    if explain is None:
        st.image(image, caption=one.name, width="stretch", alt=t("alt_picture"))
        st.caption(t("no_explain"))
        return
    if not st.toggle(t("heat_map"), key="heat"):
        st.image(image, caption=one.name, width="stretch", alt=t("alt_picture"))
        return
    names = list(answer.classnames)
    chosen = st.selectbox(
        t("heat_class"), names, index=names.index(answer.predicted),
        format_func=lambda name: class_title(page, model, name),
    )  # fmt: skip
    method = st.selectbox(t("heat_method"), methods) if len(methods) > 1 else methods[0]
    opacity = st.slider(t("opacity"), 0, 100, 60, step=5, format="%d %%")
    with st.spinner(t("explaining")):
        heat = _heat(explain, model, page.run, one, image, chosen, method)
    first, second = st.columns(2)
    first.image(image, caption=one.name, width="stretch", alt=t("alt_picture"))
    shown = overlay(image, heat, opacity / 100)
    second.image(shown, caption=t("heat_caption"), width="stretch", alt=t("alt_heat"))


def find_explain(model: Model) -> tuple[Callable[..., Any] | None, tuple[str, ...]]:
    """``cerviclip.app.explain.explain`` and the methods for a run; (None, ()) where there is no
    such part, or no method for the run."""
    try:
        module = importlib.import_module("cerviclip.app.explain")
    except ImportError:
        return None, ()
    methods = tuple(module.methods_of(model.predictor))
    return (module.explain, methods) if methods else (None, ())


def _heat(
    explain: Callable[..., Any], model: Model, run: str, one: Given, image: Image.Image,
    classname: str, method: str,
) -> Any:  # fmt: skip
    """The heat map, kept for the session: the slider asks for it at each step.

    A method may hang hooks on the model and take gradients of it, so other readers wait.
    """
    kept = st.session_state.setdefault("heat_maps", {})
    key = (run, one.key, classname, method)
    if key not in kept:
        if len(kept) >= 64:
            kept.pop(next(iter(kept)))
        with model.in_turn():
            kept[key] = explain(model.predictor, image, classname, method)
    return kept[key]


def _chart(page: Any, model: Model, answer: Prediction) -> None:
    t = page.t
    names = {name: class_title(page, model, name) for name in answer.classnames}
    best, notes = answer.best_by_class, {}
    for name, share in answer.by_class.items():
        notes[name] = f"{100 * share:.1f} %"
        if answer.calibrated is not None:
            notes[name] += "<br>" + t("by_temperature", percent=f"{100 * best[name]:.1f}")
    axis = t("probability_axis")
    figure = probability_chart(answer.by_class, answer.positive, names, axis, notes)
    st.plotly_chart(figure, alt=t("alt_chart"), config={"displayModeBar": False})
    if answer.positive:
        st.caption(t("positive_mark"))
    told = calibrations(t, answer, model.predictor.knowledge.home.chosen_on)
    more = t("calibration_note" if told else "no_calibration")
    st.caption(t("sentence_gap").join(filter(None, [told, more])))


def _about_class(page: Any, model: Model, answer: Prediction) -> None:
    t, info = page.t, _info(page, model, answer.predicted)
    st.subheader(t("about_class"))
    if info is None:
        st.caption(t("no_class_info", dataset=model.shown_dataset))
        return
    st.markdown(
        f"**{info.name}** – {info.description}\n\n"
        f"**{t('characteristics')}** {info.characteristics}\n\n"
        f"**{t('risk')}** {t('risk_' + info.risk)}\n\n"
        f"**{t('action')}** {info.action}"
    )
    st.caption(t("not_advice"))
    with st.expander(t("sources")):
        st.markdown("\n".join(f"- {source}" for source in info.sources))


def _operating_points(page: Any, answer: Prediction) -> None:
    t = page.t
    st.subheader(t("operating_points"))
    points = answer.operating_points or {}
    if not points:
        st.caption(t("no_points"))
        return
    st.write(t("points_meaning"))
    thresholds = {name: point.threshold for name, point in points.items()}
    rows = []
    for names, threshold in by_threshold(thresholds):
        point = points[names[0]]
        for center, entry in point.centers.items():
            rows.append({
                t("point"): joined(t, point_titles(t, names)),
                t("threshold"): threshold,
                t("this_picture"): t("called_positive" if point.called_positive
                                     else "called_negative"),
                t("center"): center,
                t("sensitivity"): in_percent(entry.get("sensitivity")),
                t("specificity"): in_percent(entry.get("specificity")),
            })  # fmt: skip
    st.table(rows)
    for told in coinciding(t, thresholds, next(iter(points.values())).chosen_on):
        st.write(told)


def _neighbours(page: Any, model: Model, answer: Prediction) -> None:
    t = page.t
    if answer.neighbours:
        st.subheader(t("neighbours"))
        st.table([
            {
                t("picture"): one.path,
                t("class"): class_title(page, model, one.label),
                t("distance"): f"{one.distance:.3f}",
            }
            for one in answer.neighbours
        ])  # fmt: skip
