"""A packed store: images decoded, converted and resized once, which runs read instead of the files.

A pack is a folder of safetensors shards, mapped into memory. Each tensor is an image (H, W, 3) of
8 bits, behind the steps that all epochs share. Its name is made of the hash of the file's content
and of how it is read (`HashCache.pixels`), and of the steps with Pillow's version. So what is found
is always what decoding would give: a changed file, other steps or another Pillow have other names.
"""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL

from cerviclip.data.files.hashes import image_hashes
from cerviclip.shapes import plain_json
from dassl.errors import MissingFileError, UserError
from dassl.paths import at_home, exists, is_dir
from dassl.utils.files import atomic_write

MARK = "pack.json"
VERSION = 1
_SUFFIX = ".safetensors"


class Pack:
    """An open pack.

    Args:
        folder: of the pack.

    Raises:
        MissingFileError: there is no such folder.
        UserError: it holds no pack, one of a later version, or a broken shard.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = at_home(folder).absolute()
        _check_mark(self.folder)
        self.steps: dict[str, str] = {}  # text by id, of all Pillows
        self._shards: list[Any] = []
        self._places: dict[str, int] = {}
        self._paths: set[Path] = set()
        self.look_again()

    def look_again(self) -> None:
        """Open shards that have come since."""
        for path in sorted(self.folder.glob(f"*{_SUFFIX}")):
            if path not in self._paths:
                self._open(path)

    def _open(self, path: Path) -> None:
        from safetensors import SafetensorError, safe_open

        try:
            shard = safe_open(path, "pt")  # whose tensors are views of the mapped file
            self.steps |= plain_json(shard.metadata()["steps"])
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path} is a broken part of a pack ({error}); delete this file and run cerviclip "
                "pack again, which makes it anew"
            ) from error
        self._paths.add(path)
        self._places |= dict.fromkeys(shard.keys(), len(self._shards))
        self._shards.append(shard)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def get(self, path: str, steps: str) -> np.ndarray | None:
        """The image (H, W, 3) of a file as it is now behind these steps; None where the pack lacks
        it. Not to be written to.

        Args:
            path: the image file.
            steps: as `steps_text` writes them.
        """
        try:
            name = name_of(path, steps)
        except OSError:
            return None  # decoding says what is wrong
        shard = self._places.get(name)
        return None if shard is None else self._shards[shard].get_tensor(name).numpy()

    def lacking(self, paths: Iterable[str], steps: str) -> list[str]:
        """Those of the files whose images the pack does not have behind these steps."""
        lacking = [path for path in paths if name_of(path, steps) not in self]
        image_hashes().flush()
        return lacking

    def of_other_pillow(self, steps: str) -> bool:
        """Whether these steps are in the pack, but as another version of Pillow makes them."""
        return steps in self.steps.values() and step_id(steps) not in self.steps

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["folder"])  # type: ignore[misc]


def step_id(steps: str) -> str:
    """What stands for steps and for the Pillow that takes them."""
    return hashlib.sha256(f"{steps} by Pillow {PIL.__version__}".encode()).hexdigest()[:16]


def name_of(path: str, steps: str) -> str:
    """The name of an image in a pack.

    Raises:
        OSError: the file cannot be read.
    """
    return f"{image_hashes().pixels(path)}.{step_id(steps)}"


def begin_pack(folder: Path) -> Pack:
    """A pack to add to: a new one, or what an earlier call has begun.

    Raises:
        UserError: the folder holds something else.
    """
    if not exists(folder) or not any(folder.iterdir()):
        with atomic_write(folder / MARK) as handle:
            json.dump({"version": VERSION, "holds": "decoded images; see cerviclip pack"}, handle)
    return Pack(folder)


def write_shard(pack: Pack, images: Mapping[str, np.ndarray], steps: Iterable[str]) -> None:
    """Add images, whole or not at all.

    Args:
        pack: to add to.
        images: (H, W, 3) of 8 bits by name.
        steps: of these images, as text.

    Raises:
        UserError: the disk is full.
    """
    from safetensors.numpy import save

    words = json.dumps({step_id(text): text for text in steps})
    name = hashlib.sha256("".join(images).encode()).hexdigest()[:24]
    try:
        with atomic_write(pack.folder / f"{name}{_SUFFIX}", "wb") as handle:
            handle.write(save(dict(images), metadata={"steps": words}))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(
            f"no room is left in {pack.folder} ({error.strerror}); make some and run the same "
            "command again, which goes on from here"
        ) from error
    image_hashes().flush()
    pack.look_again()


def bytes_of(folder: Path) -> int:
    """What the shards of a pack take on the disk."""
    return sum(path.stat().st_size for path in _shard_files(folder))


def _shard_files(folder: Path) -> Iterator[Path]:
    yield from folder.glob(f"*{_SUFFIX}")


def _check_mark(folder: Path) -> None:
    if not is_dir(folder):
        raise MissingFileError(
            f"there is no pack {folder} (DATASET.PACKED); cerviclip pack --out {folder} makes it"
        )
    try:
        version = plain_json((folder / MARK).read_text(encoding="utf-8"))["version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{folder} is no pack of images: its {MARK} is missing or broken; name a new folder, "
            "or one that cerviclip pack has made"
        ) from error
    if version != VERSION:
        raise UserError(
            f"{folder} is a pack of version {version}, and this code reads {VERSION}; make it anew"
        )
