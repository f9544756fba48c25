"""What the fuzz tests share: two sizes of each, a folder of honest runs, and one run of the zoo."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from audit_fixtures import write_honest
from run_fixtures import zoo  # noqa: F401

#: Each property is looked at with a few examples, the same each time, and with many new ones.
SIZES = ("few", pytest.param("many", marks=pytest.mark.slow))


@pytest.fixture(params=SIZES)
def size(request) -> str:
    return request.param


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch) -> None:
    """What a drawn path such as ``--root x`` or ``../../x`` makes is not made in the sources."""
    folder = tmp_path / "here" / "and" / "now"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)


@pytest.fixture(scope="session")
def honest_runs(tmp_path_factory) -> Path:
    """A folder of three honest runs; not to be changed."""
    return write_honest(tmp_path_factory.mktemp("honest"))


@pytest.fixture
def runs(honest_runs, tmp_path) -> Path:
    """A copy of it that a test may damage."""
    shutil.copytree(honest_runs.parent, tmp_path / "runs", symlinks=True)
    return tmp_path / "runs" / "output"
