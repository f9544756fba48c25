"""Every trainer through train.main, and what must hold for each of them."""

from __future__ import annotations

import pytest
from cases import registered, trainer_cases, what_is_missing

CASES = trainer_cases()
OWN = {name: case for name, case in CASES.items() if not case.second_name_of}


def test_every_trainer_of_the_project_has_a_case():
    assert registered("trainer") and CASES, "nothing is found: these tests would prove nothing"
    missing = what_is_missing("trainer")
    assert not missing, "\n".join(missing)


@pytest.mark.parametrize("name", CASES)
def test_trains_and_its_saved_model_predicts_the_same(name, run, evaluate):
    case = CASES[name]
    folder, results = run(name, *case.opts, **case.run_options)
    assert results["status"] == "done"
    assert results["test_read_early"] is False
    assert 0 <= results["centers"]["test"]["accuracy"]["value"] <= 100
    assert evaluate(folder) == (folder / "predictions.csv").read_text()


@pytest.mark.parametrize("name", [n for n, case in OWN.items() if case.backbone == "CLIP"])
def test_leaves_the_shared_backbone_as_it_was(name, build):
    case = CASES[name]
    trainer = build(name, *case.opts, **case.run_options)
    before = trainer.backbone.fingerprint()
    trainer.train()
    assert trainer.backbone.fingerprint() == before
