"""Networks that perturb images: the generators of DDAIG (Zhou et al., AAAI 2020)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dassl.utils import init_network_weights

from .build import NETWORK_REGISTRY


def _instance_norm(width: int) -> nn.Module:
    return nn.InstanceNorm2d(width, affine=False, track_running_stats=False)


class ResnetBlock(nn.Module):
    """Two 3 x 3 convolutions beside an identity.

    Args:
        width: channels.
        norm: makes a normalisation for that many channels.
        reflect: pad by reflection instead of zeros.
    """

    def __init__(self, width: int, norm: Any = _instance_norm, reflect: bool = True) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for last in (False, True):
            if reflect:
                layers.append(nn.ReflectionPad2d(1))
            layers.append(nn.Conv2d(width, width, 3, padding=0 if reflect else 1, bias=False))
            layers.append(norm(width))
            if not last:
                layers.append(nn.ReLU(True))
        self.conv_block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


class LocNet(nn.Module):
    """Predicts a linear map of the image plane, (B, 2, 3) without shift.

    Args:
        input_nc: channels of the image.
        nc: width.
        n_blocks: residual blocks, each halving the maps.
        image_size: side of the image in px.
    """

    def __init__(
        self, input_nc: int, nc: int = 32, n_blocks: int = 3, image_size: int = 32
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(input_nc, nc, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(nc),
            nn.ReLU(True),
        ]
        for _ in range(n_blocks):
            layers += [ResnetBlock(nc, nn.BatchNorm2d, reflect=False), nn.MaxPool2d(2, stride=2)]
        self.backbone = nn.Sequential(*layers)
        side = image_size // 2 ** (n_blocks + 1)
        self.fc_loc = nn.Linear(nc * side**2, 2 * 2)

    def forward(self, x: Tensor) -> Tensor:
        linear = torch.tanh(self.fc_loc(self.backbone(x).flatten(1))).view(-1, 2, 2)
        return F.pad(linear, (0, 1))  # no shift


class FCN(nn.Module):
    """Image plus a bounded perturbation of it, optionally of a transformed image.

    Args:
        input_nc: channels in.
        output_nc: channels of the perturbation.
        nc: width.
        n_blocks: residual blocks.
        gctx: mix the mean of the maps into each place.
        stn: transform the image first, by a ``LocNet``.
        image_size: side of the image in px, for ``stn``.
    """

    def __init__(
        self,
        input_nc: int,
        output_nc: int,
        nc: int = 32,
        n_blocks: int = 3,
        gctx: bool = True,
        stn: bool = False,
        image_size: int = 32,
    ) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(input_nc, nc, 3, bias=False),
            _instance_norm(nc),
            nn.ReLU(True),
            *(ResnetBlock(nc) for _ in range(n_blocks)),
        )
        self.gctx_fusion = None
        if gctx:
            self.gctx_fusion = nn.Sequential(
                nn.Conv2d(2 * nc, nc, 1, bias=False), _instance_norm(nc), nn.ReLU(True)
            )
        self.regress = nn.Sequential(nn.Conv2d(nc, output_nc, 1, bias=True), nn.Tanh())
        self.locnet = None
        if stn:
            self.locnet = LocNet(input_nc, nc=nc, n_blocks=n_blocks, image_size=image_size)

    def init_loc_layer(self) -> None:
        """Let the transform start as the identity (tanh of 1, as upstream)."""
        if self.locnet is not None:
            nn.init.zeros_(self.locnet.fc_loc.weight)
            with torch.no_grad():
                self.locnet.fc_loc.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 1.0]))

    def stn(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The transformed images and the maps used."""
        theta = self.locnet(x)
        grid = F.affine_grid(theta, list(x.size()), align_corners=False)
        return F.grid_sample(x, grid, align_corners=False), theta

    def forward(
        self, x: Tensor, lmda: float = 1.0, return_p: bool = False, return_stn_output: bool = False
    ) -> Tensor | tuple[Tensor, ...]:
        """Perturb images.

        Args:
            x: images (B, C, H, W).
            lmda: strength.
            return_p: also return the perturbation.
            return_stn_output: also return the perturbation and the transformed images.
        """
        if self.locnet is not None:
            x, _ = self.stn(x)
        maps = self.backbone(x)
        if self.gctx_fusion is not None:
            context = F.adaptive_avg_pool2d(maps, 1).expand_as(maps)
            maps = self.gctx_fusion(torch.cat([maps, context], 1))
        perturbation = self.regress(maps)
        perturbed = x + lmda * perturbation
        if return_stn_output:
            return perturbed, perturbation, x
        return (perturbed, perturbation) if return_p else perturbed


def _build(width: int, stn: bool = False, image_size: int = 32) -> FCN:
    network = FCN(3, 3, nc=width, n_blocks=3, stn=stn, image_size=image_size)
    init_network_weights(network, init_type="normal", gain=0.02)
    network.init_loc_layer()
    return network


@NETWORK_REGISTRY.register()
def fcn_3x32_gctx(**kwargs: Any) -> FCN:
    """Three blocks of 32 channels, with global context."""
    return _build(32)


@NETWORK_REGISTRY.register()
def fcn_3x64_gctx(**kwargs: Any) -> FCN:
    """Three blocks of 64 channels, with global context."""
    return _build(64)


@NETWORK_REGISTRY.register()
def fcn_3x32_gctx_stn(image_size: int = 32, **kwargs: Any) -> FCN:
    """Three blocks of 32 channels, with global context and a transform of the image."""
    return _build(32, stn=True, image_size=image_size)


@NETWORK_REGISTRY.register()
def fcn_3x64_gctx_stn(image_size: int = 224, **kwargs: Any) -> FCN:
    """Three blocks of 64 channels, with global context and a transform of the image."""
    return _build(64, stn=True, image_size=image_size)
