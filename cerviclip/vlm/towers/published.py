"""Published medical backbones by name, each with the preprocessing and activation that it needs.

``cerviclip.backbones.published`` says what they are. Weights come from a local file, in whichever
of the known formats it is, or from the hub where the model is open and a network is there.
"""

from __future__ import annotations

import json
import tempfile
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from cerviclip.backbones.published import (
    CLIP,
    CONCH_VISION,
    OPEN_CLIP,
    PUBLISHED,
    TIMM_VIT,
    Published,
    how_to_get,
)
from cerviclip.places import install_hint
from cerviclip.vlm.base import Backbone, BeforeBlock, Preprocess
from cerviclip.vlm.files.beside import check_beside, check_known
from cerviclip.vlm.files.foreign_names import openai_names, siglip_names, timm_names
from cerviclip.vlm.files.formats import misfit, read_state_dict, state_sha256, weights_identity
from cerviclip.vlm.towers import open_clip as open_clip_models
from cerviclip.vlm.towers import openai
from cerviclip.vlm.towers.open_clip_towers import TimmViTTower
from dassl.errors import MissingFileError, UserError

RANDOM = open_clip_models.RANDOM
_HUB = "https://huggingface.co/"
_TOKENIZER_FILES = ("*.json", "*.txt", "*.model")


def build_published(name: str, weights: str | None) -> Backbone:
    """A backbone of the table of published ones.

    Args:
        name: of ``PUBLISHED``.
        weights: a local file; None looks on the hub; ``random`` for a fixed random state.

    Raises:
        UserError: weights that are missing, broken, of another architecture, or that belong to
            another activation or preprocessing by what lies beside them.
    """
    entry = PUBLISHED[name]
    file = None if weights == RANDOM else Path(weights or _from_hub(name, entry))
    state = read_state_dict(file) if file is not None else None
    if file is not None:
        check_known(name, file, weights_identity(file))
        check_beside(name, file, entry.quick_gelu, *entry.statistics, entry.size)
    build = {CLIP: _clip, OPEN_CLIP: _open_clip, TIMM_VIT: _vit, CONCH_VISION: _vit}[entry.kind]
    backbone = build(name, entry, state, file)
    if backbone.embed_dim != entry.embed_dim:
        raise UserError(
            f"{file} gives features of {backbone.embed_dim} numbers, and {name} has "
            f"{entry.embed_dim}; give {how_to_get(name)}"
        )
    return backbone


def _from_hub(name: str, entry: Published) -> str:
    """The file from the hub's cache or the hub; models behind a gate are left to their user."""
    reason = entry.gate and "it is not downloaded from here"
    if not entry.gate and entry.place.startswith(_HUB):
        try:
            from huggingface_hub import hf_hub_download

            return str(hf_hub_download(entry.place.removeprefix(_HUB), entry.file))
        except ImportError:
            raise MissingFileError(
                f"no weights for {name}: to download them, pip install huggingface_hub; or get "
                f"{how_to_get(name)} and give it by --weights FILE (MODEL.INIT_WEIGHTS)"
            ) from None
        except Exception as error:  # hub, network and file errors have no common type
            reason = f"it cannot be downloaded ({open_clip_models.first_line(error)})"
    raise MissingFileError(
        f"no weights for {name}: {reason or 'it is not on the hub'}; get {how_to_get(name)} and "
        "give it by --weights FILE (MODEL.INIT_WEIGHTS)"
    )


def _preprocess(entry: Published) -> Preprocess:
    mean, std = entry.statistics
    return Preprocess(
        (entry.size, entry.size),
        tuple(mean),  # type: ignore[arg-type]
        tuple(std),  # type: ignore[arg-type]
        entry.interpolation,
        entry.resize,
    )


# -- CLIPs -----------------------------------------------------------------------------------------


def _clip(
    name: str, entry: Published, state: dict[str, Tensor] | None, file: Path | None
) -> Backbone:
    """OpenAI's architecture, tuned: files of transformers and of the clip package alike."""
    expected = entry.arch["name"]
    state = openai_names(state) if state is not None else openai.random_state(expected)
    backbone = openai.build_backbone(
        name,
        state,
        source=str(file or RANDOM),
        expected=expected,
        weights_sha256=weights_identity(file) if file else state_sha256(state),
        preprocess=_preprocess(entry),
    )
    backbone.arch = name
    return backbone


def _open_clip(
    name: str, entry: Published, state: dict[str, Tensor] | None, file: Path | None
) -> Backbone:
    """A config of open_clip's, in a folder of its own with the tokenizer that lies by the file."""
    pixels = _preprocess(entry)
    preprocess = {
        "mean": pixels.mean,
        "std": pixels.std,
        "interpolation": pixels.interpolation,
        "resize_mode": pixels.resize,
    }
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for path in _tokenizer_files(file):
            (folder / path.name).symlink_to(path.absolute())
        config = folder / open_clip_models.CONFIG
        config.unlink(missing_ok=True)
        text = {"model_cfg": dict(entry.arch), "preprocess_cfg": preprocess}
        config.write_text(json.dumps(text), encoding="utf-8")
        source = open_clip_models.from_folder(folder)
        source.arch, source.file = name, file
        source.tag = "" if file else RANDOM
        backbone = open_clip_models.build_source(
            name, source, siglip_names(state) if state is not None else None, late_tokenizer=True
        )
    if entry.arch["vision_cfg"].get("timm_pool") == "map":
        _tanh_gelu(backbone.visual)
    return backbone


def _tokenizer_files(file: Path | None) -> list[Path]:
    """What may belong to a tokenizer in the folder of the weights."""
    if file is None:
        return []
    return [path for pattern in _TOKENIZER_FILES for path in sorted(file.parent.glob(pattern))]


def _tanh_gelu(tower: nn.Module) -> None:
    """GELU by tanh, as SigLIP was trained; timm's networks of that name have the exact one."""
    for module in tower.modules():
        if isinstance(getattr(module, "act", None), nn.GELU):
            module.act = nn.GELU(approximate="tanh")


# -- vision transformers without texts -------------------------------------------------------------


def _vit(
    name: str, entry: Published, state: dict[str, Tensor] | None, file: Path | None
) -> Backbone:
    """A vision transformer of timm's classes: its class token, or CONCH's attention pool."""
    trunk, pool = _trunk(entry), None
    if entry.kind == CONCH_VISION:
        pool = ContrastPool(entry.arch["embed_dim"], entry.embed_dim)
        network = nn.ModuleDict({"trunk": trunk, "pool": pool})
        state = _conch_names(state) if state is not None else None
    else:
        network = trunk  # type: ignore[assignment]
        state = timm_names(state) if state is not None else None
    if state is not None:
        _fill(network, state, name, file)
    sha256 = weights_identity(file) if file else state_sha256(network.state_dict())
    tower: TimmViTTower
    if pool is None:
        tower = PlainViTTower(SimpleNamespace(trunk=trunk, head=nn.Identity()))
    else:
        tower = ConchTower(SimpleNamespace(trunk=trunk, head=pool))
    return Backbone(
        name=name,
        arch=name,
        visual=tower,
        preprocess=_preprocess(entry),
        embed_dim=entry.embed_dim,
        weights_sha256=sha256,
        weights_file=str(file or ""),
    )


def _trunk(entry: Published) -> nn.Module:
    """timm's network, its random weights always the same."""
    try:
        from timm.layers.mlp import GluMlp
        from timm.models.vision_transformer import VisionTransformer
    except ImportError as error:
        raise UserError(
            f"this backbone needs the timm package ({error}): {install_hint('timm')}"
        ) from error
    given = dict(entry.arch)
    if given.pop("swiglu", False):  # a gate by SiLU before the values, as DINOv2 packs them
        given |= {"mlp_layer": partial(GluMlp, gate_last=False), "act_layer": nn.SiLU}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return VisionTransformer(img_size=entry.size, num_classes=0, **given).eval()


def _conch_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The image side of CONCH's file; captions' pooling and all of the texts stay behind."""
    starts = {
        "visual.trunk.": "trunk.",
        "visual.attn_pool_contrast.": "pool.attention.",
        "visual.ln_contrast.": "pool.norm.",
        "visual.proj_contrast": "pool.proj",
    }
    out = {}
    for key, value in state.items():
        start = next((s for s in starts if key.startswith(s)), None)
        if start is not None:
            out[starts[start] + key[len(start) :]] = value
    return out


def _fill(network: nn.Module, state: dict[str, Tensor], name: str, file: Path | None) -> None:
    """Load weights; classifiers that the file has beside them are left out.

    Raises:
        UserError: tensors are missing, unknown or misshapen.
    """
    own = network.state_dict()
    state = {k: v.float() for k, v in state.items() if not k.startswith(("head.", "fc."))}
    if words := misfit(own, state):
        raise UserError(f"{file} does not belong to {name}: {words}; give {how_to_get(name)}")
    network.load_state_dict(state)


class PlainViTTower(TimmViTTower):
    """A vision transformer whose feature is what its last layer gives, without a projection."""

    projection = ""


class ContrastPool(nn.Module):
    """CONCH's attention pool for the image's feature (Lu et al., Nature Medicine 2024): one query
    over all tokens, a norm, a projection.

    Args:
        width: W of the tokens.
        dim: D of the feature.
    """

    def __init__(self, width: int, dim: int, heads: int = 8) -> None:
        super().__init__()
        from open_clip.transformer import AttentionalPooler

        self.attention = AttentionalPooler(dim, width, n_head=heads, n_queries=1)
        self.norm = nn.LayerNorm(dim)
        self.proj = nn.Parameter(torch.eye(dim))

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, T, W) to features (B, D)."""
        return self.norm(self.attention(tokens)[:, 0]) @ self.proj


class ConchTower(TimmViTTower):
    """CONCH's image side: tokens of a vision transformer under one attention pool."""

    projection = ""

    def head(self, h: Tensor) -> tuple[Tensor, Tensor]:
        with self.autocast():
            tokens = self.trunk.norm(self.own_tokens(h))
            patches = tokens[:, self.prefix :]
            single = self.top(patches.flatten(0, 1).unsqueeze(1))  # each as if it alone were seen
            return self.top(tokens), single.unflatten(0, patches.shape[:2])

    def finish(self, h: Tensor, start: int = 0, before_block: BeforeBlock | None = None) -> Tensor:
        h = self.run_blocks(h, start, before_block=before_block)
        with self.autocast():
            return self.top(self.trunk.norm(self.own_tokens(h)))
