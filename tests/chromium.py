"""The page of ``cerviclip web`` in Chromium, and what a test does there by eye and by hand."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_TABS = 80  # presses from one end of a page to the other, and some more
#: What the keyboard's focus is on, in words: its label, that of its widget, and its own text.
_FOCUSED = """
const e = document.activeElement;
if (!e || !e.matches("a, button, input, summary, textarea, [role]")) return "";
const labels = [...(e.labels || [])].map(label => label.innerText);
const widget = e.closest(".stSelectbox, .stSlider, .stMultiSelect")?.querySelector("label");
return [e.getAttribute("aria-label"), ...labels, widget?.innerText, e.innerText]
    .filter(Boolean).join(" | ");
"""
#: A file dialog belongs to the system: a press that would open one is counted instead.
_COUNT_DIALOGS = """
window.dialogs = 0;
HTMLInputElement.prototype.click = function () { window.dialogs += this.type === "file"; };
window.showOpenFilePicker = () => { window.dialogs += 1; return new Promise(() => {}); };
"""


@contextmanager
def serve_page(words: Sequence[str], home: Path) -> Iterator[str]:
    """Address of a page that runs in ``home``, where its ``log`` is."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [*words, "--no-browser", "--port", str(port), "--device", "cpu", "--language", "en"]
    command = [sys.executable, "-m", "cerviclip.cli", "web", *words]
    address = f"http://127.0.0.1:{port}"
    with open(home / "log", "w") as log:
        env = os.environ | {"CERVICLIP_CACHE": str(home / "cache")}
        process = subprocess.Popen(
            command, cwd=home, stdout=log, stderr=log, start_new_session=True, env=env
        )
        try:
            until(lambda: urllib.request.urlopen(address, timeout=2), 240)
            yield address
        finally:
            os.killpg(process.pid, 15)
            process.wait()


@contextmanager
def start_chromium(downloads: Path) -> Iterator[Any]:
    """A driver whose downloads go to a folder."""
    webdriver = pytest.importorskip("selenium.webdriver")
    if shutil.which("chromedriver") is None:
        pytest.skip("needs Chromium: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(word)
    options.add_argument("--window-size=1280,1400")
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    driver = webdriver.Chrome(
        options=options, service=webdriver.ChromeService(shutil.which("chromedriver"))
    )
    try:
        yield driver
    finally:
        driver.quit()


def until(what: Callable[[], Any], seconds: float = 60.0) -> Any:
    """The first true value of ``what``."""
    end = time.time() + seconds
    while time.time() < end:
        try:
            if found := what():
                return found
        except Exception:  # an element that is drawn anew, a server that starts
            pass
        time.sleep(0.2)
    raise AssertionError("it did not come")


def text(browser) -> str:
    return browser.execute_script("return document.body.innerText")


def settle(browser) -> None:
    """Wait until the server has drawn the page and has no more to say."""
    done = '.stApp[data-test-script-state="notRunning"][data-test-connection-state="CONNECTED"]'
    calm = 0
    end = time.time() + 120
    while calm < 3 and time.time() < end:  # between two runs it is still for a moment
        calm = calm + 1 if browser.find_elements("css selector", done) else 0
        time.sleep(0.2)
    assert calm == 3, "the page is never still"


def upload(browser, *paths: Path) -> None:
    """Give files to the page's uploader, as its dialog would."""
    settle(browser)
    words = "\n".join(map(str, paths))
    until(lambda: browser.find_elements("css selector", "input[type=file]"))[0].send_keys(words)


def prefer(browser, scheme: str) -> None:
    """Ask for ``light`` or ``dark``."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    time.sleep(2)  # the page follows


def picture(browser, name: str) -> None:
    """A screenshot for whoever looks at them: ``CERVICLIP_SCREENSHOTS=DIR``."""
    folder = os.environ.get("CERVICLIP_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        browser.save_screenshot(str(Path(folder) / f"{name}.png"))


def press(browser, *keys: str) -> None:
    """Press keys one after another, wherever the focus is."""
    from selenium.webdriver.common.action_chains import ActionChains

    for key in keys:
        ActionChains(browser).send_keys(key).perform()


def focused(browser) -> str:
    """What has the keyboard's focus, in words; "" for nothing."""
    return browser.execute_script(_FOCUSED)


def tab_to(browser, words: str) -> None:
    """Press Tab until the focus is on what has these words; the page is still before it starts."""
    settle(browser)
    met = []
    for _ in range(_TABS):
        if words in focused(browser):
            return
        press(browser, "\ue004")
        met.append(focused(browser))
    raise AssertionError(f"Tab never reaches {words!r}, only {list(dict.fromkeys(met))}")


def opens_file_dialog(browser, key: str) -> bool:
    """Whether a key on what has the focus asks for files."""
    browser.execute_script(_COUNT_DIALOGS)
    press(browser, key)
    return bool(until(lambda: browser.execute_script("return window.dialogs"), 10))
