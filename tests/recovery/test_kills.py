"""A sweep that is killed again and again ends with the results of one that was left in peace."""

from __future__ import annotations

import os
import random
import secrets
import time

import pytest
import yaml
from recovery_fixtures import (
    REPO,
    TABLES,
    finished,
    leftovers,
    numbers,
    preload,
    python,
    sweep_life,
)
from recovery_fixtures import (
    lean_zoo as zoo,
)

__all__ = ["zoo"]

TEXT = "trainers: [ZooLinear]\nshots: [1]\nseeds: [1]\n"
EPOCHS = ["--opts", "TRAIN.CHECKPOINT_FREQ", "1", "TEST.FINAL_MODEL", "best_val"]


def kill_at_steps(zoo, steps):
    """Kill the zoo's sweep at each of its renamings in turn; returns how many lives it took."""
    argv = zoo.sweep(TEXT, *EPOCHS)
    preload(argv)
    undisturbed = numbers(zoo.out)
    zoo.out.rename(zoo.root / "whole")
    for step in steps:
        before = finished(zoo.out)
        status = sweep_life(argv, zoo.root / "log", die_at=step).wait()
        assert status in (-9, 0), (zoo.root / "log").read_text()
        assert before.items() <= finished(zoo.out).items(), f"killed at renaming {step}"
        if status == 0:
            break
    assert sweep_life(argv, zoo.root / "log").wait() == 0, (zoo.root / "log").read_text()
    assert numbers(zoo.out) == undisturbed
    assert leftovers(zoo.out) == []


def test_killed_while_it_writes_a_sweep_ends_as_if_nothing_had_been(zoo):
    kill_at_steps(zoo, [2, 7, 12])


@pytest.mark.slow
@pytest.mark.parametrize("step", range(0, 24))
def test_killed_at_any_renaming(zoo, step):
    """Each life makes one renaming more or dies at it: a kill between any two files."""
    kill_at_steps(zoo, [step])


def logs_below(out):
    """How many runs have begun so far, begun again included; folders may vanish meanwhile."""
    try:
        return len(list(out.rglob("log.txt*")))
    except FileNotFoundError:
        return 0


# -- thirty runs, fifty kills --------------------------------------------------------------------

KILLS = 50
SEEDS = list(range(1, 8))
TEMPLATE = {"TRAINER.ZEROSHOTCLIP.TEMPLATE": 1}
SWEEP = {
    "datasets": ["TinyPhantomOCT"],
    "external": [],
    "backbone": "PhantomCLIP",
    "shots": [1],
    "seeds": SEEDS,
    "trainers": [
        "ZeroShotCLIP",
        {"trainer": "ZeroShotCLIP", "name": "single", "opts": TEMPLATE},
        "LinearProbe",
        "TipAdapterF",
        "CoOp",
        "TaskRes",
    ],
    "opts": {
        "DATALOADER.NUM_WORKERS": 0,
        "OPTIM.MAX_EPOCH": 2,
        "TRAIN.MAX_ITERS": 2,
        "TRAIN.CHECKPOINT_FREQ": 1,
    },
}  # fmt: skip


@pytest.mark.slow
def test_thirty_runs_and_fifty_kills(tmp_path, monkeypatch):
    """The data and the feature store are made anew too, so kills meet their writers as well."""
    seed = int(os.environ.get("CERVICLIP_KILL_SEED") or secrets.randbelow(2**32))
    print(f"moments of the kills: CERVICLIP_KILL_SEED={seed}")
    path = tmp_path / "thirty.yaml"
    path.write_text(yaml.safe_dump(SWEEP))

    def argv(name):
        root, out = tmp_path / f"data_{name}", tmp_path / name
        flags = ["--plugin", str(REPO / "tests" / "plugin_tiny_phantoms.py")]
        return [*flags, "--sweep", str(path), "--root", str(root), "--output-dir", str(out)]

    monkeypatch.setenv("CERVICLIP_CACHE", str(tmp_path / "cache_whole"))
    clock = time.monotonic()
    preload(argv("whole"))
    alone = time.monotonic() - clock
    undisturbed = numbers(tmp_path / "whole")
    assert len(finished(tmp_path / "whole")) == 30

    monkeypatch.setenv("CERVICLIP_CACHE", str(tmp_path / "cache_killed"))
    out, draws = tmp_path / "killed", random.Random(seed)
    clock = time.monotonic()
    assert sweep_life([*argv("killed"), "--dry-run"], tmp_path / "log").wait() == 0
    span = 2 * (time.monotonic() - clock) + 1.5 * alone / 30  # to start, and to make a run
    clock = time.monotonic()
    for kill in range(KILLS):
        before = finished(out)
        begun = logs_below(out)
        life = sweep_life(argv("killed"), tmp_path / "log")
        if kill % 2:  # within the next run that begins; the others fall at any moment of a life
            limit = time.monotonic() + 2 * span
            while logs_below(out) <= begun and time.monotonic() < limit:
                time.sleep(0.002)
            time.sleep(draws.uniform(0.0, alone / 60))
        else:
            time.sleep(draws.uniform(0.0, span))
        status = life.kill()
        assert status == -9 or (status == 0 and len(finished(out)) == 30), (
            f"seed {seed}, kill {kill}: {(tmp_path / 'log').read_text()[-2000:]}"
        )
        after = finished(out)
        assert before.items() <= after.items(), f"seed {seed}, kill {kill}: a run was done twice"
    left = 30 - len(finished(out))
    last = python("run_shell.py", *argv("killed"))
    took = time.monotonic() - clock
    assert last.returncode == 0, f"seed {seed}: {last.stderr}"
    assert f"{left} runs to do" in last.stdout or left == 0, f"seed {seed}: {last.stdout}"
    made = numbers(out)
    assert made.keys() == undisturbed.keys(), f"seed {seed}"
    for name in undisturbed:
        assert made[name] == undisturbed[name], f"seed {seed}: {name}"
    assert set(TABLES) - {"pooled.json"} < set(made)
    assert leftovers(out) == [], f"seed {seed}"
    again = finished(out)
    assert python("run_shell.py", *argv("killed")).returncode == 0
    assert finished(out) == again
    hits = len(list(out.rglob("log.txt*"))) - 30  # each that began and did not end has a log
    print(
        f"{KILLS} kills in {took:.0f} s: {hits} in the middle of a run; "
        f"{left} runs were left for the last start; undisturbed: {alone:.0f} s"
    )
    assert hits >= KILLS // 12, f"seed {seed}: too few kills met a run"
