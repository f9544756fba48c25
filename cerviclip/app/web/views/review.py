"""Page "Review": a queue of pictures, labelled by keys; a second reader; agreement; the export.

The keys are those of the buttons. A press is on disk before the next picture is shown.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import streamlit as st
from PIL import Image

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
from cerviclip.app.web.views._audit import record_correction
from cerviclip.app.web.views._outcome import outcome
from cerviclip.app.web.views._suggestions import entry_of, suggestions
from cerviclip.app.web.views.predict import class_title
from dassl.errors import UserError
from dassl.utils.deep_images import Windows

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
    found = suggestions(page, model, folder, images)
    return by_uncertainty(images, {image: one.probabilities for image, one in found.items()})


def _one(page: Any, model: Model | None, folder: Path, queue: ReviewQueue) -> None:
    """The picture whose turn it is, and its keys. What cannot be shown can only be put aside."""
    t, image = page.t, queue.current
    done, total = queue.done, len(queue.images)
    st.progress(done / total, text=t("review_progress", done=done, total=total))
    if refused := st.session_state.pop("refused", ""):
        st.error(refused)
    if not image:
        st.success(t("review_done"))
        _undo_button(page, folder, queue, "end")
        st.button(t("change_reader"), on_click=_leave)
        return
    left, right = st.columns([2, 1], gap="large")
    with left:
        picture = _picture(page, folder, image)
        st.caption(image)
    with right:
        if picture is not None:
            _class_buttons(page, queue, image, _suggested(page, model, folder, image))
        st.button(
            t("flag"), key=f"flag|{image}", width="stretch", on_click=_press(queue.flag),
            args=(image,), shortcut="f", icon=":material/flag:",
        )  # fmt: skip
        _undo_button(page, folder, queue, image)
        st.caption(t("keys"))
        st.button(t("change_reader"), on_click=_leave)


def _picture(page: Any, folder: Path, image: str) -> Image.Image | None:
    """Show a picture as the chosen run reads it, whether or not its answer shows; None where it
    cannot be."""
    from cerviclip.app.pictures import open_with_note

    model = page.model()
    windows = model.predictor.reading.windows if model else Windows()
    try:
        picture, note = open_with_note(str(folder / image), windows)
    except UserError as error:
        st.error(page.t("unreadable", name=image, why=str(error)))
        return None
    st.image(picture, width="stretch", alt=page.t("alt_picture"))
    if note:
        st.caption(page.t("note_is", note=note))
    return picture


class _Suggested(NamedTuple):
    """A class that the page shows as the model's; "" for all where it shows none."""

    name: str = ""
    model: str = ""  # its identity
    entry: str = ""  # of the answer in the audit log


def _suggested(page: Any, model: Model | None, folder: Path, image: str) -> _Suggested:
    """Write the model's class on the page, unless it is hidden or there is none."""
    if model is None:
        return _Suggested()
    found = suggestions(page, model, folder, [image])[image]
    probs = found.probabilities
    if not probs:
        return _Suggested()
    best = max(range(len(probs)), key=lambda i: probs[i])
    name = model.predictor.classnames[best]
    st.write(page.t(
        "suggestion", name=class_title(page, model, name), percent=f"{100 * probs[best]:.1f}",
        unsure=f"{100 * uncertainty(probs):.0f}",
    ))  # fmt: skip
    if found.entry:
        st.caption(page.t("audit_entry", entry=found.entry))
    return _Suggested(name, model.model_id, found.entry)


def _class_buttons(page: Any, queue: ReviewQueue, image: str, suggested: _Suggested) -> None:
    """The keys of a button change with the picture: a late press never meets the next one."""
    t, known = page.t, page.model()

    def label(name: str) -> None:
        if queue.is_current(image):
            _record(page, queue, suggested, name)
            queue.label(image, name, suggested.name, suggested.model)

    def accept() -> None:
        if queue.is_current(image):
            _record(page, queue, suggested, suggested.name)
            queue.accept(image, suggested.name, suggested.model)

    for number, name in enumerate(queue.classnames):
        title = class_title(page, known, name) if known else name.replace("_", " ")
        st.button(
            title, key=f"label|{image}|{name}", width="stretch", on_click=_press(label),
            args=(name,), wrap=True, shortcut=str(number + 1) if number < KEYS else None,
            type="primary" if name == suggested.name else "secondary",
        )  # fmt: skip
    if suggested.name:
        st.button(
            t("accept"), key=f"accept|{image}", width="stretch", on_click=_press(accept),
            shortcut="Space", icon=":material/check:",
        )  # fmt: skip


def _record(page: Any, queue: ReviewQueue, suggested: _Suggested, classname: str) -> None:
    """The reader's class beside the answer that the reader saw, before it is the journal's."""
    if suggested.entry:
        reader = queue.journal.reader
        record_correction(page, reader, suggested.model, suggested.entry, classname)


def _press(answer: Callable[..., object]) -> Callable[..., None]:
    """A callback of Streamlit's, which returns nothing; a refusal shows above the picture."""

    def pressed(*words: str) -> None:
        try:
            answer(*words)
        except UserError as error:
            st.session_state["refused"] = str(error)

    return pressed


def _undo_button(page: Any, folder: Path, queue: ReviewQueue, image: str) -> None:
    def undo() -> None:
        last = queue.journal.last
        entry = entry_of(page, folder, last.image) if last and last.suggested else ""
        if last and entry:
            record_correction(page, queue.journal.reader, last.model, entry, "")
        queue.undo()

    st.button(
        page.t("undo"), key=f"undo|{image}|{len(queue.journal)}", width="stretch", shortcut="u",
        on_click=_press(undo), disabled=not len(queue.journal), icon=":material/undo:",
    )  # fmt: skip
