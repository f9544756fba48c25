"""torchvision's other classifiers as backbones: cut before the last linear layer."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torchvision.models as tv
from torch import Tensor, nn

from .backbone import Backbone
from .build import BACKBONE_REGISTRY
from .pretrained import load_imagenet


class CutNetwork(Backbone):
    """Maps, pooling and the layers before the last one; parameters keep torchvision's names.

    Args:
        network: a torchvision classifier.
        maps: names of its parts that make the maps, in their order.
        out_features: width of what the last layer took.
    """

    def __init__(self, network: nn.Module, maps: Sequence[str], out_features: int) -> None:
        super().__init__()
        self._maps = tuple(maps)
        self._out_features = out_features
        for name in maps:
            self.add_module(name, getattr(network, name))
        self.avgpool = getattr(network, "avgpool", nn.AdaptiveAvgPool2d(1))
        # VGG and AlexNet have learned layers before the last, the mobile networks a dropout.
        last = getattr(network, "classifier", None)
        whole = isinstance(last, nn.Sequential) and isinstance(last[-1], nn.Linear)
        self.classifier = nn.Sequential(*list(last)[:-1]) if whole else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        for name in self._maps:
            x = getattr(self, name)(x)
        return self.classifier(self.avgpool(x).flatten(1))


class Cut(NamedTuple):
    """Where a network is cut: torchvision's name, width there, parts before the pooling."""

    arch: str
    out_features: int
    maps: tuple[str, ...] = ("features",)


_SHUFFLE = ("conv1", "maxpool", "stage2", "stage3", "stage4", "conv5")
_EFFICIENT_WIDTHS = (1280, 1280, 1408, 1536, 1792, 2048, 2304, 2560)
#: Our name (upstream's where it has one) -> cut.
NETWORKS = {
    "alexnet": Cut("alexnet", 4096),
    "vgg16": Cut("vgg16", 4096),
    "mobilenetv2": Cut("mobilenet_v2", 1280),
    **{
        f"efficientnet_b{i}": Cut(f"efficientnet_b{i}", width)
        for i, width in enumerate(_EFFICIENT_WIDTHS)
    },
    "shufflenet_v2_x0_5": Cut("shufflenet_v2_x0_5", 1024, _SHUFFLE),
    "shufflenet_v2_x1_0": Cut("shufflenet_v2_x1_0", 1024, _SHUFFLE),
    "shufflenet_v2_x1_5": Cut("shufflenet_v2_x1_5", 1024, _SHUFFLE),
    "shufflenet_v2_x2_0": Cut("shufflenet_v2_x2_0", 2048, _SHUFFLE),
    # Not in upstream.
    "squeezenet1_0": Cut("squeezenet1_0", 512),
    "squeezenet1_1": Cut("squeezenet1_1", 512),
    "densenet121": Cut("densenet121", 1024),
}


def _register(name: str, cut: Cut) -> Callable[..., Backbone]:
    def build(pretrained: bool = True, **kwargs: Any) -> Backbone:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Initializing zero-element tensors")
            # No class, no draw: the layer that is cut off must not move the random generator.
            # EfficientNet divides by the number of classes and SqueezeNet's last is a convolution.
            classes = 1 if cut.arch.startswith(("efficientnet", "squeezenet")) else 0
            network = tv.get_model(cut.arch, weights=None, num_classes=classes)
        if cut.arch.startswith("densenet"):
            network.features.add_module("relu", nn.ReLU(inplace=True))
        model = CutNetwork(network, cut.maps, cut.out_features)
        if pretrained:
            load_imagenet(model, cut.arch)
        return model

    build.__name__ = build.__qualname__ = name
    build.__doc__ = f"torchvision's {cut.arch} without its last layer."
    return BACKBONE_REGISTRY.register(build)


for _name, _cut in NETWORKS.items():
    globals()[_name] = _register(_name, _cut)
