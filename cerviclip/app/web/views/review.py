"""Page "Review": a queue of pictures, labelled by keys; a second reader; agreement; the export.

The keys are those of the buttons. A press is on disk before the next picture is shown.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st

from cerviclip.app.review.journal import Journal, queue_folder
from cerviclip.app.review.queue import (
    RANDOM,
    UNCERTAIN,
    ReviewQueue,
    by_uncertainty,
    in_random_order,
    pictures_of,
    uncertainty,
)
from cerviclip.app.web.models import Model
from cerviclip.app.web.views._outcome import outcome
from cerviclip.app.web.views.predict import class_title
from dassl.errors import UserError

KEYS = 9  # classes that have a key


def show(page: Any) -> None:
    """Ask who reads what; then the pictures one by one."""
    t, settings = page.t, page.settings
    if not settings.images:
        st.write(t("review_no_images"))
        return
    model = page.model()
    classes = settings.classes or (model.predictor.classnames if model else ())
    if not classes:
        raise UserError(t("review_no_classes"))
    if not st.query_params.get("reader"):
        _ask(page, model)
        return
    folder = _folder(settings.images)
    journal = Journal(
        queue_folder(Path(settings.reviews), folder, classes), st.query_params["reader"]
    )
    helped = model is not None and st.query_params.get("blind") != "1" and not settings.classes
    queue = ReviewQueue(_order(page, model, folder, journal.reader), classes, journal)
    _one(page, model if helped else None, folder, queue)
    outcome(page, model, folder, queue)


def _folder(images: tuple[str, ...]) -> Path:
    asked = st.query_params.get("folder", "")
    return Path(asked if asked in images else images[0])


def _ask(page: Any, model: Model | None) -> None:
    """Who reads, what, and in which order: kept in the address, so that a reload goes on."""
    t, settings = page.t, page.settings
    st.write(t("review_begin"))
    with st.form("review"):
        reader = st.text_input(t("reader"), max_chars=40)
        folder = st.selectbox(t("folder"), settings.images)
        orders = [UNCERTAIN, RANDOM] if model and not settings.classes else [RANDOM]
        order = st.selectbox(t("order"), orders, format_func=lambda o: t(f"order_{o}"))
        blind = st.checkbox(t("blind"), help=t("blind_help"), disabled=len(orders) == 1)
        started = st.form_submit_button(t("start"), type="primary")
    if not started:
        return
    Journal(Path(settings.reviews), reader.strip())  # refuses a name before it is in the address
    st.query_params.from_dict({
        **st.query_params.to_dict(), "reader": reader.strip(), "folder": folder, "order": order,
        "blind": str(int(blind)),
    })  # fmt: skip
    st.rerun()


def _leave() -> None:
    for key in ("reader", "folder", "order", "blind"):
        st.query_params.pop(key, None)


def _order(page: Any, model: Model | None, folder: Path, reader: str) -> list[str]:
    """The same for a reader at each visit, whatever was decided."""
    images = pictures_of(folder)
    if model is None or page.settings.classes or st.query_params.get("order") != UNCERTAIN:
        return in_random_order(images, f"{reader}|{folder}")
    return by_uncertainty(images, _probabilities(page, model, folder, images))


@st.cache_resource(show_spinner=False)
def _known() -> dict[tuple[str, str, str], tuple[float, ...]]:
    """(run, folder, picture) -> probabilities, shared by all sessions; no picture is kept."""
    return {}


def _probabilities(
    page: Any, model: Model, folder: Path, images: list[str]
) -> dict[str, tuple[float, ...]]:
    """Of each picture; () for one that cannot be read. Computed once, with a bar."""
    known = _known()
    new = [image for image in images if (page.run, str(folder), image) not in known]
    bar = st.empty()  # always there: what follows keeps its place, and so the keyboard's focus
    if new:
        done = 0

        def on_read(_: Any) -> None:
            nonlocal done
            done += 1
            if len(new) > 1:
                bar.progress(min(1.0, done / len(new)), text=page.t("predicting", n=len(new)))

        answers = model.answers_of_files(folder, new, on_read)
        known.update(
            {(page.run, str(folder), i): a.probabilities for i, a in zip(new, answers, strict=True)}
        )
        bar.empty()
    return {image: known[page.run, str(folder), image] for image in images}


def _one(page: Any, model: Model | None, folder: Path, queue: ReviewQueue) -> None:
    """The picture whose turn it is, and its keys."""
    t, image = page.t, queue.current
    done, total = queue.done, len(queue.images)
    st.progress(done / total, text=t("review_progress", done=done, total=total))
    if not image:
        st.success(t("review_done"))
        _undo_button(page, queue, "end")
        st.button(t("change_reader"), on_click=_leave)
        return
    left, right = st.columns([2, 1], gap="large")
    with left:
        try:
            from cerviclip.app.pictures import open_picture

            windows = model.predictor.reading.windows if model else None
            picture = open_picture(str(folder / image), windows)
            st.image(picture, width="stretch", alt=t("alt_picture"))
        except UserError as error:
            st.error(t("unreadable", name=image, why=str(error)))
        st.caption(image)
    with right:
        suggested = _suggestion(page, model, folder, image)
        _buttons(page, queue, image, suggested, model)
        st.caption(t("keys"))
        st.button(t("change_reader"), on_click=_leave)


def _suggestion(page: Any, model: Model | None, folder: Path, image: str) -> str:
    """The model's class, written on the page; "" where it is hidden or there is none."""
    if model is None:
        return ""
    probs = _probabilities(page, model, folder, [image])[image]
    if not probs:
        return ""
    best = max(range(len(probs)), key=lambda i: probs[i])
    name = model.predictor.classnames[best]
    st.write(page.t(
        "suggestion", name=class_title(page, model, name), percent=f"{100 * probs[best]:.1f}",
        unsure=f"{100 * uncertainty(probs):.0f}",
    ))  # fmt: skip
    return name


def _buttons(
    page: Any, queue: ReviewQueue, image: str, suggested: str, model: Model | None
) -> None:
    """The keys of a button change with the picture: a late press never meets the next one."""
    t, known = page.t, page.model()
    identity = model.model_id if model and suggested else ""
    for number, name in enumerate(queue.classnames):
        title = class_title(page, known, name) if known else name.replace("_", " ")
        st.button(
            title, key=f"label|{image}|{name}", width="stretch", on_click=_press(queue.label),
            args=(image, name, suggested, identity), wrap=True,
            shortcut=str(number + 1) if number < KEYS else None,
            type="primary" if name == suggested else "secondary",
        )  # fmt: skip
    if suggested:
        st.button(
            t("accept"), key=f"accept|{image}", width="stretch", on_click=_press(queue.accept),
            args=(image, suggested, identity), shortcut="Space", icon=":material/check:",
        )  # fmt: skip
    st.button(
        t("flag"), key=f"flag|{image}", width="stretch", on_click=_press(queue.flag), args=(image,),
        shortcut="f", icon=":material/flag:",
    )  # fmt: skip
    _undo_button(page, queue, image)


def _press(answer: Callable[..., object]) -> Callable[..., None]:
    """A callback of Streamlit's returns nothing."""

    def pressed(*words: str) -> None:
        answer(*words)

    return pressed


def _undo_button(page: Any, queue: ReviewQueue, image: str) -> None:
    st.button(
        page.t("undo"), key=f"undo|{image}|{len(queue.journal)}", width="stretch", shortcut="u",
        on_click=_press(queue.undo), disabled=not len(queue.journal), icon=":material/undo:",
    )  # fmt: skip
