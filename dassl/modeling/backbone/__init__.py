"""Backbones of upstream by name, built on torchvision where it has them."""

from .backbone import Backbone
from .build import BACKBONE_REGISTRY, build_backbone

from . import resnet, torchvision_nets  # isort: skip
from . import cnn_digits, preact_resnet, wide_resnet  # isort: skip

__all__ = [
    "BACKBONE_REGISTRY",
    "Backbone",
    "build_backbone",
    "cnn_digits",
    "preact_resnet",
    "resnet",
    "torchvision_nets",
    "wide_resnet",
]
