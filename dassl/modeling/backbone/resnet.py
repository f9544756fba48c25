"""torchvision's ResNets without classifier, plain and with style mixing after early layers.

Parameter names and the order of random draws at initialisation are upstream's.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.models.resnet import ResNet as TorchvisionResNet

from dassl.modeling.ops import EFDMix, MixStyle

from .backbone import Backbone
from .build import BACKBONE_REGISTRY
from .pretrained import load_imagenet

#: Name -> block and blocks per layer.
ARCHITECTURES: dict[str, tuple[Any, list[int]]] = {
    "resnet18": (BasicBlock, [2, 2, 2, 2]),
    "resnet34": (BasicBlock, [3, 4, 6, 3]),
    "resnet50": (Bottleneck, [3, 4, 6, 3]),
    "resnet101": (Bottleneck, [3, 4, 23, 3]),
    "resnet152": (Bottleneck, [3, 8, 36, 3]),
}


class ResNet(TorchvisionResNet, Backbone):
    """A ResNet that ends at the pooled features.

    Args:
        block: torchvision's ``BasicBlock`` or ``Bottleneck``.
        layers: blocks in each of the four layers.
        ms_class: ``MixStyle`` or ``EFDMix``, put after ``ms_layers``; None for a plain network.
        ms_layers: of layer1, layer2, layer3.
        ms_p: probability that a batch is mixed.
        ms_a: parameter of the Beta distribution.
    """

    conv1: nn.Module
    bn1: nn.Module
    relu: nn.Module
    maxpool: nn.Module
    avgpool: nn.Module

    def __init__(
        self,
        block: Any,
        layers: Sequence[int],
        ms_class: type[nn.Module] | None = None,
        ms_layers: Sequence[str] = (),
        ms_p: float = 0.5,
        ms_a: float = 0.1,
        **kwargs: Any,
    ) -> None:
        with warnings.catch_warnings():
            # A classifier of no class draws nothing, as upstream, which has none.
            warnings.filterwarnings("ignore", message="Initializing zero-element tensors")
            super().__init__(block, list(layers), num_classes=0)
        del self.fc
        self._out_features = 512 * block.expansion
        self.mixstyle: nn.Module | None = None
        if ms_layers:
            if ms_class is None or not set(ms_layers) <= {"layer1", "layer2", "layer3"}:
                raise ValueError(
                    f"style mixing needs a class and layer1 to layer3, not {ms_layers}"
                )
            self.mixstyle = ms_class(p=ms_p, alpha=ms_a)
            print(f"Insert {type(self.mixstyle).__name__} after {list(ms_layers)}")
        self.ms_layers = list(ms_layers)

    def featuremaps(self, x: Tensor) -> Tensor:
        """Maps (B, out_features, H / 32, W / 32)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for name in ("layer1", "layer2", "layer3", "layer4"):
            x = self.get_submodule(name)(x)
            if self.mixstyle is not None and name in self.ms_layers:
                x = self.mixstyle(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.avgpool(self.featuremaps(x)).flatten(1)


def _register(
    name: str, arch: str, ms_class: type[nn.Module] | None = None, ms_layers: Sequence[str] = ()
) -> Callable[..., ResNet]:
    def build(pretrained: bool = True, **kwargs: Any) -> ResNet:
        block, layers = ARCHITECTURES[arch]
        model = ResNet(block, layers, ms_class=ms_class, ms_layers=ms_layers)
        if pretrained:
            load_imagenet(model, arch)
        return model

    build.__name__ = build.__qualname__ = name
    build.__doc__ = f"{arch} to pooled features" + (
        f", {ms_class.__name__} after {', '.join(ms_layers)}." if ms_class else "."
    )
    return BACKBONE_REGISTRY.register(build)


for _arch in ARCHITECTURES:
    globals()[_arch] = _register(_arch, _arch)
# Upstream's names: ms is MixStyle; l12 means after layer1 and layer2.
for _arch in ("resnet18", "resnet50", "resnet101"):
    for _short, _class in (("ms", MixStyle), ("efdmix", EFDMix)):
        for _digits in ("123", "12", "1"):
            _name = f"{_arch}_{_short}_l{_digits}"
            _layers = [f"layer{digit}" for digit in _digits]
            globals()[_name] = _register(_name, _arch, _class, _layers)
