"""Tissue segmenters: build, save and apply a network that parts tissue from background.

The networks are segmentation_models_pytorch's (extra ``[segment]``); what is here is what the
project needs around them: one preprocessing, the Dice loss, overlap scores, and a checkpoint that
can be rebuilt without knowing how it was made. A checkpoint is a safetensors file whose header
carries the architecture, encoder and input size, so that it serves as the ROI source of SAVLT by
its path alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from cerviclip.places import install_hint
from cerviclip.shapes import parse_json
from dassl.errors import MissingFileError, UserError
from dassl.paths import is_file
from dassl.utils.checkpoints import load_fitting

#: Name on the command line -> class of segmentation_models_pytorch.
ARCHITECTURES = {
    "unet": "Unet",
    "pspnet": "PSPNet",
    "deeplabv3plus": "DeepLabV3Plus",
    "linknet": "Linknet",
    "segformer": "Segformer",
}
# Probability from which a pixel counts as tissue.
_THRESHOLD = 0.5


@dataclass(frozen=True)
class SegmenterSpec:
    """What rebuilds a segmenter: architecture, encoder and square input size in px."""

    arch: str = "unet"
    encoder: str = "resnet18"
    size: int = 128


class Segmenter(nn.Module):
    """A network with its preprocessing: grey image in, logit of tissue out."""

    def __init__(self, spec: SegmenterSpec, encoder_weights: str | None = None) -> None:
        super().__init__()
        self.spec = spec
        self.network = _build_network(spec, encoder_weights)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits (B, 1, S, S) of tissue for grey images (B, 1, S, S) in 0-1."""
        # Zero mean and unit spread per image: centres differ in gain, the anatomy does not.
        mean = images.mean((2, 3), keepdim=True)
        std = images.std((2, 3), keepdim=True).clamp_min(1e-3)
        return self.network((images - mean) / std)

    @torch.no_grad()
    def masks(self, images: Sequence[np.ndarray], batch_size: int = 16) -> list[np.ndarray]:
        """Segment grey uint8 images of any sizes; each mask has its image's size.

        Args:
            images: arrays (H, W), uint8.
            batch_size: images per forward pass.

        Returns:
            Boolean arrays (H, W), True where tissue is.
        """
        was_training = self.training
        self.eval()
        out: list[np.ndarray] = []
        for start in range(0, len(images), batch_size):
            chunk = images[start : start + batch_size]
            batch = torch.stack([to_input(image, self.spec.size) for image in chunk])
            probabilities = self(batch).sigmoid()
            for image, probability in zip(chunk, probabilities, strict=True):
                full = nn.functional.interpolate(
                    probability[None], size=image.shape[:2], mode="bilinear", align_corners=False
                )
                out.append((full[0, 0] > _THRESHOLD).numpy())
        self.train(was_training)
        return out

    def save(self, path: str | Path) -> None:
        """Write weights and spec to one safetensors file, atomically."""
        from safetensors.torch import save_file

        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f".{path.name}.tmp")
        state = {key: value.contiguous() for key, value in self.state_dict().items()}
        save_file(state, scratch, metadata={"segmenter": json.dumps(asdict(self.spec))})
        scratch.replace(path)


def load_segmenter(path: str | Path) -> Segmenter:
    """Rebuild a segmenter from a file that :meth:`Segmenter.save` wrote.

    Raises:
        MissingFileError: there is no such file.
        UserError: the file is not a segmenter's.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not is_file(path):
        raise MissingFileError(
            f"no segmenter at {path}: train one with tools/train_segmenter.py, "
            "or set SOURCE of the ROI to surface"
        )
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get("segmenter")
            state = {key: file.get_tensor(key) for key in list(file.keys())}
    except SafetensorError as error:
        raise UserError(f"{path} is not a safetensors file: {error}") from None
    if header is None:
        raise UserError(f"{path} holds no segmenter: its header names no architecture")
    try:
        model = Segmenter(SegmenterSpec(**parse_json(header)))
    except UserError:
        raise
    except (ValueError, TypeError, LookupError, RuntimeError) as error:
        raise UserError(f"{path} names no segmenter that can be built ({error})") from error
    load_fitting(model, state, path)
    return model.eval()


def to_input(image: np.ndarray, size: int) -> torch.Tensor:
    """Scale a grey uint8 image (H, W) to a float tensor (1, size, size) in 0-1."""
    tensor = torch.tensor(np.ascontiguousarray(image)).float()[None, None] / 255
    tensor = nn.functional.interpolate(
        tensor, size=(size, size), mode="bilinear", align_corners=False, antialias=True
    )
    return tensor[0]


def dice_loss(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Soft Dice loss, 1 - 2|P.M| / (|P| + |M|), per image and averaged (Milletari et al., 2016)."""
    probabilities = logits.sigmoid().flatten(1)
    target = masks.flatten(1)
    overlap = (probabilities * target).sum(1)
    return (1 - (2 * overlap + 1) / (probabilities.sum(1) + target.sum(1) + 1)).mean()


def overlap_scores(predicted: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Return IoU and Dice of two boolean masks; both are 1 where both masks are empty."""
    overlap = float(np.logical_and(predicted, truth).sum())
    total = float(predicted.sum() + truth.sum())
    if total == 0:
        return 1.0, 1.0
    return overlap / (total - overlap), 2 * overlap / total


def surface_rows(mask: np.ndarray) -> np.ndarray:
    """First tissue row of each column of a boolean mask (H, W); H where a column holds none."""
    return np.where(mask.any(0), mask.argmax(0), mask.shape[0])


def _build_network(spec: SegmenterSpec, encoder_weights: str | None) -> nn.Module:
    if spec.arch not in ARCHITECTURES:
        raise UserError(
            f"unknown segmenter {spec.arch!r}; choose one of {', '.join(ARCHITECTURES)}"
        )
    if spec.size % 32:
        raise UserError(f"segmenter size {spec.size} is not a multiple of 32 px")
    try:
        import segmentation_models_pytorch as smp
    except ImportError:
        raise UserError(
            f"segmenters need segmentation_models_pytorch: {install_hint('segment')}"
        ) from None
    try:
        return getattr(smp, ARCHITECTURES[spec.arch])(
            encoder_name=spec.encoder, encoder_weights=encoder_weights, in_channels=1, classes=1
        )
    except KeyError as error:
        raise UserError(
            f"unknown encoder {spec.encoder!r} for {spec.arch}: {error.args[0]}"
        ) from None
