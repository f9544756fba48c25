"""Base to new: what transfers to classes that a run has not seen, and what it says of the rest."""

from __future__ import annotations

import csv
import json

import pytest
from cases import trainer_cases

from helpers import write_images

CLASSES = ("blue", "green", "red", "yellow", "violet")
OPTS = ("DATASET.FOLDER", "cells", "DATASET.SUBSAMPLE_CLASSES", "base_to_new")


@pytest.fixture(scope="module")
def five_classes(tmp_path_factory):
    root = tmp_path_factory.mktemp("five")
    write_images(root / "cells", {name: 12 for name in CLASSES}, patients=6)
    return root


@pytest.fixture
def base_to_new(flags, five_classes, tmp_path):
    """``base_to_new(trainer, *opts)``: the results of a run, and its folder."""
    import train

    def make(trainer: str, *opts):
        case = trainer_cases()[trainer]
        words = flags(trainer, *case.opts, *OPTS, *opts, **case.run_options)
        words[words.index("--root") + 1] = str(five_classes)
        folder = tmp_path / trainer
        assert train.main(["--output-dir", str(folder), *words]) == 0
        return json.loads((folder / "results.json").read_text()), folder

    return make


def test_a_prompt_learner_names_new_classes(base_to_new):
    results, folder = base_to_new("CoOp")
    record, new = results["base_to_new"], results["centers"]["new"]
    assert record["base_classes"] == ["blue", "green", "red"]
    assert record["new_classes"] == ["violet", "yellow"]
    assert list(new["per_class"]) == ["violet", "yellow"]
    base, other = results["centers"]["test"]["accuracy"]["value"], new["accuracy"]["value"]
    expected = 2 * base * other / (base + other) if base + other else 0
    assert record["harmonic_mean"]["accuracy"] == pytest.approx(expected)
    with open(folder / "predictions_new.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert {row["label"] for row in rows} == {"violet", "yellow"} and len(rows) == new["n_images"]
    trained = json.loads((folder / "split.json").read_text())
    used = {row["patient"] for row in trained["train"]}
    assert used and not used & {row["patient_id"] for row in rows}


@pytest.mark.slow
@pytest.mark.parametrize("trainer", ["LinearProbe", "TipAdapter"])
def test_a_method_with_a_row_for_each_class_is_null_with_a_reason(base_to_new, trainer):
    results, folder = base_to_new(trainer)
    entry = results["centers"]["new"]["accuracy"]
    assert entry["value"] is None and trainer in entry["reason"]
    assert results["centers"]["test"]["accuracy"]["value"] is not None
    assert results["base_to_new"]["harmonic_mean"]["accuracy"] is None
    assert not (folder / "predictions_new.csv").exists()


@pytest.mark.slow
def test_zero_shot_on_new_is_zero_shot_of_the_new_half(base_to_new, flags, five_classes, tmp_path):
    """Nothing is learnt: base-to-new must give what a run on the new classes alone gives."""
    import train

    results, _ = base_to_new("ZeroShotCLIP")
    words = flags("ZeroShotCLIP", *OPTS[:2], "DATASET.SUBSAMPLE_CLASSES", "new", shots=0)
    words[words.index("--root") + 1] = str(five_classes)
    folder = tmp_path / "new_half"
    assert train.main(["--output-dir", str(folder), *words]) == 0
    alone = json.loads((folder / "results.json").read_text())["centers"]["test"]
    assert results["centers"]["new"] == alone


@pytest.mark.slow
def test_equal_halves_do_not_let_a_linear_layer_pass(base_to_new):
    """With two classes on each side its shapes fit; it would answer with the base classes' rows."""
    four = "['blue', 'green', 'red', 'yellow']"
    leave = "['violet/*']"
    results, _ = base_to_new("LinearProbe", "DATASET.CLASSES", four, "DATASET.LEAVE_OUT", leave)
    assert results["base_to_new"]["new_classes"] == ["red", "yellow"]
    assert results["centers"]["new"]["accuracy"]["value"] is None
    results, _ = base_to_new("CoOp", "DATASET.CLASSES", four, "DATASET.LEAVE_OUT", leave)
    assert results["centers"]["new"]["accuracy"]["value"] is not None
