"""load_run of trainers written elsewhere."""

from __future__ import annotations

import csv
import shutil

import numpy as np
import pytest
import torch
from run_fixtures import PLUGIN

from cerviclip.engine.inference import predict_images
from cerviclip.runs.run.load import load_run
from cerviclip.runs.run.runner import run_one
from dassl.data.datasets import DATASET_REGISTRY
from dassl.engine import TRAINER_REGISTRY
from dassl.errors import UserError


def probabilities(folder) -> dict[str, list[float]]:
    with open(folder / "predictions.csv", encoding="utf-8", newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["center"] == "test"]
    return {row["path"]: [float(v) for k, v in row.items() if k[:2] == "p_"] for row in rows}


@pytest.fixture
def made(zoo, tmp_path):
    """``made(trainer)``: a run, whose images lie elsewhere afterwards; they and what it said."""

    def make(trainer="ZooLinear", **opts):
        cfg = zoo.cfg(trainer, **opts)
        run_one(cfg, echo=False)
        said = probabilities(zoo.out / "run")
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        shutil.move(zoo.root / "zoo", elsewhere / "zoo")
        return zoo.out / "run", {str(elsewhere / path): probs for path, probs in said.items()}

    return make


def forget(start):
    """Take names out of the registries, as in a process that has not seen the plug-in."""
    for registry in (TRAINER_REGISTRY, DATASET_REGISTRY):
        for name in [name for name in registry._obj_map if name.startswith(start)]:
            del registry._obj_map[name]


def test_a_foreign_trainer_predicts_without_its_data(made):
    folder, said = made()
    forget(("ZooMain", "ZooFar"))
    trainer = load_run(folder).trainer
    np.testing.assert_allclose(
        predict_images(trainer, list(said)), list(said.values()), rtol=0, atol=1e-6
    )
    pixels = torch.zeros(2, 3, 8, 8)
    assert trainer.model_inference(pixels).shape == (2, 3)
    assert callable(trainer.tfm_test)


def test_upstreams_load_model_gets_the_epoch_that_was_tested(zoo, made, monkeypatch):
    from cerviclip.plugins import ensure_loaded

    zoo.cfg()  # imports the plug-in
    monkeypatch.delattr(ensure_loaded("trainer", "ZooLinear"), "load_model", raising=False)
    folder, said = made(OPTIM__MAX_EPOCH="3")
    assert not list(folder.rglob("model-best*"))
    trainer = load_run(folder).trainer
    np.testing.assert_allclose(
        predict_images(trainer, list(said)), list(said.values()), rtol=0, atol=1e-6
    )


def test_a_plug_in_is_asked_for_by_name(made):
    from cerviclip import plugins

    folder, _ = made()
    plugins.reset_plugins()
    forget("Zoo")
    with pytest.raises(UserError, match="was trained by ZooLinear, which no trainer here") as error:
        load_run(folder)
    assert "\n" not in str(error.value)
    assert type(load_run(folder, plugin=[str(PLUGIN)]).trainer).__name__ == "ZooLinear"


def test_a_model_that_is_built_from_images_is_refused_in_one_line(made, monkeypatch):
    from cerviclip.plugins import ensure_loaded

    folder, _ = made()
    kind = ensure_loaded("trainer", "ZooLinear")
    build = kind.build_model

    def from_images(self):
        assert len(self.dm.dataset.train_x)
        build(self)

    monkeypatch.setattr(kind, "build_model", from_images)
    with pytest.raises(UserError, match="ZooLinear asks for images of ZooMain"):
        load_run(folder)
