"""The page in Chromium: upload, download, review by keys with a reload, axe-core."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from chromium import picture, prefer, settle, text, until, upload

from cerviclip.data.files.lists.reading import read_list_file

pytestmark = pytest.mark.browser


def serious_faults(browser) -> list[str]:
    axe = Path(pytest.importorskip("axe_core_python").__file__).parent / "axe.min.js"
    browser.execute_script(axe.read_text(encoding="utf-8"))
    script = "const done = arguments[0]; axe.run().then(r => done(r.violations))"
    found = browser.execute_async_script(script)
    bad = [v for v in found if v["impact"] in ("serious", "critical")]
    return [f"{v['id']}: {n['html'][:120]}" for v in bad for n in v["nodes"]]


def assert_accessible(browser, name: str) -> None:
    """axe-core finds no serious fault, light and dark."""
    for scheme in ("light", "dark"):
        prefer(browser, scheme)
        picture(browser, f"{name}_{scheme}")
        assert serious_faults(browser) == [], scheme


def test_a_picture_gets_its_answer_and_chart(served, browser, cells, predictor):
    path = sorted(cells.rglob("*.png"))[0]
    browser.get(served[0])
    upload(browser, path)
    answer = predictor.predict(path)
    until(lambda: f"{answer.predicted}: {100 * answer.probability:.1f} %" in text(browser))
    until(lambda: browser.find_elements("css selector", ".js-plotly-plot"))
    assert "Research use only" in text(browser)
    assert path.name not in (served[1] / "log").read_text()
    settle(browser)
    assert_accessible(browser, "answer")


def test_a_broken_file_and_a_real_cell_share_a_batch(
    served, browser, downloads, cells, shared_dir, tmp_path
):
    cell = sorted((shared_dir / "data" / "herlev" / "images").rglob("*.jpg"))[0]
    (tmp_path / "broken.png").write_bytes(b"no picture")
    browser.get(f"{served[0]}/batch")
    upload(browser, cell, sorted(cells.rglob("*.png"))[0], tmp_path / "broken.png")
    until(lambda: "3 pictures, 1 of them unreadable" in text(browser))
    settle(browser)
    assert_accessible(browser, "table")
    until(lambda: browser.find_element("xpath", "//button[contains(., 'Download CSV')]")).click()
    rows = until(lambda: (downloads / "answers.csv").read_text().splitlines())
    assert len(rows) == 4 and rows[-1].startswith("broken.png,")


def test_a_pdf_of_a_batch_is_downloaded(served, browser, downloads, cells, tmp_path):
    pypdf = pytest.importorskip("pypdf")
    path = sorted(cells.rglob("*.png"))[0]
    (tmp_path / "broken_zuleika.png").write_bytes(b"no picture")
    browser.get(f"{served[0]}/batch")
    upload(browser, path, tmp_path / "broken_zuleika.png")
    until(lambda: browser.find_element("xpath", "//button[contains(., 'Make a PDF')]")).click()
    until(
        lambda: browser.find_element("xpath", "//button[contains(., 'Download the PDF')]")
    ).click()
    file = until(lambda: next(iter(downloads.glob("report*.pdf"))))
    said = "".join(page.extract_text() for page in pypdf.PdfReader(file).pages)
    assert "were read: 1." in said and "not be read: 1." in said
    assert "Heat map for" in said and "What stands behind the model" in said
    assert "zuleika" not in said and path.name not in said


VIEWS = {
    "": "Predict",
    "batch": "Batch",
    "results": "Results",
    "guide": "guide",
    "review": "Review",
}


def open_view(served, browser, view: str) -> None:
    browser.get(f"{served[0]}/{view}")
    until(lambda: "Research use only" in text(browser))
    settle(browser)


@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_no_serious_fault(served, browser, view):
    open_view(served, browser, view)
    assert_accessible(browser, view or "predict")


def test_axe_finds_no_serious_fault_in_a_picture_to_review(served, browser):
    open_view(served, browser, "review?reader=Zoe&order=random")
    until(lambda: "Keys: 1-9" in text(browser))
    assert_accessible(browser, "review_picture")


def test_twenty_pictures_by_keys_with_a_reload(served, browser, downloads):
    def journal() -> list[dict]:
        files = list((served[1] / "reviews").rglob("Ann.jsonl"))
        return [json.loads(line) for line in files[0].read_text().splitlines()] if files else []

    from selenium.webdriver.common.action_chains import ActionChains

    def press(key: str, count: int) -> None:
        until(lambda: "Keys: 1-9" in text(browser))
        time.sleep(0.5)
        for _ in range(4):  # a press while the page is being drawn is ignored: press again
            ActionChains(browser).send_keys(key).perform()
            end = time.time() + 5
            while len(journal()) < count and time.time() < end:
                time.sleep(0.2)
            if len(journal()) == count:
                break
        assert len(journal()) == count
        until(lambda: f"{done()} of 60 decided" in text(browser), 20)

    def done() -> int:
        lines = journal()
        undone = sum(line["action"] == "undo" for line in lines)
        return len(lines) - 2 * undone

    browser.get(f"{served[0]}/review?reader=Ann&order=random")
    for number in range(10):
        press("123 f"[number % 5], number + 1)
    browser.refresh()
    until(lambda: "10 of 60 decided" in text(browser))
    press("u", 11)
    for number in range(11):
        press("1", 12 + number)
    actions = [line["action"] for line in journal()]
    assert actions[:5] == ["label", "label", "label", "accept", "flag"]
    assert actions.count("undo") == 1 and done() == 20
    until(lambda: "(19 pictures)" in text(browser))
    settle(browser)  # a press while the page is still being drawn meets a link that is gone
    until(lambda: browser.find_element("xpath", "//button[contains(., '(19 pictures)')]")).click()
    until(lambda: (downloads / "review.csv").is_file())
    assert len(read_list_file(downloads / "review.csv")) == 19  # one is put aside


def test_a_phone_needs_no_sideways_scrolling(served, browser):
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(f"{served[0]}/guide")
    until(lambda: "WHO" in text(browser))
    for scheme in ("light", "dark"):
        prefer(browser, scheme)
        picture(browser, f"phone_guide_{scheme}")
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
        script = "return getComputedStyle(document.querySelector('.stApp')).backgroundColor"
        red = int(browser.execute_script(script).split("(")[1].split(",")[0])
        assert (red < 80) == (scheme == "dark")
        assert serious_faults(browser) == []
