"""Anybody's own images by config alone: class folders, train/val/test folders, or a list.

Class folders:        python train.py --dataset FolderDataset --root /data DATASET.FOLDER mine
Ready-made split:     the same, where ``mine`` holds train, val and test folders of class folders.
A list (CSV, JSON):   ... DATASET.FILE mine.csv   with the columns path,label[,split][,patient].
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cerviclip.data.imaging import (
    STEM,
    ImagingDataset,
    class_folders,
    image_files,
    patient_in,
)
from cerviclip.data.split_files import Entry, check_sides, read_list_file, side_name
from cerviclip.data.splits import SIDES, Item, Split
from dassl.data.datasets import DATASET_REGISTRY
from dassl.errors import MissingFileError, UserError

if TYPE_CHECKING:
    from yacs.config import CfgNode


@DATASET_REGISTRY.register()
class FolderDataset(ImagingDataset):
    """Your own images by config alone: class folders, train/val/test folders, CSV or JSON list."""

    def __init__(self, cfg: CfgNode) -> None:
        self._sides: dict[str, str] = {}  # by path, where folders or a list say it
        self._patients: dict[str, str] = {}  # by path, where a list says it
        super().__init__(cfg)

    def find_folder(self, cfg: CfgNode) -> Path:
        """``DATASET.FOLDER`` under the root, or the root itself."""
        root = Path(cfg.DATASET.ROOT or ".").expanduser()
        folder = Path(os.path.abspath(root / Path(cfg.DATASET.FOLDER).expanduser()))
        if not folder.is_dir():
            raise MissingFileError(
                f"there is no folder {folder}; set --root (DATASET.ROOT) and DATASET.FOLDER"
            )
        return folder

    def scan(self, cfg: CfgNode) -> Iterator[tuple[str, str]]:
        if cfg.DATASET.FILE:
            yield from self._scan_list(cfg)
            return
        top = class_folders(self.image_dir)
        sides = [name for name in top if side_name(name) in SIDES]
        if {side_name(name) for name in sides} >= {"train", "test"}:
            for side in sides:
                for folder in class_folders(self.image_dir / side):
                    for path in image_files(self.image_dir / side / folder):
                        relative = f"{side}/{folder}/{path}"
                        self._sides[relative] = side_name(side)
                        yield relative, folder
        else:
            yield from super().scan(cfg)

    def _scan_list(self, cfg: CfgNode) -> Iterator[tuple[str, str]]:
        file = self._list_file(cfg)
        entries = read_list_file(file)
        absent = []
        for entry in entries:
            path = self._path_of(entry, file)
            if not path:
                absent.append(entry.path)
                continue
            if path in self._patients:
                raise UserError(f"{file} lists {entry.path} twice; keep one of them")
            if not entry.classname:
                raise UserError(f"{file} gives no label for {entry.path}; add a column label")
            if entry.side and entry.side not in SIDES:
                raise UserError(
                    f'{file} puts {entry.path} into "{entry.side}"; '
                    f"the parts are {', '.join(SIDES)}"
                )
            self._patients[path] = entry.patient
            if entry.side:
                self._sides[path] = entry.side
            yield path, entry.classname
        if absent:
            raise MissingFileError(
                f"{len(absent)} of {len(entries)} images in {file} do not exist (first: "
                f"{absent[0]}); its paths are relative to {self.image_dir} (DATASET.FOLDER) or to "
                "the list itself"
            )

    def _list_file(self, cfg: CfgNode) -> Path:
        file = Path(cfg.DATASET.FILE).expanduser()
        for base in (self.image_dir, Path(cfg.DATASET.ROOT or ".").expanduser()):
            if (base / file).is_file():
                return base / file
        return file

    def _path_of(self, entry: Entry, file: Path) -> str:
        """Path relative to the image folder; "" if there is no such file."""
        for base in (self.image_dir, file.parent.absolute()):
            full = Path(os.path.normpath(base / entry.path))
            if not full.is_file():
                continue
            if not full.is_relative_to(self.image_dir):
                raise UserError(
                    f"{file} points outside the data's root {self.image_dir}: {entry.path}; set "
                    "DATASET.ROOT to a folder that holds all images"
                )
            return full.relative_to(self.image_dir).as_posix()
        return ""

    def patients_of(self, paths: list[str], pattern: str = "") -> list[str]:
        """The list's patient column, the pattern for cells left blank; without a column the
        pattern, else each file for itself."""
        listed = {path: self._patients.get(path, "") for path in paths}
        blank = [path for path in paths if not listed[path]]
        if len(blank) == len(paths):
            return super().patients_of(paths, pattern)
        pattern = pattern or self.patient_pattern
        if blank and not pattern:
            raise UserError(
                f"{len(blank)} of {len(paths)} listed images name no patient (such as {blank[0]}); "
                "fill the patient column or set DATASET.PATIENT_PATTERN"
            )
        if blank:
            by_pattern = dict(zip(blank, super().patients_of(blank, pattern), strict=True))
            listed |= self._as_listed(by_pattern, listed, pattern)
        self.patients_known = True
        return [listed[path] for path in paths]

    def _as_listed(
        self, by_pattern: dict[str, str], listed: dict[str, str], pattern: str
    ) -> dict[str, str]:
        """Patients by the pattern, under the name that the list gives the same patient elsewhere.

        Else a patient would have two names, and might be trained on by one and tested on by the
        other.
        """
        names: dict[str, set[str]] = {}
        if pattern != STEM:
            for path, name in listed.items():
                if name and (patient := patient_in(re.compile(pattern), path)):
                    names.setdefault(patient, set()).add(name)
        for path, patient in by_pattern.items():
            if len(names.get(patient, ())) > 1:
                several = " and ".join(sorted(names[patient])[:2])
                raise UserError(
                    f"{path} names no patient in the list, and by its file name it is of {patient},"
                    f" whom the list calls {several}; fill the patient column"
                )
        return {path: next(iter(names.get(p, ())), p) for path, p in by_pattern.items()}

    def make_split(self, cfg: CfgNode, items: list[Item]) -> Split:
        options = cfg.DATASET
        ready_made = bool(self._sides) and not options.SPLIT_FILE
        split = self._ready_made(cfg, items) if ready_made else super().make_split(cfg, items)
        if not self.patients_known:
            so = "each counts as a patient of its own; if patients have several"
            if self.split_source:
                so = "nobody checked that no patient is on two sides; if patients have several"
            warnings.warn(
                f"{self.image_dir}: nothing tells whose images these are, so {so}, set "
                "DATASET.PATIENT_PATTERN",
                stacklevel=2,
            )
        return split

    def _ready_made(self, cfg: CfgNode, items: list[Item]) -> Split:
        """The split that train, val and test folders or a list's column say."""
        options = cfg.DATASET
        self.check_split_by(options.SPLIT_BY)
        self.split_source = "list" if options.FILE else "folders"
        split: Split = {side: [] for side in SIDES}
        for item in items:
            side = self._sides.get(item.path)
            if side is None:
                raise UserError(f"{options.FILE} gives no split for {item.path}; fill the column")
            split[side].append(item)
        for side in ("train", "test"):
            if not split[side]:
                raise UserError(f"{options.FILE or self.image_dir} has no images in {side}")
        if options.SPLIT_BY == "patient":
            check_sides(split, options.FILE or str(self.image_dir))
        return split
