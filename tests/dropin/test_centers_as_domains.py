"""Upstream's generalisation, adaptation and semi-supervised side on phantom centres as domains."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cerviclip.data.phantoms import CENTERS
from cerviclip.plugins import ensure_loaded
from dassl.config import get_cfg_default, merge_file
from dassl.data import DataManager
from dassl.engine import TRAINER_REGISTRY, TrainerX, TrainerXU, build_trainer
from dassl.utils import set_random_seed

ensure_loaded("dataset", "PhantomDomains")
ROOT = Path(__file__).resolve().parents[2]
# Trainer -> models it registers, names of what it logs.
TRAINERS = {
    "Vanilla": (["model"], ["loss", "acc"]),
    "DomainMix": (["model"], ["loss", "acc"]),
    "DANN": (["model", "critic"], ["loss_x", "acc_x", "loss_d"]),
    "FixMatch": (["model"], ["loss_x", "acc_x", "loss_u", "y_u_pred_acc_thre"]),
}


@pytest.fixture(scope="module")
def data_root(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        for name, center in list(CENTERS.items()):
            small = replace(center, patients=(3, 3, 3, 3, 3), frames=(2, 2))
            patch.setitem(CENTERS, name, small)
        yield tmp_path_factory.mktemp("data")


def make_cfg(data_root, out, trainer, **keys):
    cfg = get_cfg_default()
    merge_file(cfg, ROOT / "configs/datasets/phantom_domains.yaml")
    cfg.TRAINER.NAME, cfg.OUTPUT_DIR = trainer, str(out)
    cfg.DATASET.ROOT, cfg.SEED, cfg.USE_CUDA = str(data_root), 1, False
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.INPUT.SIZE, cfg.INPUT.TRANSFORMS = (32, 32), ("random_flip", "normalize")
    cfg.MODEL.BACKBONE.NAME, cfg.MODEL.BACKBONE.PRETRAINED = "cnn_digitsdg", False
    cfg.OPTIM.LR, cfg.OPTIM.MAX_EPOCH = 0.001, 1
    cfg.DATALOADER.TRAIN_X.BATCH_SIZE = 10
    cfg.TRAINER.FIXMATCH.STRONG_TRANSFORMS = ("random_flip", "randaugment_fixmatch", "normalize")
    cfg.TRAINER.FIXMATCH.CONF_THRE = 0.1
    for key, value in keys.items():
        section, leaf = key.split("__")
        (cfg.DATALOADER.TRAIN_X if section == "TRAIN_X" else cfg[section])[leaf] = value
    return cfg


def train(data_root, out, name):
    keys = {"TRAIN_X__SAMPLER": "RandomDomainSampler"} if name == "DomainMix" else {}
    set_random_seed(1)
    trainer = build_trainer(make_cfg(data_root, out, name, DATASET__NUM_SHOTS=2, **keys))
    before = {key: value.clone() for key, value in trainer.model.state_dict().items()}
    trainer.train()
    return trainer, before


@pytest.mark.parametrize("name", TRAINERS)
def test_trains_on_two_centers_and_is_tested_on_the_third(data_root, tmp_path, capsys, name):
    models, logged = TRAINERS[name]
    trainer, before = train(data_root, tmp_path / "a", name)
    out = capsys.readouterr().out
    assert trainer.get_model_names() == models
    for model in models:
        file = tmp_path / "a" / model / "model.pth.tar-1"
        assert torch.load(file, weights_only=True)["epoch"] == 1
    weights = trainer.model.state_dict()
    assert any(not torch.equal(before[key], weights[key]) for key in weights)
    assert re.search(r"Source +.*mixed.*huaxi.*\nTarget +.*xiangya", out)
    for key in logged:
        values = [float(v) for v in re.findall(rf" {key} (\S+) \(", out)]
        assert values and all(math.isfinite(value) for value in values), key
    assert "* accuracy:" in out.split("Finish training")[1]
    if name not in ("DomainMix", "FixMatch"):  # those that draw most; the others cost seconds
        return
    again, _ = train(data_root, tmp_path / "b", name)
    assert all(torch.equal(weights[key], w) for key, w in again.model.state_dict().items())


def test_registered_as_upstream_has_them():
    for name in TRAINERS:
        kind = TrainerXU if name in ("DANN", "FixMatch") else TrainerX
        assert issubclass(TRAINER_REGISTRY.get(name), kind)
    from dassl.engine.da import DANN
    from dassl.engine.dg import DomainMix, Vanilla
    from dassl.engine.ssl import FixMatch

    assert [k.__name__ for k in (DANN, DomainMix, Vanilla, FixMatch)]


def test_batches_of_the_domain_sampler_hold_both_centers_alike(data_root, tmp_path):
    cfg = make_cfg(data_root, tmp_path, "Vanilla", TRAIN_X__SAMPLER="RandomDomainSampler")
    batches = list(DataManager(cfg).train_loader_x)
    assert batches
    for batch in batches:
        assert torch.bincount(batch["domain"]).tolist() == [5, 5]


def test_k_transforms_and_img0(data_root, tmp_path):
    cfg = make_cfg(
        data_root, tmp_path, "Vanilla", DATALOADER__K_TRANSFORMS=3, DATALOADER__RETURN_IMG0=True
    )
    cfg.INPUT.TRANSFORMS = ("random_resized_crop", "normalize")
    dm = DataManager(cfg)
    batch = next(iter(dm.train_loader_x))
    assert [tuple(view.shape) for view in batch["img"]] == [(10, 3, 32, 32)] * 3
    assert not torch.equal(batch["img"][0], batch["img"][1])
    again = dm.train_loader_x.dataset
    index = int(batch["index"][0])
    assert torch.equal(batch["img0"][0], again[index]["img0"])  # no augmentation
    assert set(batch) == {"img", "img0", "label", "domain", "impath", "index"}
    test_batch = next(iter(dm.val_loader))
    assert test_batch["img"].dim() == 4  # several views in training only


def test_fixmatch_pseudo_labels_follow_the_threshold(data_root, tmp_path, capsys):
    """Above 1 nothing is sure enough: the unlabelled loss is 0 and nothing is kept."""
    cfg = make_cfg(data_root, tmp_path, "FixMatch", DATASET__NUM_SHOTS=2)
    cfg.TRAINER.FIXMATCH.CONF_THRE = 1.01
    build_trainer(cfg).train()
    out = capsys.readouterr().out
    assert set(re.findall(r"loss_u (\S+) ", out)) == {"0.0000"}
    assert set(re.findall(r"y_u_pred_keep (\S+) ", out)) == {"0.0000"}


def test_a_subclass_of_fixmatch_finds_upstreams_method(data_root, tmp_path):
    trainer = build_trainer(make_cfg(data_root, tmp_path, "FixMatch"))
    pred, true = torch.tensor([0, 1, 2, 2]), torch.tensor([0, 1, 0, 2])
    stats = trainer.assess_y_pred_quality(pred, true, torch.tensor([1.0, 0.0, 1.0, 0.0]))
    assert float(stats["acc_thre"]) == pytest.approx(0.5, abs=1e-5)
    assert float(stats["acc_raw"]) == pytest.approx(0.75)
    assert float(stats["keep_rate"]) == pytest.approx(0.5)
