"""A zoo to run: tests/plugin_zoo.py as a plug-in, in a folder of the test's own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cerviclip import plugins
from cerviclip.runs.settings.configure import setup_cfg
from cerviclip.runs.settings.flags import run_request, train_parser
from cerviclip.runs.settings.folders import find_results
from cerviclip.runs.settings.requests import RunRequest
from dassl.config import CfgNode
from dassl.errors import cli_main

PLUGIN = Path(__file__).with_name("plugin_zoo.py")
QUICK = {
    "DATALOADER.NUM_WORKERS": "0",
    "DATALOADER.TRAIN_X.BATCH_SIZE": "4",
    "OPTIM.MAX_EPOCH": "2",
    "OPTIM.NAME": "sgd",
    "OPTIM.LR": "0.2",
    "INPUT.SIZE": "(8, 8)",
    "INPUT.TRANSFORMS": "('random_flip', 'normalize')",
    "TEST.EXTERNAL": "['ZooFar']",
}


@dataclass
class Zoo:
    """Where a test's data and runs are, and the flags that lead there."""

    root: Path

    @property
    def out(self) -> Path:
        return self.root / "out"

    @property
    def common(self) -> list[str]:
        return ["--plugin", str(PLUGIN), "--root", str(self.root)]

    def argv(self, trainer: str = "ZooLinear", shots: str = "2", *flags: str, **opts: str) -> list:
        """Flags for train.py; ``opts`` have ``__`` for the dots of a key."""
        pairs = QUICK | {key.replace("__", "."): value for key, value in opts.items()}
        words = [*self.common, "--trainer", trainer, "--dataset", "ZooMain", "--shots", shots]
        return [*words, *flags, *(word for pair in pairs.items() for word in pair)]

    def asked(self, trainer: str = "ZooLinear", shots: str = "2", *flags: str, **opts: str):
        return asked(self.argv(trainer, shots, *flags, **opts))

    def cfg(self, trainer: str = "ZooLinear", shots: str = "2", *flags: str, **opts) -> CfgNode:
        folder = ["--output-dir", str(self.out / "run")]
        return setup_cfg(self.asked(trainer, shots, *folder, *flags, **opts))

    def sweep(self, text: str, *flags: str) -> list[str]:
        """Flags for run_shell.py with a sweep of this text."""
        path = self.root / "zoo.yaml"
        quick = "".join(f"  {key}: {value!r}\n" for key, value in QUICK.items())
        path.write_text(f"datasets: [ZooMain]\nopts:\n{quick}{text}", encoding="utf-8")
        return [*self.common, "--sweep", str(path), "--output-dir", str(self.out), *flags]


@pytest.fixture
def zoo(tmp_path):
    plugins.reset_plugins()
    yield Zoo(tmp_path)
    plugins.reset_plugins()


def asked(argv: Sequence[str]) -> RunRequest:
    """The request that train.py's flags make."""
    return run_request(train_parser().parse_args(argv))


def whole_results(**own: Any) -> dict[str, Any]:
    """A finished run's results with every key and no centre; ``own`` replaces some."""
    from cerviclip.runs.results_json import ADDED, KEYS

    names = {"dataset": "Cells", "trainer": "Probe", "backbone": "CLIP", "variant": "default"}
    texts = {"fold": "", "split_hash": "s", "draw_hash": "d", "config_hash": "c"}
    plain = {"schema_version": 2, "status": "done", "shots": 4, "seed": 1, "centers": {}}
    more = {"positive_classes": [], "test_read_early": False, "runtime": {}}
    return dict.fromkeys(KEYS) | ADDED[2] | names | texts | plain | more | own


ZOO_SWEEP = "trainers: [ZooConstant, ZooLinear]\nshots: [1, 4]\nseeds: [1, 2]\n"


def run_sweep(zoo, text=ZOO_SWEEP, *flags):
    """Status of run_shell.py with a sweep of this text."""
    import run_shell

    return cli_main(run_shell.main, zoo.sweep(text, *flags))


def all_results(folder):
    """Every run's results by its place, without what may differ between equal runs."""
    found = {}
    for path in find_results(folder):
        results = json.loads(path.read_text())
        results.pop("runtime")
        found[str(path.parent.relative_to(folder))] = results
    return found
