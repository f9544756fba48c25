"""Checkpoints: plain tensors and numbers on disk, written whole, and old files read safely."""

from __future__ import annotations

import os
import os.path as osp
import shutil
import tarfile
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from dassl.errors import MisfitError, MissingFileError, UserError
from dassl.utils.files import atomic_write
from dassl.utils.safe_pickle import UnsafePickleError, pickle_module

__all__ = [
    "load_checkpoint",
    "load_fitting",
    "load_pretrained_weights",
    "load_scheduler_state",
    "replace_weights",
    "restore_checkpoint",
    "resume_from_checkpoint",
    "save_checkpoint",
    "to_plain",
]

_PLAIN = (str, bytes, bool, int, float, complex, type(None), torch.Size, torch.dtype, torch.device)


def to_plain(value: Any, where: str = "checkpoint") -> Any:
    """The value in types that ``torch.load(weights_only=True)`` reads.

    Tensors are kept, NumPy numbers become Python's, arrays become tensors, an object with a
    ``state_dict()`` (a scheduler inside a scheduler) becomes that. Anything else is left out with a
    warning.
    """
    plain, kept = _plain(value, where)
    return plain if kept else None


def _plain(value: Any, where: str) -> tuple[Any, bool]:
    if isinstance(value, torch.Tensor):
        # A subclass or a graph would be pickled by name.
        return (value.detach() if value.grad_fn is not None else value), True
    if isinstance(value, np.generic):
        return value.item(), True
    if isinstance(value, np.ndarray) and value.dtype != object:
        return torch.from_numpy(np.array(value)), True
    if type(value) in _PLAIN or isinstance(value, (torch.Size, torch.dtype, torch.device)):
        return value, True
    for kind in (str, bool, int, float):
        if isinstance(value, kind):  # an enum or another subclass
            return kind(value), True
    if isinstance(value, dict):
        made = OrderedDict() if isinstance(value, OrderedDict) else {}
        for key, item in value.items():
            plain, kept = _plain(item, f"{where}.{key}")
            if kept:
                made[_plain(key, where)[0]] = plain
        return made, True
    if isinstance(value, (list, tuple, set, frozenset)):
        items = [_plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
        plain_items = [plain for plain, kept in items if kept]
        # Not every torch from 2.4 on reads a set with weights_only.
        return (tuple(plain_items) if isinstance(value, tuple) else plain_items), True
    if hasattr(value, "state_dict"):
        return _plain(value.state_dict(), where)
    warnings.warn(
        f"{where} is a {type(value).__name__}, not a plain value; it is not saved", stacklevel=2
    )
    return None, False


def save_checkpoint(
    state: dict[str, Any],
    save_dir: str | Path,
    is_best: bool = False,
    remove_module_from_keys: bool = True,
    model_name: str = "",
) -> None:
    """Write ``<save_dir>/model.pth.tar-<epoch>`` and name it in the text file ``checkpoint``.

    Files appear whole or not at all, and hold tensors and plain values only.

    Args:
        state: with at least state_dict and epoch; also optimizer, scheduler, val_result.
        save_dir: folder, made if absent.
        is_best: write a copy as ``model-best.pth.tar`` too.
        remove_module_from_keys: drop DataParallel's ``module.`` in front of names.
        model_name: file name instead of ``model.pth.tar-<epoch>``.
    """
    if remove_module_from_keys:
        state["state_dict"] = _without_module(state["state_dict"])
    name = model_name or f"model.pth.tar-{state['epoch']}"
    path = osp.join(save_dir, name)
    with atomic_write(path, "wb") as handle:
        torch.save(to_plain(state), handle)
    print(f"Checkpoint saved to {path}")
    with atomic_write(osp.join(save_dir, "checkpoint")) as handle:
        handle.write(f"{name}\n")
    if is_best:
        best = osp.join(save_dir, "model-best.pth.tar")
        with atomic_write(best, "wb") as handle, open(path, "rb") as source:
            shutil.copyfileobj(source, handle)
        print(f'Best checkpoint saved to "{best}"')


def load_checkpoint(fpath: str | Path) -> dict[str, Any]:
    """Read a checkpoint safely, upstream's old ones included.

    Files of plain tensors go through ``weights_only=True``. Others (pickled schedulers, NumPy
    numbers) are read by an allow-list: live objects come back as records of their values, and a
    file that names anything else is refused before anything in it runs. Tensors saved from a GPU
    come to the CPU where there is no GPU.

    Raises:
        ValueError: ``fpath`` is None.
        MissingFileError: a FileNotFoundError, there is no such file.
        UserError: the file is damaged, of another kind, or not safe to read.
    """
    if fpath is None:
        raise ValueError("File path is None")
    fpath = os.fspath(fpath)
    if not osp.exists(fpath):
        raise MissingFileError(f'File is not found at "{fpath}"')
    if osp.isdir(fpath):
        raise UserError(f'checkpoint "{fpath}" is a folder; name a file in it')
    _refuse_other_kinds(fpath)
    location = None if torch.cuda.is_available() else "cpu"
    try:
        return torch.load(fpath, map_location=location, weights_only=True)
    except Exception:  # noqa: BLE001 - whatever the reason, the strict reader below decides
        pass
    try:
        return torch.load(
            fpath, map_location=location, weights_only=False, pickle_module=pickle_module()
        )
    except UnsafePickleError as error:
        raise UserError(
            f'checkpoint "{fpath}" is refused, nothing in it was run: {error}; '
            "save it again as tensors with the code that made it"
        ) from error
    except Exception as error:
        detail = " ".join(str(error).split())[:200]
        raise UserError(
            f'checkpoint "{fpath}" cannot be read ({type(error).__name__}: {detail}); '
            "it may be cut short or of another kind"
        ) from error


def _refuse_other_kinds(fpath: str) -> None:
    if zipfile.is_zipfile(fpath):
        with zipfile.ZipFile(fpath) as archive:
            names = [name.split("/", 1)[-1] for name in archive.namelist()]
        if "constants.pkl" in names:
            raise UserError(
                f'checkpoint "{fpath}" is a TorchScript archive, not a training checkpoint; '
                "pass it as MODEL.INIT_WEIGHTS"
            )
        return
    try:
        is_tar = tarfile.is_tarfile(fpath)
    except (OSError, EOFError):
        is_tar = False
    if is_tar:
        raise UserError(
            f'checkpoint "{fpath}" is a tar archive as torch wrote before 0.1.10; it cannot be '
            "read safely: save it again with a later torch"
        )


def load_scheduler_state(scheduler: Any, state: Any) -> None:
    """Restore a scheduler from plain values, or from the record of a pickled one.

    A scheduler inside (a warm-up's successor) is restored in place, never replaced.
    """
    state = dict(state)
    state.pop("optimizer", None)
    for name, inner in list(state.items()):
        own = getattr(scheduler, name, None)
        if isinstance(inner, dict) and hasattr(own, "load_state_dict"):
            load_scheduler_state(own, inner)
            del state[name]
    own_milestones = getattr(scheduler, "milestones", None)
    if isinstance(state.get("milestones"), dict) and own_milestones is not None:
        state["milestones"] = type(own_milestones)(state["milestones"])
    scheduler.load_state_dict(state)


def resume_from_checkpoint(
    fdir: str | Path, model: nn.Module, optimizer: Optimizer | None = None, scheduler: Any = None
) -> int:
    """Restore model, optimiser and scheduler from the last checkpoint of a folder.

    Returns:
        The epoch to go on from (the number of epochs done).
    """
    marker = osp.join(fdir, "checkpoint")
    if not osp.isfile(marker):
        raise MissingFileError(f'no file "checkpoint" in {fdir}; nothing to resume from')
    name = Path(marker).read_text(encoding="utf-8").splitlines()[0].strip()
    checkpoint = restore_checkpoint(osp.join(fdir, osp.basename(name)), model, optimizer, scheduler)
    return int(checkpoint["epoch"])


def restore_checkpoint(
    fpath: str | Path, model: nn.Module, optimizer: Optimizer | None = None, scheduler: Any = None
) -> dict[str, Any]:
    """Restore model, optimiser and scheduler from one file; returns all that the file holds."""
    print(f'Loading checkpoint from "{fpath}"')
    checkpoint = load_checkpoint(fpath)
    load_fitting(model, checkpoint["state_dict"], fpath)
    print("Loaded model weights")
    if optimizer is not None and checkpoint.get("optimizer") is not None:
        try:
            optimizer.load_state_dict(checkpoint["optimizer"])
        except ValueError as error:
            raise MisfitError(f"{fpath} {_MISFIT}: its optimizer: {error}; {_WAY_OUT}") from error
        print("Loaded optimizer")
    if scheduler is not None and checkpoint.get("scheduler") is not None:
        load_scheduler_state(scheduler, checkpoint["scheduler"])
        print("Loaded scheduler")
    print(f"Previous epoch: {checkpoint['epoch']}")
    return checkpoint


def replace_weights(fpath: str | Path, model: nn.Module) -> None:
    """Put a model's weights as they are now into a checkpoint; all else in the file stays."""
    checkpoint = load_checkpoint(fpath)
    checkpoint["state_dict"] = _without_module(model.state_dict())
    with atomic_write(fpath, "wb") as handle:
        torch.save(to_plain(checkpoint), handle)


_MISFIT = "does not fit this configuration"
_WAY_OUT = (
    "use the backbone, classes and settings it was trained with, or a checkpoint of these settings"
)


def load_fitting(model: Any, state: Mapping[str, Any], source: object) -> None:
    """``model.load_state_dict(state)`` whose refusal is one line with the first tensor at fault.

    Args:
        model: is filled.
        state: its weights.
        source: where they come from, for the message.

    Raises:
        MisfitError: a tensor is missing, unknown or of another shape.
    """
    try:
        model.load_state_dict(state)
    except UserError as error:  # a model that makes checks of its own
        raise MisfitError(f"{source}: {error}") from error
    except RuntimeError as error:
        start, *details = str(error).splitlines()
        if not start.startswith("Error(s) in loading state_dict"):
            raise
        what = _first_misfit(model.state_dict(), state) or " ".join(details).strip()
        raise MisfitError(f"{source} {_MISFIT}: {what}; {_WAY_OUT}") from error


def _first_misfit(own: Mapping[str, Any], state: Mapping[str, Any]) -> str:
    for key, value in state.items():
        shape, expected = (list(getattr(v, "shape", ())) for v in (value, own.get(key, value)))
        if shape != expected:
            return f"{key} has shape {shape}, {expected} expected"
    missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    parts = [f"{len(missing)} tensors are missing, the first is {missing[0]}"] if missing else []
    parts += [f"{len(unknown)} are unknown, the first is {unknown[0]}"] if unknown else []
    return ", ".join(parts)


def load_pretrained_weights(model: nn.Module, weight_path: str | Path) -> None:
    """Load every weight whose name and shape fit; warn of what did not.

    ``module.`` in front of names is dropped; the file may hold a checkpoint or a bare state dict.
    """
    checkpoint = load_checkpoint(weight_path)
    state_dict = _without_module(checkpoint.get("state_dict", checkpoint))
    own = model.state_dict()
    matched = {
        name: value
        for name, value in state_dict.items()
        if name in own and own[name].shape == value.shape
    }
    discarded = [name for name in state_dict if name not in matched]
    model.load_state_dict(matched, strict=False)
    if not matched:
        warnings.warn(
            f'Cannot load weights from "{weight_path}": no name and shape fits the model '
            "(check the key names manually)",
            stacklevel=2,
        )
        return
    print(f"Successfully loaded pretrained weights from {weight_path}")
    if discarded:
        print(f"Layers discarded due to unmatched keys or size: {discarded}")


def _without_module(state_dict: dict[str, Any]) -> OrderedDict[str, Any]:
    return OrderedDict((name.removeprefix("module."), v) for name, v in state_dict.items())
