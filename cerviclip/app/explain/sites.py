"""Where in a run's network a class activation map is read: its last layer with places.

For a transformer it is the first norm of its last block (behind it the class token alone decides),
for a convolutional network its last feature map.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cerviclip.app.explain.scorer import Scorer, ThisThread
from cerviclip.vlm.base import VisionTower
from cerviclip.vlm.towers.cnn import last_layer
from dassl.errors import UserError

CAN = (
    "CNNBaseline, and trainers whose logits come from the image features of a CNN, ViT or ResNet "
    "tower"
)


class NoSiteError(UserError):
    """A network without a layer that class activation maps can be read from."""


@dataclass(frozen=True)
class Site:
    """A layer whose output has places.

    Attributes:
        module: the layer.
        layout: of its output: ``map`` (B, W, rows, columns), ``map_last`` (B, rows, columns, W) or
            ``tokens`` (B, T, W) with the patches at the end.
        grid: rows and columns.
    """

    module: nn.Module
    layout: str
    grid: tuple[int, int]

    def to_map(self, output: Tensor) -> Tensor:
        """The layer's output as a map (B, W, rows, columns)."""
        if self.layout == "tokens":
            patches = output[:, -self.grid[0] * self.grid[1] :]
            return patches.transpose(1, 2).unflatten(2, self.grid)
        return output.permute(0, 3, 1, 2) if self.layout == "map_last" else output

    def with_map(self, output: Tensor, found: Tensor) -> Tensor:
        """The layer's output with another map in it."""
        if self.layout == "tokens":
            patches = found.flatten(2).transpose(1, 2)
            return torch.cat([output[:, : -patches.shape[1]], patches], dim=1)
        return found.permute(0, 2, 3, 1) if self.layout == "map_last" else found


def networks_of(trainer: Any) -> list[nn.Module]:
    """The networks through which an image may go; of a trainer written elsewhere, all it has."""
    if hasattr(trainer, "image_networks"):
        found = trainer.image_networks()
    else:
        found = list(getattr(trainer, "_models", {}).values())
    return list({id(one): one for one in found}.values())


def _token_sites(network: Any) -> Iterator[Site]:
    """The first norm of the last block, where the network is a vision transformer."""
    if isinstance(network, VisionTower):
        blocks, grid = network.blocks, network.grid
    elif hasattr(network, "patch_embed") and hasattr(network, "blocks"):  # timm
        blocks, grid = network.blocks, getattr(network.patch_embed, "grid_size", None)
    elif hasattr(network, "conv_proj") and hasattr(network, "encoder"):  # torchvision
        blocks, side = network.encoder.layers, network.image_size // network.patch_size
        grid = (side, side)
    else:
        return
    last = list(blocks)[-1] if len(blocks) else None
    for name in ("ln_1", "norm1"):
        norm = getattr(last, name, None)
        if isinstance(norm, nn.Module) and grid is not None:
            yield Site(norm, "tokens", (grid[0], grid[1]))


def find_site(scorer: Scorer) -> Site:
    """The layer that this run's map is read from, found by one forward pass.

    Raises:
        NoSiteError: the network has no such layer; the line names what can be explained.
    """
    networks = networks_of(scorer.trainer)
    tokens = {id(site.module): site for one in networks for site in _token_sites(one)}
    calls = _calls(scorer, networks)
    name = scorer.trainer.cfg.TRAINER.NAME
    last = [tokens[id(module)] for module, _ in calls if id(module) in tokens][-1:]
    last = last or list(_last_map(networks, calls, scorer.size))
    if not last:
        raise NoSiteError(f"{name} has no layer with places for a map; there are maps for {CAN}")
    if sum(module is last[0].module for module, _ in calls) > 1:
        raise NoSiteError(
            f"{name} sends an image through its network more than once; there are maps for {CAN}"
        )
    return last[0]


@torch.no_grad()
def _calls(scorer: Scorer, networks: list[nn.Module]) -> list[tuple[nn.Module, tuple[int, ...]]]:
    """Each module with its output's shape, in the order in which they end."""
    calls: list[tuple[nn.Module, tuple[int, ...]]] = []
    here = ThisThread()

    def note(module: nn.Module, _: Any, output: Any) -> None:
        if here and isinstance(output, Tensor):
            calls.append((module, tuple(output.shape)))

    modules = {id(module): module for one in networks for module in one.modules()}
    with ExitStack() as stack:
        for module in modules.values():
            stack.callback(module.register_forward_hook(note).remove)
        scorer.logits(scorer.pixels)
    return calls


def _last_map(
    networks: list[nn.Module],
    calls: list[tuple[nn.Module, tuple[int, ...]]],
    seen: tuple[int, int],
) -> Iterator[Site]:
    """The last feature map before the scores."""
    heads = {id(last_layer(one)[1]) for one in networks if _has_scores(one)}
    found = None
    for module, shape in calls:
        if id(module) in heads:
            break
        layout = _layout(shape, seen)
        if layout:
            grid = shape[2:] if layout == "map" else shape[1:3]
            found = Site(module, layout, (grid[0], grid[1]))
    if found is not None:
        yield found


def _has_scores(network: nn.Module) -> bool:
    has = any(isinstance(module, nn.Linear) for module in network.modules())
    return not isinstance(network, VisionTower) and (has or hasattr(network, "classifier"))


def _layout(shape: tuple[int, ...], seen: tuple[int, int]) -> str:
    """Which axes of a shape are places: those in the proportion of the input; empty for none."""
    if len(shape) != 4:
        return ""
    for layout, (rows, columns) in (("map", shape[2:]), ("map_last", shape[1:3])):
        alike = abs(rows * seen[1] - columns * seen[0]) <= max(seen)
        if alike and min(rows, columns) > 1:
            return layout
    return ""
