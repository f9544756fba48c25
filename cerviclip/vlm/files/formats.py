"""Reading weights from a file in any of the formats that CLIP checkpoints come in.

A TorchScript archive (OpenAI's own files), a plain state dict saved by ``torch.save``, safetensors,
or the compact form of the shipped phantom model. Nothing is unpickled but tensors.
"""

from __future__ import annotations

import hashlib
import pickle
import struct
import warnings
import zipfile
from pathlib import Path

import torch
from torch import Tensor

from cerviclip.vlm.files.compact import expand_compact, is_compact
from dassl.errors import MissingFileError, UserError
from dassl.utils.files import file_sha256

# Names under which training scripts nest the weights in what they save.
NESTED = ("state_dict", "model_state_dict", "model", "module", "network")


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """The tensors in a weights file, on the CPU, as they were stored.

    Raises:
        MissingFileError: no such file.
        UserError: the file is broken or holds something other than named tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(
            f"no weights file {path}; check the path (--weights, MODEL.INIT_WEIGHTS)"
        )
    kind = sniff(path)
    try:
        if kind == "safetensors":
            from safetensors.torch import load_file

            state = load_file(str(path))
        elif kind == "torchscript":
            state = _read_torchscript(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # torch's text on it is a page about its own flags
        raise UserError(
            f"{path} is no file of weights, or holds other objects beside its tensors, which are "
            "not unpickled; check the path, fetch the file again, or save its state dict alone"
        ) from error
    except Exception as error:  # each reader has its own many types for a damaged file
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"{path} cannot be read as {_KIND_WORDS[kind]} ({reason[:120]}); the file is broken or "
            "incomplete, fetch it again"
        ) from error
    state = _plain(state, path)
    return expand_compact(state) if is_compact(state) else state


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


def _read_torchscript(path: Path) -> dict[str, Tensor]:
    with warnings.catch_warnings():
        # OpenAI's files are TorchScript whatever torch thinks of the format today.
        warnings.filterwarnings("ignore", message=".*torch.jit.*")
        module = torch.jit.load(str(path), map_location="cpu")
        return {key: value.detach() for key, value in module.state_dict().items()}


def _plain(state: object, path: Path) -> dict[str, Tensor]:
    """Unwraps nested checkpoints and the ``module.`` prefix of DataParallel."""
    for _ in range(3):
        if not isinstance(state, dict):
            break
        inner = next((state[k] for k in NESTED if isinstance(state.get(k), dict)), None)
        if inner is None:
            break
        state = inner
    tensors = (
        {k: v for k, v in state.items() if isinstance(v, Tensor)} if isinstance(state, dict) else {}
    )
    if not tensors:
        raise UserError(f"{path} holds no named tensors; give a checkpoint of weights")
    for prefix in ("module.", "_orig_mod."):
        if all(key.startswith(prefix) for key in tensors):
            tensors = {key[len(prefix) :]: value for key, value in tensors.items()}
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
