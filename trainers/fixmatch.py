"""FixMatch (Sohn et al., NeurIPS 2020), arXiv:2001.07685, on methods of the CLIP family and CNNs.

Each class is a method with FixMatch's loss beside its own (`cerviclip.engine.families.fixmatch`): a
few labelled images, and the training images outside the draw without labels. The method's settings
are those of its own section (TRAINER.COOP), FixMatch's and the precision those of the class's
(TRAINER.FIXMATCHCOOP). With WEIGHT_U 0 it is the method to the digit.
Published: weight 1, threshold 0.95, 7 unlabelled images for each labelled one, SGD on a Wide ResNet
from random weights. Differs from it: the unlabelled images do not hold the labelled ones again;
there is no moving average of the weights; the weak view is the method's own training view.
Another method takes three lines: a class of its own with ``FixMatchStep`` before the method's.
Run: python train.py --trainer FixMatchCoOp --dataset-config-file configs/datasets/phantom_oct.yaml
"""

from __future__ import annotations

from yacs.config import CfgNode as CN

from cerviclip.engine.families.fixmatch import FixMatchStep, add_fixmatch_keys
from cerviclip.trainers.clip_adapter import ClipAdapter
from cerviclip.trainers.clip_lora import CLIPLoRA
from cerviclip.trainers.cnn_baseline import CNNBaseline
from cerviclip.trainers.coop import CoOp
from dassl.engine import TRAINER_REGISTRY


def extend_cfg(cfg: CN) -> None:
    """Add a section for each."""
    for name in ("FIXMATCHCOOP", "FIXMATCHCLIPADAPTER", "FIXMATCHCLIPLORA", "FIXMATCHCNN"):
        cfg.TRAINER[name] = CN()
        cfg.TRAINER[name].PREC = "fp32"
        add_fixmatch_keys(cfg.TRAINER[name])


@TRAINER_REGISTRY.register()
class FixMatchCoOp(FixMatchStep, CoOp):
    """FixMatch on CoOp: a learned context, and unlabelled images whose sure labels teach it."""


@TRAINER_REGISTRY.register()
class FixMatchClipAdapter(FixMatchStep, ClipAdapter):
    """FixMatch on CLIP-Adapter: a learned bottleneck, and unlabelled images with sure labels."""


@TRAINER_REGISTRY.register()
class FixMatchCLIPLoRA(FixMatchStep, CLIPLoRA):
    """FixMatch on CLIP-LoRA: low-rank adapters, and unlabelled images with sure labels."""


@TRAINER_REGISTRY.register()
class FixMatchCNN(FixMatchStep, CNNBaseline):
    """FixMatch on a CNN: fine-tuned as a whole, with unlabelled images whose sure labels teach."""
