"""What leaves a centre: the tensors that a trainer learns, in a fixed order, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from cerviclip.vlm.heads.by_data import RowsByData
from dassl.errors import UserError


def learnt_tensors(trainer: Any) -> dict[str, torch.Tensor]:
    """Tensors of the registered models that travel: parameters and floating buffers.

    What a checkpoint of the run holds, so never an image. Whole numbers, such as the number of
    batches that a batch norm has seen, stay at home.

    Raises:
        UserError: the method keeps features of single images among its weights.
    """
    check_no_image_features(trainer)
    found = {
        f"{name}.{key}": value
        for name, model in trainer._models.items()
        for key, value in model.state_dict().items()
        if torch.is_tensor(value) and value.is_floating_point()
    }
    if not found:
        raise UserError(f"{trainer.cfg.TRAINER.NAME} learns no weights that could be averaged")
    return dict(sorted(found.items()))


def check_no_image_features(trainer: Any) -> None:
    """Refuse a method that keeps features of single images among its weights."""
    if keeps_image_features(trainer):
        raise UserError(
            f"{trainer.cfg.TRAINER.NAME} keeps the features of its training images among its "
            "weights, and these may not leave a centre; take a method that learns prompts, "
            "adapters or LoRA, such as CoOp, ClipAdapter or CLIPLoRA"
        )


def keeps_image_features(trainer: Any) -> bool:
    """Whether a method says so, or has a module with a row for each training image, full or not."""
    modules = (module for model in trainer._models.values() for module in model.modules())
    rows = any(isinstance(module, RowsByData) for module in modules)
    return rows or getattr(trainer, "keeps_image_features", False)


def read_weights(trainer: Any) -> list[np.ndarray]:
    """The travelling tensors as float32 arrays, sorted by name.

    Raises:
        UserError: one is not finite; averaged, it would spoil the weights of every centre.
    """
    own = {k: v.detach().float().cpu().numpy().copy() for k, v in learnt_tensors(trainer).items()}
    check_finite(list(own.values()), "this centre's training", list(own))
    return list(own.values())


def check_finite(arrays: Sequence[np.ndarray], whose: str, names: Sequence[str] = ()) -> None:
    """Refuse weights with NaN or infinite values."""
    for number, array in enumerate(arrays):
        if not np.isfinite(array).all():
            what = names[number] if names else f"array {number}"
            raise UserError(
                f"the weights of {whose} are not finite ({what}); a lower learning rate may help"
            )


@torch.no_grad()
def set_weights(trainer: Any, arrays: Sequence[np.ndarray]) -> None:
    """Put arrays in the place of the travelling tensors.

    Raises:
        UserError: another number of arrays, or another shape: the centres train different models.
    """
    own = learnt_tensors(trainer)
    shapes = [tuple(value.shape) for value in own.values()]
    given = [tuple(array.shape) for array in arrays]
    if shapes != given:
        first = next((n for n, (a, b) in enumerate(zip(shapes, given, strict=False)) if a != b), 0)
        raise UserError(
            f"the federation's weights do not fit this centre's model ({list(own)[first]}): the "
            "centres differ in classes, method or backbone"
        )
    for name, model in trainer._models.items():
        state = model.state_dict()
        for key, value in state.items():
            place = f"{name}.{key}"
            if place in own:
                array = arrays[list(own).index(place)]
                state[key] = torch.from_numpy(np.asarray(array)).to(value)
        model.load_state_dict(state)


def anchors_of(trainer: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Parameters that learn, each with a copy of what it is now."""
    return [
        (parameter, parameter.detach().clone())
        for model in trainer._models.values()
        for parameter in model.parameters()
        if parameter.requires_grad
    ]


@torch.no_grad()
def add_proximal_gradient(anchors: Sequence[tuple[torch.Tensor, torch.Tensor]], mu: float) -> None:
    """Add the gradient of mu/2 |w - w_global|^2 (FedProx, eq. 2) to each parameter's own."""
    for parameter, anchor in anchors:
        if parameter.grad is not None:
            parameter.grad.add_(parameter - anchor, alpha=mu)


def size_of(arrays: Sequence[np.ndarray]) -> int:
    """Bytes of arrays as they travel."""
    return sum(array.nbytes for array in arrays)
