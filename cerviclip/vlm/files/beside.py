"""What the files beside a weights file say of it, and whether that is what it is loaded as.

The tensors of a CLIP are the same with GELU and QuickGELU, and for any statistics of the pixels; a
wrong choice gives features that look well and are not. A folder as Hugging Face lays it out says
both, so what it says must agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cerviclip.backbones.published import PUBLISHED
from cerviclip.shapes import plain_json
from dassl.errors import UserError
from dassl.paths import is_file

# Names of weights in a folder that holds one model; another file may lie beside anything.
OF_ONE_MODEL = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "model.safetensors",
    "pytorch_model.bin",
)
_TOLERANCE = 5e-3  # statistics are written with two to eight digits


@dataclass(frozen=True)
class Stated:
    """What one file says; None where it does not."""

    file: Path
    quick_gelu: bool | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    size: int | None = None


def stated_beside(weights: Path) -> list[Stated]:
    """What configs in the folder of a weights file say of its model."""
    if weights.name not in OF_ONE_MODEL:
        return []
    readers = {
        "open_clip_config.json": _of_open_clip,
        "config.json": _of_transformers_or_timm,
        "preprocessor_config.json": _of_preprocessor,
    }
    found = []
    for name, read in readers.items():
        path = weights.parent / name
        try:
            content = plain_json(path.read_text(encoding="utf-8")) if is_file(path) else None
        except ValueError:  # of no use, and nobody needs it
            content = None
        if isinstance(content, dict):
            found.append(Stated(path, **read(content)))
    return found


def check_beside(
    name: str,
    weights: str | Path,
    quick_gelu: bool,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    size: int,
) -> None:
    """Refuse a file that the configs beside it describe otherwise.

    Args:
        name: the backbone's, as it is asked for.
        weights: its file.
        quick_gelu: whether that backbone has QuickGELU.
        mean, std: of its pixels in 0-1.
        size: px of its input's side.

    Raises:
        UserError: names the file beside, what it says and what the backbone has.
    """
    ours = {"QuickGELU": quick_gelu, "mean": mean, "std": std, "size": size}
    for stated in stated_beside(Path(weights)):
        theirs = {
            "QuickGELU": stated.quick_gelu, "mean": stated.mean, "std": stated.std,
            "size": stated.size,
        }  # fmt: skip
        for what, value in theirs.items():
            if value is not None and not _same(value, ours[what]):
                raise UserError(
                    f"{stated.file} says {what} {_shown(value)} of {weights}, and {name} has "
                    f"{_shown(ours[what])}; choose the backbone that the file belongs to "
                    "(cerviclip list; open_clip:local-dir:FOLDER takes a folder with its config)"
                )


def check_known(name: str, weights: str | Path, sha256: str) -> None:
    """Refuse a published file under the name of another backbone.

    Raises:
        UserError: names the backbone that it belongs to.
    """
    for known, entry in PUBLISHED.items():
        if known != name and sha256.startswith(entry.sha256 or ("no such hash",)):
            raise UserError(
                f"{weights} is the file of {known} (by its sha256), which differs from {name} in "
                f"activation or preprocessing; give --backbone {known}"
            )


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, tuple):
        return len(a) == len(b) and all(abs(x - y) < _TOLERANCE for x, y in zip(a, b, strict=True))
    return a == b


def _shown(value: Any) -> str:
    return ", ".join(f"{x:g}" for x in value) if isinstance(value, tuple) else str(value)


def _numbers(value: Any) -> tuple[float, ...] | None:
    is_list = isinstance(value, (list, tuple)) and len(value) == 3
    return tuple(float(x) for x in value) if is_list else None


def _side(value: Any) -> int | None:
    """px of a side, of a number, a pair or a mapping; None where the sides differ."""
    if isinstance(value, dict):
        value = [value.get(k) for k in ("height", "width") if value.get(k)] or value.get(
            "shortest_edge"
        )
    if isinstance(value, list):
        value = value[0] if len(set(value)) == 1 else None
    return int(value) if isinstance(value, (int, float)) else None


def _of_open_clip(config: dict[str, Any]) -> dict[str, Any]:
    model, pixels = config.get("model_cfg") or {}, config.get("preprocess_cfg") or {}
    vision = model.get("vision_cfg") or {}
    own_towers = "timm_model_name" not in vision  # timm's have an activation of their own
    return {
        "quick_gelu": bool(model.get("quick_gelu")) if own_towers and model else None,
        "mean": _numbers(pixels.get("mean")),
        "std": _numbers(pixels.get("std")),
        "size": _side(vision.get("image_size")),
    }


def _of_transformers_or_timm(config: dict[str, Any]) -> dict[str, Any]:
    pixels = config.get("pretrained_cfg")
    if isinstance(pixels, dict):  # timm
        size = pixels.get("input_size")
        return {
            "mean": _numbers(pixels.get("mean")),
            "std": _numbers(pixels.get("std")),
            "size": _side(size[1:]) if isinstance(size, list) and len(size) == 3 else None,
        }
    kind, vision = config.get("model_type"), config.get("vision_config") or {}
    if kind not in ("clip", "siglip"):
        return {}
    usual = {"clip": "quick_gelu", "siglip": "gelu_pytorch_tanh"}[kind]
    return {
        "quick_gelu": vision.get("hidden_act", usual) == "quick_gelu",
        "size": _side(vision.get("image_size")),
    }


def _of_preprocessor(config: dict[str, Any]) -> dict[str, Any]:
    return {
        "mean": _numbers(config.get("image_mean")),
        "std": _numbers(config.get("image_std")),
        "size": _side(config.get("crop_size") or config.get("size")),
    }
