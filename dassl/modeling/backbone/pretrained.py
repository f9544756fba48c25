"""ImageNet weights from torchvision, with a plain word where they cannot be fetched."""

from __future__ import annotations

from typing import Any
from urllib.error import URLError

from torch import nn
from torchvision.models import get_model_weights

from dassl.errors import UserError


def imagenet_state_dict(arch: str) -> dict[str, Any]:
    """torchvision's first ImageNet weights of ``arch`` (those that upstream used).

    Raises:
        UserError: torchvision has none, or they are not in the cache and cannot be downloaded.
    """
    choices = list(get_model_weights(arch))
    if not choices:
        raise UserError(f"torchvision has no ImageNet weights for {arch}: set PRETRAINED to False")
    try:
        return choices[0].get_state_dict(progress=False)
    except (URLError, OSError) as error:
        raise UserError(
            f"ImageNet weights of {arch} cannot be downloaded from {choices[0].url} ({error}): put "
            "that file into ~/.cache/torch/hub/checkpoints, name a file in MODEL.INIT_WEIGHTS with "
            "MODEL.BACKBONE.PRETRAINED False, or train from scratch with the latter alone"
        ) from error


def load_imagenet(model: nn.Module, arch: str) -> None:
    """Load torchvision's weights into the layers that ``model`` shares with ``arch``."""
    own = model.state_dict()
    weights = imagenet_state_dict(arch)
    model.load_state_dict({key: value for key, value in weights.items() if key in own})
