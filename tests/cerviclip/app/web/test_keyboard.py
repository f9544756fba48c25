"""The page without a mouse: each part of it is reached by Tab and works by Enter, Space, arrows."""

from __future__ import annotations

import json

import pytest
from chromium import focused, opens_file_dialog, press, settle, tab_to, text, until

from cerviclip.data.files.lists.reading import read_list_file

pytestmark = pytest.mark.browser

ENTER, SPACE, DOWN, LEFT, RIGHT = "\ue007", " ", "\ue015", "\ue012", "\ue014"


def go_to(browser, page: str) -> None:
    """Open a page from the list at the side."""
    tab_to(browser, page)
    press(browser, ENTER)
    until(lambda: page in browser.find_element("css selector", "h1").text)
    settle(browser)


def choose_next(browser, choice: str) -> None:
    """Take the entry below the present one of a list, which Down opens and steps to."""
    tab_to(browser, choice)
    press(browser, DOWN)
    until(lambda: browser.find_elements("css selector", "[role=option]"))
    press(browser, ENTER)


def value_of(browser, slider: str) -> str:
    return browser.find_element("css selector", f'input[aria-label="{slider}"]').get_attribute(
        "aria-valuetext"
    )


def take_samples(browser) -> None:
    tab_to(browser, "Take samples")
    press(browser, SPACE)


def downloaded(downloads, name: str) -> str:
    return until(lambda: (downloads / name).read_text(encoding="utf-8"))


def test_predict(demo_page, browser, downloads):
    browser.get(demo_page[0])
    tab_to(browser, "Upload")
    assert opens_file_dialog(browser, ENTER)
    take_samples(browser)
    first = until(lambda: browser.find_element("css selector", "h3").text)
    until(lambda: browser.find_elements("css selector", ".js-plotly-plot"))
    choose_next(browser, "Picture")
    until(lambda: browser.find_element("css selector", "h3").text not in ("", first))
    tab_to(browser, "Show where the model looks")
    press(browser, SPACE)
    until(lambda: "Bright places weigh most" in text(browser))
    settle(browser)
    assert "Show where the model looks" in focused(browser)  # it stays where it was
    tab_to(browser, "Opacity of the heat map")
    press(browser, LEFT)
    until(lambda: value_of(browser, "Opacity of the heat map") == "55 %")
    tab_to(browser, "What distance and threshold mean")
    press(browser, ENTER)
    until(lambda: "The notice is a hint and no proof" in text(browser))
    tab_to(browser, "Make a PDF")
    press(browser, ENTER)
    until(lambda: "Download the PDF" in text(browser))
    tab_to(browser, "Download the PDF")
    press(browser, ENTER)
    assert until(lambda: (downloads / "report.pdf").read_bytes()).startswith(b"%PDF")


def test_language(demo_page, browser):
    browser.get(demo_page[0])
    choose_next(browser, "Language")
    until(lambda: "仅供研究使用" in text(browser))
    tab_to(browser, "语言")
    assert "语言" in focused(browser)


def test_batch(demo_page, browser, downloads):
    browser.get(demo_page[0])
    go_to(browser, "Batch")
    tab_to(browser, "Upload")
    assert opens_file_dialog(browser, SPACE)
    take_samples(browser)
    until(lambda: "25 pictures, 0 of them unreadable" in text(browser))
    tab_to(browser, "At least this uncertain")
    press(browser, RIGHT)
    until(lambda: value_of(browser, "At least this uncertain") == "5 %")
    tab_to(browser, "Name contains")
    press(browser, "zzz", ENTER)
    until(lambda: "0 rows as shown" in text(browser))
    tab_to(browser, "Download CSV")
    press(browser, ENTER)
    assert len(downloaded(downloads, "answers.csv").splitlines()) == 1


def test_results(demo_page, browser, downloads):
    browser.get(demo_page[0])
    go_to(browser, "Results")
    choose_next(browser, "Metric")
    until(lambda: "balanced accuracy" in text(browser))
    tab_to(browser, "Download all numbers")
    press(browser, ENTER)
    assert "PhantomOCT" in downloaded(downloads, "results.csv")


def test_guide(demo_page, browser):
    browser.get(demo_page[0])
    go_to(browser, "Screening guide")
    tab_to(browser, "Age (years)")
    press(browser, *[LEFT] * 15)
    until(lambda: "15" == value_of(browser, "Age (years)"))


def test_review(demo_page, browser, downloads):
    browser.get(demo_page[0])
    go_to(browser, "Review")
    tab_to(browser, "Reader (name or initials)")
    press(browser, "Eve")
    choose_next(browser, "Order")
    tab_to(browser, "Start")
    press(browser, ENTER)
    journals = demo_page[1] / "reviews"

    def actions() -> list[str]:
        lines = next(journals.rglob("Eve.jsonl")).read_text().splitlines()
        return [json.loads(line)["action"] for line in lines]

    until(lambda: "Keys: 1-9" in text(browser))
    for number, (key, action) in enumerate(zip("1 fu2", ACTIONS, strict=True), 1):
        settle(browser)
        press(browser, key)
        until(lambda n=number: len(actions()) == n)
        assert actions()[-1] == action
    tab_to(browser, "Put aside")  # the buttons work without their keys too
    press(browser, ENTER)
    until(lambda: len(actions()) == 6)
    tab_to(browser, "Download labels")
    press(browser, ENTER)
    assert until(lambda: len(read_list_file(downloads / "review.csv"))) == 3


ACTIONS = ("label", "accept", "flag", "undo", "label")
