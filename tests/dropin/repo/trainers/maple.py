"""In the style of MaPLe, IVLP and PromptSRC: the whole model is registered, most of it frozen.

PromptSRCToy also averages the prompts over epochs and loads the average at the end.
"""

import copy

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from dassl.engine import TRAINER_REGISTRY, TrainerX
from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.utils import load_pretrained_weights

from .coop import CoOp, PromptLearner, TextEncoder, load_clip_to_cpu


class MultiModalCLIP(nn.Module):
    def __init__(self, cfg, classnames, clip_model):
        super().__init__()
        self.prompt_learner = PromptLearner(cfg, cfg.TRAINER.MAPLE, classnames, clip_model)
        width = clip_model.visual.conv1.out_channels
        self.prompt_learner.proj = nn.Linear(self.prompt_learner.ctx.shape[-1], width)
        self.tokens = self.prompt_learner.tokenized_prompts
        self.image_encoder, self.text_encoder = clip_model.visual, TextEncoder(clip_model)
        self.logit_scale = clip_model.logit_scale

    def forward(self, image, label=None):
        shared = self.prompt_learner.proj(self.prompt_learner.ctx)
        image_features = F.normalize(self.image_encoder(image, extra=shared), dim=-1)
        text_features = F.normalize(self.text_encoder(self.prompt_learner(), self.tokens), dim=-1)
        logits = self.logit_scale.exp() * image_features @ text_features.t()
        return F.cross_entropy(logits, label) if self.prompt_learner.training else logits


@TRAINER_REGISTRY.register()
class MaPLe(TrainerX):
    model_key = "MultiModalPromptLearner"

    def build_model(self):
        cfg = self.cfg
        clip_model = load_clip_to_cpu(cfg).float()
        self.model = MultiModalCLIP(cfg, self.dm.dataset.classnames, clip_model)
        for name, param in self.model.named_parameters():
            param.requires_grad_("prompt_learner" in name)
        if cfg.MODEL.INIT_WEIGHTS:
            load_pretrained_weights(self.model, cfg.MODEL.INIT_WEIGHTS)
        self.model.to(self.device)
        self.optim = build_optimizer(self.model, cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, cfg.OPTIM)
        self.register_model(self.model_key, self.model, self.optim, self.sched)

    def forward_backward(self, batch):
        image, label = self.parse_batch_train(batch)
        loss = self.model(image, label)
        self.optim.zero_grad()
        loss.backward()
        self.optim.step()
        if (self.batch_idx + 1) == self.num_batches:
            self.update_lr()
        return {"loss": loss.item()}

    parse_batch_train = CoOp.parse_batch_train
    load_model = CoOp.load_model


@TRAINER_REGISTRY.register()
class PromptSRCToy(MaPLe):
    model_key = "VLPromptLearner"

    def build_model(self):
        super().build_model()
        self.total_epochs = self.cfg.OPTIM.MAX_EPOCH
        self.step_counter = 1
        epochs = np.arange(1, self.total_epochs + 1)
        gauss = np.exp(-0.5 * ((epochs - 2) / 1.0) ** 2)
        self.gauss = gauss / gauss.sum()
        self.previous_model_gpa = None

    def forward_backward(self, batch):
        summary = super().forward_backward(batch)
        if (self.batch_idx + 1) == self.num_batches:
            weight = self.gauss[self.step_counter - 1]
            current = copy.deepcopy(self.model.state_dict())
            weighted = {key: value * weight for key, value in current.items()}
            if self.previous_model_gpa is None:
                self.previous_model_gpa = weighted
            else:
                for key in weighted:
                    self.previous_model_gpa[key] = self.previous_model_gpa[key] + weighted[key]
            self.step_counter += 1
        if self.step_counter == self.model.prompt_learner.n_ctx + self.total_epochs:
            raise AssertionError("counted too far")
        if self.step_counter == self.total_epochs + 1:
            print("Using GPA model for final inference...")
            self.model.load_state_dict(self.previous_model_gpa)
        return summary

    @torch.no_grad()
    def model_inference(self, input):
        return self.model(input)
