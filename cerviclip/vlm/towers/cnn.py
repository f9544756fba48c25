"""Image-only backbones: ``torchvision:<arch>`` and ``timm:<arch>``.

A CNN's pooled features are the mean and the maximum over the last feature map, side by side; the
map itself gives the patch features. A transformer's are what its own classifier sees, and its
tokens. Size, statistics and resize are those that the library states for the network's default
ImageNet weights, whatever file is given.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cerviclip.places import install_hint
from cerviclip.vlm.base import IMAGENET_MEAN, IMAGENET_STD, Backbone, Preprocess, VisionTower
from cerviclip.vlm.files.formats import read_state_dict, state_sha256, weights_identity
from cerviclip.vlm.towers.token_features import token_tower
from dassl.errors import MissingFileError, UnknownNameError, UserError, did_you_mean

SIZE = 224


class CNNTower(VisionTower):
    """A network's last feature map as tokens (B, N, W); no blocks, so nothing for LoRA."""

    open_blocks = False
    prefix = 0

    def __init__(self, features: nn.Module, size: tuple[int, int] = (SIZE, SIZE)) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        self.features = features
        shape = _map_shape(features.eval(), size)
        if len(shape) != 4:
            raise UserError(
                "this network ends neither in a feature map (B, channels, height, width) nor in "
                "tokens (B, tokens, width); choose another, such as torchvision:resnet50 or "
                "torchvision:vit_b_16"
            )
        self.width = shape[1]
        self.grid = (shape[2], shape[3])

    def stem(self, x: Tensor) -> Tensor:
        with self.autocast():
            return self.features(x).flatten(2).transpose(1, 2)

    def head(self, h: Tensor) -> tuple[Tensor, Tensor]:
        pooled = torch.cat([h.mean(dim=1), h.amax(dim=1)], dim=-1)
        return pooled, torch.cat([h, h], dim=-1)  # so that patches share the pooled space


@torch.no_grad()
def _map_shape(features: nn.Module, size: tuple[int, int]) -> tuple[int, ...]:
    try:
        return tuple(features(torch.zeros(1, 3, *size)).shape)
    except (RuntimeError, AssertionError, TypeError):  # parts that do not stand in a row
        return ()


def build_cnn(name: str, weights: str | None) -> Backbone:
    """A backbone from a torchvision or timm network, a CNN or a transformer.

    Args:
        name: ``torchvision:<arch>`` or ``timm:<arch>``.
        weights: file with that library's tensor names (.safetensors, .pth), ``random`` for none, or
            None for the library's own ImageNet weights (a download).
    """
    library, _, arch = name.partition(":")
    build = {"torchvision": torchvision_model, "timm": timm_model}[library]
    model, sha256 = build(arch, weights)
    preprocess = _torchvision_input(arch) if library == "torchvision" else _timm_input(model)
    tokens = token_tower(model, preprocess.size)
    cnn = CNNTower(feature_map(model), preprocess.size) if tokens is None else None
    return Backbone(
        name=name,
        arch=arch,
        visual=tokens or cnn,
        preprocess=preprocess,
        embed_dim=tokens.width if cnn is None else 2 * cnn.width,
        weights_sha256=sha256,
        weights_file=str(weights or ""),
    )


def _torchvision_input(arch: str) -> Preprocess:
    """What torchvision's default weights of an architecture were evaluated with."""
    from torchvision import models

    try:
        given = models.get_model_weights(arch).DEFAULT.transforms()
    except (ValueError, AttributeError):  # a model without weights
        return Preprocess((SIZE, SIZE), IMAGENET_MEAN, IMAGENET_STD, "bilinear")
    side = given.crop_size[0]
    return Preprocess((side, side), tuple(given.mean), tuple(given.std), given.interpolation.value)


def _timm_input(model: Any) -> Preprocess:
    """What timm's default weights of an architecture were evaluated with."""
    import timm

    given = timm.data.resolve_data_config(model=model)
    _, height, width = given["input_size"]
    how = given["interpolation"]
    if how not in ("bilinear", "bicubic"):  # "random" of a training
        how = "bilinear"
    return Preprocess((height, width), tuple(given["mean"]), tuple(given["std"]), how)


def check_torchvision(arch: str) -> None:
    """Refuse a name that no classifier of torchvision has."""
    from torchvision import models

    if not arch:
        raise UserError("no backbone is named; --backbone NAME, such as resnet50 or timm:resnet50")
    known = models.list_models(module=models)
    if arch not in known:
        raise UnknownNameError(
            f"torchvision has no model {arch!r}{did_you_mean(arch, known)} "
            "(--backbone NAME; all: python -c 'import torchvision; "
            "print(torchvision.models.list_models())')"
        )


def torchvision_model(
    arch: str, weights: str | None = None, num_classes: int | None = None
) -> tuple[nn.Module, str]:
    """A torchvision classifier and the sha256 of its weights.

    Args:
        weights: a file, None for torchvision's ImageNet weights, ``random`` (the same values each
            time) or ``scratch`` (drawn from the global generator, for training from nothing).
        num_classes: size of a new last layer; None keeps ImageNet's 1000.
    """
    from torchvision import models

    check_torchvision(arch)
    if weights is None:
        model, sha256 = _downloaded(lambda: models.get_model(arch, weights="DEFAULT"), arch)
    else:
        with _drawn_weights(weights):
            model = models.get_model(arch, weights=None)
        sha256 = _fill(model, arch, weights)
    if num_classes is not None:
        replace_classifier(model, num_classes)
    return model, sha256


def timm_model(
    arch: str, weights: str | None = None, num_classes: int | None = None
) -> tuple[nn.Module, str]:
    """As ``torchvision_model``, for timm (an optional extra)."""
    try:
        import timm
    except ImportError as error:
        raise UserError(f"timm:<arch> needs the timm package: {install_hint('timm')}") from error
    if not timm.is_model(arch):
        raise UnknownNameError(
            f"timm has no model {arch!r}{did_you_mean(arch, timm.list_models())}"
        )
    if weights is None:
        model, sha256 = _downloaded(lambda: timm.create_model(arch, pretrained=True), arch)
    else:
        with _drawn_weights(weights):
            model = timm.create_model(arch)
        sha256 = _fill(model, arch, weights)
    if num_classes is not None:
        model.reset_classifier(num_classes)  # type: ignore[operator]
    return model, sha256


@contextmanager
def _drawn_weights(weights: str) -> Iterator[None]:
    if weights == "scratch":
        yield
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def _downloaded(make, arch: str) -> tuple[nn.Module, str]:
    try:
        model = make()
    except Exception as error:  # urllib, hub and checksum errors have no common type
        reason = str(error).strip().splitlines()[0][:80] if str(error) else type(error).__name__
        raise MissingFileError(
            f"no ImageNet weights for {arch}: they cannot be downloaded ({reason}); give a file by "
            "--weights FILE (MODEL.INIT_WEIGHTS)"
        ) from error
    return model, state_sha256(model.state_dict())


def _fill(model: nn.Module, arch: str, weights: str) -> str:
    """Loads ``weights`` into ``model``; the file's sha256 (of the values where they are random)."""
    if weights in ("random", "scratch"):
        return state_sha256(model.state_dict())
    state = {
        k: v.float() if v.is_floating_point() else v for k, v in read_state_dict(weights).items()
    }
    own = model.state_dict()
    heads = {k for k in own if k in state and own[k].shape != state[k].shape and _is_head(k)}
    missing = sorted(k for k in own if k not in state and not k.endswith("num_batches_tracked"))
    unknown = sorted(k for k in state if k not in own)
    if missing or unknown:
        first = missing[0] if missing else unknown[0]
        raise UserError(
            f"{weights} does not belong to {arch}: {len(missing)} tensors missing, {len(unknown)} "
            f"unknown (first: {first}); give weights with that network's own names"
        )
    for key, value in state.items():
        if key not in heads and own[key].shape != value.shape:
            raise UserError(
                f"{weights}: {key} has shape {tuple(value.shape)}, {arch} needs "
                f"{tuple(own[key].shape)}"
            )
    # A classifier of another class count is of no use here: features end below it.
    model.load_state_dict({k: v for k, v in state.items() if k not in heads}, strict=False)
    return weights_identity(Path(weights))


def _is_head(key: str) -> bool:
    """Whether a tensor belongs to a classifier."""
    return key.split(".")[0] in ("fc", "classifier", "head", "heads", "last_linear")


def feature_map(model: Any) -> nn.Module:
    """The part of a classifier that ends in its last feature map (B, channels, height, width)."""
    if hasattr(model, "forward_features"):  # timm
        return _TimmFeatures(model)
    if hasattr(model, "features"):  # VGG, SqueezeNet, DenseNet, MobileNet, EfficientNet, ConvNeXt
        if hasattr(model, "permute"):  # Swin: channels last until here
            return nn.Sequential(model.features, model.norm, model.permute)
        if type(model).__name__ == "DenseNet":  # its forward ends the map with a ReLU
            return nn.Sequential(model.features, nn.ReLU())
        return model.features
    children = []
    for name, child in model.named_children():  # ResNet and its kin
        if name in ("avgpool", "fc", "dropout", "aux_logits", "AuxLogits", "aux1", "aux2"):
            continue
        children.append((name, child))
    return _Chain(children)


class _Chain(nn.Module):
    def __init__(self, children: list[tuple[str, nn.Module]]) -> None:
        super().__init__()
        for name, child in children:
            self.add_module(name, child)

    def forward(self, x: Tensor) -> Tensor:
        for child in self.children():
            x = child(x)
        return x


class _TimmFeatures(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        x = self.model.forward_features(x)
        channels = getattr(self.model, "num_features", None)
        if x.dim() == 4 and x.shape[-1] == channels and x.shape[1] != channels:
            x = x.permute(0, 3, 1, 2)  # Swin and its kin keep channels last
        return x


def last_layer(model: nn.Module) -> tuple[str, nn.Linear | nn.Conv2d]:
    """Path and module of the layer that gives the scores: linear, or a 1 x 1 convolution.

    Raises:
        UserError: there is none.
    """
    head = getattr(model, "classifier", None)
    convolutional = isinstance(head, nn.Sequential) and not any(
        isinstance(m, nn.Linear) for m in head
    )
    kinds = (nn.Linear, nn.Conv2d) if convolutional else (nn.Linear,)
    layers = [(n, m) for n, m in model.named_modules() if isinstance(m, kinds)]
    if not layers:
        raise UserError(f"{type(model).__name__} has no last layer that could be replaced")
    return layers[-1]


def replace_classifier(model: nn.Module, num_classes: int) -> None:
    """A new last layer of ``num_classes`` in place of ImageNet's, in place.

    SqueezeNet ends in a ReLU on its scores, which stops the gradient of every class whose score is
    below zero; with a handful of images that class may never come back, so the ReLU goes.
    """
    name, old = last_layer(model)
    parent_name, _, own_name = name.rpartition(".")
    parent = model.get_submodule(parent_name)
    if isinstance(old, nn.Linear):
        setattr(
            parent, own_name, nn.Linear(old.in_features, num_classes, bias=old.bias is not None)
        )
        return
    setattr(
        parent, own_name, nn.Conv2d(old.in_channels, num_classes, kernel_size=old.kernel_size[0])
    )
    for behind, module in list(parent.named_children())[int(own_name) + 1 :]:
        if isinstance(module, nn.ReLU):
            setattr(parent, behind, nn.Identity())
