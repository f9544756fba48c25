"""Every trainer through train.main, and what must hold for each of them."""

from __future__ import annotations

import pytest
from cases import registered, trainer_cases, what_is_missing

from cerviclip.runs.results_json import read_results
from cerviclip.runs.run.run_files import search_budget, trainable_params

CASES = trainer_cases()
#: Their weights are found by a solver without steps, and are trained all the same.
FITTED_BY_A_SOLVER = {"LinearProbe", "FeatureCombination", "LPPlusPlus"}
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
    chosen = said_of_choices(results)
    assert said_of_choices(read_results(folder.parent / "evaluated")) == chosen
    if not chosen[0]:
        return
    (folder / "results.json").unlink()  # as if it had been killed after its last checkpoint
    assert said_of_choices(run(name, *case.opts, **case.run_options)[1]) == chosen


def said_of_choices(results):
    return results["search"], results["runtime"].get("trainer", {}).get("search")


@pytest.mark.parametrize("name", [n for n, case in OWN.items() if case.backbone == "CLIP"])
def test_leaves_the_shared_backbone_as_it_was_and_says_what_it_read_of_val(name, build):
    case = CASES[name]
    trainer = build(name, *case.opts, **case.run_options)
    before = trainer.backbone.fingerprint()
    read = watch_val(trainer)
    trainer.train()
    assert trainer.backbone.fingerprint() == before
    budget = search_budget(trainer)
    assert bool(read) == bool(budget), f"{name} chooses on val and does not call note_search"
    stepped = {
        parameter
        for optim in trainer._optims.values()
        for group in (optim.param_groups if optim else ())
        for parameter in group["params"]
        if parameter.requires_grad
    }
    fitted = name in FITTED_BY_A_SOLVER
    assert (sum(p.numel() for p in stepped) == trainable_params(trainer)) != fitted
    if budget:
        assert budget["tries"] > 1 and budget["labels"] == len(trainer.dm.dataset.val)


def watch_val(trainer) -> list[str]:
    """Note every reading of val from now on: the list of items, and the loader."""
    data, read = trainer.dm.dataset, []
    val, loader = data.val, trainer.val_loader

    class Watched(type(data)):
        @property
        def val(self):
            read.append("items")
            return val

    class Loader:
        dataset = loader.dataset

        def __iter__(self):
            read.append("loader")
            return iter(loader)

        def __len__(self):
            return len(loader)

    assert val and search_budget(trainer) == {}
    data.__class__ = Watched
    trainer.val_loader = trainer.dm.val_loader = Loader()
    return read


def test_the_choice_of_an_epoch_is_counted(run):
    _, results = run("CoOp", "TEST.FINAL_MODEL", "best_val", "OPTIM.MAX_EPOCH", "2")
    choice = results["search"]["choices"]["epoch"]
    assert choice["tries"] == 2 and choice["labels"] > 0
    assert results["search"]["labels"] == choice["labels"]
