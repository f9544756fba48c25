"""One Chromium for all tests of the page; it comes first, as without it no page is served."""

from __future__ import annotations

import pytest
from chromium import serve_page, start_chromium


@pytest.fixture(scope="session")
def downloads(tmp_path_factory):
    """Where the browser's downloads go."""
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="session")
def driver(downloads):
    with start_chromium(downloads) as driver:
        yield driver


@pytest.fixture
def browser(driver, downloads):
    """A page of its own: the server's session ends with the page before."""
    yield driver
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    driver.get("about:blank")
    for file in downloads.iterdir():
        file.unlink()


@pytest.fixture(scope="module")
def served(driver, probe, cells, tmp_path_factory):
    """Address and folder of a page for the run ``probe`` that reviews its pictures."""
    home = tmp_path_factory.mktemp("served")
    words = [str(probe), "--images", str(cells), "--reviews", str(home / "reviews")]
    with serve_page(words, home) as address:
        yield address, home


@pytest.fixture(scope="session")
def demo_page(driver, tmp_path_factory):
    """Address and folder of a page without a run: the demo model, which is trained first."""
    home = tmp_path_factory.mktemp("demo_page")
    with serve_page([], home) as address:
        yield address, home
