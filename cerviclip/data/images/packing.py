"""Which images a run reads behind which first steps; making a pack of them, and saying how much of
them a pack has."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from cerviclip.data.images.cache import ImageCache
from cerviclip.data.images.facts import facts_of
from cerviclip.data.images.packs import Pack, begin_pack, bytes_of, name_of, write_shard
from cerviclip.data.images.steps import first_steps, steps_text
from cerviclip.data.imaging import ImagingDataset
from dassl.errors import UserError
from dassl.paths import at_home
from dassl.utils.images import decode_image

if TYPE_CHECKING:
    from dassl.data.datasets import Datum

SHARD_BYTES = 128 * 2**20  # written at once: what a kill loses at most
_SPARE_BYTES = 256 * 2**20  # a disk is not filled to the last byte
_AT_ONCE = 16  # images in memory behind each thread's back


@dataclass
class Wanted:
    """Files that are read behind the same first steps."""

    steps: Sequence[Callable]
    paths: list[str] = field(default_factory=list)


def wanted_of(
    trainer: Any, external: Mapping[str, Sequence[Datum]], whole: bool = True
) -> dict[str, Wanted]:
    """What a run reads: files by the text of their first steps.

    Training images are read behind the training's transforms and the test's; val, test and external
    centres behind the test's. With stored plain views (``INPUT.FEATURE_VIEWS`` 1) nothing is read
    behind the training's.

    Args:
        trainer: built, with its ``dm``.
        external: images by centre.
        whole: all images of the data set, whatever is drawn; False: those of this run.
    """
    data, loader = trainer.dm.dataset, trainer.dm.train_loader_x
    train, rest = _images_of(data, whole)
    stored = getattr(trainer, "stored_kind", "") and trainer.cfg.INPUT.FEATURE_VIEWS > 0
    if stored:
        views = [trainer.tfm_train] if trainer.cfg.INPUT.FEATURE_VIEWS > 1 else []
    else:
        given = getattr(loader.dataset, "transform", None)
        views = list(given) if isinstance(given, (list, tuple)) else [given]
    test = getattr(trainer, "tfm_test", None)
    if test is None:
        loaders = (trainer.dm.val_loader, trainer.dm.__dict__.get("_test_loader"))
        tested = [one.dataset for one in loaders if one is not None]
        test = getattr(tested[0], "transform", None) if tested else None
    others = [item.impath for items in external.values() for item in items]
    wanted: dict[str, Wanted] = {}
    for transform, paths in [*((view, train) for view in views), (test, [*train, *rest, *others])]:
        steps, _ = first_steps(transform)
        kept = wanted.setdefault(steps_text(steps), Wanted(steps))
        kept.paths = list(dict.fromkeys([*kept.paths, *paths]))
    return wanted


def _images_of(data: Any, whole: bool) -> tuple[list[str], list[str]]:
    """Paths of the images that may be trained on, and of the others."""
    if whole and isinstance(data, ImagingDataset):
        return [item.impath for item in data.to_data(data.images_read)], []
    train = [*data.train_x, *(data.train_u or ())]
    rest = [*(data.val or ()), *(data.test or ())]
    new = getattr(data, "new_classes", None)
    rest += new.items if new is not None else []
    return [item.impath for item in train], [item.impath for item in rest]


def write_pack(
    folder: Path,
    wanted: Mapping[str, Wanted],
    threads: int = 1,
    begin: Callable[[int], Callable[[Any], object]] = lambda total: lambda done: None,
) -> tuple[int, int]:
    """Put images into a pack; those that it has already are left as they are.

    Args:
        folder: a new one, or what an earlier call has begun.
        wanted: files by the text of their first steps.
        threads: that decode at once.
        begin: given the number of files; gives what is called for each.

    Returns:
        Numbers of images written now and of those that were there.

    Raises:
        UserError: the folder holds something else, an image cannot be read, or the disk is full.
    """
    pack = begin_pack(folder)
    _check_room(pack, wanted)
    by_path: dict[str, list[str]] = {}
    for text, part in wanted.items():
        for path in part.paths:
            by_path.setdefault(path, []).append(text)
    advance, written, there = begin(len(by_path)), 0, 0
    waiting: dict[str, np.ndarray] = {}

    def make(path: str) -> tuple[dict[str, np.ndarray], int]:
        names = {name_of(path, text): text for text in by_path[path]}
        lacking = {name: text for name, text in names.items() if name not in pack}
        if not lacking:
            return {}, len(names)
        image = decode_image(path)
        made = {name: _behind(wanted[text].steps, image) for name, text in lacking.items()}
        return made, len(names) - len(made)

    def flush() -> int:
        count = len(waiting)
        if waiting:
            write_shard(pack, waiting, wanted)
            waiting.clear()
        return count

    paths = list(by_path)
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(paths), _AT_ONCE * threads):
            for made, known in pool.map(make, paths[start : start + _AT_ONCE * threads]):
                waiting |= made
                there += known
                advance(None)
                if sum(image.nbytes for image in waiting.values()) >= SHARD_BYTES:
                    written += flush()
    return written + flush(), there


def _behind(steps: Iterable[Callable], image: Image.Image) -> np.ndarray:
    for step in steps:
        image = step(image)
    return np.array(image)


def _check_room(pack: Pack, wanted: Mapping[str, Wanted]) -> None:
    needed = sum(map(_bytes, wanted.values())) - bytes_of(pack.folder)
    free = shutil.disk_usage(pack.folder).free - _SPARE_BYTES
    if needed > free:
        raise UserError(
            f"a pack of these images needs {needed / 1e9:.1f} GB and {pack.folder} has room for "
            f"{max(0, free) / 1e9:.1f} GB; name another place by --out, or let training images be "
            "shrunk first: INPUT.RESIZE_FIRST 512"
        )


def _bytes(part: Wanted) -> int:
    """What the images take behind these steps."""

    @cache
    def of_size(size: tuple[int, int]) -> int:
        return 3 * _behind(part.steps, Image.new("L", size)).size

    facts = (facts_of(path) for path in part.paths)
    return sum(of_size(one.size) for one in facts if one is not None)


def use_pack(cache: ImageCache, folder: str) -> None:
    """Let a cache of images read from a pack from now on; "" for none."""
    if not folder:
        cache.pack = None
    elif cache.pack is None or cache.pack.folder != at_home(folder).absolute():
        cache.pack = Pack(folder)


def describe_use(pack: Pack, wanted: Mapping[str, Wanted]) -> list[str]:
    """How many of the images that a run reads are in a pack, and what becomes of the others."""
    lacking: dict[str, list[str]] = {
        text: pack.lacking(part.paths, text) for text, part in wanted.items()
    }
    number = sum(len(part.paths) for part in wanted.values())
    missing = sum(map(len, lacking.values()))
    lines = [f"pack {pack.folder}: {number - missing} of {number} images are read from it"]
    for text, paths in lacking.items():
        if not paths:
            continue
        why = f"such as {paths[0]}: changed since it was packed, or new"
        if len(paths) == len(wanted[text].paths):
            why = f"none is there as {text}"
            if pack.of_other_pillow(text):
                why += " by this version of Pillow"
        lines.append(
            f"pack {pack.folder} lacks {len(paths)} of {len(wanted[text].paths)} images ({why}); "
            "they are decoded each time; cerviclip pack adds them"
        )
    return lines


def usual_threads() -> int:
    """Pillow lets go of Python's lock while it decodes."""
    return min(8, os.cpu_count() or 1)
