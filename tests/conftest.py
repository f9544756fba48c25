"""Fixtures that every test may use: seed, registries put back, shared data, a private cache."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# Without these a hub library tries the network and each failure takes many seconds.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
# Tests run side by side: threads of one would wait for those of the others, also in processes that
# a test starts.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

from cerviclip.runs.run.summation_order import fix_summation_order

fix_summation_order()  # as train.py does; where torch is at work already it would come too late

REPO = Path(__file__).resolve().parent.parent


def _registries() -> list:
    """The registries of all modules of ours that are imported."""
    from dassl.utils import Registry

    ours = [m for n, m in sys.modules.items() if n.split(".")[0] in ("dassl", "cerviclip")]
    found = (value for module in ours for value in list(vars(module).values()))
    return list({id(value): value for value in found if isinstance(value, Registry)}.values())


@pytest.fixture(autouse=True)
def _seeded_and_isolated(tmp_path_factory, monkeypatch):
    """Each test starts from one seed, in a cache of its own, and leaves the registries alone."""
    import torch

    from dassl.utils import set_random_seed

    set_random_seed(0)
    torch.set_num_threads(1)
    monkeypatch.setenv("CERVICLIP_CACHE", str(tmp_path_factory.mktemp("cache")))
    before = {id(r): (r, dict(r._obj_map)) for r in _registries()}
    yield
    for registry in _registries():
        _, saved = before.get(id(registry), (registry, {}))  # a test may be the first to import it
        # A module of ours is imported once per process and cannot register a second time.
        ours = {
            name: registered
            for name, registered in registry._obj_map.items()
            if registered.__module__.split(".")[0] in ("dassl", "cerviclip")
        }
        registry._obj_map.clear()
        registry._obj_map.update({**ours, **saved})


@pytest.fixture(scope="session")
def repo_dir() -> Path:
    return REPO


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The developers' folder of real data; tests that need it skip where it is absent."""
    path = REPO.parent / "shared"
    if not (path / "data").is_dir():
        pytest.skip(f"no real data at {path}")
    return path
