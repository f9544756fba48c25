"""The page in Chromium: upload, download, review by keys with a reload, axe-core."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from cerviclip.data.files.lists import read_list_file

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def served(probe, cells, tmp_path_factory):
    """Address and folder of a page for the run ``probe`` that reviews its pictures."""
    home = tmp_path_factory.mktemp("served")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [str(probe), "--images", str(cells), "--reviews", str(home / "reviews"), "--no-browser"]
    words += ["--port", str(port), "--device", "cpu", "--language", "en"]
    command = [sys.executable, "-m", "cerviclip.cli", "web", *words]
    log = open(home / "log", "w")
    process = subprocess.Popen(command, cwd=home, stdout=log, stderr=log, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    for _ in range(240):
        try:
            urllib.request.urlopen(address, timeout=2)
            break
        except OSError:
            time.sleep(0.5)
    yield address, home
    os.killpg(process.pid, 15)
    process.wait()
    log.close()


@pytest.fixture(scope="module")
def driver(served):
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(word)
    options.add_argument("--window-size=1280,1400")
    options.add_experimental_option("prefs", {"download.default_directory": str(served[1])})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


@pytest.fixture
def browser(driver):
    """A page of its own: the server's session ends with the page before."""
    yield driver
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    driver.get("about:blank")


def until(what, seconds: float = 120.0):
    end = time.time() + seconds
    while time.time() < end:
        try:
            if found := what():
                return found
        except Exception:  # an element that is drawn anew
            pass
        time.sleep(0.2)
    raise AssertionError("it did not come")


def text(browser) -> str:
    return browser.execute_script("return document.body.innerText")


def upload(browser, *paths: Path) -> None:
    until(lambda: "Drop" in text(browser))
    time.sleep(2)  # the uploader is drawn twice at first
    words = "\n".join(map(str, paths))
    until(lambda: browser.find_elements("css selector", "input[type=file]"))[0].send_keys(words)


def serious_faults(browser) -> list[str]:
    axe = Path(pytest.importorskip("axe_core_python").__file__).parent / "axe.min.js"
    browser.execute_script(axe.read_text(encoding="utf-8"))
    script = "const done = arguments[0]; axe.run().then(r => done(r.violations))"
    found = browser.execute_async_script(script)
    bad = [v for v in found if v["impact"] in ("serious", "critical")]
    return [f"{v['id']}: {n['html'][:120]}" for v in bad for n in v["nodes"]]


def test_a_picture_gets_its_answer_and_chart(served, browser, cells, predictor):
    path = sorted(cells.rglob("*.png"))[0]
    browser.get(served[0])
    upload(browser, path)
    answer = predictor.predict(path)
    until(lambda: f"{answer.predicted}: {100 * answer.probability:.1f} %" in text(browser))
    until(lambda: browser.find_elements("css selector", ".js-plotly-plot"))
    assert "Research use only" in text(browser)
    assert path.name not in (served[1] / "log").read_text()


def test_a_broken_file_and_a_real_cell_share_a_batch(served, browser, cells, shared_dir, tmp_path):
    cell = sorted((shared_dir / "data" / "herlev" / "images").rglob("*.jpg"))[0]
    (tmp_path / "broken.png").write_bytes(b"no picture")
    browser.get(f"{served[0]}/batch")
    upload(browser, cell, sorted(cells.rglob("*.png"))[0], tmp_path / "broken.png")
    until(lambda: "3 pictures, 1 of them unreadable" in text(browser))
    until(lambda: browser.find_element("xpath", "//button[contains(., 'Download CSV')]")).click()
    rows = until(lambda: (served[1] / "answers.csv").read_text().splitlines())
    assert len(rows) == 4 and rows[-1].startswith("broken.png,")


def test_a_pdf_of_a_batch_is_downloaded(served, browser, cells, tmp_path):
    pypdf = pytest.importorskip("pypdf")
    path = sorted(cells.rglob("*.png"))[0]
    (tmp_path / "broken_zuleika.png").write_bytes(b"no picture")
    browser.get(f"{served[0]}/batch")
    upload(browser, path, tmp_path / "broken_zuleika.png")
    until(lambda: browser.find_element("xpath", "//button[contains(., 'Make a PDF')]")).click()
    until(
        lambda: browser.find_element("xpath", "//button[contains(., 'Download the PDF')]")
    ).click()
    file = until(lambda: next(iter(served[1].glob("report*.pdf"))))
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
    until(lambda: "Research use only" in text(browser) and "Running..." not in text(browser))
    time.sleep(3)


@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_no_serious_fault(served, browser, view):
    open_view(served, browser, view)
    for scheme in ("light", "dark"):
        prefer(browser, scheme)
        picture(browser, f"{view or 'predict'}_{scheme}")
        assert serious_faults(browser) == [], scheme


def prefer(browser, scheme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    time.sleep(2)  # the page follows


def picture(browser, name: str) -> None:
    """A screenshot for whoever looks at them: ``CERVICLIP_SCREENSHOTS=DIR``."""
    folder = os.environ.get("CERVICLIP_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        browser.save_screenshot(str(Path(folder) / f"{name}.png"))


def test_twenty_pictures_by_keys_with_a_reload(served, browser):
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
    time.sleep(4)  # a press while the page is still being drawn meets a link that is gone
    until(lambda: browser.find_element("xpath", "//button[contains(., '(19 pictures)')]")).click()
    until(lambda: (served[1] / "review.csv").is_file())
    assert len(read_list_file(served[1] / "review.csv")) == 19  # one is put aside


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
