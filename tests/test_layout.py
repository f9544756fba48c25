"""The tree keeps its promises: imports point one way, nothing shadows another project's folders."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

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
