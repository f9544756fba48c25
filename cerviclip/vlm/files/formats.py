"""Reading weights from a file in any of the formats that CLIP checkpoints come in.

A TorchScript archive (OpenAI's own files), a plain state dict saved by ``torch.save``, safetensors,
or the compact form of the shipped phantom model. Nothing is unpickled but tensors.
"""

from __future__ import annotations

import hashlib
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cerviclip.vlm.files.compact import expand_compact, is_compact
from dassl.errors import MissingFileError, UserError, no_file
from dassl.paths import is_file
from dassl.utils.checkpoints import refuse_no_weights, refuse_tar
from dassl.utils.files import file_sha256
from dassl.utils.safe_pickle import UnsafePickleError, pickle_module

# Names under which training scripts nest the weights in what they save.
NESTED = ("state_dict", "model_state_dict", "model", "module", "network", "teacher")


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """The tensors in a weights file, on the CPU, as they were stored.

    Raises:
        MissingFileError: no such file.
        UserError: the file is broken or holds something other than named tensors.
    """
    path = Path(path)
    if not is_file(path):
        raise MissingFileError(
            f"weights file {path} {no_file(path)}; check the path (--weights, MODEL.INIT_WEIGHTS)"
        )
    _refuse_part(path)
    kind = "torch"
    try:
        kind = sniff(path)
        if kind == "safetensors":
            from safetensors.torch import load_file

            state = load_file(str(path))
        elif kind == "torchscript":
            state = _read_torchscript(path)
        else:
            state = _read_torch(path)
    except UserError:
        raise
    except Exception as error:  # each reader has its own many types for a damaged file
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"{path} cannot be read as {_KIND_WORDS[kind]} ({reason[:120]}); the file is broken or "
            "incomplete, fetch it again"
        ) from error
    state = _plain(state, path)
    state = expand_compact(state) if is_compact(state) else state
    refuse_no_weights(state, path)
    return state


_SHARD = re.compile(r".*-\d{5}-of-(\d{5})\.(safetensors|bin|pt|pth)")
_INDEX = (".safetensors.index.json", ".bin.index.json")


def _refuse_part(path: Path) -> None:
    """Refuse a model that was saved in several files: one of them holds some of its tensors, and
    the hash of one says nothing of the others.

    Raises:
        UserError: it is one of several files, or the list of them.
    """
    shard = _SHARD.fullmatch(path.name)
    if path.name.endswith(_INDEX) or (shard and int(shard[1]) > 1):
        what = f"one of the {int(shard[1])} files" if shard else "the list of the files"
        raise UserError(
            f"{path} is {what} of one model; save the model as one file (in transformers: "
            'model.save_pretrained(FOLDER, max_shard_size="100GB"))'
        )


_KIND_WORDS = {
    "safetensors": "safetensors",
    "torchscript": "a TorchScript archive",
    "torch": "a state dict of torch.save",
}


def sniff(path: Path) -> str:
    """``safetensors``, ``torchscript`` or ``torch``, by the file's bytes and not its name."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        script = any(name.endswith("/constants.pkl") for name in names)
        return "torchscript" if script else "torch"
    with open(path, "rb") as file:
        start = file.read(9)
    if len(start) == 9 and start[8:9] == b"{":
        if 2 <= struct.unpack("<Q", start[:8])[0] < 100_000_000:
            return "safetensors"
    return "torch"


# How files begin that are taken for weights, and what they are.
_NO_WEIGHTS = {
    b"version https://git-lfs": "a git-LFS pointer, not the file itself; fetch it by git lfs pull",
    b"<!doctype html": "a page of HTML, not weights; download the file itself",
    b"<html": "a page of HTML, not weights; download the file itself",
}


def _read_torch(path: Path) -> Any:
    """What ``torch.save`` has written. Beside tensors it may hold NumPy's numbers, a random state,
    a Namespace of settings: these are read by the allow-list of training checkpoints.

    Raises:
        UserError: the file holds objects that are not read, or is something else altogether.
    """
    with open(path, "rb") as file:
        start = file.read(512).lstrip().lower()
    for begin, what in _NO_WEIGHTS.items():
        if start.startswith(begin):
            raise UserError(f"{path} is {what}")
    refuse_tar(str(path))
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # torch's text on it is a page about its own flags
        pass
    try:
        return torch.load(
            path, map_location="cpu", weights_only=False, pickle_module=pickle_module()
        )
    except UnsafePickleError as error:
        raise UserError(
            f"{path} holds other objects beside its tensors, which are not unpickled ({error}); "
            "save its state dict alone"
        ) from error
    except Exception as error:  # whatever an unpickler makes of bytes that are no pickle
        raise UserError(
            f"{path} is no file of weights; check the path, or fetch the file again"
        ) from error


def _read_torchscript(path: Path) -> dict[str, Tensor]:
    with warnings.catch_warnings():
        # OpenAI's files are TorchScript whatever torch thinks of the format today.
        warnings.filterwarnings("ignore", message=".*torch.jit.*")
        module = torch.jit.load(str(path), map_location="cpu")
        return {key: value.detach() for key, value in module.state_dict().items()}


def _plain(state: object, path: Path) -> dict[str, Tensor]:
    """Unwraps nested checkpoints and takes wrappers' prefixes off the names."""
    for _ in range(3):
        if not isinstance(state, dict):
            break
        name = next((k for k in NESTED if isinstance(state.get(k), dict)), None)
        if name is None and not any(isinstance(value, Tensor) for value in state.values()):
            name = _only_weights_of(state, path)
        if name is None:
            break
        _warn_of_others(state, name, path)
        state = state[name]
    tensors = (
        {k: v for k, v in state.items() if isinstance(v, Tensor)} if isinstance(state, dict) else {}
    )
    if not tensors:
        held = [k for k in state if isinstance(k, str)] if isinstance(state, dict) else []
        it_has = f" (it has {', '.join(held[:6])})" if held else ""
        raise UserError(f"{path} holds no named tensors{it_has}; give a checkpoint of weights")
    return _without_prefixes(tensors, path)


def _holding_weights(state: dict[Any, Any]) -> list[Any]:
    """The keys of a checkpoint below which named tensors stand."""
    return [
        key
        for key, value in state.items()
        if isinstance(value, dict)
        and sum(isinstance(v, Tensor) for v in value.values()) > len(value) / 2
    ]


def _only_weights_of(state: dict[Any, Any], path: Path) -> Any:
    """The one key below which a checkpoint has weights, whatever it is called (``ema``,
    ``params_ema``, ``net``); None where it has none.

    Raises:
        UserError: there are several.
    """
    found = _holding_weights(state)
    if len(found) > 1:
        raise UserError(
            f"{path} holds weights under {', '.join(map(str, found))}, and nothing says which are "
            "meant; save the state dict of one of them alone"
        )
    return found[0] if found else None


def _warn_of_others(state: dict[Any, Any], name: str, path: Path) -> None:
    """Warn where a checkpoint holds further weights beside those that are read: an average over
    the training (EMA), a teacher's student."""
    others = [key for key in _holding_weights(state) if key != name]
    if others:
        warnings.warn(
            f"{path} holds weights under {name} and {', '.join(map(str, others))}; those under "
            f"{name} are read; to use others, save their state dict alone",
            stacklevel=2,
        )


# What wrappers put in front of names: DataParallel and DDP, torch.compile, Lightning, trainers.
_WRAPPERS = ("module.", "_orig_mod.")
_HOLDERS = (
    *("model.", "clip.", "clip_model.", "backbone.", "encoder.", "network.", "net."),
    *("student.", "teacher.", "ema.", "ema_model.", "model_ema."),
)


def _without_prefixes(tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Names without those prefixes: wrappers' wherever they stand first, others' where all names
    have them.

    Raises:
        UserError: two tensors would have one name.
    """
    for _ in range(4):
        shared = next((p for p in _HOLDERS if all(key.startswith(p) for key in tensors)), "")
        cut = (*_WRAPPERS, shared) if shared else _WRAPPERS
        named: dict[str, Tensor] = {}
        for key, value in tensors.items():
            short = next((key[len(p) :] for p in cut if key.startswith(p)), key)
            if short in named:
                raise UserError(
                    f"{path} holds {short} with and without a wrapper's prefix; save the state "
                    "dict of one model alone"
                )
            named[short] = value
        if named.keys() == tensors.keys():
            break
        tensors = named
    return tensors


def weights_identity(path: str | Path) -> str:
    """sha256 of the weights file (hashed once for a path, size and time of change)."""
    return file_sha256(path)


def state_sha256(state: dict[str, Tensor]) -> str:
    """sha256 over names, types, shapes and values, where there is no file to hash."""
    digest = hashlib.sha256()
    for key in sorted(state):
        value = state[key].detach().cpu().contiguous()
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def misfit(own: Mapping[str, Tensor], state: Mapping[str, Tensor], optional: str = "") -> str:
    """How weights do not fit a network, in words; "" where they do.

    Args:
        own: the network's state.
        state: the weights.
        optional: a tensor that either side may lack.
    """
    missing = sorted(own.keys() - state.keys() - {optional})
    unknown = sorted(state.keys() - own.keys() - {optional})
    shapes = [k for k in own if k in state and own[k].shape != state[k].shape]
    words = [f"{len(missing)} tensors missing (first: {missing[0]})"] if missing else []
    words += [f"{len(unknown)} unknown (first: {unknown[0]})"] if unknown else []
    if shapes:
        key = shapes[0]
        words.append(f"{key} is {tuple(state[key].shape)}, needed {tuple(own[key].shape)}")
    return ", ".join(words)
