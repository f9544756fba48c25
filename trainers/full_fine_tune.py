"""Full fine-tuning of CLIP: every weight learns, with cross-entropy.

The baseline that FLYP and WiSE-FT measure themselves by (Wortsman et al., CVPR 2022,
arXiv:2109.01903, section 3, "end-to-end"): the vision tower and a linear classifier that starts at
the class texts, logits = W f + b with W = s t and b = 0 at first. ENCODER both or text train the
text tower instead of the classifier, cross-entropy on s f . t_c (FLYP's ablation).

Published: AdamW, rate 3e-5, weight decay 0.1, 10 epochs, batch 512, 500 steps of warm-up, cosine.
Batch 512 is more than most few-shot sets hold: the yaml has 32. No step of warm-up.
Run: python train.py --trainer FullFineTune --dataset-config-file configs/datasets/phantom_oct.yaml
"""

from __future__ import annotations

from yacs.config import CfgNode as CN

from cerviclip.engine.families.fine_tuned import FineTuned
from cerviclip.engine.families.unfrozen import add_unfrozen_keys
from dassl.engine import TRAINER_REGISTRY


def extend_cfg(cfg: CN) -> None:
    """Add the defaults of this method, those of WiSE-FT's code but for PREC."""
    cfg.TRAINER.FULLFINETUNE = CN()
    add_unfrozen_keys(cfg.TRAINER.FULLFINETUNE, encoder="vision", iters_per_shot=0)


@TRAINER_REGISTRY.register()
class FullFineTune(FineTuned):
    """Full fine-tuning: all weights of the vision tower and a classifier from the texts."""
