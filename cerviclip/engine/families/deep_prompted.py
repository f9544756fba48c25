"""The base of methods that learn prompts between the blocks of the towers (VPT, IVLP, MaPLe)."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn
from yacs.config import CfgNode as CN

from cerviclip.engine.supervised import SupervisedStep
from cerviclip.engine.vlm_trainer import VLMTrainer
from cerviclip.vlm.base import Backbone, TextTower
from cerviclip.vlm.heads.class_features import KeptWhileUnchanged
from cerviclip.vlm.learned.deep_prompts import (
    check_depth,
    random_prompts,
    text_prompts,
    vision_prompts,
)
from cerviclip.vlm.prompts import PromptLearner
from dassl.errors import UserError


class DeepTextPrompts(nn.Module):
    """A context that starts as words, and prompts that replace it before later blocks.

    Args:
        backbone: whose text tower takes them.
        classnames: as the data set spells them.
        n_ctx: vectors M that learn: the first so many words of ``ctx_init``; its other words stay.
        ctx_init: words before the class name; empty draws the context at random.
        depth: blocks with prompts of their own, the first included.
    """

    def __init__(
        self, backbone: Backbone, classnames: Sequence[str], n_ctx: int, ctx_init: str, depth: int
    ) -> None:
        super().__init__()
        words = ctx_init.replace("_", " ").split()
        names = [" ".join([*words[n_ctx:], name]) for name in classnames]
        self.first = PromptLearner(backbone, names, n_ctx, " ".join(words[:n_ctx]))
        if self.first.n_ctx != n_ctx:
            raise UserError(
                f"CTX_INIT {ctx_init!r} starts with {self.first.n_ctx} tokens and N_CTX is "
                f"{n_ctx}; give as many short words, or none"
            )
        self.later = random_prompts(depth - 1, n_ctx, self.first.ctx.shape[-1])

    def layers(self) -> list[Tensor]:
        """The prompts (M, W) of each block."""
        return [self.first.ctx, *self.later]

    def features(self, tower: TextTower) -> Tensor:
        """Class features (C, D), not normalised."""
        replaced = text_prompts(tower, list(self.later)) if len(self.later) else None
        return self.first.features(tower, before_block=replaced)


class TwoTowerPrompts(nn.Module):
    """Prompts of both towers that know nothing of each other (IVLP).

    Args:
        text: of the text tower.
        vision: (n, W) for each of the vision tower's first blocks.
    """

    def __init__(self, text: DeepTextPrompts, vision: nn.ParameterList) -> None:
        super().__init__()
        self.text = text
        self.vision = vision


class DeepPrompted(SupervisedStep, VLMTrainer):  # type: ignore[misc]  # two items, not three
    """Base of trainers whose towers run with prompts between their blocks.

    A method names its depths, builds its prompts in ``build_model``, and says in
    ``visual_prompts`` and ``encode_classes`` how the towers use them.
    """

    learns = "prompts"
    vision_towers = ("vit",)
    image_input = "hidden"
    depth_keys: dict[str, str] = {}  # "vision", "text": the config key that holds the depth

    @property
    def section(self) -> CN:
        """The method's own section of the config."""
        return self.cfg.TRAINER[self.cfg.TRAINER.NAME.upper()]

    def build_backbone(self) -> None:
        """The backbone; refused at once where its towers cannot take the prompts."""
        super().build_backbone()
        for tower, key in self.depth_keys.items():
            depth = self.section[key]
            if depth < 1:
                raise UserError(
                    f"TRAINER.{self.cfg.TRAINER.NAME.upper()}.{key} is {depth}; take 1 (prompts "
                    "before the first block alone) or more"
                )
            if tower == "vision":
                check_depth(self.backbone.visual, depth, 0, "deep visual prompts")
            else:
                check_depth(self.backbone.text, depth, 0, "deep text prompts")

    def two_tower_prompts(self) -> TwoTowerPrompts:
        """Prompts of both towers, of the sizes in the method's section (see ``add_ivlp_keys``)."""
        cfg = self.section
        text = DeepTextPrompts(
            *(self.backbone, self.task.classnames),
            *(cfg.N_CTX_TEXT, cfg.CTX_INIT, cfg.PROMPT_DEPTH_TEXT),
        )
        width = self.backbone.visual.width
        vision = random_prompts(cfg.PROMPT_DEPTH_VISION, cfg.N_CTX_VISION, width)
        return TwoTowerPrompts(text, vision)

    def keep_class_features(self, *learned: nn.Parameter) -> None:
        """Make ``class_features`` anew only where one of ``learned`` has changed."""
        self.class_features = KeptWhileUnchanged(self._unit_classes, learned)

    def visual_prompts(self) -> list[Tensor]:
        """Hook: prompts (n, W) of the vision tower's first blocks."""
        raise NotImplementedError

    def encode_classes(self) -> Tensor:
        """Hook: class features (C, D), not normalised. Runs within the precision's autocast."""
        raise NotImplementedError

    def _unit_classes(self) -> Tensor:
        with self.precision.autocast():
            features = self.encode_classes()
        return F.normalize(features.float(), dim=-1)

    def prompted_features(self, hidden: Tensor) -> Tensor:
        """Unit features (B, D) of tokens (B, T, W) that enter block 0, with the prompts."""
        tower = self.backbone.visual
        with self.precision.autocast():
            features = tower.finish(hidden, 0, vision_prompts(tower, self.visual_prompts()))
        return F.normalize(features.float(), dim=-1)

    def inference_with_features(self, input: Tensor) -> tuple[Tensor, Tensor | None]:
        images = self.prompted_features(self.hidden_states(input))
        return self.backbone.scale * images @ self.class_features().t(), images

    def model_inference(self, input: Tensor) -> Tensor:
        return self.inference_with_features(input)[0]


def add_ivlp_keys(section: CN) -> None:
    """Add the keys of prompts in both towers, and PREC, with the values of IVLP and PromptSRC."""
    section.PREC = "fp32"  # the papers: fp16
    section.N_CTX_VISION = 4  # prompts before a block of the vision tower
    section.N_CTX_TEXT = 4  # prompts before a block of the text tower
    section.CTX_INIT = "a photo of a"  # words to start from; empty: at random
    section.PROMPT_DEPTH_VISION = 9  # blocks with prompts of their own, from the first on
    section.PROMPT_DEPTH_TEXT = 9
