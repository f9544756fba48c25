"""What a local file of weights for an open_clip architecture is: activation and preprocessing.

One architecture has weights of several trainings, which differ in both, and the tensors' names and
shapes are equal. So a file is recognised, or refused until the user says what it is.
"""

from __future__ import annotations

import re
import types
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cerviclip.places import install_hint
from cerviclip.vlm.base import CLIP_MEAN, CLIP_STD
from cerviclip.vlm.files.formats import weights_identity
from dassl.errors import UserError

# What OpenAI's files hold beside their tensors, and files of other trainings do not.
OF_OPENAI = ("input_resolution", "context_length", "vocab_size")
_PREPROCESS = ("interpolation", "resize_mode")
_USUAL = {"mean": CLIP_MEAN, "std": CLIP_STD, "interpolation": "bicubic", "resize_mode": "shortest"}
_QUICK, _GELU = "-quickgelu", "-gelu"  # what a name ends in that says the activation
# Tensors that OpenAI keeps in 16 bits, and those that it keeps in 32.
_MATRICES = re.compile(
    r"(in_proj_weight|c_fc\.weight|c_proj\.weight|text_projection|visual\.proj)$"
)
_NORMS = re.compile(r"\bln_\w+\.(weight|bias)$")
_LOOKED_AT = 4  # of each


@dataclass
class Source:
    """Where a model's shape and weights come from.

    Attributes:
        arch: open_clip's name of the architecture.
        model_cfg: its configuration.
        folder: of a model laid out as on Hugging Face.
        file: of the weights.
        tag: open_clip's name of the weights.
        preprocess: mean, std, interpolation and resize, where known.
        quick_gelu: the weights need QuickGELU.
        says_gelu: the user's name for it says that they need GELU.
    """

    arch: str
    model_cfg: dict[str, Any]
    folder: Path | None = None
    file: Path | None = None
    tag: str = ""
    preprocess: dict[str, Any] = field(default_factory=dict)
    quick_gelu: bool = False
    says_gelu: bool = False

    @property
    def says_activation(self) -> bool:
        """Whether the name of the architecture says it."""
        quick = bool(self.model_cfg.get("quick_gelu")) or self.arch.endswith(_QUICK)
        return quick or self.says_gelu


def import_open_clip() -> types.ModuleType:
    """The optional extra, or one sentence on how to get it."""
    try:
        import open_clip
    except ImportError as error:
        raise UserError(
            f"open_clip:<arch> needs the open_clip package ({error}): {install_hint('open_clip')}"
        ) from error
    return open_clip


def without_gelu(open_clip: types.ModuleType, arch: str) -> tuple[str, bool]:
    """An architecture's name without our ``-gelu`` behind it, and whether it had that."""
    short = arch.removesuffix(_GELU)
    if short == arch or open_clip.get_model_config(arch) is not None:
        return arch, False
    return short, True


def of_tag(tagged: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """A pretrained tag's preprocessing, and whether it has QuickGELU."""
    preprocess = {k: v for k, v in tagged.items() if k in ("mean", "std")}
    preprocess |= {k: tagged[k] for k in _PREPROCESS if tagged.get(k)}
    return preprocess, bool(tagged.get("quick_gelu"))


def follow_file(source: Source, state: dict[str, Tensor]) -> None:
    """Set activation and preprocessing of a local file.

    OpenAI's own files are known by three numbers beside their tensors, or by matrices whose values
    have 16 bits while the norms' have more; files of a tag by their name and hash, or by the name
    of their repository. Any other is taken as all tags of its architecture are.

    Raises:
        UserError: the tags differ in their activation and nothing says which the file needs.
    """
    if source.folder is not None or source.tag:
        return
    open_clip = import_open_clip()
    if tagged := _tag_by_place(open_clip, source):
        source.preprocess, source.quick_gelu = of_tag(tagged)
    elif all(key in state for key in OF_OPENAI) or _rounded_as_openais(state):
        source.quick_gelu = True
    else:
        _as_all_tags(open_clip, source)
    if source.quick_gelu and source.says_gelu:
        raise UserError(
            f"{source.file} holds weights with QuickGELU; name them open_clip:{source.arch}"
        )


def _tag_by_place(open_clip: types.ModuleType, source: Source) -> dict[str, Any]:
    """open_clip's record of the tag that a file is; {} where its name and folders tell none."""
    if source.file is None:
        return {}
    folders = {part.removeprefix("models--").replace("--", "/") for part in source.file.parts[:-1]}
    folders |= {folder.rpartition("/")[2] for folder in folders}
    arch = source.arch.removesuffix(_QUICK)
    for name in (arch, arch + _QUICK):
        for tag in open_clip.list_pretrained_tags_by_model(name):
            tagged = open_clip.get_pretrained_cfg(name, tag)
            repository = str(tagged.get("hf_hub") or "").strip("/").rpartition("/")[2]
            if repository and repository in folders:
                return tagged
            if _is_download(str(tagged.get("url") or ""), source.file):
                return tagged
    return {}


def _is_download(url: str, file: Path) -> bool:
    """Whether a file is what a url gives: by its name, and the start of its hash in that name."""
    name = url.rpartition("/")[2]
    start = re.search(r"-([0-9a-f]{8})\.\w+$", name)
    if start is None or name != file.name:
        return False
    return weights_identity(file).startswith(start.group(1))


def _rounded_as_openais(state: dict[str, Tensor]) -> bool:
    """Whether matrices hold values of 16 bits and norms values of more, as in what is saved of a
    model that ``clip.load`` gave."""

    def some(names: re.Pattern[str]) -> Iterable[Tensor]:
        found = [value for key, value in sorted(state.items()) if names.search(key)]
        return found[:: max(1, len(found) // _LOOKED_AT)]

    matrices = [_has_sixteen_bits(value) for value in some(_MATRICES)]
    norms = [_has_sixteen_bits(value) for value in some(_NORMS)]
    return bool(matrices) and all(matrices) and bool(norms) and not all(norms)


def _has_sixteen_bits(value: Tensor) -> bool:
    return value.is_floating_point() and torch.equal(value.half().to(value.dtype), value)


def _as_all_tags(open_clip: types.ModuleType, source: Source) -> None:
    """Take what all tags of an architecture have; where they differ in preprocessing, what is usual
    is assumed, with a warning that names the tags that differ."""
    tags = open_clip.list_pretrained_tags_by_model(source.arch)
    found = [of_tag(open_clip.get_pretrained_cfg(source.arch, tag)) for tag in tags]
    quick_gelus = {quick for _, quick in found}
    if len(quick_gelus) > 1 and not source.says_activation:
        quick = [tag for tag, (_, is_quick) in zip(tags, found, strict=True) if is_quick]
        plain = [tag for tag in tags if tag not in quick]
        raise UserError(
            f"{source.file} does not say its activation: weights of {source.arch} have QuickGELU "
            f"({', '.join(quick[:3])}) or GELU ({', '.join(plain[:3])}), and with the wrong one "
            f"every feature is wrong; name it open_clip:{source.arch}{_QUICK} or "
            f"open_clip:{source.arch}{_GELU}"
        )
    source.quick_gelu = quick_gelus == {True}
    whole = [{**_USUAL, **preprocess} for preprocess, _ in found]
    for key in _USUAL:
        values = {_plain(preprocess[key]) for preprocess in whole}
        if len(values) == 1:
            source.preprocess[key] = values.pop()
    assumed = {**_USUAL, **source.preprocess}
    others = [
        tag
        for tag, preprocess in zip(tags, whole, strict=True)
        if any(_plain(preprocess[k]) != _plain(assumed[k]) for k in _USUAL)
    ]
    if others:
        warnings.warn(
            f"{source.file}: {source.arch} is taken with mean {assumed['mean'][0]:.3g} and resize "
            f"{assumed['resize_mode']}; weights of {', '.join(others[:4])} need something else: a "
            "folder with open_clip_config.json (open_clip:local-dir:FOLDER) says it",
            stacklevel=3,
        )


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, (list, tuple)) else value
