"""Figures of the page."""

from cerviclip.app.web.charts import probability_chart


def test_what_is_written_at_a_bar_is_not_cut_off():
    """In a window of 1,000 px it ended in "14.3 % (calibra"."""
    notes = {"low": "97.0 %<br>(calibrated 99.4 %)", "high": "3.0 %<br>(calibrated 0.6 %)"}
    figure = probability_chart({"low": 0.97, "high": 0.03}, ["high"], {"high": "CIN"}, "%", notes)
    [bars] = figure.data
    assert list(bars.y) == ["CIN ●", "low"] and list(bars.x) == [3.0, 97.0]
    assert list(bars.text) == [notes["high"], notes["low"]]
    assert bars.textposition == "outside" and bars.cliponaxis is False
    assert figure.layout.margin.r >= 6 * len("(calibrated 99.4 %)") - 4  # px, in letters of 12 px
