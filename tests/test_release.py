"""What a release needs: one place for the version, a citation file, CI that runs .ci/run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dassl._version import __version__

REPO = Path(__file__).resolve().parent.parent


def read(name: str) -> str:
    return (REPO / name).read_text(encoding="utf-8")


def test_the_version_stands_in_one_place():
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", __version__)
    assigned = re.compile(r"""^\s*(__version__|version)\s*[=:]\s*["']?\d+\.\d+""", re.M)
    files = [p for f in ("dassl", "cerviclip") for p in (REPO / f).rglob("*.py")]
    files += [REPO / name for name in ("pyproject.toml", "setup.py", "CITATION.cff")]
    assert [p.name for p in files if assigned.search(p.read_text("utf-8"))] == ["_version.py"]


def test_citation():
    cited = yaml.safe_load(read("CITATION.cff"))
    assert {"cff-version", "message", "title", "authors"} <= set(cited)  # what the format demands
    assert cited["license"] == "MIT"
    assert cited["authors"][0]["name"] in read("pyproject.toml")


def test_the_ci_file_calls_ci_run():
    jobs = yaml.safe_load(read(".github/workflows/ci.yml"))["jobs"]
    commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert ".ci/run" in commands
    for command in commands:
        for extras in re.findall(r"pip install -e \"?\.\[([\w,]+)\]", command):
            for extra in extras.split(","):
                assert re.search(rf"^{extra} = \[", read("pyproject.toml"), re.M), extra
        if command.startswith("make "):
            assert re.search(rf"^{command.split()[1]}:", read("Makefile"), re.M), command
    oldest = re.search(r'requires-python = ">=([\d.]+)"', read("pyproject.toml"))[1]
    assert jobs["tests"]["strategy"]["matrix"]["python"][0] == oldest


@pytest.mark.skipif(shutil.which("make") is None, reason="no make on this machine")
def test_a_release_wants_a_head_in_the_changelog(tmp_path):
    for name in ("Makefile", "CHANGELOG.md"):
        (tmp_path / name).write_text(read(name), encoding="utf-8")
    (tmp_path / "dassl").mkdir()
    (tmp_path / "dassl" / "_version.py").write_text('__version__ = "99.0.0"')
    (tmp_path / "dassl" / "__init__.py").write_text("")

    def release() -> subprocess.CompletedProcess:
        command = ["make", "-o", "package", "release", f"PYTHON={sys.executable}"]  # no build
        env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=env)

    refused = release()
    assert refused.returncode != 0 and "no head [99.0.0]" in refused.stdout
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## [99.0.0] - 2030-01-01\n")
    assert release().returncode == 0
