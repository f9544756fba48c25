"""MMA, multi-modal adapter (Yang et al., CVPR 2024). Reference code: ZjjConan/Multi-Modal-Adapter.

Beside each of a tower's last blocks stands a bottleneck whose middle layer both towers share:

    h_i+1 = Block_i(h_i) + s Up_i(g(Shared_i(g(Down_i(LN_i(h_i))))))      g: ReLU

LN_i is the block's own first norm, frozen. The loss is cross-entropy of s cos(f, t_c).

Published: blocks 5 to 12 of 12, width 32, s 0.001, SGD, learning rate 1.5e-3, batch 16 (4 from base
to new classes), 5 epochs without a warm-up.
Where paper and code part: the code scales the branch by s on the way forward alone; the adapters'
gradient is that of an unscaled branch, or an s of 0.001 would hardly let them learn. Here as there.
Differs from it: the towers may differ in depth, so blocks are paired from the last one down.
Run: python train.py --trainer MMA --dataset-config-file configs/datasets/phantom_oct.yaml
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from yacs.config import CfgNode as CN

from cerviclip.engine.supervised import SupervisedStep
from cerviclip.engine.vlm_trainer import VLMTrainer
from cerviclip.vlm.base import Tower
from cerviclip.vlm.heads.class_features import ClassPrompts, KeptWhileUnchanged
from dassl.engine import TRAINER_REGISTRY
from dassl.errors import UserError


def extend_cfg(cfg: CN) -> None:
    """Add the defaults of this method, those of the paper but for PREC."""
    cfg.TRAINER.MMA = CN()
    cfg.TRAINER.MMA.PREC = "fp32"  # the paper's: "amp"
    cfg.TRAINER.MMA.BLOCKS = 8  # last blocks of each tower that have an adapter
    cfg.TRAINER.MMA.DIM = 32  # width of the bottleneck
    cfg.TRAINER.MMA.SCALE = 0.001  # s; 0 is zero-shot


class _Scaled(torch.autograd.Function):
    """A tensor times one number on the way forward, its gradient times another."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, forward: float, backward: float) -> Tensor:
        ctx.backward_scale = backward
        return x * forward if forward != 1 else x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return grads[0] * ctx.backward_scale, None, None


class MultiModalAdapters(nn.Module):
    """The adapters of both towers; those of the same place from the top share their middle layer.

    Args:
        widths: W of the vision tower and of the text tower.
        blocks: adapters of each tower.
        dim: width of the bottleneck.
        scale: s.
    """

    def __init__(self, widths: tuple[int, int], blocks: int, dim: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.down, self.up = (
            nn.ModuleList(
                nn.ModuleList(nn.Linear(*sizes(width)) for _ in range(blocks)) for width in widths
            )
            for sizes in (lambda width: (width, dim), lambda width: (dim, width))
        )
        self.shared = nn.ModuleList(nn.Linear(dim, dim) for _ in range(blocks))
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(layer.bias)

    def forward(self, tokens: Tensor, norm: nn.Module, tower: int, place: int) -> Tensor:
        """What is added behind a block (B, T, W), of the tokens (B, T, W) that enter it.

        Args:
            norm: the block's first norm.
            tower: 0 vision, 1 text. place: of the adapter, from the first block that has one.
        """
        x = norm(_Scaled.apply(tokens, 1.0, self.scale))
        x = F.relu(self.down[tower][place](x))
        x = F.relu(self.shared[place](x))
        return _Scaled.apply(self.up[tower][place](x), self.scale, 1.0)


def entry_norm(block: nn.Module) -> nn.Module:
    """The norm before a block's attention; nothing where tokens leave a block normalised (BERT)."""
    for name in ("ln_1", "norm1"):
        if hasattr(block, name):
            return getattr(block, name)
    return nn.Identity()


@TRAINER_REGISTRY.register()
class MMA(SupervisedStep, VLMTrainer):
    """MMA: bottlenecks beside the upper blocks of both towers, joined in the middle."""

    learns = "weights"
    vision_towers = ("vit",)
    image_input = "hidden"

    def check_cfg(self, cfg: CN) -> None:
        super().check_cfg(cfg)
        for key, least in (("BLOCKS", 1), ("DIM", 1), ("SCALE", 0)):
            if cfg.TRAINER.MMA[key] < least:
                raise UserError(
                    f"TRAINER.MMA.{key} is {cfg.TRAINER.MMA[key]}; take at least {least}"
                )

    def build_backbone(self) -> None:
        """The backbone; refused at once where its towers cannot take the adapters."""
        super().build_backbone()
        blocks = self.cfg.TRAINER.MMA.BLOCKS
        for tower in (self.backbone.visual, self.backbone.text):
            tower.require_open_blocks("adapters beside the blocks")
            if blocks > tower.num_blocks:
                raise UserError(
                    f"TRAINER.MMA.BLOCKS is {blocks} and this {type(tower).__name__} has "
                    f"{tower.num_blocks} blocks; take at most {tower.num_blocks}"
                )

    @property
    def first_block(self) -> int:
        """The first vision block with an adapter: what is below is frozen."""
        return self.backbone.visual.num_blocks - self.cfg.TRAINER.MMA.BLOCKS

    def build_model(self) -> None:
        cfg, visual, text = self.cfg.TRAINER.MMA, self.backbone.visual, self.backbone.text
        widths = visual.width, text.width
        self.adapters = MultiModalAdapters(widths, cfg.BLOCKS, cfg.DIM, cfg.SCALE).to(self.device)
        self.register_learner("adapters", self.adapters)
        prompts = ClassPrompts(self.backbone, self.class_texts())
        self.class_features = KeptWhileUnchanged(
            lambda: prompts.features(text, self.beside(text, 1)), self.adapters.parameters()
        )

    def beside(self, tower: Tower, which: int) -> Any:
        """The ``BeforeBlock`` that adds the adapters of a tower, 0 vision or 1 text."""
        first = tower.num_blocks - self.cfg.TRAINER.MMA.BLOCKS

        def before_block(index: int, tokens: Tensor) -> Any:
            if index < first:
                return tokens
            norm = entry_norm(tower.blocks[index])
            return tokens, self.adapters(tokens, norm, which, index - first)

        return before_block

    def model_inference(self, input: Tensor) -> Tensor:
        hidden, tower = self.hidden_states(input), self.backbone.visual
        with self.precision.autocast():
            features = tower.finish(hidden, self.first_block, self.beside(tower, 0))
            classes = self.class_features()
        images = F.normalize(features.float(), dim=-1)
        return self.backbone.scale * images @ classes.float().t()
