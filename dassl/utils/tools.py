"""Small helpers about files, names and the environment."""

from __future__ import annotations

import json
import os
import os.path as osp
import sys
import time
import urllib.request
import warnings
from collections.abc import Iterable
from typing import Any

import PIL

from dassl.errors import UserError, nearest, similarity
from dassl.utils.files import atomic_write
from dassl.utils.images import read_image

__all__ = [
    "check_availability",
    "check_isfile",
    "collect_env_info",
    "download_url",
    "get_most_similar_str_to_a_from_b",
    "listdir_nohidden",
    "mkdir_if_missing",
    "read_image",
    "read_json",
    "tolist_if_not",
    "write_json",
]


def mkdir_if_missing(dirname: str) -> None:
    """Make a folder and those above it."""
    os.makedirs(dirname, exist_ok=True)


def check_isfile(fpath: str) -> bool:
    """Whether the file is there; warns where it is not."""
    isfile = osp.isfile(fpath)
    if not isfile:
        warnings.warn(f'No file found at "{fpath}"', stacklevel=2)
    return isfile


def read_json(fpath: str) -> Any:
    """The content of a JSON file."""
    with open(fpath, encoding="utf-8") as handle:
        return json.load(handle)


def write_json(obj: Any, fpath: str) -> None:
    """Write JSON with an indent of 4, whole or not at all."""
    with atomic_write(fpath) as handle:
        json.dump(obj, handle, indent=4, separators=(",", ": "))


def download_url(url: str, dst: str) -> None:
    """Download to a file, showing progress on stderr; a broken download leaves nothing behind."""
    print(f'* url="{url}"\n* destination="{dst}"')
    start, done = time.time(), 0
    with urllib.request.urlopen(url) as response, atomic_write(dst, "wb") as handle:
        total = int(response.headers.get("Content-Length") or 0)
        while block := response.read(1 << 20):
            handle.write(block)
            done += len(block)
            rate = done / 2**20 / max(time.time() - start, 1e-6)
            share = f"{100 * done / total:.0f}%, " if total else ""
            sys.stderr.write(f"\r...{share}{done / 2**20:.1f} MB, {rate:.1f} MB/s")
    sys.stderr.write("\n")
    if total and done < total:
        os.unlink(dst)
        raise OSError(f"{url}: got {done} of {total} bytes; try again")


def collect_env_info() -> str:
    """Versions of torch, Python, the system and Pillow, as text; never fails."""
    import torch

    try:
        from torch.utils.collect_env import get_pretty_env_info

        info = get_pretty_env_info()
    except Exception as error:  # it runs pip and nvidia-smi, which may be absent or odd
        info = (
            f"PyTorch version: {torch.__version__}\n"
            f"Python version: {sys.version.split()[0]}\nPlatform: {sys.platform}\n"
            f"CUDA available: {torch.cuda.is_available()} (more could not be found out: {error})"
        )
    return f"{info}\n        Pillow ({PIL.__version__})"


def listdir_nohidden(path: str, sort: bool = False) -> list[str]:
    """Names in a folder without those that begin with a dot.

    Always sorted (``sort`` is kept for upstream's signature): a run must not depend on the order
    in which a file system happens to list a folder.
    """
    del sort
    return sorted(name for name in os.listdir(path) if not name.startswith("."))


def get_most_similar_str_to_a_from_b(a: str, b: Iterable[str]) -> str | None:
    """The string in ``b`` most like ``a``; None if ``b`` is empty."""
    return max(b, key=lambda other: similarity(a, other), default=None)


def check_availability(requested: str, available: Iterable[str]) -> None:
    """Raise a ValueError with the nearest name if ``requested`` is not among ``available``."""
    available = list(available)
    if requested in available:
        return
    near = nearest(requested, available, cutoff=0.0)
    hint = f" (do you mean [{near}]?)" if near else ""
    raise UserError(
        f"The requested one is expected to belong to {available}, but got [{requested}]{hint}"
    )


def tolist_if_not(x: Any) -> list[Any]:
    """``x`` itself if it is a list, else a list that holds it."""
    return x if isinstance(x, list) else [x]
