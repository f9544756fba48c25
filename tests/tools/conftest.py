"""Benchmarks and tools as modules, forgotten again after each test."""

from __future__ import annotations

import importlib
import sys

import pytest


@pytest.fixture
def import_tool():
    """``import_tool(name)``: the script as a module; it and ``bench_parts`` are forgotten after."""
    imported = {"cerviclip.tools.bench_parts"}

    def import_one(name):
        imported.add(f"cerviclip.tools.{name}")
        return importlib.import_module(f"cerviclip.tools.{name}")

    yield import_one
    for name in [n for n in sys.modules if n.startswith(tuple(imported))]:
        del sys.modules[name]
