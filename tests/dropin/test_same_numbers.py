"""The same seed gives upstream's numbers: a run against a bare loop written from upstream's order.

Upstream draws, in this order: the few-shot samples from ``random`` while the data set is built;
the model's weights from torch; then per epoch one number for the loader, one for its sampler, and
the augmentation's of each image (decode, then transform, image by image); one number per
evaluation. The loop below does that with torch and torchvision alone.
"""

from __future__ import annotations

import random
import re

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, RandomSampler
from torchvision import transforms as T
from torchvision.transforms import InterpolationMode

from dassl.config import get_cfg_default
from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum
from dassl.engine import TRAINER_REGISTRY, TrainerX, build_trainer
from dassl.metrics import compute_accuracy
from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.utils import set_random_seed
from helpers import write_images

CLASSES = {"a": 9, "b": 8, "c": 10}
SHOTS, BATCH, EPOCHS, LR, SIZE = 6, 4, 4, 0.05, 24


@pytest.fixture
def registered(tmp_path):
    write_images(tmp_path / "images", CLASSES)

    def listed(part):
        return [
            (str(path), label, name)
            for label, name in enumerate(CLASSES)
            for i, path in enumerate(sorted((tmp_path / "images" / name).iterdir()))
            if (i % 4 == 3) == (part == "test")
        ]

    @DATASET_REGISTRY.register(force=True)
    class SameNumbers(DatasetBase):
        def __init__(self, cfg):
            parts = [
                [Datum(impath=p, label=k, classname=n) for p, k, n in listed(part)]
                for part in ("train", "test")
            ]
            train = self.generate_fewshot_dataset(parts[0], num_shots=cfg.DATASET.NUM_SHOTS)
            val = self.generate_fewshot_dataset(parts[1], num_shots=1)
            super().__init__(train_x=train, val=val, test=parts[1])

    @TRAINER_REGISTRY.register(force=True)
    class PixelProbe(TrainerX):
        def build_model(self):
            self.model = make_model()
            self.optim = build_optimizer(self.model, self.cfg.OPTIM)
            self.sched = build_lr_scheduler(self.optim, self.cfg.OPTIM)
            self.register_model("model", self.model, self.optim, self.sched)

        def forward_backward(self, batch):
            image, label, _ = self.parse_batch_train(batch)
            output = self.model(image)
            loss = F.cross_entropy(output, label)
            self.model_backward_and_update(loss)
            summary = {"loss": loss.item(), "acc": compute_accuracy(output, label)[0].item()}
            if (self.batch_idx + 1) == self.num_batches:
                self.update_lr()
            return summary

    return listed


def make_model():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, 8), nn.Dropout(), nn.Linear(8, 3))


def run_ours(tmp_path, best_val, transforms):
    cfg = get_cfg_default()
    cfg.TRAINER.NAME, cfg.DATASET.NAME, cfg.DATASET.NUM_SHOTS = "PixelProbe", "SameNumbers", SHOTS
    cfg.INPUT.SIZE, cfg.INPUT.TRANSFORMS = (SIZE, SIZE), transforms
    cfg.INPUT.INTERPOLATION = "bicubic"
    cfg.DATALOADER.TRAIN_X.BATCH_SIZE, cfg.DATALOADER.TEST.BATCH_SIZE = BATCH, 5
    cfg.DATALOADER.NUM_WORKERS, cfg.TRAIN.PRINT_FREQ = 0, 1
    cfg.OPTIM.NAME, cfg.OPTIM.LR, cfg.OPTIM.MAX_EPOCH = "sgd", LR, EPOCHS
    cfg.OPTIM.LR_SCHEDULER, cfg.OPTIM.WARMUP_EPOCH = "cosine", 1
    cfg.OPTIM.WARMUP_TYPE = "constant"
    cfg.TEST.FINAL_MODEL = "best_val" if best_val else "last_step"
    cfg.OUTPUT_DIR, cfg.USE_CUDA = str(tmp_path / "out"), False
    set_random_seed(7)
    trainer = build_trainer(cfg)
    trainer.train()
    return trainer.test()


class Images(torch.utils.data.Dataset):
    def __init__(self, items, transform):
        self.items, self.transform = items, transform

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        path, label, _ = self.items[i]
        return self.transform(Image.open(path).convert("RGB")), label


def run_bare(listed, best_val, augment):
    random.seed(7)
    np.random.seed(7)
    torch.manual_seed(7)
    train, test = [], listed("test")
    for k in range(3):
        train += random.sample([item for item in listed("train") if item[1] == k], SHOTS)
    val = []
    for k in range(3):
        val += random.sample([item for item in test if item[1] == k], 1)

    normalise = [T.ToTensor(), T.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
    bicubic = InterpolationMode.BICUBIC
    plain = T.Compose([T.Resize(SIZE, bicubic), T.CenterCrop(SIZE), *normalise])
    train_set = Images(train, T.Compose([*augment, *normalise]))
    loader = DataLoader(train_set, BATCH, sampler=RandomSampler(train_set), drop_last=True)

    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), LR, momentum=0.9, weight_decay=5e-4)
    lines, best, kept = [], -1.0, None
    for epoch in range(EPOCHS):
        # Constant warm-up of one epoch at 1e-5, then cosine counted from there.
        rate = 1e-5 if epoch == 0 else LR * (1 + np.cos(np.pi * (epoch - 1) / EPOCHS)) / 2
        optimizer.param_groups[0]["lr"] = float(rate)
        model.train()
        for image, label in loader:
            output = model(image)
            loss = F.cross_entropy(output, label)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            accuracy = 100 * (output.argmax(1) == label).float().mean()
            lines.append((f"{loss.item():.4f}", f"{accuracy.item():.4f}"))
        if best_val:
            result = accuracy_of(model, DataLoader(Images(val, plain), 5))
            if result > best:
                best, kept = result, {k: v.clone() for k, v in model.state_dict().items()}
    if kept is not None:
        model.load_state_dict(kept)
    return lines, accuracy_of(model, DataLoader(Images(test, plain), 5))


@torch.no_grad()
def accuracy_of(model, loader):
    model.eval()
    hits = [(model(image).argmax(1) == label) for image, label in loader]
    return 100 * torch.cat(hits).float().mean().item()


@pytest.mark.parametrize("best_val", [False, True], ids=["last_step", "best_val"])
@pytest.mark.parametrize("crop", ["random_resized_crop", "random_crop", "none"])
def test_losses_and_accuracy_equal_those_of_a_bare_loop(
    tmp_path, registered, capsys, best_val, crop
):
    bicubic = InterpolationMode.BICUBIC
    augment = {
        "random_resized_crop": [
            T.RandomResizedCrop((SIZE, SIZE), scale=(0.08, 1.0), interpolation=bicubic),
            T.RandomHorizontalFlip(),
        ],
        "random_crop": [
            T.RandomCrop((SIZE, SIZE), padding=4),
            T.RandomHorizontalFlip(),
        ],
        "none": [T.Resize((SIZE, SIZE), interpolation=bicubic)],
    }[crop]
    names = ["normalize"] if crop == "none" else [crop, "random_flip", "normalize"]
    accuracy = run_ours(tmp_path, best_val, names)
    printed = re.findall(r"loss (\S+) \(\S+\) acc (\S+) ", capsys.readouterr().out)
    expected, bare_accuracy = run_bare(registered, best_val, augment)
    assert len(expected) == EPOCHS * (3 * SHOTS // BATCH)
    assert printed == expected
    assert accuracy == pytest.approx(bare_accuracy, abs=1e-4)
