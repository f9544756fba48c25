"""Writing a data set with variants: parts, class folders, a list, and a record to go on by."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from cerviclip.data.split.output import check_outside, targets
from cerviclip.data.split.patient_grouped import PARTS
from cerviclip.data.variants.names import is_variant, variant_name
from cerviclip.data.variants.recipes import NUMBERS, VERSION, make_variant
from cerviclip.data.workers import mapper
from cerviclip.shapes import parse_json
from dassl.data.datasets.base_dataset import DatasetBase, Datum
from dassl.errors import UserError
from dassl.paths import exists, is_file
from dassl.utils.deep_images import Windows, open_image, windows_of
from dassl.utils.files import atomic_write, file_sha256
from dassl.utils.images import to_rgb, why_unreadable

LIST, RECORD = "list.csv", "augment.json"
COLUMNS = ("path", "label", "split", "patient")


@dataclass(frozen=True)
class Settings:
    """What decides how variants look.

    Attributes:
        dataset: name.
        split_hash: of the split that was taken.
        parts: those whose images get variants.
        kinds: keys of ``RECIPES``.
        seed: of all randomness.
        version: of the recipes.
    """

    dataset: str
    split_hash: str
    parts: tuple[str, ...] = ("train",)
    kinds: tuple[str, ...] = tuple(NUMBERS)
    seed: int = 1
    version: int = VERSION


@dataclass(frozen=True)
class Job:
    """One image with the variants that are wanted of it."""

    source: str
    target: str
    name: str  # class and file, which the randomness hangs on
    kinds: tuple[str, ...]
    seed: int
    windows: Windows
    link: bool


def write_variants(
    dataset: DatasetBase,
    folder: Path,
    settings: Settings,
    jobs: int = 1,
    link: bool = False,
    begin: Callable[[int], Callable[[Any], object]] = lambda total: lambda done: None,
) -> tuple[int, int]:
    """``folder/train|val|test/<class>/`` with all images and their variants, and ``list.csv``.

    Originals are copied (or linked) as they are. What an earlier call has written stays, unless its
    original has changed.

    Args:
        dataset: with its split, all images of it.
        folder: empty, not there, or begun with the same settings.
        settings: kinds, parts, seed.
        jobs: processes.
        link: symbolic links instead of copies of the originals.
        begin: given the number of images; gives what is called for each.

    Returns:
        Numbers of variants written now and of those that were there.

    Raises:
        UserError: another augmentation is in the folder, a part has no images, or an image cannot
            be read.
    """
    parts = dict(zip(PARTS, (dataset.train_x, dataset.val or [], dataset.test), strict=True))
    for part in settings.parts:
        if not parts[part]:
            raise UserError(f"{settings.dataset} has no images in {part}; see --parts")
    check_outside(dataset, folder)
    _check_folder(folder, settings)
    rows, work = _plan(parts, folder, settings, link)
    with atomic_write(folder / RECORD) as handle:
        json.dump(asdict(settings), handle, indent=1)
        handle.write("\n")
    written = there = 0
    with mapper(jobs) as mapped:
        advance = begin(len(work))
        chunk = {"chunksize": 4} if jobs > 1 else {}
        for new, old in mapped(write_family, work, **chunk):
            written, there = written + new, there + old
            advance(None)
    with atomic_write(folder / LIST) as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    return written, there


def write_family(job: Job) -> tuple[int, int]:
    """An original and its variants; numbers of variants written and found."""
    source, target = Path(job.source), Path(job.target)
    fresh = not _same_file(source, target)
    if fresh:
        _place(source, target, job.link)
    wanted = {k: target.with_name(variant_name(target.name, NUMBERS[k], k)) for k in job.kinds}
    made = {kind: file for kind, file in wanted.items() if fresh or not is_file(file)}
    if made:
        image = _read(job)
        for kind, file in made.items():
            with atomic_write(file, "wb") as handle:
                make_variant(image, kind, job.name, job.seed).save(handle, "png", compress_level=1)
    return len(made), len(wanted) - len(made)


def _read(job: Job) -> Image.Image:
    try:
        with open_image(job.source) as image:
            return to_rgb(image, job.source, job.windows)
    except Exception as error:  # whatever Pillow's plug-ins raise
        raise UserError(
            f"image {job.source} cannot be read ({why_unreadable(error)}); replace it, or leave it "
            "out with --opts DATASET.LEAVE_OUT"
        ) from error


def _plan(
    parts: Mapping[str, Sequence[Datum]], folder: Path, settings: Settings, link: bool
) -> tuple[list[tuple[str, ...]], list[Job]]:
    """The list's rows, and the work image by image."""
    rows: list[tuple[str, ...]] = []
    work: list[Job] = []
    for part, items in parts.items():
        own = {item.impath: item for item in items}
        again = [path for path in own if is_variant(path)]
        if again:
            raise UserError(f"{again[0]} is a variant already; augment the originals alone")
        for source, target in targets(items, folder / part):
            item, kinds = own[source], settings.kinds if part in settings.parts else ()
            names = [target.name, *(variant_name(target.name, NUMBERS[k], k) for k in kinds)]
            inner = target.parent.relative_to(folder).as_posix()
            rows += [(f"{inner}/{n}", item.classname, part, item.patient_id) for n in names]
            name, windows = f"{item.classname}/{target.name}", windows_of(source)
            work.append(Job(source, str(target), name, tuple(kinds), settings.seed, windows, link))
    return rows, work


def _check_folder(folder: Path, settings: Settings) -> None:
    """Refuse a folder with anything but the same augmentation, begun or whole."""
    if not exists(folder) or not any(folder.iterdir()):
        folder.mkdir(parents=True, exist_ok=True)
        return
    record = folder / RECORD
    if not is_file(record):
        raise UserError(f"{folder} is not empty; name a new folder by --out")
    try:
        before = dict(parse_json(record.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{record} is no record of an augmentation ({error})") from error
    now = json.loads(json.dumps(asdict(settings)))
    differ = [key for key in now if before.get(key) != now[key]]
    if differ:
        raise UserError(
            f"{folder} holds variants with another {', '.join(differ)} (such as {differ[0]} "
            f"{before.get(differ[0])}, now {now[differ[0]]}); name another folder by --out"
        )


def _same_file(source: Path, target: Path) -> bool:
    """Whether a target is what the source is now."""
    if target.is_symlink():
        return os.path.realpath(target) == os.path.realpath(source)
    if not is_file(target) or target.stat().st_size != source.stat().st_size:
        return False
    return file_sha256(source) == file_sha256(target)


def _place(source: Path, target: Path, link: bool) -> None:
    """Copy or link an original, whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        if link:
            os.symlink(os.path.abspath(source), temporary)
        else:
            shutil.copy2(source, temporary)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def kinds_of(words: Iterable[str]) -> tuple[str, ...]:
    """Kinds of variants by name, in their order; all for none.

    Raises:
        UserError: there is no such kind.
    """
    asked = set(words)
    if unknown := sorted(asked - NUMBERS.keys()):
        raise UserError(f"--variants {unknown[0]}: there are {', '.join(NUMBERS)}")
    return tuple(kind for kind in NUMBERS if kind in asked or not asked)
