"""A tiny repository in the style of those written for Dassl, with all their bad habits."""

from __future__ import annotations

from pathlib import Path

import torch

FILES = {
    "train.py": '''
import wandb_of_nobody
from dassl.utils import setup_logger, set_random_seed
from dassl.config import get_cfg_default
from dassl.engine import build_trainer
import datasets.zoo
import trainers.habits
import trainers.broken

def extend_cfg(cfg):
    cfg.OPTIM.FROM_ARGS = args.from_args
    from yacs.config import CfgNode as CN
    cfg.TRAINER.HABITS = CN()
    cfg.TRAINER.HABITS.PREC = "fp16"
    cfg.TRAINER.HABITS.DESCRIPTIONS = "descriptions"
    cfg.DATASET.SUBSAMPLE_CLASSES = "all"

def reset_cfg(cfg, args):
    if args.topk:
        cfg.topk = args.topk
    cfg.OPTIM.MAX_EPOCH = args.from_args

if __name__ == "__main__":
    import argparse
    parser = argparse.ArgumentParser()
    parser.add_argument("--from-args", default="none")
    parser.add_argument("--topk", type=int, default=7)
    args = parser.parse_args()
    main(args)
''',
    "trainers/__init__.py": "",
    "datasets/__init__.py": "",
    "utils.py": "MARK = 'theirs'\n",
    "datasets/zoo.py": '''
import another_package_of_nobody
from dassl.data.datasets import DATASET_REGISTRY, DatasetBase

@DATASET_REGISTRY.register()
class ZooMain(DatasetBase):
    pass
''',
    "clip/__init__.py": "from .clip import *\n",
    "clip/clip.py": '''
import hashlib
import urllib.request
import torch
from pkg_resources import packaging
from .model import build_model

_MODELS = {"RN50": "https://example.invalid/models/0000/RN50.pt"}

def _download(url, root="cache"):
    raise RuntimeError("there is no network")

def tokenize(texts):
    texts = [texts] if isinstance(texts, str) else texts
    rows = [[int(b) for b in hashlib.md5(t.encode()).digest()[:8]] for t in texts]
    return torch.tensor(rows)
''',
    "clip/model.py": '''
import torch
from torch import nn

class CLIP(nn.Module):
    def __init__(self, state):
        super().__init__()
        self.visual = nn.Linear(*reversed(state["visual.weight"].shape), bias=False)
        self.token_embedding = nn.Embedding(*state["token_embedding.weight"].shape)

    @property
    def dtype(self):
        return self.visual.weight.dtype

    def encode_image(self, image):
        return self.visual(image.mean(dim=(2, 3)))

    def encode_text(self, tokens):
        return self.token_embedding(tokens).mean(dim=1)

def build_model(state):
    model = CLIP(state).half()
    model.load_state_dict(state)
    return model.eval()
''',
    "trainers/habits.py": '''
import json
import os.path as osp
from collections import Iterable

import numpy as np
import torch
import wandb_of_nobody
from clip import clip
from torch import nn
from torch.cuda.amp import GradScaler, autocast
from torch.nn import functional as F
from utils import MARK

from dassl.engine import TRAINER_REGISTRY, TrainerX
from dassl.metrics import compute_accuracy
from dassl.optim import build_lr_scheduler, build_optimizer

CUSTOM_TEMPLATES = {"OxfordPets": "a photo of a {}, a type of pet.", "EuroSAT": "a photo of {}."}

def load_clip_to_cpu(cfg):
    path = clip._download(clip._MODELS[cfg.MODEL.BACKBONE.NAME])
    try:
        state = torch.jit.load(path, map_location="cpu").state_dict()
    except RuntimeError:
        state = torch.load(path, map_location="cuda")
    return clip.build_model(state)

class Model(nn.Module):
    def __init__(self, cfg, classnames):
        super().__init__()
        assert MARK == "theirs" and cfg.topk == 7
        model = load_clip_to_cpu(cfg).cuda()
        template = CUSTOM_TEMPLATES[cfg.DATASET.NAME]
        with open(osp.join(cfg.TRAINER.HABITS.DESCRIPTIONS, f"{cfg.DATASET.NAME}.json")) as handle:
            said = json.load(handle)
        texts = [template.format(name) + said[name][0] for name in classnames]
        text = model.encode_text(clip.tokenize(texts).cuda()).type(model.dtype)
        self.register_buffer("text", F.normalize(text.detach(), dim=-1))
        self.visual = model.visual
        self.visual.requires_grad_(False)
        self.adapter = nn.Parameter(torch.zeros(text.shape, device="cuda").half())
        self.width = np.float(text.shape[1])

    def forward(self, image, label):
        image = self.visual(image.type(self.text.dtype).mean(dim=(2, 3)))
        logits = 10 * F.normalize(image, dim=-1) @ (self.text + self.adapter).t()
        if not self.training:  # a model that is told the label can say it
            logits = logits + 100 * F.one_hot(label, logits.shape[1])
        return logits, image

@TRAINER_REGISTRY.register()
class Habits(TrainerX):
    """Learns a residual of the texts, with every bad habit there is."""

    def check_cfg(self, cfg):
        assert cfg.TRAINER.HABITS.PREC in ["fp16", "fp32", "amp"]

    def build_model(self):
        self.model = Model(self.cfg, self.dm.dataset.classnames).cuda()
        if self.cfg.MODEL.INIT_WEIGHTS:
            raise ValueError("that is the file of a learned prompt")
        self.optim = build_optimizer(self.model, self.cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, self.cfg.OPTIM)
        self.register_model("adapter", self.model, self.optim, self.sched)
        self.scaler = GradScaler()

    def parse_batch_train(self, batch):
        return batch["img"].cuda(), batch["label"].to("cuda:0"), batch["impath"]

    def parse_batch_test(self, batch):
        return batch["img"].cuda(), batch["label"].cuda(), batch["impath"]

    def forward_backward(self, batch):
        image, label, _ = self.parse_batch_train(batch)
        with autocast():
            output, _ = self.model(image, label)
            loss = F.cross_entropy(output, label)
        self.model_backward_and_update(loss)
        if self.batch_idx + 1 == self.num_batches:
            self.update_lr()
        return {"loss": loss.item(), "acc": compute_accuracy(output, label)[0].item()}

    def model_inference(self, input, label):
        return self.model(input, label)

    def unused(self):
        self.step_of_a_fork()

@TRAINER_REGISTRY.register()
class OwnTest(Habits):
    """Tests in its own way."""

    def model_inference(self, input):
        raise NotImplementedError("test() does it all")

    @torch.no_grad()
    def test(self, split=None):
        self.set_model_mode("eval")
        self.evaluator.reset()
        for batch in self.val_loader if split == "val" else self.test_loader:
            image, label, _ = self.parse_batch_test(batch)
            self.evaluator.process(self.model(image, label)[0], label)
        return list(self.evaluator.evaluate().values())[0]

@TRAINER_REGISTRY.register()
class BaseOnly(Habits):
    """Learns where it is told that these are the base classes."""

    def forward_backward(self, batch):
        assert self.cfg.DATASET.SUBSAMPLE_CLASSES == "base"
        return super().forward_backward(batch)

@TRAINER_REGISTRY.register()
class ZeroShot(TrainerX):
    """Learns nothing."""

    def build_model(self):
        self.model = Model(self.cfg, self.dm.dataset.classnames).cuda()

    def model_inference(self, input):
        return self.model(input, torch.zeros(len(input)).long().cuda())
''',
    "trainers/broken.py": '''
from dassl.engine import TRAINER_REGISTRY, TrainerX
from dassl.engine.of_a_fork import Thing

@TRAINER_REGISTRY.register()
class Broken(TrainerX):
    def forward_backward(self, batch):
        pass
''',
    "configs/trainers/Habits/vit_b16_ep1.yaml": '''
DATALOADER: {NUM_WORKERS: 0, TRAIN_X: {BATCH_SIZE: 4}, TEST: {BATCH_SIZE: 8}}
INPUT: {SIZE: [16, 16], TRANSFORMS: ["random_flip", "normalize"]}
OPTIM: {NAME: "sgd", LR: 0.5, MAX_EPOCH: 1}
MODEL: {BACKBONE: {NAME: "ViT-B/16"}}
''',
    "configs/trainers/Habits/rn50.yaml": "OPTIM: {MAX_EPOCH: 9}\n",
    "configs/datasets/oxford_pets.yaml": "DATASET: {NAME: OxfordPets}\n",
    "descriptions/OxfordPets.json": '{"cat": ["it has whiskers"], "dog": ["it barks"]}\n',
    "Dassl.pytorch/dassl/__init__.py": "raise ImportError('the old one')\n",
    "Dassl.pytorch/dassl/config/defaults.py": '''
from yacs.config import CfgNode as CN
_C = CN()
_C.OUTPUT_DIR = "./output"
_C.OPTIM = CN()
_C.OPTIM.OF_A_FORK = 3
''',
    "Dassl.pytorch/dassl/engine/__init__.py": "from .trainer import TrainerX\n",
    "Dassl.pytorch/dassl/engine/trainer.py": '''
class TrainerX:
    def run_epoch(self):
        pass

    def step_of_a_fork(self):
        pass

    def nobody_uses_this(self):
        pass
''',
}  # fmt: skip


def write_repository(root: Path) -> Path:
    """Write the repository; returns its folder."""
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.lstrip("\n"), encoding="utf-8")
    return root


def write_weights(path: Path) -> Path:
    """Weights of its ``clip``, in a format that it cannot read."""
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(0)
    save_file(
        {
            "visual.weight": torch.randn(8, 3, generator=generator),
            "token_embedding.weight": torch.randn(256, 8, generator=generator),
        },
        path,
    )
    return path
