"""``load_backbone`` for every name, and the pool that lets all runs of a process share one."""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cerviclip.backbones import names
from cerviclip.backbones.published import PUBLISHED
from cerviclip.vlm.base import Backbone
from cerviclip.vlm.files.beside import check_beside, check_known
from cerviclip.vlm.files.foreign_names import openai_names
from cerviclip.vlm.files.formats import read_state_dict, weights_identity
from cerviclip.vlm.precision import check_precision, matrix_dtype, precision_of
from dassl.errors import MissingFileError, UnknownNameError, UserError, nearest_or_all
from dassl.paths import at_home, is_file

PHANTOM_FILE = Path(__file__).with_name("weights") / "phantom_clip.safetensors"
POOL_SIZE = 4  # backbones kept by one process; a sweep seldom has more

_pool: OrderedDict[tuple, Backbone] = OrderedDict()


def load_backbone(
    name: str,
    weights: str | Path | None = None,
    precision: str = "fp32",
    device: str | torch.device = "cpu",
) -> Backbone:
    """A frozen backbone in evaluation mode.

    Args:
        name: an OpenAI name, ``CLIP`` (that architecture at any size, from ``weights``),
            ``PhantomCLIP``, a published one (``UNI``, ``PLIP`` ...), ``torchvision:<arch>``,
            ``open_clip:<arch>[:<pretrained or path>]``, ``timm:<arch>`` or ``embeddings:<file>``.
        weights: a local checkpoint instead of the download; TorchScript archive, state dict or
            safetensors.
        precision: see ``cerviclip.vlm.precision``; ``fp16`` and ``bf16`` keep the matrices in that
            type, norms, logit_scale and features in float32.
        device: where to put it.

    Raises:
        UnknownNameError: no such backbone.
        UserError: weights that are missing, broken or of another architecture.
    """
    half = matrix_dtype(check_precision(precision))
    weights = os.path.expanduser(str(weights)) if weights else None
    backbone = _build(name, weights)
    backbone.eval().requires_grad_(False)
    if half is not None:
        use_half_matrices(backbone, half)
    return backbone.to(device)


def _build(name: str, weights: str | None) -> Backbone:
    check_name(name)
    if name in names.OPENAI_FILES or name in (names.PHANTOM, names.ANY_CLIP):
        return _build_openai(name, weights or _own_file(name))
    if name in PUBLISHED:
        from cerviclip.vlm.towers.published import build_published

        return build_published(name, weights)
    kind, _, rest = name.partition(":")
    if kind == "open_clip":
        from cerviclip.vlm.towers.open_clip import build_open_clip

        return build_open_clip(name, rest, weights)
    if f"{kind}:" == names.EMBEDDINGS:
        from cerviclip.vlm.towers.given import build_given

        return build_given(name)
    from cerviclip.vlm.towers.cnn import build_cnn

    return build_cnn(name, weights)


def check_name(name: str) -> None:
    """Refuse a name that no backbone has. Nothing is loaded, so of open_clip and timm the library
    alone is known.

    Raises:
        UnknownNameError: no such backbone, or no such network of torchvision.
    """
    if name in names.OPENAI_FILES or name in (names.PHANTOM, names.ANY_CLIP) or name in PUBLISHED:
        return
    kind, _, rest = name.partition(":")
    if not rest or f"{kind}:" not in (*names.PREFIXES, names.EMBEDDINGS):
        raise _unknown(name)
    if kind == "torchvision":
        from cerviclip.vlm.towers.cnn import check_torchvision

        check_torchvision(rest.partition(":")[0])


def _build_openai(name: str, path: str) -> Backbone:
    """A CLIP in OpenAI's architecture, of OpenAI's files or those of transformers."""
    from cerviclip.vlm.towers import openai

    state, sha256 = openai_names(read_state_dict(path)), weights_identity(path)
    check_known(name, path, sha256)
    expected = name if name in names.OPENAI_FILES else None
    backbone = openai.build_backbone(
        name, state, source=str(path), expected=expected, weights_sha256=sha256
    )
    pixels = backbone.preprocess
    check_beside(name, path, True, pixels.mean, pixels.std, pixels.size[0])
    return backbone


def _own_file(name: str) -> str:
    """The weights file of a name for which the user gave none."""
    if name == names.PHANTOM:
        if not is_file(PHANTOM_FILE):
            raise MissingFileError(
                f"no {PHANTOM_FILE}, the weights that ship with the code; make them with "
                "python tools/pretrain_phantom_clip.py"
            )
        return str(PHANTOM_FILE)
    if name == names.ANY_CLIP:
        raise UserError(
            "backbone CLIP takes its size from a file: give --weights FILE or MODEL.INIT_WEIGHTS"
        )
    from cerviclip.vlm.files.download import openai_file

    return str(openai_file(name))


def _unknown(name: str) -> UnknownNameError:
    said = nearest_or_all(name, list(names.BACKBONES), "cerviclip list", cutoff=0.5)
    return UnknownNameError(f"no backbone {name!r}{said}")


def use_half_matrices(module: nn.Module, dtype: torch.dtype) -> None:
    """Keep weights of linear and convolution layers and projections in a 16-bit type, in place.

    Norms, embeddings and positions stay float32, and the towers run under autocast, so that the
    numbers are those of autocast without its cast of each weight at each step.
    """
    from cerviclip.vlm.base import Tower

    for child in module.modules():
        if isinstance(child, (nn.Linear, nn.Conv1d, nn.Conv2d)):
            child.to(dtype)
        for name in ("proj", "text_projection"):
            value = getattr(child, name, None)
            if isinstance(value, nn.Parameter):
                value.data = value.data.to(dtype)
        if isinstance(child, Tower):
            child.half_dtype = dtype


def get_backbone(cfg: Any, device: str | torch.device = "cpu") -> Backbone:
    """The backbone that a config asks for, shared by all runs of this process.

    The key is (name, content of the weights, precision, device). Callers must not alter it.
    """
    name = cfg.MODEL.BACKBONE.NAME
    weights = cfg.MODEL.INIT_WEIGHTS or None
    return shared_backbone(name, weights, precision_of(cfg), device)


def shared_backbone(
    name: str,
    weights: str | None = None,
    precision: str = "fp32",
    device: str | torch.device = "cpu",
) -> Backbone:
    """As `load_backbone`, one for all runs of this process. Callers must not alter it."""
    named = at_home(weights or names.file_part(name))
    identity = weights_identity(named) if is_file(named) else weights
    key = (name, identity, precision, str(torch.device(device)))
    if key not in _pool:
        while len(_pool) >= POOL_SIZE:
            _pool.popitem(last=False)
        _pool[key] = load_backbone(name, weights, precision, device)
    _pool.move_to_end(key)
    return _pool[key]


def clear_backbones() -> None:
    """Forget every shared backbone."""
    _pool.clear()
