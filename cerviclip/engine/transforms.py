"""What makes the input of a backbone of an image, and the lines of the log that tell it."""

from __future__ import annotations

from typing import Any

from cerviclip.backbones.names import EMBEDDINGS
from cerviclip.vlm.base import Backbone
from dassl.config import CfgNode
from dassl.data.transforms import build_transform


def build_transforms(cfg: CfgNode, backbone: Backbone, stored: bool) -> tuple[Any, Any]:
    """The transforms of training and test with the backbone's own size and statistics.

    The log has those steps alone that an image goes through.

    Args:
        cfg: the run's.
        backbone: whose input it is.
        stored: the method learns from stored features; of one view, it is the plain image's.
    """
    given, plain = backbone.name.startswith(EMBEDDINGS), stored and cfg.INPUT.FEATURE_VIEWS == 1
    train, test = (
        build_transform(cfg, training, preprocess=backbone.preprocess, told=told)
        for training, told in ((True, not (given or plain)), (False, not given))
    )
    if given:
        print(f"No transform: {backbone.name} gives the features, and no image is read")
    elif plain and test is not None:
        print("Training images go through transform_test (INPUT.FEATURE_VIEWS 1)")
    return train, test
