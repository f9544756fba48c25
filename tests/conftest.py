"""Fixtures that every test may use: seed, registries put back, shared data, a private cache."""

from __future__ import annotations

import gc
import os
import random
import shutil
import socket
import sys
from pathlib import Path
from types import ModuleType

# Without these a hub library tries the network and each failure takes many seconds.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
# Tests run side by side: threads of one would wait for those of the others, also in processes that
# a test starts.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

from cerviclip.runs.run.process.summation_order import fix_summation_order

fix_summation_order()  # as train.py does; where torch is at work already it would come too late

REPO = Path(__file__).resolve().parent.parent

_finished = 0


def _spare_the_collector() -> None:
    """Take what is there out of the garbage collector's sight. Every run collects, and a process
    that holds thousands of tests and all libraries takes a third of a second for it."""
    gc.collect()
    gc.freeze()


def pytest_configure(config: pytest.Config) -> None:
    """The usual tests write and remove some 100,000 small files, for which many disks take as long
    as the tests themselves: they lie in memory where there is room. Slow tests write gigabytes."""
    memory = Path("/dev/shm")
    if "not slow" in config.option.markexpr and os.access(memory, os.W_OK):
        if shutil.disk_usage(memory).free >= 4 * 2**30:
            os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(memory))


def pytest_collection_finish() -> None:
    _spare_the_collector()


def pytest_runtest_logfinish() -> None:
    global _finished
    _finished += 1
    if _finished in (100, 400, 1600):  # libraries have come since
        _spare_the_collector()


#: Events of Python's audit hook that reach another machine: event -> where in its arguments the
#: host stands (``sys.addaudithook``).
_OUTWARD = {
    "socket.connect": lambda args: args[1][0],
    "socket.sendto": lambda args: args[1][0],
    "socket.sendmsg": lambda args: args[1][0],
    "socket.getaddrinfo": lambda args: args[0],
    "socket.gethostbyname": lambda args: args[0],
}
_LOOPBACK = ("", "localhost", "::", "::1", "0.0.0.0", socket.gethostname())
_blocking = False


def _block_network(event: str, args: tuple) -> None:
    """Refuse what would leave this machine. An audit hook, because it sees every library's socket;
    it cannot be removed, so the fixture switches it."""
    if not _blocking or event not in _OUTWARD:
        return
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        if args[0].family == getattr(socket, "AF_UNIX", None) or not isinstance(args[1], tuple):
            return
    host = _OUTWARD[event](args)
    host = host.decode() if isinstance(host, bytes) else host or ""
    if host not in _LOOPBACK and not host.startswith("127."):
        raise RuntimeError(f"a test reached for the network: {event} to {host!r}")


sys.addaudithook(_block_network)


@pytest.fixture(autouse=True, scope="session")
def _no_network():
    """Sockets reach this machine alone, in every test."""
    global _blocking
    _blocking = True
    yield
    _blocking = False


_looked_at: dict[str, tuple[ModuleType, list]] = {}  # module's name -> it, its registries


def _registries() -> list:
    """The registries of all modules of ours that are imported; each module is looked at once."""
    from dassl.utils import Registry

    for name, module in list(sys.modules.items()):
        if name.startswith(("dassl", "cerviclip")) and (
            name not in _looked_at or _looked_at[name][0] is not module
        ):
            own = [value for value in vars(module).values() if isinstance(value, Registry)]
            _looked_at[name] = module, own
    return list({id(r): r for _, own in _looked_at.values() for r in own}.values())


def _seed() -> None:
    """As `set_random_seed`, without what that costs for devices that are not there: torch notes a
    stack for each of them, which takes longer than most tests."""
    import numpy as np
    import torch

    from dassl.utils import set_random_seed

    if torch.cuda.is_available():
        set_random_seed(0)
    else:
        random.seed(0)
        np.random.seed(0)
        torch.default_generator.manual_seed(0)


def _forget_lost_plugins() -> None:
    """Plug-ins of a test's own folder, which is removed: later tests would look for them."""
    plugins = sys.modules.get("cerviclip.plugins")
    given = list(plugins._plugin_specs) if plugins else []
    kept = [spec for spec in given if not os.path.isabs(spec) or os.path.isfile(spec)]
    if len(kept) < len(given):
        plugins.reset_plugins()
        plugins.add_plugins(kept)


@pytest.fixture(autouse=True)
def _seeded_and_isolated(tmp_path_factory, monkeypatch):
    """Each test starts from one seed, in a cache of its own, and leaves the registries alone."""
    import torch

    _seed()
    torch.set_num_threads(1)
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("CERVICLIP_CACHE", str(cache))
    before = {id(r): (r, dict(r._obj_map)) for r in _registries()}
    yield
    _forget_lost_plugins()
    for registry in _registries():
        _, saved = before.get(id(registry), (registry, {}))  # a test may be the first to import it
        # A module of ours is imported once per process and cannot register a second time.
        ours = {
            name: registered
            for name, registered in registry._obj_map.items()
            if registered.__module__.split(".")[0] in ("dassl", "cerviclip")
        }
        # A plug-in that was forgotten meanwhile has no module any more, so no ``extend_cfg``.
        kept = {name: found for name, found in saved.items() if found.__module__ in sys.modules}
        registry._obj_map.clear()
        registry._obj_map.update({**ours, **kept})
    shutil.rmtree(cache, ignore_errors=True)


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
