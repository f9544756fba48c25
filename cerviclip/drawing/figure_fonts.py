"""Names in other scripts in matplotlib's figures, with the fonts of PDF files."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from cerviclip.drawing.fonts import REMEDY, UNKNOWN, FontFile, Shown


def take_fonts(figure: Any) -> None:
    """Let all texts of a matplotlib figure show what DejaVu Sans lacks, before it is drawn."""
    from matplotlib.text import Text

    fit_texts(figure.findobj(Text))
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            _fit_ticks(axis)


def _fit_ticks(axis: Any) -> None:
    """Names at the ticks: a formatter writes them at each drawing, their texts are empty before."""
    from matplotlib.ticker import FixedFormatter, FuncFormatter

    if not isinstance(axis.get_major_formatter(), (FixedFormatter, FuncFormatter)):
        return  # numbers
    labels = axis.get_majorticklabels()
    words = [text.get_text() for text in labels]
    if not all(map(str.isascii, words)):
        if (found := list(map(_that_can_be_shown, words))) != words:
            axis.set_ticklabels(found)
        fit_texts(axis.get_majorticklabels())


def fit_texts(texts: Iterable[Any]) -> None:
    """The same for some texts. What no font has becomes a question mark, and is told once."""
    for text in texts:
        words = text.get_text()
        if words.isascii():
            continue
        if (found := _that_can_be_shown(words)) != words:
            text.set_text(found)
        shown = _shown_in_figures()
        if shown.chinese is not None and not shown.is_plain(found):
            text.set_fontfamily(["DejaVu Sans", _family(shown.chinese)])


def _that_can_be_shown(words: str) -> str:
    shown = _shown_in_figures()
    known = set(shown.missing)
    found = shown(words)
    if new := "".join(sorted(shown.missing - known)):
        print(f"Note: no font here shows {new[:40]!r} in figures ({UNKNOWN} is there): {REMEDY}")
    return found


@lru_cache(maxsize=1)
def _shown_in_figures() -> Shown:
    return Shown()


@lru_cache(maxsize=1)
def _family(font: FontFile) -> str:
    """The name under which matplotlib finds a font. Of a collection it takes the first one."""
    from matplotlib import font_manager

    font_manager.fontManager.addfont(font.path)
    return str(font_manager.get_font(font.path).family_name)
