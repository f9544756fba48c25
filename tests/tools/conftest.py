"""Scripts of ``tools/`` that find their neighbours as ``python tools/<script>.py`` does."""

from __future__ import annotations

import importlib
import sys

import pytest


@pytest.fixture
def import_tool(repo_dir, monkeypatch):
    """``import_tool(name)``: the script as a module; it and ``bench_parts`` are forgotten after."""
    monkeypatch.syspath_prepend(str(repo_dir / "tools"))
    imported = {"bench_parts"}

    def import_one(name):
        imported.add(name)
        return importlib.import_module(name)

    yield import_one
    for name in [n for n in sys.modules if n.split(".")[0] in imported]:
        del sys.modules[name]
