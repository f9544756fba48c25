"""Class activation maps through pytorch-grad-cam, for whatever a run's model is.

The library sees a network of one layer (`Tap`): the map of the run's site passes through it on its
way. So tokens need no special treatment, and hooks see nothing of what other threads predict.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cerviclip.app.explain.scorer import Scorer, ThisThread, log_odds
from cerviclip.app.explain.sites import Site
from cerviclip.places import install_hint
from dassl.errors import UserError

CAMS = ("gradcam", "hirescam", "scorecam", "eigencam")
_BATCH = 16  # masked images at a time


class Tap(nn.Module):
    """Hands on what it gets; the layer that the library hooks."""

    def forward(self, x: Tensor) -> Tensor:
        return x.clone()


class Tapped(nn.Module):
    """A run's model of one image (1, 3, h, w) with its map led through a tap.

    The gradient begins at the tap. It passes frozen parts, which predict without one, because the
    tap turns gradients on until the part's own context ends.
    """

    def __init__(self, scorer: Scorer, site: Site) -> None:
        super().__init__()
        self.tap = Tap()
        # The library asks a parameter for the device.
        self.place = nn.Parameter(torch.zeros((), device=scorer.device), requires_grad=False)
        self._run: Callable[[Tensor], Tensor] = scorer.logits
        self._site = site

    def forward(self, pixels: Tensor) -> Tensor:
        here, graded = ThisThread(), torch.is_grad_enabled()

        def lead(module: nn.Module, inputs: Any, output: Tensor) -> Tensor | None:
            if not here:
                return None
            torch.set_grad_enabled(graded)
            # A frozen encoder pads its batch; the rows behind the image's own are left alone.
            found = self._site.to_map(output)[: len(pixels)].detach().requires_grad_(graded)
            out = self._site.with_map(output[: len(pixels)], self.tap(found).clone())
            return torch.cat([out, output[len(pixels) :]])

        handle = self._site.module.register_forward_hook(lead)
        try:
            return self._run(pixels)
        finally:
            handle.remove()


def import_cam() -> Any:
    """The optional extra.

    Raises:
        UserError: it is absent.
    """
    try:
        import pytorch_grad_cam
    except ImportError as error:
        raise UserError(
            f"maps need pytorch-grad-cam ({error}): {install_hint('explain')}"
        ) from error
    return pytorch_grad_cam


def cam(
    method: str,
    scorer: Scorer,
    site: Site,
    label: int,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """A map (h, w) in 0-1 of the model's view.

    Args:
        method: of ``CAMS``. ``gradcam``: Selvaraju et al., ICCV 2017. ``hirescam``: Draelos &
            Carin, arXiv:2011.08891, the gradient at each place in the stead of its mean.
            ``scorecam``: Wang et al., CVPR-W 2020, a forward pass for each channel. ``eigencam``:
            Muhammad & Yeasin, IJCNN 2020, the first principal component, the same for every class.
        label: index of the class.
        progress: called with passes done and all passes.
    """
    library = import_cam()
    model = Tapped(scorer, site)
    kinds = {
        "gradcam": library.GradCAM,
        "hirescam": library.HiResCAM,
        "scorecam": _score_cam(library, scorer, progress),
        "eigencam": library.EigenCAM,
    }
    learned = _without_gradients(scorer.trainer)
    run = kinds[method](model=model, target_layers=[model.tap])
    try:  # not `with run`, which swallows an IndexError
        with torch.enable_grad():
            found = run(scorer.pixels.to(scorer.device), [log_odds(label)])
    finally:
        run.activations_and_grads.release()
        for parameter in learned:
            parameter.grad = None
    return np.asarray(found[0], np.float32)


def _without_gradients(trainer: Any) -> list[nn.Parameter]:
    """Parameters that the backward pass would leave a gradient in."""
    every = [p for model in getattr(trainer, "_models", {}).values() for p in model.parameters()]
    return [p for p in every if p.requires_grad and p.grad is None]


def _score_cam(library: Any, scorer: Scorer, progress: Callable[[int, int], None] | None) -> type:
    """Score-CAM that makes its masked images a batch at a time: the library's holds those of all
    channels at once, more than a gigabyte for 2048 of them."""

    class ScoreCAM(library.ScoreCAM):  # type: ignore[misc, name-defined]
        def get_cam_weights(
            self,
            input_tensor: Tensor,
            target_layers: Any,
            targets: list[Callable[[Tensor], Tensor]],
            activations: np.ndarray,
            grads: Any,
        ) -> np.ndarray:
            maps = torch.from_numpy(activations[0]).to(input_tensor.device)  # (W, rows, columns)
            scores = []
            for start in range(0, len(maps), _BATCH):
                masks = _unit_masks(maps[start : start + _BATCH], input_tensor.shape[-2:])
                with torch.no_grad():
                    logits = scorer.logits(input_tensor * masks)
                scores += [targets[0](row).item() for row in logits]
                if progress is not None:
                    progress(len(scores), len(maps))
            return torch.tensor(scores).softmax(0).numpy()[None]

    return ScoreCAM


def _unit_masks(maps: Tensor, size: Any) -> Tensor:
    """Maps (B, rows, columns) of the view's size (B, 1, h, w), each scaled to 0-1."""
    large = nn.functional.interpolate(maps.unsqueeze(1), size=tuple(size), mode="bilinear")
    low, high = large.amin((2, 3), keepdim=True), large.amax((2, 3), keepdim=True)
    return (large - low) / (high - low + 1e-8)
