"""In the style of CoCoOp: prompts conditioned on each image, the loss computed inside the model."""

from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional as F

from dassl.engine import TRAINER_REGISTRY
from dassl.optim import build_lr_scheduler, build_optimizer

from .coop import CoOp, PromptLearner, TextEncoder, load_clip_to_cpu


class ConditionalCLIP(nn.Module):
    def __init__(self, cfg, classnames, clip_model):
        super().__init__()
        self.prompt_learner = PromptLearner(cfg, cfg.TRAINER.COCOOP, classnames, clip_model)
        dim = clip_model.ln_final.weight.shape[0]
        self.prompt_learner.meta_net = nn.Sequential(
            OrderedDict(
                linear1=nn.Linear(clip_model.visual.output_dim, dim // 4),
                relu=nn.ReLU(inplace=True),
                linear2=nn.Linear(dim // 4, dim),
            )
        )
        self.tokens = self.prompt_learner.tokenized_prompts
        self.image_encoder, self.text_encoder = clip_model.visual, TextEncoder(clip_model)
        self.logit_scale, self.dtype = clip_model.logit_scale, clip_model.dtype

    def forward(self, image, label=None):
        learner = self.prompt_learner
        features = self.image_encoder(image.type(self.dtype))
        features = features / features.norm(dim=-1, keepdim=True)
        logits = []
        for feature, shift in zip(features, learner.meta_net(features), strict=True):
            ctx = (learner.ctx + shift).unsqueeze(0).expand(learner.n_cls, -1, -1)
            prompts = torch.cat([learner.token_prefix, ctx, learner.token_suffix], dim=1)
            text = self.text_encoder(prompts, self.tokens)
            text = text / text.norm(dim=-1, keepdim=True)
            logits.append(self.logit_scale.exp() * feature @ text.t())
        logits = torch.stack(logits)
        if self.prompt_learner.training:
            return F.cross_entropy(logits, label)
        return logits


@TRAINER_REGISTRY.register()
class CoCoOp(CoOp):
    def check_cfg(self, cfg):
        assert cfg.TRAINER.COCOOP.PREC in ["fp16", "fp32", "amp"]

    def build_model(self):
        cfg = self.cfg
        clip_model = load_clip_to_cpu(cfg).float()
        self.model = ConditionalCLIP(cfg, self.dm.dataset.classnames, clip_model)
        for name, param in self.model.named_parameters():
            if "prompt_learner" not in name:
                param.requires_grad_(False)
        enabled = {name for name, p in self.model.named_parameters() if p.requires_grad}
        print(f"Parameters to be updated: {enabled}")
        self.model.to(self.device)
        self.optim = build_optimizer(self.model.prompt_learner, cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, cfg.OPTIM)
        self.register_model("prompt_learner", self.model.prompt_learner, self.optim, self.sched)

    def forward_backward(self, batch):
        image, label = self.parse_batch_train(batch)
        loss = self.model(image, label)
        self.optim.zero_grad()
        loss.backward()
        self.optim.step()
        if (self.batch_idx + 1) == self.num_batches:
            self.update_lr()
        return {"loss": loss.item()}
