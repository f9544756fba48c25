"""The tree keeps its promises: imports point one way and in no circle, nothing shadows another
project's folders."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from cerviclip.tools.structure import circles, import_graph, modules, rooms_graph

REPO = Path(__file__).resolve().parent.parent
#: Folder -> top-level modules of this project that it must not import.
FORBIDDEN = {
    "dassl": {"cerviclip", "trainers", "datasets", "tools", "train", "run_shell", "tests"},
    "cerviclip": {
        *("cerviclip.trainers", "cerviclip.datasets", "cerviclip.tools"),
        *("trainers", "datasets", "tools", "train", "run_shell", "tests"),
    },
    "trainers": {
        *("cerviclip.tools", "cerviclip.datasets", "cerviclip.app", "cerviclip.cli"),
        *("trainers", "datasets", "tools", "train", "run_shell", "tests"),
    },
    "datasets": {
        *("cerviclip.tools", "cerviclip.trainers", "cerviclip.app", "cerviclip.cli"),
        *("trainers", "datasets", "tools", "train", "run_shell", "tests"),
    },
}


def imported_modules(path: Path) -> set[str]:
    """The first one and two parts of every absolute import, those inside functions included:
    ``cerviclip`` and ``cerviclip.trainers`` for ``from cerviclip.trainers.coop import CoOp``."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    parts = [name.split(".") for name in found]
    return {p[0] for p in parts} | {".".join(p[:2]) for p in parts}


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_imports_point_one_way(folder):
    files = sorted((REPO / folder).rglob("*.py"))
    assert files, f"no files under {folder}: this test would prove nothing"
    upwards = {
        f"{path.relative_to(REPO)} imports {name}"
        for path in files
        for name in imported_modules(path) & FORBIDDEN[folder]
    }
    assert not upwards


def test_the_check_sees_an_upward_import(tmp_path):
    planted = tmp_path / "planted.py"
    planted.write_text("def late():\n    from trainers.coop import CoOp\n")
    assert imported_modules(planted) & FORBIDDEN["dassl"]


#: Circles that are right as they are: the modules, sorted -> why.
ALLOWED_CIRCLES: dict[tuple[str, ...], str] = {}


def test_no_imports_in_a_circle():
    graph = import_graph(modules(REPO))
    assert sum(map(len, graph.values())) > len(graph) > 180, "this test would prove nothing"
    found = {tuple(circle) for circle in circles(graph)}
    assert found == set(ALLOWED_CIRCLES)


def test_no_rooms_in_a_circle():
    rooms = rooms_graph(import_graph(modules(REPO)))
    assert len(rooms) > 30, "this test would prove nothing"
    assert circles(rooms) == []


#: Folders that are lists by design: one file for each method, data set or command, and Dassl's own
#: layout.
LISTS = {"trainers", "datasets", "tools", "dassl/modeling/ops"}


def test_no_drawer_holds_more_than_about_twelve_files():
    drawers = {
        str(folder.relative_to(REPO)): len(list(folder.glob("*.py")))
        for top in ("dassl", "cerviclip", "trainers", "datasets", "tools")
        for folder in [REPO / top, *(path for path in (REPO / top).rglob("*") if path.is_dir())]
    }
    assert drawers["trainers"] > 30, "this test would prove nothing"
    full = {name: n for name, n in drawers.items() if n > 14 and name not in LISTS}
    assert not full


@pytest.mark.parametrize(
    "late",
    [
        "def f():\n    import dassl.sub.low\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .sub.low import x\n",
        "from .sub import low\n",
        "from dassl.sub import anything\n",  # runs the package, which imports high
    ],
)
def test_the_check_sees_a_circle(tmp_path, late):
    folder = tmp_path / "dassl" / "sub"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("")
    (folder.parent / "high.py").write_text(late)
    (folder / "__init__.py").write_text("from .. import high\nfrom . import low\n")
    (folder / "low.py").write_text("from ..high import y\n")
    found = circles(import_graph(modules(tmp_path)))
    assert len(found) == 1 and "dassl.high" in found[0]


def test_a_package_that_gathers_its_modules_is_no_circle(tmp_path):
    (tmp_path / "dassl").mkdir()
    (tmp_path / "dassl" / "__init__.py").write_text("from .a import x\nfrom dassl.b import y\n")
    (tmp_path / "dassl" / "a.py").write_text("from dassl.b import y\n")
    (tmp_path / "dassl" / "b.py").write_text("import os\n")
    assert circles(import_graph(modules(tmp_path))) == []


def test_each_package_of_dassl_can_be_the_first_import():
    """One process forgets all of dassl before each, so that torch is loaded once."""
    code = """
import importlib, sys
for package in "config data engine evaluation metrics modeling optim utils".split():
    for name in [name for name in sys.modules if name.split(".")[0] == "dassl"]:
        del sys.modules[name]
    importlib.import_module(f"dassl.{package}")
    assert "cerviclip" not in sys.modules, package
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=REPO).returncode == 0


def test_nothing_shadows_the_folders_of_repositories_that_run_on_dassl():
    assert not (REPO / "trainers" / "__init__.py").exists()
    assert not (REPO / "datasets" / "__init__.py").exists()
    for name in ("utils", "clip"):
        assert not (REPO / name).exists() and not (REPO / f"{name}.py").exists()


def test_every_package_folder_has_an_init_so_that_the_wheel_holds_it():
    files = [path for package in ("dassl", "cerviclip") for path in (REPO / package).rglob("*.py")]
    folders = {path.parent for path in files}
    missing = [str(f.relative_to(REPO)) for f in folders if not (f / "__init__.py").exists()]
    assert not missing
