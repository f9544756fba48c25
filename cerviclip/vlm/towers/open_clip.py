"""Any open_clip model as a backbone: ``open_clip:<arch>[:<pretrained tag, file or folder>]``.

Offline, ``open_clip:local-dir:FOLDER`` takes a folder as Hugging Face lays it out: the weights,
open_clip_config.json, and the tokenizer's files where the text tower is a Hugging Face one, as
BiomedCLIP's is.
"""

from __future__ import annotations

import json
import tempfile
import types
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cerviclip.shapes import parse_json
from cerviclip.vlm.base import CLIP_MEAN, CLIP_STD, Backbone, Preprocess
from cerviclip.vlm.files.formats import misfit, read_state_dict, state_sha256, weights_identity
from cerviclip.vlm.towers.open_clip_file import (
    OF_OPENAI,
    Source,
    follow_file,
    import_open_clip,
    of_tag,
    without_gelu,
)
from dassl.errors import MissingFileError, UnknownNameError, UserError, did_you_mean
from dassl.paths import at_home, is_dir, is_file

CONFIG = "open_clip_config.json"
LOCAL, HUB = "local-dir:", "hf-hub:"
# In the order in which a folder's weights are looked for.
WEIGHT_NAMES = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "model.safetensors",
    "pytorch_model.bin",
)
RANDOM = "random"


def build_open_clip(name: str, rest: str, weights: str | None) -> Backbone:
    """A backbone from the part of its name behind ``open_clip:``.

    Args:
        name: the whole name, for records.
        rest: ``<arch>``, ``<arch>:<tag or file>``, ``local-dir:<folder>`` or ``hf-hub:<repo>``.
        weights: a file (or such a folder) instead; ``random`` for a fixed random state.

    Raises:
        UserError: the extra is absent, or weights are missing, broken or of another architecture.
    """
    open_clip = import_open_clip()
    if weights is None and rest.startswith(HUB):
        return _from_hub(open_clip, name, rest)
    source = _resolve(open_clip, rest, weights)
    if source.file is None and source.tag != RANDOM:
        raise MissingFileError(_no_weights(open_clip, source))
    state = read_state_dict(source.file) if source.file is not None else None
    if state is not None:
        follow_file(source, state)
    return build_source(name, source, state)


def build_source(
    name: str,
    source: Source,
    state: dict[str, Tensor] | None,
    late_tokenizer: bool = False,
) -> Backbone:
    """A backbone of a known shape.

    Args:
        name: the whole name, for records.
        source: where shape and weights come from.
        state: the weights; None leaves a fixed random state.
        late_tokenizer: a tokenizer that cannot be read is an error only where texts are encoded.

    Raises:
        UserError: the extra is absent, or the weights are of another architecture.
    """
    open_clip = import_open_clip()
    with ExitStack() as stack:
        text_cfg = _local_text_config(source, state, stack)
        model = _create(open_clip, source, text_cfg)
    fit_input(model.visual, source.model_cfg["vision_cfg"].get("image_size"))
    if state is not None:
        _fill(open_clip, model, state, source)
    sha256 = weights_identity(source.file) if source.file else state_sha256(model.state_dict())
    preprocess = {**getattr(model.visual, "preprocess_cfg", {}), **source.preprocess}
    try:
        tokenizer = _tokenizer(open_clip, source)
    except MissingFileError as error:
        if not late_tokenizer:
            raise
        tokenizer = _no_tokenizer(error)
    return _wrap(name, source.arch, model, tokenizer, preprocess, sha256, source.file)


def _no_tokenizer(error: MissingFileError) -> Callable[[Sequence[str]], Tensor]:
    """What stands in for a tokenizer: the error, where texts are asked for."""
    message = str(error)

    def tokenize(texts: Sequence[str]) -> Tensor:
        raise MissingFileError(message)

    return tokenize


def _from_hub(open_clip: types.ModuleType, name: str, rest: str) -> Backbone:
    try:
        model = open_clip.create_model(rest)
        tokenizer = open_clip.get_tokenizer(rest)
    except Exception as error:  # hub, network and file errors have no common type
        raise MissingFileError(
            f"{rest} cannot be fetched ({first_line(error)}); download its files ({CONFIG}, "
            f"weights, tokenizer) into a folder and use open_clip:{LOCAL}FOLDER"
        ) from error
    sha256 = state_sha256(model.state_dict())
    arch = rest.removeprefix(HUB)
    return _wrap(name, arch, model, tokenizer, model.visual.preprocess_cfg, sha256, None)


def _resolve(open_clip: types.ModuleType, rest: str, weights: str | None) -> Source:
    """Reads a name's parts: a folder, or an architecture with a tag or a file."""
    arch, _, given = (rest, "", "") if rest.startswith(LOCAL) else rest.partition(":")
    folder = None
    for place in (arch, given, weights or ""):
        if place.startswith(LOCAL) or (place and place is not arch and is_dir(place)):
            folder = at_home(place.removeprefix(LOCAL))
    if folder is not None:
        source = from_folder(folder)
        if weights and not is_dir(weights.removeprefix(LOCAL)):
            source.file, source.tag = (None, RANDOM) if weights == RANDOM else (Path(weights), "")
        return source
    arch, says_gelu = without_gelu(open_clip, arch.replace("/", "-"))
    config = open_clip.get_model_config(arch)
    if config is None:
        known = open_clip.list_models()
        raise UnknownNameError(
            f"open_clip has no architecture {arch!r}{did_you_mean(arch, known)} "
            f"(there are {len(known)}: python -c 'import open_clip; "
            "print(open_clip.list_models())'; a model of your own: open_clip:local-dir:FOLDER)"
        )
    source = Source(arch, config, says_gelu=says_gelu)
    given = weights or given
    tagged = open_clip.get_pretrained_cfg(source.arch, given) if given else {}
    if given == RANDOM:
        source.tag = RANDOM
    elif tagged:
        source.tag = given
        source.file = _download(open_clip, tagged, source, given)
        source.preprocess, source.quick_gelu = of_tag(tagged)
    elif given:
        source.file = at_home(given)
        if not is_file(source.file):
            raise MissingFileError(
                f"{given!r} is neither a file nor a pretrained tag of {source.arch}; "
                f"{_tags(open_clip, source)}"
            )
    return source


def from_folder(folder: Path) -> Source:
    path = folder / CONFIG
    if not is_file(path):
        raise MissingFileError(f"no {path}; put the model's {CONFIG} there (local-dir)")
    try:
        config = parse_json(path.read_text(encoding="utf-8"))
        model_cfg = dict(config["model_cfg"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} has no readable model_cfg ({first_line(error)})") from error
    files = [folder / name for name in WEIGHT_NAMES if is_file(folder / name)]
    files += sorted(p for p in folder.iterdir() if p.suffix in (".safetensors", ".bin", ".pt"))
    return Source(
        folder.resolve().name,
        model_cfg,
        folder,
        files[0] if files else None,
        preprocess={k: v for k, v in config.get("preprocess_cfg", {}).items() if v is not None},
    )


def _download(open_clip: types.ModuleType, tagged: dict, source: Source, tag: str) -> Path:
    try:
        return Path(open_clip.download_pretrained(tagged))
    except Exception as error:  # hub, network and file errors have no common type
        raise MissingFileError(
            f"the weights {tag} of {source.arch} cannot be downloaded ({first_line(error)}); "
            "give a local copy by --weights FILE (MODEL.INIT_WEIGHTS)"
        ) from error


def _tags(open_clip: types.ModuleType, source: Source) -> str:
    tags = open_clip.list_pretrained_tags_by_model(source.arch)
    return f"its tags: {', '.join(tags)}" if tags else "open_clip knows no tags of it"


def _no_weights(open_clip: types.ModuleType, source: Source) -> str:
    if source.folder is not None:
        return f"no weights in {source.folder}; put {WEIGHT_NAMES[0]} or {WEIGHT_NAMES[2]} there"
    return (
        f"open_clip:{source.arch} needs weights: a tag (open_clip:{source.arch}:<tag>; "
        f"{_tags(open_clip, source)}), or --weights FILE"
    )


def _local_text_config(
    source: Source, state: dict[str, Tensor] | None, stack: ExitStack
) -> dict[str, Any]:
    """The text settings with a Hugging Face model name that can be read without a network, if any.

    A model's folder seldom holds the config of its text encoder: open_clip would fetch it from the
    hub by name. BERT's can be read off the shapes of the weights.
    """
    text_cfg = dict(source.model_cfg["text_cfg"])
    name = text_cfg.get("hf_model_name")
    if not name:
        return text_cfg
    text_cfg["hf_model_pretrained"] = False
    if state is not None and not any(key.startswith("text.transformer.") for key in state):
        raise UserError(
            f"{source.file} does not belong to open_clip's {source.arch}: it holds no text encoder "
            f"{name}; give the weights of the whole model"
        )
    places = [at_home(name)]
    if source.folder is not None:
        places = [source.folder / name, *places, source.folder]
    for place in places:
        if is_file(place / "config.json"):
            return {**text_cfg, "hf_model_name": str(place)}
    shapes = _bert_shapes(state or {})
    if shapes and not _is_cached(name):
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "config.json").write_text(json.dumps(shapes))
        text_cfg["hf_model_name"] = str(folder)
    return text_cfg


def _is_cached(name: str) -> bool:
    from transformers import AutoConfig

    try:
        AutoConfig.from_pretrained(name, local_files_only=True)
    except Exception:  # whatever hinders it, it cannot be read here
        return False
    return True


def _bert_shapes(state: dict[str, Tensor]) -> dict[str, Any] | None:
    """The config of a BERT encoder (heads of width 64, as all of BERT's sizes have), or None."""
    prefix = "text.transformer."
    words = state.get(f"{prefix}embeddings.word_embeddings.weight")
    kinds = state.get(f"{prefix}embeddings.token_type_embeddings.weight")
    if words is None or kinds is None or len(kinds) != 2:
        return None  # RoBERTa has one token type, and pads and counts positions otherwise
    layers = {k.split(".")[4] for k in state if k.startswith(f"{prefix}encoder.layer.")}
    return {
        "model_type": "bert",
        "vocab_size": words.shape[0],
        "hidden_size": words.shape[1],
        "num_hidden_layers": len(layers),
        "num_attention_heads": max(1, words.shape[1] // 64),
        "intermediate_size": state[f"{prefix}encoder.layer.0.intermediate.dense.weight"].shape[0],
        "max_position_embeddings": len(state[f"{prefix}embeddings.position_embeddings.weight"]),
        "type_vocab_size": 2,
    }


def _create(open_clip: types.ModuleType, source: Source, text_cfg: dict[str, Any]) -> nn.Module:
    """The architecture, weights still random but always the same."""
    import logging

    name = f"{LOCAL}{source.folder}" if source.folder is not None else source.arch
    hf = bool(text_cfg.get("hf_model_name"))
    overrides = {"text_cfg": text_cfg} if hf else {}
    quiet = logging.getLogger()
    level = quiet.level
    try:
        quiet.setLevel(logging.ERROR)  # it would warn that no weights were loaded, which come later
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return open_clip.create_model(
                name,
                load_weights=False,
                pretrained_text=False,
                force_quick_gelu=source.quick_gelu,
                **overrides,
            )
    except Exception as error:  # config, hub and network errors have no common type
        what = f"{CONFIG} of {source.folder}" if source.folder else source.arch
        raise UserError(
            f"open_clip cannot build {what} ({first_line(error)})"
            + (
                f"; put the config.json of its text encoder {text_cfg['hf_model_name']} into the "
                "model's folder, or name a local folder as hf_model_name"
                if hf
                else ""
            )
        ) from error
    finally:
        quiet.setLevel(level)


def fit_input(visual: Any, size: Any) -> None:
    """Positions of a timm trunk for the input that the config states: open_clip leaves those of
    the network's name, whatever the size."""
    trunk = getattr(visual, "trunk", None)
    if size and hasattr(trunk, "set_input_size"):
        wanted = (size, size) if isinstance(size, int) else tuple(size)
        if tuple(trunk.patch_embed.img_size or ()) != wanted:
            trunk.set_input_size(img_size=wanted)


def _fill(
    open_clip: types.ModuleType, model: nn.Module, state: dict[str, Tensor], source: Source
) -> None:
    """Loads weights of open_clip or another library that it converts; names what does not fit."""
    from open_clip import convert
    from open_clip.model import convert_to_custom_text_state_dict

    for key in OF_OPENAI:
        state.pop(key, None)
    state = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
    try:
        state = convert.convert_state_dict(model, state)
        if "positional_embedding" in state and not hasattr(model, "positional_embedding"):
            state = convert_to_custom_text_state_dict(state)
    except Exception:  # not a checkpoint that it knows: the comparison below says what is wrong
        pass
    own = model.state_dict()
    state.pop("text.transformer.embeddings.position_ids", None)  # older transformers saved it
    for key in ("logit_scale", "logit_bias"):
        if key in own and key in state:
            state[key] = state[key].reshape(own[key].shape)
    if words := misfit(own, state, optional="logit_bias"):
        raise UserError(
            f"{source.file} does not belong to open_clip's {source.arch}: {words}; give the "
            "architecture that it was trained with"
        )
    model.load_state_dict(state, strict=False)


def _tokenizer(open_clip: types.ModuleType, source: Source) -> Callable[[Sequence[str]], Tensor]:
    text_cfg = source.model_cfg["text_cfg"]
    name = f"{LOCAL}{source.folder}" if source.folder is not None else source.arch
    try:
        return open_clip.get_tokenizer(name)
    except Exception as error:  # hub, network and file errors have no common type
        where = source.folder or "the hub"
        raise MissingFileError(
            f"the tokenizer {text_cfg.get('hf_tokenizer_name', '')} cannot be read from {where} "
            f"({first_line(error)}); put tokenizer.json, tokenizer_config.json and vocab.txt into "
            "the model's folder and use open_clip:local-dir:FOLDER"
        ) from error


def _wrap(
    name: str,
    arch: str,
    model: Any,
    tokenizer: Callable[[Sequence[str]], Tensor],
    preprocess: dict[str, Any],
    sha256: str,
    file: Path | None,
) -> Backbone:
    from cerviclip.vlm.towers.open_clip_towers import image_size, text_tower, vision_tower

    model = model.float().eval()
    size = image_size(model.visual)
    visual = vision_tower(model.visual)
    text = text_tower(model)
    with torch.no_grad():
        features = visual.eval()(torch.zeros(1, 3, *size))
    return Backbone(
        name=name,
        arch=arch,
        visual=visual,
        text=text,
        tokenizer=tokenizer,
        preprocess=Preprocess(
            size,
            tuple(preprocess.get("mean", CLIP_MEAN)),
            tuple(preprocess.get("std", CLIP_STD)),
            preprocess.get("interpolation", "bicubic"),
            preprocess.get("resize_mode", "shortest"),
        ),
        embed_dim=features.shape[-1],
        logit_scale=model.logit_scale.detach().float().reshape(-1)[0],
        weights_sha256=sha256,
        weights_file=str(file or ""),
    )


def first_line(error: BaseException) -> str:
    """The start of an error's text, for a sentence."""
    words = str(error).strip()
    return words.splitlines()[0][:120] if words else type(error).__name__
