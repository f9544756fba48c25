"""Where things are, and how what is missing is installed: one wording, which works today."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cerviclip import places

REPO = Path(__file__).resolve().parents[2]
FOLDERS = ("cerviclip", "configs", "dassl", "datasets", "trainers", "tools", "docs")
_SECTION = r"(?ms)^\[project.optional-dependencies\]$(.*?)^\["  # Python 3.10 reads no TOML
EXTRAS = set(
    re.findall(r"(?m)^(\w+) = ", re.search(_SECTION, (REPO / "pyproject.toml").read_text())[1])
)


def texts():
    """Every page, source and text file with its name."""
    pages = [REPO / name for name in ("README.md", "CONTRIBUTING.md", "UPGRADING.md")]
    for folder in FOLDERS:
        for kind in ("md", "py", "yaml"):
            pages += (REPO / folder).rglob(f"*.{kind}")
    assert len(pages) > 400
    return [(page.relative_to(REPO).as_posix(), page.read_text(encoding="utf-8")) for page in pages]


def test_a_checkout_is_installed_from_its_folder_and_a_wheel_by_name(monkeypatch):
    assert places.install_hint("app") == 'pip install -e ".[app]" in the folder of the checkout'
    assert places.install_hint() == "pip install -e . in the folder of the checkout"
    monkeypatch.setattr(places, "HOME", places.PACKAGE)
    assert places.install_hint("app") == 'pip install "cerviclip[app]"'


@pytest.mark.parametrize("quote", ['"', "'"])
def test_no_text_names_a_package_that_no_index_has(quote):
    """Before a release ``pip install "cerviclip[app]"`` finds nothing; `install_hint` knows."""
    wrong = [name for name, text in texts() if re.search(rf"install\s+{quote}cerviclip\[", text)]
    assert [name for name in wrong if name not in ("cerviclip/places.py", "docs/index.md")] == []


def test_every_extra_that_is_named_is_there():
    named = {
        extra: name
        for name, text in texts()
        for found in re.findall(r"-e \"\.\[([\w,]+)\]|install_hint\([\"'](\w+)", text)
        for extra in "".join(found).split(",")
    }
    assert len(named) > 10 and {e: n for e, n in named.items() if e not in EXTRAS} == {
        "NAME": "docs/index.md"
    }
