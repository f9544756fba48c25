"""CLIP-LoRA (Zanella and Ben Ayed, CVPR Workshops 2024), arXiv:2405.18541.

Reference code: MaxZanella/CLIP-LoRA. Differs from it: B A is scaled by ALPHA / R, as the paper
writes it; the code that made the paper's tables scales by ALPHA / sqrt(R), which is 0.71 in place
of 0.5 with R 2 and ALPHA 1. So configs/trainers/CLIPLoRA/ViT-B-16.yaml sets ALPHA to 1.414. The
low-rank parts are merged into a copy of the weights for inference, and the class features are
computed once for a whole test.
Run: python train.py --trainer CLIPLoRA --dataset-config-file configs/datasets/phantom_oct.yaml
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor
from yacs.config import CfgNode as CN

from cerviclip.engine.iterations import ByIterations, iterations_per_shot
from cerviclip.engine.supervised import SupervisedStep
from cerviclip.engine.vlm_trainer import VLMTrainer
from cerviclip.vlm.heads.class_features import ClassPrompts, KeptWhileUnchanged
from cerviclip.vlm.learned.adapted import AdaptedTower, towers_of
from cerviclip.vlm.learned.lora import apply_lora, lora_parameters
from dassl.engine import TRAINER_REGISTRY

_ENCODER_KEY = "TRAINER.CLIPLORA.ENCODER"


def extend_cfg(cfg: CN) -> None:
    """Add the defaults of this method, those of the paper (section 4) but for PREC."""
    cfg.TRAINER.CLIPLORA = CN()
    cfg.TRAINER.CLIPLORA.PREC = "fp32"  # the paper's: fp16 autocast, here "amp"
    cfg.TRAINER.CLIPLORA.ENCODER = "both"  # or vision, text
    cfg.TRAINER.CLIPLORA.TARGETS = ("q", "k", "v")  # any of q, k, v, o, mlp
    cfg.TRAINER.CLIPLORA.BLOCKS = 0  # last blocks adapted in each tower; 0 is all
    cfg.TRAINER.CLIPLORA.R = 2
    cfg.TRAINER.CLIPLORA.ALPHA = 1.0  # over R; the code: over the root of R
    cfg.TRAINER.CLIPLORA.DROPOUT = 0.25
    cfg.TRAINER.CLIPLORA.ITERS_PER_SHOT = 500  # iterations are this times the shots


@TRAINER_REGISTRY.register()
class CLIPLoRA(SupervisedStep, ByIterations, VLMTrainer):
    """CLIP-LoRA: low-rank adapters on q, k, v of both towers, trained with cross-entropy."""

    learns = "weights"
    image_input = "hidden"

    def check_cfg(self, cfg: CN) -> None:
        super().check_cfg(cfg)
        towers_of(cfg.TRAINER.CLIPLORA.ENCODER, _ENCODER_KEY)

    @property
    def first_block(self) -> int:
        """Lowest vision block that learns: what is below is frozen."""
        cfg = self.cfg.TRAINER.CLIPLORA
        if "vision" not in towers_of(cfg.ENCODER, _ENCODER_KEY):
            return self.backbone.visual.num_blocks
        return max(0, self.backbone.visual.num_blocks - cfg.BLOCKS) if cfg.BLOCKS else 0

    def count_iterations(self) -> int:
        per_shot = self.cfg.TRAINER.CLIPLORA.ITERS_PER_SHOT
        return iterations_per_shot(self.cfg, self.dm.dataset, per_shot)

    def build_model(self) -> None:
        cfg = self.cfg.TRAINER.CLIPLORA
        towers = {"vision": self.backbone.visual, "text": self.backbone.text}
        for name in towers_of(cfg.ENCODER, _ENCODER_KEY):
            towers[name] = apply_lora(
                towers[name], cfg.TARGETS, cfg.BLOCKS or None, cfg.R, cfg.ALPHA, cfg.DROPOUT
            )
            model = AdaptedTower(towers[name], self.backbone.weights_sha256).to(self.device)
            self.register_learner(f"{name}_lora", model)
        self.visual, text = towers["vision"], towers["text"]
        prompts = ClassPrompts(self.backbone, self.class_texts())
        self.class_features = KeptWhileUnchanged(
            lambda: prompts.features(text), lora_parameters(text)
        )

    def inference_with_features(self, input: Tensor) -> tuple[Tensor, Tensor | None]:
        hidden = self.hidden_states(input)
        with self.precision.autocast():
            features = self.visual.finish(hidden, self.first_block)
            classes = self.class_features()
        unit = F.normalize(features.float(), dim=-1)
        return self.backbone.scale * unit @ classes.float().t(), unit

    def model_inference(self, input: Tensor) -> Tensor:
        return self.inference_with_features(input)[0]
