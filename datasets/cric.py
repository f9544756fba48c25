"""CRIC Cervix (Rezende et al., 2021): 11,534 cells of Pap smears in six Bethesda classes.

Where: https://cricdatabase.com.br, figshare collection 10.6084/m9.figshare.c.4960286.
Licence: CC BY 4.0.

    cric/classifications.csv (or .json)     a point on each cell's nucleus, and its class
    cric/<32 hex digits>.png ...            400 fields of 1376 x 1020 px, in any folder below

Cells are cut out around their points, 90 px wide as usual (``DATASET.CRIC.SIZE``), mirrored at the
border, and kept below ``$CERVICLIP_CACHE/unpacked``; the first use takes about a minute. In a copy
that goes round the fields are resized: the scale is found from the pictures, and said; where nuclei
are not darker than what surrounds them, nothing is cut. Cells listed twice are taken once.

**No patient is published for a field** (the paper speaks of 118 patients). The split keeps each
field in one part, which is less than each patient: several fields may be one woman's.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from cerviclip.data.cell_crops import DARK, Scale, cut, fit_scale
from cerviclip.data.files.csv_rows import read_rows
from cerviclip.data.files.folders import class_folders, image_files
from cerviclip.data.files.names import header_key
from cerviclip.data.files.unpacked import UnpackedPictures
from cerviclip.data.imaging import ImagingDataset
from cerviclip.data.own_keys import add_keys, keys_of
from cerviclip.environment import cache_folder
from cerviclip.shapes import parse_json
from dassl.data.datasets import DATASET_REGISTRY
from dassl.errors import MissingFileError, UserError
from dassl.paths import at_home, is_dir, is_file
from dassl.utils.images import decode_image, opened

if TYPE_CHECKING:
    from yacs.config import CfgNode

FRAME = (1376, 1020)  # px, the fields of the release
KEYS = {"SIZE": 90}  # px of the release's fields, side of a crop
_VERSION = 1  # of how cells are cut
_LISTS = ("classifications.csv", "classifications.json")
_LOOKED = 40  # fields that the scale is found from
_LABELS = {
    "negativeforintraepitheliallesion": "NILM",
    "negativeforintraepitheliallesionormalignancy": "NILM",
    **{re.sub(r"\W", "", n).casefold(): n for n in "NILM ASC-US LSIL ASC-H HSIL SCC".split()},
}


def extend_cfg(cfg: CfgNode) -> None:
    """The section ``DATASET.CRIC``."""
    add_keys(cfg, "CRIC", KEYS)


@dataclass(frozen=True)
class Cell:
    """One row of the list; x and y in px of the release's field."""

    field: str
    image_id: str
    cell_id: str
    label: str
    x: float
    y: float


@DATASET_REGISTRY.register()
class CRIC(UnpackedPictures, ImagingDataset):
    """CRIC Cervix cells cut out around nuclei, 6 classes, split by field (no patient is known)."""

    dataset_dir = "cric"
    classes = ("NILM", "ASC-US", "LSIL", "ASC-H", "HSIL", "SCC")
    # 400_1.png: field and cell.
    patient_pattern = r"^(\d+)_"
    positive = ("ASC-US", "LSIL", "ASC-H", "HSIL", "SCC")
    prompts = "bethesda"
    templates = ("a Pap smear photomicrograph of a cell: {}.",)
    split_ratio = (0.60, 0.10, 0.30)
    may_lack_classes = True  # a copy with some of the fields holds no cell of some classes

    def find_folder(self, cfg: CfgNode) -> Path:
        """The crops' folder, cut out first if they are not there."""
        size = keys_of(cfg, "CRIC", KEYS).SIZE
        if size < 8:
            raise UserError(f"DATASET.CRIC.SIZE is {size}; a crop's side is 8 px or more")
        file = self._list_file(cfg)
        cells = read_cells(file)
        fields = {Path(p).stem.casefold(): file.parent / p for p in image_files(file.parent)}
        here = [cell for cell in cells if cell.field in fields]
        if not here:
            raise MissingFileError(
                f"none of the {len({c.field for c in cells})} fields that {file} names is below "
                f"{file.parent}; put the .png files there"
            )
        used = {cell.field: fields[cell.field] for cell in here}
        name = f"cric-{size}px-{_digest(cells, used, size)}"
        folder = cache_folder().absolute() / "unpacked" / name
        if not is_dir(folder):
            try:
                _cut_all(folder, here, used, size, cfg.VERBOSE)
            except PermissionError as error:
                raise UserError(
                    f"{error.filename} cannot be written ({error.strerror}): cells are cut out "
                    "there; set CERVICLIP_CACHE to a folder of your own"
                ) from error
        self._tell(json.loads((folder / "about.json").read_text("utf-8")), cells, used, file)
        return folder

    def _list_file(self, cfg: CfgNode) -> Path:
        root = Path(os.path.abspath(at_home(cfg.DATASET.ROOT or ".")))
        names = [cfg.DATASET.FOLDER] if cfg.DATASET.FOLDER else [self.dataset_dir, "CRIC", ""]
        for name in names:
            level = [root / at_home(name)]
            for _ in range(4 if name else 1):
                for folder, file in ((f, n) for f in level for n in _LISTS):
                    if is_file(folder / file):
                        return folder / file
                level = [f / n for f in level if is_dir(f) for n in class_folders(f)]
        looked = " or ".join(str(root / name) for name in names)
        raise MissingFileError(
            f"no {' or '.join(_LISTS)} of CRIC in {looked}; set --root (DATASET.ROOT) or "
            "DATASET.FOLDER"
        )

    def _tell(
        self, about: dict[str, Any], cells: list[Cell], used: Mapping[str, Path], file: Path
    ) -> None:
        """Notes and warnings on what was cut out and how."""
        fields = {cell.field for cell in cells}
        if len(used) < len(fields):
            lost = sum(cell.field not in used for cell in cells)
            self.warn(
                f"CRIC: {len(fields) - len(used)} of {len(fields)} fields in {file.name} are not "
                f"below {file.parent}, so {lost} of {len(cells)} cells are left out"
            )
        for text in about["warnings"]:
            self.warn(f"CRIC: {text}")
        self.notes += about["notes"]


def read_cells(file: Path) -> list[Cell]:
    """The cells of a list, CSV or JSON, in its order."""
    try:
        rows = list(_rows(file))
        return [_cell(row, file) for row in rows]
    except UserError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{file} is no list of CRIC's cells ({type(error).__name__}: {error}); it has the "
            "columns image_id, image_filename, cell_id, bethesda_system, nucleus_x, nucleus_y"
        ) from error


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    """One mapping for each cell, its keys without capitals and underscores."""
    if file.suffix == ".json":
        for image in parse_json(file.read_text("utf-8-sig")):
            outer = {header_key(k): v for k, v in image.items() if k != "classifications"}
            for cell in image["classifications"]:
                yield outer | {header_key(k): v for k, v in cell.items()}
        return
    for _, row in read_rows(file, even=False)[1]:
        yield {header_key(k): v for k, v in row.items() if k}


def _cell(row: Mapping[str, Any], file: Path) -> Cell:
    text = str(row["bethesdasystem"])
    label = _LABELS.get(re.sub(r"[\W_]", "", text).casefold())
    if label is None:
        raise UserError(f'{file} has the class "{text}", which is none of CRIC\'s')
    name = str(row["imagefilename"] if "imagefilename" in row else row["imagename"])
    place = float(row["nucleusx"]), float(row["nucleusy"])
    if not all(map(math.isfinite, place)):
        raise ValueError(f"the nucleus of cell {row['cellid']} is at {place}")
    return Cell(
        Path(name).stem.casefold(),
        str(row["imageid"]),
        str(row["cellid"]),
        label,
        *place,
    )


def _digest(cells: list[Cell], used: Mapping[str, Path], size: int) -> str:
    """Eight digits for what the crops depend on; fields are known by name and size in bytes."""
    named = sorted((name, path.stat().st_size) for name, path in used.items())
    what = [_VERSION, size, [vars(cell) for cell in cells], named]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:8]


def _cut_all(
    folder: Path, cells: list[Cell], used: Mapping[str, Path], size: int, show: bool
) -> None:
    """Cut all cells out, into a folder that is there whole or not at all."""
    if show:
        print(f"Cutting {len(cells)} cells out of {len(used)} fields into {folder}", flush=True)
    by_field: dict[str, list[Cell]] = defaultdict(list)
    seen = set()
    for cell in cells:
        place = (cell.field, cell.x, cell.y, cell.label)
        if place not in seen:
            by_field[cell.field].append(cell)
        seen.add(place)
    scales, warnings = _scales(by_field, used)
    partial = folder.with_name(f"{folder.name}.partial{os.getpid()}")
    try:
        lost = sum(
            _cut_field(partial, found, used[name], scales[name], size)
            for name, found in by_field.items()
        )
        notes = [f"cells cut out of {len(by_field)} fields, {size} px around each nucleus"]
        if len(seen) < len(cells):
            notes.append(f"{len(cells) - len(seen)} cells are listed twice and were taken once")
        if lost:
            warnings.append(f"{lost} nuclei lie outside their field and were left out")
        about = {"warnings": warnings, "notes": notes}
        (partial / "about.json").write_text(json.dumps(about, indent=1), "utf-8")
        partial.rename(folder)
    except OSError:
        if not is_dir(folder):  # else another run was faster
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _scales(
    by_field: Mapping[str, list[Cell]], used: Mapping[str, Path]
) -> tuple[dict[str, Scale], list[str]]:
    """The scale of each field, found for all fields of one width together."""
    widths: dict[int, list[str]] = defaultdict(list)
    for name in sorted(by_field):
        with opened(used[name]) as image:
            widths[image.width].append(name)
    scales, said = {}, []
    for width, names in sorted(widths.items()):
        looked = names[:: max(1, len(names) // _LOOKED)]
        pictures = ((_pixels(used[n]), [(c.x, c.y) for c in by_field[n]]) for n in looked)
        scale = fit_scale(pictures, FRAME)
        first = used[names[0]]
        if scale.dark < DARK:
            raise UserError(
                f"{len(names)} fields of {width} px width, such as {first}: nuclei are not darker "
                f"than their surround at the listed points ({scale.dark:.0f} grey levels, at least "
                f"{DARK:.0f}), so list and pictures do not belong together; take the release's own"
            )
        if (scale.x, scale.y) != (1.0, 1.0):
            said.append(
                f"{len(names)} fields are {width} px wide rather than {FRAME[0]} (such as "
                f"{first.name}); their points are scaled by {scale.x:.3f} and {scale.y:.3f}, where "
                f"nuclei are darker than their surround by {scale.dark:.0f} grey levels "
                f"({scale.unscaled:.0f} unscaled)"
            )
        scales |= dict.fromkeys(names, scale)
    return scales, said


def _cut_field(folder: Path, cells: list[Cell], picture: Path, scale: Scale, size: int) -> int:
    """Write the crops of one field; returns how many nuclei lie outside it."""
    pixels = _pixels(picture)
    outside = 0
    for cell in cells:
        x, y = cell.x * scale.x, cell.y * scale.y
        if not (0 <= x < pixels.shape[1] and 0 <= y < pixels.shape[0]):
            outside += 1
            continue
        crop = cut(pixels, x, y, round(size * scale.x), round(size * scale.y))
        (folder / cell.label).mkdir(parents=True, exist_ok=True)
        name = f"{cell.image_id}_{cell.cell_id}.png"
        Image.fromarray(crop).save(folder / cell.label / name, compress_level=1)
    return outside


def _pixels(path: Path) -> np.ndarray:
    return np.asarray(decode_image(str(path)))
