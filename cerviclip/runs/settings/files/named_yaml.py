"""A yaml of ours that is named by its stem or its path, and the keys that it may have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dassl.errors import MissingFileError, UserError, did_you_mean
from dassl.paths import at_home, is_file


def find_yaml(name: str, folder: Path, kind: str) -> Path:
    """A yaml by its name in a folder of configs/, or by its path.

    Args:
        name: as the user typed it.
        folder: such as ``configs/chains``.
        kind: what the yaml holds, for the message.

    Raises:
        MissingFileError: neither is there.
    """
    for path in (folder / f"{name}.yaml", at_home(name)):
        if is_file(path):
            return path
    names = sorted(path.stem for path in folder.glob("*.yaml"))
    known = f"(in configs/{folder.name}: {', '.join(names)})"
    raise MissingFileError(f"no {kind} {name!r}{did_you_mean(name, names)} {known}")


def check_keys(tree: Mapping[Any, Any], known: Iterable[str], where: str) -> None:
    """Refuse a key that is not known, with the one that is meant.

    Raises:
        UserError: naming the key, the place and all that are known.
    """
    known = sorted(known)
    for key in tree:
        if key not in known:
            hint = did_you_mean(str(key), known)
            raise UserError(f"unknown key {key!r} in {where}{hint} (keys: {', '.join(known)})")
