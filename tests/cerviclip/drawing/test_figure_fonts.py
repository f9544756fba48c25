"""Names in other scripts in figures. Those of PDF files have tests beside their writers."""

import numpy as np
import pytest

from cerviclip.drawing import figure_fonts, fonts
from cerviclip.runs.report.figures import ConfusionTemplate, new_figure, render_history

NAME = "宫颈"


@pytest.fixture
def no_chinese(monkeypatch):
    """A machine without such a font, whose figures have told nothing yet."""
    monkeypatch.setattr(fonts, "chinese_font", lambda: None)
    figure_fonts._shown_in_figures.cache_clear()
    yield
    figure_fonts._shown_in_figures.cache_clear()


@pytest.fixture
def chinese():
    if fonts.chinese_font() is None:
        pytest.skip(f"no font for Chinese here: {fonts.REMEDY}")
    figure_fonts._shown_in_figures.cache_clear()


def ink(pixels):
    return int((pixels[..., :3] < 128).all(axis=-1).sum())


def drawn(title, tick):
    figure = new_figure(3, 2)
    axes = figure.add_axes((0.3, 0.2, 0.6, 0.6))
    axes.set_title(title)
    axes.set_yticks([0, 1], [tick, "b"])
    figure.canvas.draw()
    return figure, np.asarray(figure.canvas.buffer_rgba())


def test_without_a_font_a_sign_stands_there_and_is_told_once(no_chinese, capsys):
    figure, _ = drawn(NAME, f"a{NAME}")
    assert figure.axes[0].get_title() == "??"
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["a??", "b"]
    drawn(NAME, "a")
    said = capsys.readouterr().out
    assert said.count("no font here shows") == 1 and fonts.REMEDY in said


def test_titles_and_ticks_have_their_letters(chinese, capsys):
    """Warnings are errors in tests: matplotlib warns of each letter that it cannot draw."""
    figure, pixels = drawn(NAME, f"a{NAME}")
    plain, _ = drawn("ab", "a")
    assert figure.axes[0].get_title() == NAME
    assert ink(pixels) > ink(drawn("", "a")[1])
    assert plain.axes[0].title.get_fontfamily() != figure.axes[0].title.get_fontfamily()
    assert capsys.readouterr().out == ""


def test_a_template_and_a_history_show_them_too(chinese):
    template = ConfusionTemplate((NAME,), (NAME, "b"))
    counts = [np.array([[2, 0], [0, 1]])]
    shown = template.render(counts, [f"{NAME}: 100.0 %"], NAME).copy()
    assert ink(shown) > ink(template.render(counts, [""], ""))
    history = [{"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": 0.5}]
    assert ink(render_history(history, NAME)) > ink(render_history(history, ""))


def test_blanks_that_break_no_line_are_shown():
    shown = fonts.Shown()
    assert shown("5\xa0%") == "5\xa0%" and not shown.missing
