"""Write phantom centres to disk in the layout of the real data, once, and know them again."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from cerviclip.data.phantoms.centers import CENTERS, Center
from cerviclip.data.phantoms.render import Frame, render_patient, surface_rows
from cerviclip.data.phantoms.structures import CLASSES
from cerviclip.locks import claimed
from cerviclip.shapes import plain_json
from dassl.errors import UserError
from dassl.paths import exists, is_dir

# Part of the split hash. Frozen: see docs/phantom.md before raising it.
VERSION = "1.0"
MARKER = "phantom.json"
FOLDER = "phantom"
HUFFMAN_ONLY = 2  # zlib.Z_HUFFMAN_ONLY, which the zlib module does not name

__all__ = [
    "CENTERS",
    "CLASSES",
    "VERSION",
    "center_folder",
    "ensure_center",
    "frame_name",
    "patients_of",
    "read_surface",
    "write_center",
]


def center_folder(root: str | os.PathLike[str], center: str) -> Path:
    """Where a centre lies under ``DATASET.ROOT``."""
    return Path(root) / FOLDER / center


def frame_name(center: Center, number: int, frame: Frame) -> str:
    """File name in the form of the real data; ``P`` and seven digits are the patient."""
    return (
        f"M{center.device:04d}_2021_P{patient_number(center, number):07d}"
        f"_circle_2.5x3.0_C{frame.circle:02d}_S{frame.slice:02d}.png"
    )


def patient_number(center: Center, number: int) -> int:
    """The seven digits of a patient id: the centre's code, then the number within the centre."""
    return center.code * 10_000 + number


def patients_of(center: Center) -> Iterator[tuple[int, int, int, dict[int, int]]]:
    """The patients of a centre, in an order that mixes the classes.

    Yields:
        ``(number, label, number of frames, {frame index: other class})``. One patient in twelve has
        a few frames with another finding, as real patients do.
    """
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([center.code, 0])))
    labels = np.repeat(np.arange(len(CLASSES)), center.patients)
    for number, label in enumerate(rng.permutation(labels), start=1):
        frames = int(rng.integers(center.frames[0], center.frames[1] + 1))
        other = int((label + rng.integers(1, len(CLASSES))) % len(CLASSES))
        mixed = number % 12 == 0
        yield number, int(label), frames, {frames - 1: other, frames - 2: other} if mixed else {}


def write_center(
    folder: Path, center: Center, progress: Callable[[int, int], None] | None = None
) -> dict:
    """Render every patient of a centre into ``folder`` (images, masks and the marker).

    Returns:
        The marker's content.
    """
    for kind in ("images", "masks"):
        for name in CLASSES:
            (folder / kind / name).mkdir(parents=True, exist_ok=True)
    patients = list(patients_of(center))
    count = 0
    for done, (number, label, frames, other) in enumerate(patients, start=1):
        for frame in render_patient(center, number, label, frames, other):
            place = Path(CLASSES[frame.label]) / frame_name(center, number, frame)
            # Nothing repeats in speckle: Huffman codes alone are faster and no larger.
            Image.fromarray(frame.image).save(
                folder / "images" / place, compress_type=HUFFMAN_ONLY, compress_level=1
            )
            Image.fromarray(frame.mask).save(folder / "masks" / place, compress_level=1)
            count += 1
        if progress is not None:
            progress(done, len(patients))
    marker = {
        "phantom": "rendered frames of no patient; see docs/phantom.md",
        "version": VERSION,
        "center": center.name,
        "patients": len(patients),
        "frames": count,
    }
    (folder / MARKER).write_text(json.dumps(marker, indent=2) + "\n", encoding="utf-8")
    return marker


def ensure_center(
    root: str | os.PathLike[str],
    name: str,
    *,
    fresh: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """The folder of a centre, rendered if it is not there yet.

    It is rendered into a temporary folder and renamed, so an interrupted process leaves no half of
    it behind. Of two processes that start at once one renders and the other waits.

    Args:
        root: ``DATASET.ROOT``.
        name: a centre's name.
        fresh: render again and replace what is there.
        progress: called with (patients done, patients in all).

    Raises:
        UserError: the folder holds something else, or phantoms of another generator version.
    """
    folder = center_folder(root, name)
    if not fresh and _is_current(folder) and not _left(folder):
        return folder
    with claimed(folder, wait=True):
        for left in _left(folder):
            shutil.rmtree(left, ignore_errors=True)
        if fresh or not _is_current(folder):
            _render(folder, name, progress)
    return folder


def _left(folder: Path) -> list[Path]:
    """What renderings of this centre are writing, or wrote when they were killed."""
    return list(folder.parent.glob(f".{folder.name}-*"))


def _render(folder: Path, name: str, progress: Callable[[int, int], None] | None) -> None:
    """Put a new centre into the place of whatever is in ``folder``."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder.parent))
    except OSError as error:
        raise UserError(
            f"cannot write phantoms to {folder} ({error.strerror}); choose another --root"
        ) from error
    try:
        write_center(temporary, CENTERS[name], progress)
        temporary.chmod(0o755)
        if exists(folder):
            old = temporary.with_name(temporary.name + "-old")
            folder.rename(old)
            temporary.rename(folder)
            shutil.rmtree(old)
        else:
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _is_current(folder: Path) -> bool:
    """Whether the folder holds this version's phantoms; False if there is nothing at all."""
    remedy = "move it away, or run: python tools/make_phantom.py --fresh"
    try:
        marker = plain_json((folder / MARKER).read_text(encoding="utf-8"))
        found = str(marker["version"])
    except (FileNotFoundError, NotADirectoryError):
        if is_dir(folder) and any(folder.iterdir()):
            raise UserError(f"{folder} holds files but no {MARKER}; {remedy}") from None
        return False
    except (ValueError, KeyError, TypeError, OSError, RecursionError) as error:
        raise UserError(f"{folder / MARKER} cannot be read; {remedy}") from error
    if found != VERSION:
        raise UserError(
            f"{folder} holds phantoms of generator version {found}, this is version {VERSION}; "
            + remedy
        )
    return True


def mask_path(image: str | os.PathLike[str]) -> Path:
    """The tissue mask beside a phantom's image: ``images/`` becomes ``masks/``."""
    path = Path(image)
    parts = list(path.parts)
    at = len(parts) - 1 - parts[::-1].index("images")
    parts[at] = "masks"
    return Path(*parts)


def read_surface(image: str | os.PathLike[str]) -> np.ndarray:
    """True tissue surface of a phantom image: first tissue row of each column, ``(W,)``."""
    with Image.open(mask_path(image)) as mask:
        return surface_rows(np.asarray(mask))
