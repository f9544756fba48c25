"""Entries of one sweep that ask for other data, splits or positive groups are honest; runs of one
cell that were tuned apart are not."""

from __future__ import annotations

import shutil

import pytest
from audit_fixtures import (
    edit_json,
    edit_text,
    results_of,
    run_folder,
    write_honest,
    write_tables,
)
from run_fixtures import Zoo
from run_fixtures import run_sweep as run

from cerviclip import plugins
from cerviclip.runs.audit.run import audit, audit_results
from cerviclip.runs.results_json import write_results
from cerviclip.runs.settings.config_hash import config_hash
from cerviclip.severity import NOTE
from dassl.config import read_yaml
from helpers import write_images

ENTRIES = """
trainers:
  - {trainer: ZooConstant, opts: {DATASET.FOLDER: cells, DATASET.POSITIVE: [a]}}
  - trainer: ZooLinear
    name: other-split
    opts: {DATASET.FOLDER: cells, DATASET.POSITIVE: [a], DATASET.SPLIT_SEED: 2}
  - trainer: ZooLinear
    name: other-images
    opts: {DATASET.FOLDER: others, DATASET.POSITIVE: [a]}
  - trainer: ZooLinear
    name: other-group
    opts: {DATASET.FOLDER: cells, DATASET.POSITIVE: [b]}
shots: [2]
seeds: [1, 2, 3]
"""


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """One sweep over two folders, two ways to split and two positive groups."""
    zoo = Zoo(tmp_path_factory.mktemp("declared"))
    plugins.reset_plugins()
    write_images(zoo.root / "cells", {"a": 18, "b": 18, "c": 18}, patients=6, size=8)
    write_images(zoo.root / "others", {"a": 24, "b": 24, "c": 24}, patients=6, size=8)
    opts = r"DATASET.PATIENT_PATTERN (P\d{7})"
    flags = ["--datasets", "FolderDataset", "--opts", "TEST.EXTERNAL", "[]", *opts.split()]
    assert run(zoo, ENTRIES, *flags) == 0
    plugins.reset_plugins()
    return zoo.out


@pytest.fixture
def out(swept, tmp_path):
    shutil.copytree(swept, tmp_path / "out")
    return tmp_path / "out"


def faults(output, how=audit):
    options = {"full": 0} if how is audit else {}
    return {(f.kind, f.where) for f in how(output, **options).findings if f.severity != NOTE}


@pytest.mark.parametrize("how", [audit, audit_results])
def test_entries_that_ask_for_it_are_honest(out, how):
    assert faults(out, how) == set()
    texts = [f.text for f in how(out).findings if f.kind == "other_data"]
    assert any("b positive here" in text and "DATASET.POSITIVE" in text for text in texts)
    if how is audit:
        assert any("DATASET.SPLIT_SEED 2 here" in text for text in texts)
        assert any("DATASET.FOLDER" in text for text in texts)


def entry_of(out, name, seed=2):
    [found] = out.glob(f"FolderDataset/*/none/{name}/shots_2/seed_{seed}")
    return found


@pytest.mark.parametrize("name", ["other-split", "other-images"])
def test_a_run_of_an_entry_that_was_split_otherwise_is_found(out, name):
    """Within one entry nothing may differ."""
    edit_json(entry_of(out, name) / "results.json", lambda r: r.update(split_hash="0" * 64))
    assert "split_differs" in {kind for kind, _ in faults(out)}


def test_an_entry_whose_configuration_asks_for_nothing_is_found(out):
    for seed in (1, 2, 3):
        folder = entry_of(out, "other-split", seed)
        edit_text(folder / "config.yaml", "SPLIT_SEED: 2", "SPLIT_SEED: 1")
    assert "split_differs" in {kind for kind, _ in faults(out)}


def test_another_positive_group_within_an_entry_is_found(tmp_path):
    """Also where its configuration asks for it: a table has both under one name."""
    output = write_honest(tmp_path)
    folder = run_folder(output, 3)
    edit_text(folder / "config.yaml", "POSITIVE: []", "POSITIVE: [normal]")
    write_results(folder, results_of(folder) | {"positive_classes": ["normal"]})
    assert "unlike" in {kind for kind, _ in faults(output)}


def tuned(folder):
    """Another rate of learning, as an honest run would have it: with its hash."""
    edit_text(folder / "config.yaml", "LR: 0.0003", "LR: 0.003")
    new = config_hash(read_yaml(folder / "config.yaml", "config file"))
    write_results(folder, results_of(folder) | {"config_hash": new})


def test_a_seed_that_was_tuned_alone_is_found(tmp_path):
    output = write_honest(tmp_path)
    tuned(run_folder(output, 2))
    [found] = [f for f in audit(output, full=0).findings if f.severity != NOTE]
    assert found.kind == "unlike" and found.text.startswith("OPTIM.LR is 0.003 here and 0.0003 in")
    for seed in (1, 3):
        tuned(run_folder(output, seed))
    assert faults(output) == set()


@pytest.mark.parametrize("key", ["DRAW_FILE", "SPLIT_FILE"])
def test_a_file_that_is_nowhere_hides_no_other_key(tmp_path, key):
    """The hash cannot be compared then; the other runs of the cell can."""
    output = write_honest(tmp_path)
    config = run_folder(output, 2) / "config.yaml"
    edit_text(config, "LR: 0.0003", "LR: 0.003")
    edit_text(config, f"{key}: ''", f"{key}: nowhere.json")
    assert "unlike" in {kind for kind, _ in faults(output)}


@pytest.mark.parametrize("key", ["DRAW_FILE", "SPLIT_FILE", "INIT_WEIGHTS"])
def test_a_draw_of_a_file_beside_one_of_a_seed_is_honest(tmp_path, key):
    output = write_honest(tmp_path)
    edit_text(run_folder(output, 2) / "config.yaml", f"{key}: ''", f"{key}: nowhere")
    assert "unlike" not in {kind for kind, _ in faults(output)}


@pytest.mark.parametrize("how", [audit, audit_results])
@pytest.mark.parametrize("member", ["Method", "Elsewhere"])
def test_a_run_that_calls_itself_an_ensemble_is_found(tmp_path, member, how):
    """It would have no configuration, and be made again from itself, or from runs that are not
    there."""
    output = write_honest(tmp_path)
    for seed in (1, 2, 3):
        folder = run_folder(output, seed)
        edit_text(folder / "config.yaml", "LR: 0.0003", "LR: 0.003")
        results = results_of(folder)
        names = ("variant", "backbone", "shots", "fold", "seed")
        one = {"trainer": member, **{name: results[name] for name in names}}
        write_results(folder, results | {"ensemble": {"how": "mean", "members": [one]}})
    write_tables(output)
    assert "identity" in {kind for kind, _ in faults(output, how)}
