"""The base of methods that train CLIP's own weights: some of them (BitFit, LNTuning) or all."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn
from yacs.config import CfgNode as CN

from cerviclip.engine.iterations import ByIterations, iterations_per_shot
from cerviclip.engine.supervised import SupervisedStep
from cerviclip.engine.vlm_trainer import VLMTrainer
from cerviclip.vlm.base import TextTower, Tower
from cerviclip.vlm.heads.class_features import ClassPrompts, KeptWhileUnchanged
from cerviclip.vlm.learned.adapted import AdaptedTower, check_kinds, towers_of, unfreeze
from dassl.errors import UserError


def add_unfrozen_keys(section: CN, encoder: str, iters_per_shot: int) -> None:
    """Add the keys of ``Unfrozen`` to a method's section.

    Args:
        encoder: ``both``, ``vision`` or ``text``: where weights learn.
        iters_per_shot: iterations are this times the shots; 0: OPTIM.MAX_EPOCH epochs.
    """
    section.PREC = "fp32"
    section.ENCODER = encoder
    section.ITERS_PER_SHOT = iters_per_shot


class Unfrozen(SupervisedStep, ByIterations, VLMTrainer):  # type: ignore[misc]  # two items
    """Cross-entropy on s f . t_c, where weights of the towers learn in copies of their own.

    Untrained it is zero-shot, to the bit. In train mode the batch norms of a ResNet use their batch
    and move their statistics, as in any fine-tuning; a checkpoint holds these too.

    Class attributes:
        kinds: which parameters learn, see ``cerviclip.vlm.learned.adapted.unfreeze``.
    """

    learns = "weights"
    kinds: tuple[str, ...] = ()

    @property
    def section(self) -> CN:
        """The method's own section of the config."""
        return self.cfg.TRAINER[self.cfg.TRAINER.NAME.upper()]

    @property
    def learning(self) -> tuple[str, ...]:
        """The towers whose weights learn."""
        key = f"TRAINER.{self.cfg.TRAINER.NAME.upper()}.ENCODER"
        return towers_of(self.section.ENCODER, key)

    @property
    def image_input(self) -> str:  # type: ignore[override]
        """A vision tower that learns does so from its first layers on; else it is run once."""
        return "images" if "vision" in self.learning else "features"

    # -- set-up --------------------------------------------------------------------------------

    def check_cfg(self, cfg: CN) -> None:
        super().check_cfg(cfg)
        name, section = cfg.TRAINER.NAME, cfg.TRAINER[cfg.TRAINER.NAME.upper()]
        learning = towers_of(section.ENCODER, f"TRAINER.{name.upper()}.ENCODER")
        if section.ITERS_PER_SHOT < 0:
            raise UserError(
                f"TRAINER.{name.upper()}.ITERS_PER_SHOT is {section.ITERS_PER_SHOT}; take 0 "
                "(OPTIM.MAX_EPOCH epochs) or more"
            )
        if cfg.INPUT.FEATURE_VIEWS > 0 and "vision" in learning:
            raise UserError(
                f"INPUT.FEATURE_VIEWS {cfg.INPUT.FEATURE_VIEWS} stores what a frozen tower makes "
                f"of an image, and {name} trains the vision tower from its first layers on; set "
                f"it to 0, or TRAINER.{name.upper()}.ENCODER to text"
            )

    def build_backbone(self) -> None:
        """The backbone; refused at once where a tower has nothing that would learn."""
        super().build_backbone()
        for name in self.learning:
            check_kinds(self.frozen_tower(name), self.kinds, self.cfg.TRAINER.NAME)

    def count_iterations(self) -> int:
        return iterations_per_shot(self.cfg, self.dm.dataset, self.section.ITERS_PER_SHOT)

    # -- model ---------------------------------------------------------------------------------

    def build_model(self) -> None:
        """Register what learns, and say how class features are made."""
        self.towers: dict[str, Tower] = {}
        for name in self.learning:
            tower = unfreeze(self.frozen_tower(name), self.kinds)
            model = AdaptedTower(tower, self.backbone.weights_sha256).to(self.device)
            self.register_learner(name, model)
            self.towers[name] = tower
        self.class_features = self.build_class_features()

    def build_class_features(self) -> Callable[[], Tensor]:
        """A function that gives unit features (C, D) of the classes."""
        if "text" not in self.learning:
            frozen = self.text_features()
            return lambda: frozen
        prompts = self.prompts = ClassPrompts(self.backbone, self.class_texts())
        learned = self._models["text"].parameters()
        return KeptWhileUnchanged(
            lambda: prompts.features(cast(TextTower, self.tower("text"))), learned
        )

    def frozen_tower(self, name: str) -> Tower:
        """The shared backbone's ``vision`` or ``text`` tower."""
        return self.backbone.visual if name == "vision" else self.backbone.text

    def tower(self, name: str) -> Tower:
        """Hook: the ``vision`` or ``text`` tower that is used now."""
        return self.towers.get(name, self.frozen_tower(name))

    def unit_image_features(self, x: Tensor) -> Tensor:
        """Unit features (B, D), float32, by the vision tower in use; with its gradients."""
        if "vision" not in self.learning:
            return self.image_features(x)
        with self.precision.autocast():
            features = self.tower("vision")(x)
        return F.normalize(features.float(), dim=-1)

    def classify(self, image_features: Tensor) -> Tensor:
        """Hook: logits (B, C) of unit features (B, D)."""
        with self.precision.autocast():
            classes = self.class_features()
        return self.backbone.scale * image_features @ classes.float().t()

    def image_networks(self) -> list[nn.Module]:
        return [self.tower("vision"), *super().image_networks()]

    def inference_with_features(self, input: Tensor) -> tuple[Tensor, Tensor | None]:
        images = self.unit_image_features(input)
        return self.classify(images), images

    def model_inference(self, input: Tensor) -> Tensor:
        return self.classify(self.unit_image_features(input))
