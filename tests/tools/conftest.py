"""Benchmarks and tools as modules, forgotten again after each test."""

from __future__ import annotations

import importlib
import json
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


def metric(value):
    return {"value": value, "low": None, "high": None}


def write_run(path, trainer, shots, seed, value, **more):
    """results.json of one run without predictions, in a folder that is made."""
    entry = {
        "n_images": 10, "accuracy": metric(value),
        "confusion_matrix": [[int(value) // 10, 0], [10 - int(value) // 10, 0]],
        "per_class": {"a": {"f1": metric(12.5)}, "b": {"f1": metric(None)}},
    }  # fmt: skip
    run = {
        "schema_version": 1, "status": "done", "error": None, "dataset": "Herlev",
        "trainer": trainer, "backbone": "RN50", "variant": "default", "shots": shots,
        "seed": seed, "test_read_early": False, "centers": {"test": entry},
    }  # fmt: skip
    path.mkdir(parents=True)
    (path / "results.json").write_text(json.dumps(run | more))


@pytest.fixture
def folder(tmp_path):
    """Three runs on one data set, without predictions."""
    for trainer, shots, seed, value in (
        ("ZeroShotCLIP", 0, 0, 30.0), ("CoOp", 1, 1, 40.0), ("CoOp", 1, 2, 50.0),
    ):  # fmt: skip
        write_run(tmp_path / "runs" / trainer / f"seed_{seed}", trainer, shots, seed, value)
    return tmp_path / "runs"


@pytest.fixture
def federation(tmp_path):
    """Runs of two centres that share a data set: local, federated and pooled."""
    for value, place in enumerate(
        ("local/a", "federated/a", "local/b", "federated/b", "pooled/all")
    ):
        center = place.partition("/")[2]
        more = {"variant": place.replace("/", "-"), "split_hash": f"hash of {center}"}
        write_run(tmp_path / "fed" / place, "CoOp", 1, 1, 50.0 + 10 * value, **more)
    return tmp_path / "fed"
