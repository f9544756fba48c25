"""Trainers as public repositories write them: prompt learner, own loop, two models.

Each uses upstream's names only, so that what they lean on cannot quietly change.
"""

from __future__ import annotations

import os.path as osp
import re
from datetime import datetime, timezone
from types import SimpleNamespace

import pytest
import torch
import torch.nn as nn
from torch.nn import functional as F

from cerviclip.runs.run.process.runtime import runtime_record
from dassl.engine import TRAINER_REGISTRY, SimpleTrainer, TrainerX, build_trainer
from dassl.metrics import compute_accuracy
from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.utils import load_checkpoint, set_random_seed
from helpers import tiny_clip_state_dict


class TextEncoder(nn.Module):
    def __init__(self, clip_model):
        super().__init__()
        self.transformer = clip_model.transformer
        self.positional_embedding = clip_model.positional_embedding
        self.ln_final = clip_model.ln_final
        self.text_projection = clip_model.text_projection
        self.dtype = clip_model.dtype

    def forward(self, prompts, tokens):
        x = prompts + self.positional_embedding.type(self.dtype)
        x = self.transformer(x.permute(1, 0, 2)).permute(1, 0, 2)
        x = self.ln_final(x).type(self.dtype)
        return x[torch.arange(x.shape[0]), tokens.argmax(dim=-1)] @ self.text_projection


class PromptLearner(nn.Module):
    def __init__(self, classnames, clip_model, n_ctx=4):
        super().__init__()
        import clip

        width = clip_model.ln_final.weight.shape[0]
        ctx = torch.empty(n_ctx, width, dtype=clip_model.dtype)
        nn.init.normal_(ctx, std=0.02)
        self.ctx = nn.Parameter(ctx)
        prompts = [" ".join(["X"] * n_ctx) + " " + name + "." for name in classnames]
        self.tokens = torch.cat([clip.tokenize(p) for p in prompts])
        with torch.no_grad():
            embedding = clip_model.token_embedding(self.tokens).type(clip_model.dtype)
        self.register_buffer("token_prefix", embedding[:, :1, :])
        self.register_buffer("token_suffix", embedding[:, 1 + n_ctx :, :])

    def forward(self):
        ctx = self.ctx.unsqueeze(0).expand(len(self.tokens), -1, -1)
        return torch.cat([self.token_prefix, ctx, self.token_suffix], dim=1)


class CustomCLIP(nn.Module):
    def __init__(self, classnames, clip_model):
        super().__init__()
        self.prompt_learner = PromptLearner(classnames, clip_model)
        self.image_encoder = clip_model.visual
        self.text_encoder = TextEncoder(clip_model)
        self.logit_scale = clip_model.logit_scale
        self.dtype = clip_model.dtype

    def forward(self, image):
        image_features = self.image_encoder(image.type(self.dtype))
        text_features = self.text_encoder(self.prompt_learner(), self.prompt_learner.tokens)
        image_features = image_features / image_features.norm(dim=-1, keepdim=True)
        text_features = text_features / text_features.norm(dim=-1, keepdim=True)
        return self.logit_scale.exp() * image_features @ text_features.t()


class FieldCoOp(TrainerX):
    prec = "fp32"

    def check_cfg(self, cfg):
        assert self.prec in ["fp16", "fp32", "amp"]

    def build_model(self):
        from clip.model import build_model, convert_weights

        cfg = self.cfg
        clip_model = build_model(tiny_clip_state_dict(image_size=16, patch=8))
        if self.prec == "fp16":
            convert_weights(clip_model)
        else:
            clip_model.float()
        self.model = CustomCLIP(self.dm.dataset.classnames, clip_model)
        for name, param in self.model.named_parameters():
            if "prompt_learner" not in name:
                param.requires_grad_(False)
        self.model.to(self.device)
        self.optim = build_optimizer(self.model.prompt_learner, cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, cfg.OPTIM)
        self.register_model("prompt_learner", self.model.prompt_learner, self.optim, self.sched)
        self.scaler = torch.amp.GradScaler("cpu") if self.prec == "amp" else None

    def forward_backward(self, batch):
        image, label = self.parse_batch_train(batch)
        if self.prec == "amp":
            with torch.autocast("cpu", dtype=torch.bfloat16):
                output = self.model(image)
                loss = F.cross_entropy(output, label)
            self.optim.zero_grad()
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optim)
            self.scaler.update()
        else:
            output = self.model(image)
            loss = F.cross_entropy(output, label)
            self.model_backward_and_update(loss)
        loss_summary = {"loss": loss.item(), "acc": compute_accuracy(output, label)[0].item()}
        if (self.batch_idx + 1) == self.num_batches:
            self.update_lr()
        return loss_summary

    def parse_batch_train(self, batch):
        return batch["img"].to(self.device), batch["label"].to(self.device)

    def load_model(self, directory, epoch=None):
        if not directory:
            print("Note that load_model() is skipped as no pretrained model is given")
            return
        model_file = "model-best.pth.tar"
        if epoch is not None:
            model_file = "model.pth.tar-" + str(epoch)
        for name in self.get_model_names():
            model_path = osp.join(directory, name, model_file)
            if not osp.exists(model_path):
                raise FileNotFoundError(f'Model not found at "{model_path}"')
            checkpoint = load_checkpoint(model_path)
            state_dict = checkpoint["state_dict"]
            for key in ("token_prefix", "token_suffix"):
                if key in state_dict:
                    del state_dict[key]
            self._models[name].load_state_dict(state_dict, strict=False)


def train(cfg):
    set_random_seed(1)
    trainer = build_trainer(cfg)
    trainer.train()
    return trainer


@pytest.mark.parametrize("prec", ["fp32", "amp", "fp16"])
def test_a_prompt_learner_trains_saves_and_is_evaluated(tiny, prec, capsys):
    TRAINER_REGISTRY.register(type("FieldCoOp", (FieldCoOp,), {"prec": prec}), force=True)
    options = {"INPUT__SIZE": (16, 16), "OPTIM__LR": 0.01, "OPTIM__WARMUP_EPOCH": 1}
    options |= {"OPTIM__WARMUP_TYPE": "constant", "OPTIM__MAX_EPOCH": 2, "TRAIN__PRINT_FREQ": 1}
    cfg = tiny("FieldCoOp", **options)
    trainer = train(cfg)
    out = capsys.readouterr().out
    assert re.findall(r" lr (\S+) ", out)[:3] == ["1.0000e-05", "1.0000e-05", "1.0000e-02"]
    assert trainer.model.prompt_learner.ctx.isfinite().all()
    accuracy = re.search(r"\* accuracy: (\S+)%", out).group(1)

    # train.py --eval-only --model-dir DIR --load-epoch 2
    set_random_seed(1)
    other = build_trainer(tiny("FieldCoOp", out="eval", **options))
    other.load_model(cfg.OUTPUT_DIR, epoch=2)
    assert torch.equal(other.model.prompt_learner.ctx, trainer.model.prompt_learner.ctx)
    capsys.readouterr()
    assert f"{other.test():.1f}" == accuracy
    assert f"* accuracy: {accuracy}%" in capsys.readouterr().out


class FieldOwnLoop(SimpleTrainer):
    """On SimpleTrainer, with a training loop written out and nothing of TrainerX."""

    def train(self):
        self.before_train()
        for self.epoch in range(self.start_epoch, self.max_epoch):  # noqa: B020
            self.before_epoch()
            self.set_model_mode("train")
            for batch in self.train_loader_x:
                input, label = self.parse_batch_test(batch)
                self.model_backward_and_update(F.cross_entropy(self.model(input), label))
            self.update_lr()
            self.after_epoch()
        self.after_train()


def test_a_trainer_on_simple_trainer_with_a_train_of_its_own(tiny, tmp_path, capsys):
    TRAINER_REGISTRY.register(FieldOwnLoop)
    trainer = train(tiny("FieldOwnLoop", TEST__FINAL_MODEL="best_val"))
    out = capsys.readouterr().out
    assert "Deploy the model with the best val performance" in out and "* accuracy: " in out
    assert trainer.dm.training_ended and not trainer.dm.test_read_early
    assert (tmp_path / "run" / "model" / "model.pth.tar-3").is_file()
    assert trainer.get_current_lr() == pytest.approx(0.0)


class FieldTeacher(TrainerX):
    """Two registered models, one of them without an optimiser, and hooks around each epoch."""

    def build_model(self):
        super().build_model()
        self.teacher = nn.Linear(3, self.num_classes)
        self.register_model("teacher", self.teacher)
        self.order = []

    def before_train(self):
        super().before_train()
        self.order.append("before_train")

    def before_epoch(self):
        self.order.append(f"before_epoch {self.epoch}")

    def after_epoch(self):
        super().after_epoch()
        self.order.append(f"after_epoch {self.epoch}")

    def after_train(self):
        self.order.append("after_train")
        super().after_train()

    def forward_backward(self, batch):
        image, label, domain = self.parse_batch_train(batch)
        assert domain.shape == label.shape
        logits = self.model(image)
        with torch.no_grad():
            target = self.teacher(image.mean((2, 3))).softmax(1)
        loss_ce, loss_kd = F.cross_entropy(logits, label), F.cross_entropy(logits, target)
        self.model_backward_and_update(loss_ce + loss_kd, names=["model"])
        if (self.batch_idx + 1) == self.num_batches:
            self.update_lr("model")
        return {"loss_ce": loss_ce.item(), "loss_kd": loss_kd.item()}


def test_two_models_and_hooks_in_their_order(tiny, tmp_path, capsys):
    TRAINER_REGISTRY.register(FieldTeacher)
    trainer = train(tiny("FieldTeacher", OPTIM__MAX_EPOCH=2))
    assert trainer.order == [
        "before_train",
        "before_epoch 0",
        "after_epoch 0",
        "before_epoch 1",
        "after_epoch 1",
        "after_train",
    ]
    assert re.search(r"loss_ce \S+ \(\S+\) loss_kd \S+ \(\S+\) lr", capsys.readouterr().out)
    saved = load_checkpoint(tmp_path / "run" / "teacher" / "model.pth.tar-2")
    assert saved["optimizer"] is None and set(saved["state_dict"]) == {"weight", "bias"}
    assert not trainer.teacher.training and not trainer.model.training  # both tested


class FieldDevice(TrainerX):
    """Sets its device itself, as many do, and moves batches by the base's own hooks."""

    own: object = "cpu"

    def build_model(self):
        self.device = self.own
        self.model = torch.nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, self.num_classes))
        self.model.to(self.device)
        self.optim = build_optimizer(self.model, self.cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, self.cfg.OPTIM)
        self.register_model("model", self.model, self.optim, self.sched)

    def forward_backward(self, batch):
        image, label, _ = self.parse_batch_train(batch)
        loss = F.cross_entropy(self.model(image), label)
        self.model_backward_and_update(loss)
        if (self.batch_idx + 1) == self.num_batches:
            self.update_lr()
        return {"loss": loss.item()}


@pytest.mark.parametrize(
    "own",
    [
        "cpu",
        torch.device("cpu"),
        pytest.param("cuda", marks=pytest.mark.gpu),
        pytest.param(0, marks=pytest.mark.gpu),
    ],
)
def test_a_trainer_may_set_its_device_to_whatever_to_takes(tiny, own, capsys):
    TRAINER_REGISTRY.register(type("FieldDevice", (FieldDevice,), {"own": own}), force=True)
    trainer = train(tiny("FieldDevice", INPUT__SIZE=(16, 16)))
    assert "* accuracy: " in capsys.readouterr().out and trainer.device is own
    assert runtime_record(_as_run(trainer))["device"] == str(torch.device(own))


def _as_run(trainer):
    return SimpleNamespace(
        trainer=trainer,
        cfg=trainer.cfg,
        started_at=datetime.now(timezone.utc),
        seconds={},
        shown_warnings=[],
        final_dir=trainer.output_dir,
    )
