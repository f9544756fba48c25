"""A toy data set, a tiny CLIP and the least trainer on it, for tests of the CLIP family's base."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from yacs.config import CfgNode as CN

from cerviclip.data.images import cache as image_cache
from cerviclip.engine.vlm_trainer import VLMTrainer
from cerviclip.features.source import clear_tables
from cerviclip.plugins import extend_cfg_of
from cerviclip.vlm.loading import clear_backbones
from dassl.config import get_cfg_default
from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum
from dassl.engine import TRAINER_REGISTRY
from dassl.utils import set_random_seed
from helpers import tiny_clip_state_dict, write_images

_runs = itertools.count()  # a run must not resume its predecessor
CLASSES = {"red": 10, "green": 10, "blue": 10}


def toy_dataset(cfg: CN) -> DatasetBase:
    paths = sorted(p for name in CLASSES for p in Path(cfg.DATASET.ROOT, name).glob("*.png"))
    names = sorted(CLASSES)
    items = [Datum(str(p), names.index(p.parent.name), 0, p.parent.name) for p in paths]
    data = DatasetBase(train_x=items[::3], val=items[1::3], test=items[2::3])
    data.templates = ["a photo of a {}."]
    data.descriptions = {"long": {n: [f"cells that look {n}", f"{n} stain"] for n in names}}
    return data


class Probe(VLMTrainer):
    """A learnable scale of the class texts: the least that trains."""

    image_input = "features"

    def build_model(self) -> None:
        self.head = nn.Linear(self.backbone.embed_dim, self.num_classes)
        self.head.weight.data = self.text_features().clone()
        self.optim = torch.optim.SGD(self.head.parameters(), lr=0.5)
        self.register_model("head", self.head, self.optim)
        self.losses: list[float] = []
        self.order: list[str] = []

    def forward_backward(self, batch):
        image, label, _ = self.parse_batch_train(batch)
        self.order += list(batch["impath"])
        loss = F.cross_entropy(self.head(self.image_features(image)), label)
        self.model_backward_and_update(loss)
        self.losses.append(loss.item())
        return {"loss": loss.item()}

    def model_inference(self, input):
        return self.head(self.image_features(input))


@pytest.fixture
def toy(tmp_path):
    write_images(tmp_path / "data", CLASSES, size=40)
    from safetensors.torch import save_file

    save_file(tiny_clip_state_dict(), tmp_path / "clip.safetensors")
    DATASET_REGISTRY._obj_map["Toy"] = toy_dataset
    clear_tables()
    clear_backbones()
    yield tmp_path
    image_cache.disable()
    clear_tables()
    clear_backbones()


def make(tmp_path, kind=Probe, opts=(), **keys) -> VLMTrainer:
    """A trainer of ``kind`` on the toy data; ``keys`` have ``__`` for the dots of a key."""
    cfg = get_cfg_default()
    TRAINER_REGISTRY._obj_map[kind.__name__] = kind
    if extend := extend_cfg_of(kind.__module__):
        extend(cfg)
    cfg.DATASET.NAME = "Toy"
    cfg.DATASET.ROOT = str(tmp_path / "data")
    cfg.MODEL.BACKBONE.NAME = "CLIP"
    cfg.MODEL.INIT_WEIGHTS = str(tmp_path / "clip.safetensors")
    cfg.TRAINER.NAME = kind.__name__
    if not extend:
        cfg.TRAINER[kind.__name__.upper()] = CN({"PREC": "fp32"})
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.DATALOADER.TRAIN_X.BATCH_SIZE = 4
    cfg.OPTIM.MAX_EPOCH = 2
    cfg.OUTPUT_DIR = str(tmp_path / f"out{next(_runs)}")
    cfg.INPUT.TRANSFORMS = ["normalize"]
    for key, value in keys.items():
        cfg.merge_from_list([key.replace("__", "."), value])
    cfg.merge_from_list(list(opts))
    set_random_seed(3)
    trainer = kind(cfg)
    trainer.test_items = trainer.dm.dataset.test
    return trainer
