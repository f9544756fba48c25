"""Checkpoints: plain tensors and numbers on disk, written whole, and old files read safely."""

from __future__ import annotations

import math
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
    "load_training_checkpoint",
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


def load_training_checkpoint(fpath: str | Path) -> dict[str, Any]:
    """As `load_checkpoint`, of a file that a training has saved: weights by name, and an epoch.

    Raises:
        UserError: also where the file holds something else.
    """
    found = load_checkpoint(fpath)
    state = found.get("state_dict") if isinstance(found, Mapping) else None
    if not isinstance(state, Mapping) or not all(isinstance(name, str) for name in state):
        raise UserError(
            f'checkpoint "{fpath}" holds no state_dict with weights by name; name a checkpoint '
            "that a training has saved"
        )
    epoch = found.get("epoch", 0)
    if isinstance(epoch, bool) or not isinstance(epoch, int) or epoch < 0:
        raise UserError(f'checkpoint "{fpath}" is of epoch {epoch!r}, which is no number of epochs')
    return found


def _refuse_other_kinds(fpath: str) -> None:
    if zipfile.is_zipfile(fpath):
        try:
            with zipfile.ZipFile(fpath) as archive:
                names = [name.split("/", 1)[-1] for name in archive.namelist()]
        except Exception as error:  # BadZipFile and others of a damaged directory
            raise UserError(f'checkpoint "{fpath}" is damaged ({error}); save it again') from error
        if "constants.pkl" in names:
            raise UserError(
                f'checkpoint "{fpath}" is a TorchScript archive, not a training checkpoint; '
                "pass it as MODEL.INIT_WEIGHTS"
            )
        return
    refuse_tar(fpath)


def refuse_tar(fpath: str) -> None:
    """Refuse what torch wrote before 0.1.10: torch unpacks it before it looks for code in it.

    Raises:
        UserError: the file is a tar archive.
    """
    try:
        is_tar = tarfile.is_tarfile(fpath)
    except Exception:  # of a damaged compressed file; it is no tar that could be read
        is_tar = False
    if is_tar:
        raise UserError(
            f'"{fpath}" is a tar archive, packed or as torch wrote before 0.1.10; it cannot be '
            "read safely: unpack it, or save it again with a later torch"
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
    name = Path(marker).read_text(encoding="utf-8", errors="replace").strip().partition("\n")[0]
    checkpoint = restore_checkpoint(osp.join(fdir, osp.basename(name)), model, optimizer, scheduler)
    return int(checkpoint["epoch"])


def restore_checkpoint(
    fpath: str | Path, model: nn.Module, optimizer: Optimizer | None = None, scheduler: Any = None
) -> dict[str, Any]:
    """Restore model, optimiser and scheduler from one file; returns all that the file holds."""
    print(f'Loading checkpoint from "{fpath}"')
    checkpoint = load_training_checkpoint(fpath)
    load_fitting(model, checkpoint["state_dict"], fpath)
    print("Loaded model weights")
    if optimizer is not None and checkpoint.get("optimizer") is not None:
        try:
            optimizer.load_state_dict(checkpoint["optimizer"])
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise MisfitError(f"{fpath} {_MISFIT}: its optimizer: {error}; {_WAY_OUT}") from error
        print("Loaded optimizer")
    if scheduler is not None and checkpoint.get("scheduler") is not None:
        try:
            load_scheduler_state(scheduler, checkpoint["scheduler"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise MisfitError(f"{fpath} {_MISFIT}: its scheduler: {error}; {_WAY_OUT}") from error
        print("Loaded scheduler")
    if "epoch" not in checkpoint:
        raise UserError(f'checkpoint "{fpath}" does not say its epoch; it cannot be gone on from')
    print(f"Previous epoch: {checkpoint['epoch']}")
    return checkpoint


def replace_weights(fpath: str | Path, model: nn.Module) -> None:
    """Put a model's weights as they are now into a checkpoint; all else in the file stays."""
    checkpoint = load_training_checkpoint(fpath)
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
        UserError: weights are no numbers, or of a type that cannot be theirs.
    """
    refuse_no_weights(state, source, _types_of(model))
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


def _types_of(model: Any) -> Mapping[str, torch.dtype]:
    own = model.state_dict() if hasattr(model, "state_dict") else {}
    return {name: v.dtype for name, v in own.items() if isinstance(v, torch.Tensor)}


def refuse_no_weights(
    state: Mapping[str, Any], source: object, types: Mapping[str, torch.dtype] | None = None
) -> None:
    """Refuse weights that give no number, or a wrong one, without an error of torch's.

    Args:
        state: tensors by name; other values are let be.
        source: where they come from, for the message.
        types: those that the network has; whole numbers in place of broken ones are refused.

    Raises:
        UserError: a tensor holds NaN or infinity, or whole numbers where the network's does not.
    """
    for name, value in state.items():
        if not isinstance(value, torch.Tensor):
            continue
        wanted = (types or {}).get(name)
        if wanted is not None and wanted.is_floating_point and not value.is_floating_point():
            raise UserError(
                f"{source}: {name} is of type {value.dtype}, and the network's is {wanted}; save "
                "the weights as they were trained"
            )
        if not value.is_floating_point():
            continue
        numbers = value.float() if value.element_size() == 1 else value
        if bool(torch.isnan(numbers).any()):
            raise UserError(
                f"{source}: {name} holds NaN, so its training broke; take an earlier checkpoint, "
                "or fetch the file again"
            )
        if bool((numbers == math.inf).any()):  # below there may be a mask's
            raise UserError(
                f"{source}: {name} holds infinite values, as of large ones that were saved in half "
                "precision; take an earlier checkpoint, or one in float32"
            )


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
    found = checkpoint.get("state_dict", checkpoint) if isinstance(checkpoint, Mapping) else None
    if not isinstance(found, Mapping):
        raise UserError(f'"{weight_path}" holds no weights by name; give a state dict')
    state_dict = {
        name: value
        for name, value in _without_module({str(k): v for k, v in found.items()}).items()
        if isinstance(value, torch.Tensor)
    }
    own = model.state_dict()
    matched = {
        name: value
        for name, value in state_dict.items()
        if name in own and own[name].shape == value.shape
    }
    refuse_no_weights(matched, weight_path, _types_of(model))
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
