"""In the style of CLIP-Adapter, TaskRes and two-model methods."""

import torch
from torch import nn
from torch.nn import functional as F

from dassl.engine import TRAINER_REGISTRY, TrainerX
from dassl.metrics import compute_accuracy
from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.utils import count_num_param, open_specified_layers

from .coop import CoOp, clip, load_clip_to_cpu


class AdapterCLIP(nn.Module):
    def __init__(self, cfg, classnames, clip_model):
        super().__init__()
        width = clip_model.visual.output_dim
        self.adapter = nn.Sequential(nn.Linear(width, 4), nn.ReLU(), nn.Linear(4, width))
        self.image_encoder = clip_model.visual
        with torch.no_grad():
            tokens = clip.tokenize([f"a photo of a {name}." for name in classnames])
            text = F.normalize(clip_model.encode_text(tokens), dim=-1)
        self.residual = nn.Parameter(torch.zeros_like(text))
        self.register_buffer("text_features", text)
        self.logit_scale = clip_model.logit_scale

    def forward(self, image):
        features = self.image_encoder(image)
        features = F.normalize(features + 0.2 * self.adapter(features), dim=-1)
        text = F.normalize(self.text_features + 0.5 * self.residual, dim=-1)
        return self.logit_scale.exp() * features @ text.t()

    def eval(self):
        """As models that cache something for inference have it: without calling train()."""
        print("eval() of the model's own")
        for child in self.children():
            child.eval()
        self.training = False
        return self


@TRAINER_REGISTRY.register()
class CLIP_Adapter(TrainerX):
    """Its layers are opened by name, its accuracy printed, its parameters counted."""

    def build_model(self):
        cfg = self.cfg
        self.model = AdapterCLIP(cfg, self.dm.dataset.classnames, load_clip_to_cpu(cfg).float())
        open_specified_layers(self.model, ["adapter"])
        self.model.to(self.device)
        print(f"# params: {count_num_param(self.model.adapter):,}")
        self.optim = build_optimizer(self.model.adapter, cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, cfg.OPTIM)
        self.register_model("clip_adapter", self.model.adapter, self.optim, self.sched)

    def forward_backward(self, batch):
        image, label = self.parse_batch_train(batch)
        output = self.model(image)
        loss = F.cross_entropy(output, label)
        self.model_backward_and_update(loss)
        if (self.batch_idx + 1) == self.num_batches:
            self.update_lr()
        return {"loss": loss.item(), "acc": compute_accuracy(output, label)[0].item()}

    parse_batch_train = CoOp.parse_batch_train


@TRAINER_REGISTRY.register()
class TwoModels(CLIP_Adapter):
    """Two registered models with their own optimisers, stepped by name."""

    def build_model(self):
        cfg = self.cfg
        self.model = AdapterCLIP(cfg, self.dm.dataset.classnames, load_clip_to_cpu(cfg).float())
        self.model.to(self.device)
        text = nn.ParameterList([self.model.residual])
        for name, part in (("adapter", self.model.adapter), ("residual", text)):
            optim = build_optimizer(part, cfg.OPTIM)
            self.register_model(name, part, optim, build_lr_scheduler(optim, cfg.OPTIM))
        assert self.get_model_names() == ["adapter", "residual"]
        assert self.get_model_names("residual") == ["residual"]

    def forward_backward(self, batch):
        image, label = self.parse_batch_train(batch)
        names = ["adapter", "residual"]
        loss_a = F.cross_entropy(self.model(image), label)
        self.model_backward_and_update(loss_a, names[0])
        loss_b = F.cross_entropy(self.model(image), label)
        self.model_zero_grad(names[1])
        self.model_backward(loss_b)
        self.model_update(names[1])
        if (self.batch_idx + 1) == self.num_batches:
            self.update_lr(names)
            assert self.get_current_lr("adapter") == self.get_current_lr("residual")
        return {"loss_a": loss_a.item(), "loss_b": loss_b.item()}
