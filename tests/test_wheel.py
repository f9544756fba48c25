"""What `pip install` of the wheel gives outside a checkout: all of it, beside Hugging Face's own
``datasets``."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

REPO = Path(__file__).resolve().parent.parent
ROOMS = ("trainers", "datasets", "configs", "tools")
SOURCES = (
    *("cerviclip", "dassl", *ROOMS),
    *("setup.py", "pyproject.toml", "MANIFEST.in", "train.py", "run_shell.py", "LICENSE"),
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "UPGRADING.md"),
)


def call(*command, cwd, check=True):
    """A command without this checkout on its path."""
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0 or not check, done.stdout[-3000:] + done.stderr[-3000:]
    return done


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A copy of what is built from, as after a use: with caches, without old builds."""
    folder = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        if (REPO / name).is_dir():
            shutil.copytree(REPO / name, folder / name)
        else:
            shutil.copy(REPO / name, folder / name)
    (folder / "tests").mkdir()
    (folder / "tests" / "test_nothing.py").write_text("")
    (folder / "trainers" / "__pycache__").mkdir(exist_ok=True)
    (folder / "trainers" / "__pycache__" / "coop.cpython-310.pyc").write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def wheel(sources, tmp_path_factory):
    """The wheel that is built from the sdist."""
    out = tmp_path_factory.mktemp("dist")
    call(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, sources, cwd=out)
    assert len(list(out.glob("*.tar.gz"))) == 1
    [path] = out.glob("*.whl")
    return path


def contents(wheel):
    """Name -> bytes of every file but RECORD."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/RECORD")]
        return {name: archive.read(name) for name in names}


def test_the_wheel_holds_every_file_once_and_nothing_else(wheel, sources):
    expected = set()
    for folder in ("cerviclip", "dassl", *ROOMS):
        for path in (sources / folder).rglob("*"):
            if path.is_file() and path.suffix != ".pyc":
                inner = path.relative_to(sources).as_posix()
                expected.add(f"cerviclip/{inner}" if folder in ROOMS else inner)
    assert {Path(name).suffix for name in expected} >= {".py", ".yaml", ".safetensors", ".typed"}
    held = {name for name in contents(wheel) if ".dist-info/" not in name}
    assert held == expected


def test_the_sdist_builds_the_wheel_of_the_tree(wheel, sources, tmp_path):
    words = ["--wheel", "--no-isolation", "--outdir", tmp_path, sources]
    call(sys.executable, "-m", "build", *words, cwd=tmp_path)
    [direct] = tmp_path.glob("*.whl")
    assert direct.name == wheel.name and contents(direct) == contents(wheel)


def test_the_version_is_said_in_one_place(wheel):
    from dassl._version import __version__

    assert wheel.name.split("-")[1] == __version__
    said = re.compile(rf"(?<![\d.]){re.escape(__version__)}(?![\d.])")
    for name in ("setup.py", "pyproject.toml", "cerviclip/__init__.py", "dassl/__init__.py"):
        assert not said.search((REPO / name).read_text(encoding="utf-8")), name


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """An empty folder beside a fresh environment that holds the wheel and Hugging Face's
    ``datasets``. Other dependencies are those of the environment of this test, whose editable
    install of the checkout is not among them: only the .pth files of the own site-packages count.
    """
    folder = tmp_path_factory.mktemp("fresh")
    call(sys.executable, "-m", "venv", folder / "env", cwd=folder)
    pip = [folder / "env" / "bin" / "python", "-m", "pip", "install", "--quiet"]
    call(*pip, "--no-deps", wheel, cwd=folder)
    [own] = (folder / "env" / "lib").glob("python*/site-packages")
    paths = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (own / "other_environment.pth").write_text("\n".join(sorted(paths)) + "\n")
    done = call(*pip, "datasets", cwd=folder, check=False)
    if done.returncode:
        pytest.skip(f"no package index to install Hugging Face's datasets from: {done.stderr}")
    work = folder / "work"
    work.mkdir()
    return work


def python(installed, *words):
    return call(installed.parent / "env" / "bin" / "python", *words, cwd=installed)


def cerviclip(installed, *words):
    return call(installed.parent / "env" / "bin" / "cerviclip", *words, cwd=installed).stdout


def test_what_is_imported_is_the_wheels_and_both_datasets_are_there(installed):
    code = """
import os, sys, cerviclip, dassl, datasets
from cerviclip.plugins import ensure_loaded
print(cerviclip.__file__, dassl.__file__, datasets.__file__, sep="\\n")
print(datasets.Dataset.from_dict({"label": [1, 2]}).num_rows)
found = ensure_loaded("dataset", "PhantomOCT"), ensure_loaded("trainer", "CoOp")
print(*(each.__module__ for each in found))
print(*map(os.path.abspath, sys.path), sep="\\n")
"""
    lines = python(installed, "-c", code).stdout.splitlines()
    env = str(installed.parent / "env")
    assert all(line.startswith(env) for line in lines[:3])
    assert lines[3:5] == ["2", "cerviclip.datasets.phantom_oct cerviclip.trainers.coop"]
    assert len(lines) > 7 and not any(Path(line).resolve() == REPO for line in lines[5:])


def test_the_demo_on_two_cells_then_its_tables_and_the_python_page(installed):
    from dassl._version import __version__

    assert cerviclip(installed, "--version").strip() == f"cerviclip {__version__}"
    assert all(w in cerviclip(installed, "list") for w in ("SAVLT", "PhantomOCT", "PhantomCLIP"))
    flags = ["--trainers", "ZeroShotCLIP", "LinearProbe", "--shots", "1", "--seeds", "1"]
    text = cerviclip(installed, "sweep", *flags)
    assert "2 runs to do" in text and "PhantomXiangya" in text
    assert "all 2 chosen runs of sweep demo are finished" in cerviclip(installed, "sweep", *flags)
    assert "| test | ZeroShotCLIP |" in cerviclip(installed, "tables", "output")
    assert "LinearProbe minus" in cerviclip(
        installed, "compare", "output", "--against", "LinearProbe"
    )
    page = (REPO / "docs" / "python.md").read_text(encoding="utf-8")
    script = installed / "page.py"
    script.write_text("\n".join(re.findall(r"```python\n(.*?)```", page, re.S)))
    printed = python(installed, script).stdout
    assert "2 runs, 0 failed" in printed and "did you mean 'LinearProbe'?" in printed
