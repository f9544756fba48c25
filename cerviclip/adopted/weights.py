"""The backbone's weights, given to a repository's own ``clip`` in place of a download."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from dassl.errors import UserError

PHANTOM = "PhantomCLIP"


def weights_file(cfg: Any) -> str:
    """The file that a run names; of the embedded backbone its own; "" where there is none."""
    if cfg.MODEL.INIT_WEIGHTS:
        return str(Path(cfg.MODEL.INIT_WEIGHTS).resolve())
    if cfg.MODEL.BACKBONE.NAME == PHANTOM:
        from cerviclip.vlm.loading import PHANTOM_FILE

        return str(PHANTOM_FILE)
    return ""


def readable_by_clip(path: str) -> str:
    """A file that copies of ``clip`` can read: a TorchScript archive, or a plain state dict.

    Another format is written anew, to a folder that ends with the process.
    """
    import torch

    from cerviclip.vlm.files.formats import read_state_dict, sniff

    if sniff(Path(path)) == "torchscript":
        return path
    state = read_state_dict(path)
    target = Path(_folder().name) / f"{Path(path).stem}.pt"
    torch.save(state, target)
    return str(target)


def give(modules: Sequence[ModuleType], backbone: str, path: str) -> bool:
    """Let every ``clip`` among these modules find ``path`` for whatever it would download.

    Args:
        modules: of the repository, or of the ``clip`` that it imports.
        backbone: a name that its table of models may lack.
        path: as of `readable_by_clip`; "" leaves the modules as they are, but for the error of a
            download that fails.

    Returns:
        Whether there was such a module.
    """
    found = False
    for module in modules:
        models = vars(module).get("_MODELS")
        if isinstance(models, dict):
            address = f"https://localhost/{'0' * 64}/{Path(path or backbone).name}"
            models.setdefault(backbone, address)
        download = vars(module).get("_download")
        if callable(download):
            found = True
            module._download = _given(path) if path else _or_say_so(download, backbone)  # type: ignore[attr-defined]
    return found


def _given(path: str) -> Any:
    return lambda *_, **__: path


def _or_say_so(download: Any, backbone: str) -> Any:
    def downloaded(*args: Any, **kwargs: Any) -> Any:
        try:
            return download(*args, **kwargs)
        except (OSError, RuntimeError, ValueError) as error:
            raise UserError(
                f"the weights of {backbone} cannot be downloaded ({error}); give them by --weights"
            ) from error

    return downloaded


_folders: list[tempfile.TemporaryDirectory[str]] = []


def _folder() -> tempfile.TemporaryDirectory[str]:
    if not _folders:
        _folders.append(tempfile.TemporaryDirectory(prefix="cerviclip-weights-"))
    return _folders[0]
