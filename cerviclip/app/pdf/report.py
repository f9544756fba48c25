"""Answers of a predictor as a PDF: a table of many, a page for each image, and the warrant.

    from cerviclip.app.pdf import write_pdf

    write_pdf([predictor.predict("new/frame.png")], "report.pdf", predictor=predictor)

File names may tell patients, so none is written unless ``names`` asks for it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from cerviclip.app.answer import Prediction
from cerviclip.app.parts.names import is_there
from cerviclip.app.pictures import open_picture, picture_sha256
from cerviclip.app.web.basis import (
    by_threshold,
    calibrations,
    coinciding,
    joined,
    part,
    point_titles,
    rests_on,
)
from cerviclip.app.web.overlay import overlay
from cerviclip.app.web.texts import Texts, likeness, possible_classes
from cerviclip.drawing.fonts import REMEDY
from cerviclip.places import install_hint
from cerviclip.plugins import is_phantom
from dassl._version import __version__
from dassl.errors import UserError
from dassl.utils.deep_images import open_image
from dassl.utils.files import atomic_write

if TYPE_CHECKING:
    from cerviclip.app.pdf.document import Document
    from cerviclip.app.pictures import Picture
    from cerviclip.app.predictor import Predictor

TEXTS = Path(__file__).with_name("texts")
MOST_PAGES = 50  # images with a page of their own; the table has all
_BARS = 12
_OPACITY = 0.6
_POINTS_NAMED = 12  # characters without a font that the note lists


@dataclass(frozen=True)
class _One:
    """An answer with what belongs to it.

    Attributes:
        number: from 1.
        total: of answers in the report.
        picture: a file, its bytes, or an image; None where it is not at hand.
        entry: id in an audit log, or "".
    """

    answer: Prediction
    number: int
    total: int
    picture: Picture | bytes | None
    entry: str


def write_pdf(
    answers: Sequence[Prediction],
    out: str | Path,
    *,
    predictor: Predictor | None = None,
    pictures: Sequence[Picture | bytes | None] | None = None,
    names: bool = False,
    entries: Sequence[str] = (),
    language: str = "en",
    class_title: Callable[[str], str] | None = None,
    heat_maps: bool = True,
    most_pages: int = MOST_PAGES,
    on_page: Callable[[Prediction], Any] | None = None,
) -> None:
    """Write a report; the file is there whole or not at all.

    Args:
        answers: of one predictor.
        out: the PDF.
        predictor: gives heat maps and the warrant; without it the report says that they are absent.
        pictures: a file, its bytes, an image or None for each answer; by default the file that the
            answer names, if it is there.
        names: whether file names are written. They may tell patients.
        entries: id of each answer's entry in an audit log; "" or nothing for none.
        language: ``en`` or ``zh``.
        class_title: how a class is called in the report; by default by its own name.
        heat_maps: whether to make them; each takes a pass or more of the model.
        most_pages: images that get a page; a table has all of them.
        on_page: called with the answer whose page is done.

    Raises:
        UserError: fpdf2 is not installed, there is no answer, or lists of unequal length.
    """
    every = _joined(answers, pictures, entries)
    try:
        from cerviclip.app.pdf.document import Document
    except ImportError as error:
        raise UserError(f"a PDF needs {error.name}: {install_hint('app')}") from error

    t = Texts(language, TEXTS)
    when = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    model = t("unknown_model") if predictor is None else predictor.model_id
    foot = t("foot", when=when, version=__version__, model=model)
    page_word = t("page", n="{n}", total="{total}")
    pdf = Document(t("head"), t("disclaimer"), foot, page_word)
    try:
        pdf.set_lang(language)
        writer = _Writer(pdf, t, predictor, names, heat_maps, class_title or _plain_title)
        writer.write(every, most_pages, on_page)
        content = bytes(pdf.output())
    finally:
        pdf.release()
    with atomic_write(Path(out), "wb") as file:
        file.write(content)


def _joined(
    answers: Sequence[Prediction],
    pictures: Sequence[Picture | bytes | None] | None,
    entries: Sequence[str],
) -> list[_One]:
    if not answers:
        raise UserError("a report needs at least one answer")
    for name, given in (("pictures", pictures), ("entries of the audit log", entries)):
        if given and len(given) != len(answers):
            raise UserError(f"{len(answers)} answers and {len(given)} {name}")
    found = []
    for i, answer in enumerate(answers):
        here = answer.path if answer.path and is_there(answer.path) else None
        picture = pictures[i] if pictures else here
        entry = entries[i] if entries else ""
        found.append(_One(answer, i + 1, len(answers), picture, entry))
    return found


def _plain_title(name: str) -> str:
    return name.replace("_", " ")


@dataclass(frozen=True)
class _Writer:
    """The report's parts, in their order."""

    pdf: Document
    t: Texts
    predictor: Predictor | None
    names: bool
    heat_maps: bool
    title: Callable[[str], str]

    def write(
        self, every: Sequence[_One], most: int, on_page: Callable[[Prediction], Any] | None
    ) -> None:
        from cerviclip.app.pdf.warrant import add_warrant

        paged = every
        if len(every) > 1:
            paged = [one for one in every if not one.answer.error][:most]
            self._summary(every, len(paged))
        for one in paged:
            self._image_page(one)
            if on_page is not None:
                on_page(one.answer)
        self.pdf.add_page()
        add_warrant(self.pdf, self.t, self.predictor)
        self.pdf.paragraph(self.t("disclaimer_long"), alarm=True)
        self._missing()

    def _summary(self, every: Sequence[_One], paged: int) -> None:
        """The table of all answers."""
        t, pdf = self.t, self.pdf
        failed = sum(bool(one.answer.error) for one in every)
        pdf.add_page()
        pdf.headline(t("title_many", n=len(every)))
        pdf.paragraph(t("disclaimer_long"), alarm=True)
        self._phantom()
        pdf.paragraph(t("counts", read=len(every) - failed, failed=failed))
        if paged < len(every) - failed:
            pdf.paragraph(t("only_first", n=paged, total=len(every)))
        with_entry, with_positive = (
            any(o.entry for o in every),
            any(o.answer.positive for o in every),
        )
        columns = [("number", 8), ("class", 30), ("probability", 15)]
        columns += [("positive", 15)] if with_positive else []
        columns += [("ood", 18)]
        columns += [("entry", 22)] if with_entry else []
        columns += [("file", 30)] if self.names else []
        rows = [self._summary_row(one, [key for key, _ in columns]) for one in every]
        pdf.rows([t(key) for key, _ in columns], rows, [width for _, width in columns])

    def _summary_row(self, one: _One, keys: Sequence[str]) -> list[str]:
        answer, t = one.answer, self.t
        unlike = answer.out_of_distribution
        cells = {
            "number": str(one.number),
            "class": self.title(answer.predicted),
            "probability": _percent(answer.probability),
            "positive": _percent(answer.positive_probability),
            "ood": "–" if unlike is None else t("ood_yes") if unlike else t("ood_no"),
            "entry": one.entry or "–",
            "file": _file_name(answer.path),
        }
        if answer.note:
            cells["class"] += f" ({answer.note})"
        if answer.error:
            cells["class"] = t("unreadable", why=self._why(answer))
        return [cells[key] for key in keys]

    def _image_page(self, one: _One) -> None:
        t, pdf, answer = self.t, self.pdf, one.answer
        pdf.add_page()
        many = one.total > 1
        pdf.headline(
            t("title_one", n=one.number, total=one.total) if many else t("title_single"), 12
        )
        lines = [t("file_is", name=_file_name(answer.path))] if self.names and answer.path else []
        digest = picture_sha256(one.picture)
        lines += [t("hash_is", hash=digest)] if digest else []
        lines += [t("entry_is", entry=one.entry)] if one.entry else []
        lines += [t("note_is", note=answer.note)] if answer.note else []
        if lines:
            pdf.paragraph("\n".join(lines), quiet=True)
        self._phantom()
        if answer.error:
            pdf.paragraph(t("unreadable", why=self._why(answer)), alarm=True)
            return
        self._pictures(one)
        percent = _percent(answer.probability)
        pdf.headline(t("answer", name=self.title(answer.predicted), percent=percent))
        for line, alarm in self._statements(answer):
            pdf.paragraph(line, alarm=alarm)
        self._bars(answer)
        self._points(answer)

    def _phantom(self) -> None:
        """Said on each page with answers, which may be handed on without the others."""
        if self.predictor is not None and is_phantom(self.predictor.task.dataset):
            self.pdf.paragraph(self.t("phantom"), alarm=True)

    def _why(self, answer: Prediction) -> str:
        """Why a picture could not be read; Pillow's messages hold the file's name."""
        if self.names or not answer.path:
            return answer.error
        hidden = answer.error.replace(answer.path, "...")
        return hidden.replace(Path(answer.path).name, "...")

    def _pictures(self, one: _One) -> None:
        t, pdf = self.t, self.pdf
        image = self._opened(one.picture)
        if image is None:
            pdf.paragraph(t("no_image"), quiet=True)
            return
        shown, note = [(image, t("caption_image"))], ""
        if self.heat_maps:
            heat, note = self._heat(image, one.answer)
            shown += [] if heat is None else [(heat, note)]
        pdf.pictures(shown)
        if note and len(shown) == 1:
            pdf.paragraph(note, quiet=True)

    def _opened(self, picture: Picture | bytes | None) -> Image.Image | None:
        windows = None if self.predictor is None else self.predictor.reading.windows
        if picture is None:
            return None
        with suppress(Exception):  # Pillow's plug-ins raise anything
            source = open_image(io.BytesIO(picture)) if isinstance(picture, bytes) else picture
            return open_picture(source, windows)
        return None

    def _heat(self, image: Image.Image, answer: Prediction) -> tuple[Image.Image | None, str]:
        """The image with its heat map and what is written below; or None and why there is none."""
        if self.predictor is None:
            return None, self.t("no_heat", why=self.t("no_heat_model"))
        from cerviclip.app.explain import explain_details

        try:
            found = explain_details(self.predictor, image, answer.predicted)
        except UserError as error:
            return None, self.t("no_heat", why=error)
        words = {"name": self.title(answer.predicted), "method": self.t(f"heat_by_{found.method}")}
        if found.is_empty:
            return None, self.t("empty_heat", **words)
        return overlay(image, found.map, _OPACITY), self.t("caption_heat", **words)

    def _statements(self, answer: Prediction) -> list[tuple[str, bool]]:
        """Sentences on an answer, and whether each is a caution."""
        t, found = self.t, []
        if answer.positive_probability is not None:
            names = t("between").join(map(self.title, answer.positive))
            percent = _percent(answer.positive_probability)
            if answer.calibrated_positive is not None:
                other = f"{100 * answer.calibrated_positive:.1f}"
                percent = t("beside", one=percent, other=t("by_isotonic", percent=other))
            found.append((t("positive_sum", names=names, percent=percent), False))
        if possible := possible_classes(t, answer, self.title):
            found.append((possible, False))
        if said := likeness(t, answer):
            found.append(said)
        if answer.neighbours:  # their paths may tell patients: classes alone
            near = [
                f"{self.title(label)} ({', '.join(f'{one.distance:.3f}' for one in those)})"
                for label, those in groupby(answer.neighbours, key=lambda one: one.label)
            ]
            found.append((t("neighbours", names=t("between").join(near)), False))
        if self.predictor is not None and (few := rests_on(t, self.predictor.knowledge.home)):
            found.append((few, True))
        return found

    def _chosen_on(self, answer: Prediction) -> str:
        points = answer.operating_points or {}
        home = "" if self.predictor is None else self.predictor.knowledge.home.chosen_on
        return next((point.chosen_on for point in points.values()), home)

    def _bars(self, answer: Prediction) -> None:
        t, pdf = self.t, self.pdf
        order = sorted(answer.by_class.items(), key=lambda pair: -pair[1])
        best = answer.best_by_class
        values = []
        for name, share in order[:_BARS]:
            note = _percent(share)
            if answer.calibrated is not None:
                other = t("by_temperature", percent=f"{100 * best[name]:.1f}")
                note = t("beside", one=note, other=other)
            values.append((self.title(name), share, note, name in answer.positive))
        pdf.bars(values, t("probabilities"))
        if len(order) > _BARS:
            rest = sum(share for _, share in order[_BARS:])
            pdf.paragraph(t("rest", n=len(order) - _BARS, percent=_percent(rest)), quiet=True)
        said = [t("bars_note" if answer.positive else "bars_plain")]
        said += [told for told in [calibrations(t, answer, self._chosen_on(answer))] if told]
        pdf.paragraph(t("sentence_gap").join(said), quiet=True)

    def _points(self, answer: Prediction) -> None:
        t, pdf = self.t, self.pdf
        points = answer.operating_points or {}
        if not points:
            pdf.heading(t("operating_points"))
            why = answer.reasons.get("operating_points") or t("no_points_reason")
            pdf.paragraph(t("no_points", why=why), quiet=True)
            return
        thresholds = {name: point.threshold for name, point in points.items()}
        rows = [
            [
                joined(t, point_titles(t, names)),
                "\n".join(t.maybe(f"means_{name}", "–") for name in names),
                threshold,
                t("called_positive" if points[names[0]].called_positive else "called_negative"),
            ]
            for names, threshold in by_threshold(thresholds)
        ]
        head = [t(key) for key in ("point", "meaning", "threshold", "this_image")]
        on = self._chosen_on(answer)
        said = t("points_meaning", on=part(t, on))
        pdf.rows(head, rows, (19, 58.5, 10.5, 12), t("operating_points"), said)
        for told in coinciding(t, thresholds, on):
            pdf.paragraph(told)

    def _missing(self) -> None:
        """One line on characters that no font has."""
        missing = sorted(self.pdf.shown.missing)
        if missing:
            points = [f"U+{ord(char):04X}" for char in missing]
            listed = ", ".join(points[:_POINTS_NAMED]) + (", ..." * (len(points) > _POINTS_NAMED))
            text = self.t("missing", n=len(points), points=listed, remedy=REMEDY)
            self.pdf.paragraph(text, quiet=True)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _file_name(path: str) -> str:
    return Path(path).name or "–"
