"""In the style of PLOT: several prompts per class, matched to patches by optimal transport."""

import torch
from torch import nn
from torch.nn import functional as F

from dassl.engine import TRAINER_REGISTRY

from .coop import CoOp, PromptLearner, TextEncoder, load_clip_to_cpu


class OwnTextModel(nn.Module):
    """A text model of the method's own, called once per prompt."""

    def __init__(self, clip_model):
        super().__init__()
        self.encoder = TextEncoder(clip_model)

    def forward(self, learners):
        return torch.stack([self.encoder(learn(), learn.tokenized_prompts) for learn in learners])


def sinkhorn(scores, rounds=20):
    """Transport plan of uniform marginals. scores: (B, V, C, P)"""
    plan = (scores / 0.1).exp()
    for _ in range(rounds):
        plan = plan / plan.sum(dim=1, keepdim=True)
        plan = plan / plan.sum(dim=3, keepdim=True)
    return plan / plan.sum(dim=(1, 3), keepdim=True)


class TransportCLIP(nn.Module):
    def __init__(self, cfg, classnames, clip_model):
        super().__init__()
        node = cfg.TRAINER.PLOT
        self.prompt_learner = nn.ModuleList(
            PromptLearner(cfg, node, classnames, clip_model) for _ in range(node.N)
        )
        self.image_encoder, self.text_model = clip_model.visual, OwnTextModel(clip_model)
        self.logit_scale = clip_model.logit_scale

    def forward(self, image):
        text = F.normalize(self.text_model(self.prompt_learner), dim=-1)  # (P, C, D)
        views = [self.image_encoder(image), self.image_encoder(image.flip(-1))]  # two passes
        views = F.normalize(torch.stack(views, dim=1), dim=-1)  # (B, V, D)
        scores = torch.einsum("bvd,pcd->bvcp", views, text)
        with torch.no_grad():
            plan = sinkhorn(scores)
        return self.logit_scale.exp() * (plan * scores).sum(dim=(1, 3))


@TRAINER_REGISTRY.register()
class PLOT(CoOp):
    def check_cfg(self, cfg):
        assert cfg.TRAINER.PLOT.PREC == "fp32"

    def build_model(self):
        from dassl.optim import build_lr_scheduler, build_optimizer

        cfg = self.cfg
        clip_model = load_clip_to_cpu(cfg).float()
        self.model = TransportCLIP(cfg, self.dm.dataset.classnames, clip_model)
        for name, param in self.model.named_parameters():
            param.requires_grad_("prompt_learner" in name)
        self.model.to(self.device)
        self.optim = build_optimizer(self.model.prompt_learner, cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, cfg.OPTIM)
        self.register_model("prompt_learner", self.model.prompt_learner, self.optim, self.sched)
