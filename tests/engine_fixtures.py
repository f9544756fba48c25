"""A tiny data set, a network of a few weights and a config, for tests of the training loops."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dassl.config import get_cfg_default
from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum
from dassl.engine import TRAINER_REGISTRY, TrainerX, TrainerXU
from dassl.metrics import compute_accuracy
from dassl.modeling import BACKBONE_REGISTRY, Backbone
from helpers import write_images

CLASSES = {"blue": 8, "green": 8, "red": 8}


class TinyNet(Backbone):
    """Channel means, a linear layer, batch norm and dropout: all kinds of state in little time."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 6)
        self.norm = nn.BatchNorm1d(6)
        self.drop = nn.Dropout(0.2)
        self._out_features = 6

    def forward(self, x):
        return self.drop(self.norm(self.layer(x.mean(dim=(2, 3)))))


def step(trainer, input, label):
    """A step as most repositories of the field write it."""
    output = trainer.model(input)
    loss = nn.functional.cross_entropy(output, label)
    trainer.model_backward_and_update(loss)
    if (trainer.batch_idx + 1) == trainer.num_batches:
        trainer.update_lr()
    return {"loss": loss.item(), "acc": compute_accuracy(output, label)[0].item()}


@pytest.fixture
def tiny(tmp_path):
    """Register everything and return ``make(trainer name, **overrides) -> cfg``."""
    folder = tmp_path / "images"
    write_images(folder, CLASSES, size=8)

    class TinyDataset(DatasetBase):
        """8 images of each of 3 classes; 4 train, 2 val, 2 test; two domains; train as train_u."""

        def __init__(self, cfg):
            parts = {"train": [], "val": [], "test": []}
            for label, name in enumerate(CLASSES):
                for i, path in enumerate(sorted((folder / name).iterdir())):
                    part = "train" if i < 4 else "val" if i < 6 else "test"
                    parts[part].append(Datum(str(path), label, i % 2, name))
            val = [] if cfg.DATASET.NUM_SHOTS == 1 else parts["val"]
            super().__init__(parts["train"], parts["train"], val, parts["test"])

    def tiny_net(**kwargs):
        return TinyNet()

    class PlainX(TrainerX):
        def forward_backward(self, batch):
            input, label, _ = self.parse_batch_train(batch)
            return step(self, input, label)

    class PlainXU(TrainerXU):
        def forward_backward(self, batch_x, batch_u):
            input, label, _ = self.parse_batch_train(batch_x, batch_u)
            return step(self, input, label)

    DATASET_REGISTRY.register(TinyDataset)
    BACKBONE_REGISTRY.register(tiny_net)
    TRAINER_REGISTRY.register(PlainX)
    TRAINER_REGISTRY.register(PlainXU)

    def make(trainer="PlainX", out="run", **overrides):
        cfg = get_cfg_default()
        cfg.OUTPUT_DIR = str(tmp_path / out)
        cfg.DATASET.NAME = "TinyDataset"
        cfg.TRAINER.NAME = trainer
        cfg.MODEL.BACKBONE.NAME = "tiny_net"
        cfg.INPUT.SIZE = (8, 8)
        cfg.INPUT.TRANSFORMS = ("random_flip", "normalize")
        cfg.DATALOADER.NUM_WORKERS = 0
        cfg.DATALOADER.TRAIN_X.BATCH_SIZE = 4
        cfg.OPTIM.NAME = "sgd"
        cfg.OPTIM.LR = 0.1
        cfg.OPTIM.MAX_EPOCH = 3
        cfg.OPTIM.LR_SCHEDULER = "cosine"
        cfg.USE_CUDA = False
        cfg.merge_from_list(
            [x for key, v in overrides.items() for x in (key.replace("__", "."), v)]
        )
        return cfg

    return make


@pytest.fixture(autouse=True)
def _one_thread():
    """Networks this small only wait for a second thread."""
    torch.set_num_threads(1)
