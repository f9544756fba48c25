"""Anybody's own images by config alone: class folders, train/val/test folders, or a list.

Class folders:        python train.py --dataset FolderDataset --root /data DATASET.FOLDER mine
Ready-made split:     the same, where ``mine`` holds train, val and test folders of class folders.
A list (CSV, JSON):   ... DATASET.FILE mine.csv   with the columns path,label[,split][,patient].
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cerviclip.counted import some_of
from cerviclip.data.files.folders import (
    class_folders,
    image_files,
    inner_classes,
    same_inner_folders,
)
from cerviclip.data.files.listed_paths import ListedPaths
from cerviclip.data.files.lists.entries import Entries, Entry
from cerviclip.data.files.lists.reading import read_list_file
from cerviclip.data.files.names import header_key, is_number, parts_of, quoted, whole_number
from cerviclip.data.imaging import ImagingDataset
from cerviclip.data.patients import STEM, compile_pattern, patient_in
from cerviclip.data.split.files import check_parts
from cerviclip.data.split.patient_grouped import PARTS, Item, Split
from dassl.data.datasets import DATASET_REGISTRY
from dassl.errors import MissingFileError, UserError
from dassl.paths import at_home, is_dir

if TYPE_CHECKING:
    from yacs.config import CfgNode


@DATASET_REGISTRY.register()
class FolderDataset(ImagingDataset):
    """Your own images by config alone: class folders, train/val/test folders, CSV or JSON list."""

    own_images = True

    def __init__(self, cfg: CfgNode) -> None:
        self._parts: dict[str, str] = {}  # by path, where folders or a list say it
        self._patients: dict[str, str] = {}  # by path, where a list says it
        self._classes: dict[str, str] = {}  # by path, where a list says it
        self._listed = False
        self._unused: list[str] = []  # columns of a list
        self._parts_in_classes = False  # class/train/x.png instead of train/class/x.png
        super().__init__(cfg)

    def find_folder(self, cfg: CfgNode) -> Path:
        """``DATASET.FOLDER`` under the root; the root itself for ``.`` or where none is named."""
        root = at_home(cfg.DATASET.ROOT or ".")
        folder = Path(os.path.abspath(root / at_home(cfg.DATASET.FOLDER)))
        if not is_dir(folder):
            raise MissingFileError(
                f"there is no folder {folder}; set --root (DATASET.ROOT) and DATASET.FOLDER"
            )
        return folder

    def scan(self, cfg: CfgNode) -> Iterator[tuple[str, str]]:
        if cfg.DATASET.FILE:
            yield from self._scan_list(cfg)
            return
        self._check_output_is_elsewhere(cfg)
        top = class_folders(self.image_dir, self.skipped)
        parts = self._part_folders(top)
        if not parts:
            self._check_are_classes(cfg, top)
            yield from self._scan_classes(cfg, top)
            return
        self._name_unread([name for name in top if name not in parts], parts)
        for part in parts:
            for folder in class_folders(self.image_dir / part, self.skipped):
                for path, name in self.scan_class(f"{part}/{folder}", folder):
                    self._parts[path] = parts[part]
                    yield path, name

    def _scan_classes(self, cfg: CfgNode, top: list[str]) -> Iterator[tuple[str, str]]:
        """Class folders, with the parts of a split in them where all have such.

        Raises:
            UserError: some class folders hold parts of a split and others do not.
        """
        inner = {name: parts_of(class_folders(self.image_dir / name)) for name in top}
        split = {name: of for name, of in inner.items() if {*of.values()} >= {"train", "test"}}
        if not split:
            yield from super().scan(cfg)
            return
        for name in top:
            if name in split:
                continue
            if image_files(self.image_dir / name):
                other, of = next(iter(split.items()))
                raise UserError(
                    f"{self.image_dir / other} holds the parts of a split ({', '.join(of)}) and "
                    f"{name} does not; give every class folder the same parts"
                )
            yield from self.scan_class(name, name)  # takes account of what is in it
        self._parts_in_classes = True
        unread: list[str] = []
        for folder, of in split.items():
            inside = class_folders(self.image_dir / folder, self.skipped)
            unread += [f"{folder}/{name}" for name in inside if name not in of]
            for name, part in of.items():
                for path, classname in self.scan_class(f"{folder}/{name}", folder):
                    self._parts[path] = part
                    yield path, classname
        self._name_unread(unread, {n: part for of in split.values() for n, part in of.items()})

    def _name_unread(self, folders: list[str], parts: Iterable[str]) -> None:
        """Warn of folders beside the parts of a split."""
        self.skipped.folders += folders
        if self.skipped.folders:
            self.warn(
                f"{self.image_dir}: read are the parts {', '.join(parts)}; not "
                f"{', '.join(self.skipped.folders)}"
            )

    def _check_output_is_elsewhere(self, cfg: CfgNode) -> None:
        """Refuse to write a run among the images: its figures are pictures in a folder, which the
        next run would take for a class.

        Raises:
            UserError: the run's folder lies in the folder of images.
        """
        out, images = os.path.realpath(cfg.OUTPUT_DIR), os.path.realpath(self.image_dir)
        if cfg.OUTPUT_DIR and os.path.commonpath([out, images]) == images:
            raise UserError(
                f"the run's folder {out} lies in the folder of images {self.image_dir}, where the "
                "next run would read its figures as images; choose another --output-dir"
            )

    def _check_no_data_sets(self, cfg: CfgNode, top: list[str]) -> None:
        """Refuse a root whose folders are data sets: hospitals would be told apart, not classes.

        Folders inside a class folder may as well be patients', which the pattern then says, or
        others; whoever means the root itself names it.

        Raises:
            UserError: a folder holds class folders, and ``DATASET.FOLDER`` names none.
        """
        options = cfg.DATASET
        named = {*self._declared(cfg), *options.CLASS_MAP}
        inside = {
            name: inner_classes(self.image_dir / name, tuple(options.LEAVE_OUT))
            for name in top
            if name not in named
        }
        found = {
            name: inner
            for name, inner in inside.items()
            if inner and not _of_patients(inner, options.PATIENT_PATTERN)
        }
        if found:
            name, inner = next(iter(found.items()))
            raise UserError(
                f"{self.image_dir} seems to hold data sets and not classes: {name} has the folders "
                f"{_some(inner, ', ')}; name the one to read (DATASET.FOLDER "
                f"{_some(list(found), ' or ')}), or give DATASET.FOLDER . if {_some(top, ', ')} "
                "are the classes; parts of one split are called train, val and test"
            )

    def _part_folders(self, top: list[str]) -> dict[str, str]:
        """The part of a split that each folder is; empty where the folders are classes.

        Raises:
            UserError: some are parts, and train or test is not among them, or is there twice.
        """
        parts = parts_of(top)
        for part in PARTS:
            several = [name for name, of in parts.items() if of == part]
            # Parts hold class folders; "test1" and "test2" with images in them may be classes.
            if len(several) > 1 and any(self._holds_classes(self.image_dir / n) for n in several):
                raise UserError(
                    f"{self.image_dir}: the folders {' and '.join(several)} both mean {part}; "
                    "put them together"
                )
        if {*parts.values()} >= {"train", "test"}:
            return parts
        folders = [name for name in parts if self._holds_classes(self.image_dir / name)]
        if folders and (len(folders) > 1 or len(folders) == len(top)):
            lacking = " and no ".join({"train", "test"} - {parts[name] for name in folders})
            raise UserError(
                f"{self.image_dir} has {' and '.join(folders)} but no {lacking} folder; call the "
                "tested part test, or set DATASET.FOLDER to one part and it is split by ratio"
            )
        return {}

    def _check_are_classes(self, cfg: CfgNode, top: list[str]) -> None:
        """Warn where the folders at the top hold folders of the same names, as parts of a split do.

        Raises:
            UserError: one of them is called a part, or they look like data sets and
                ``DATASET.FOLDER`` names none.
        """
        parts, pattern = list(parts_of(top)), cfg.DATASET.PATIENT_PATTERN
        same = same_inner_folders(self.image_dir, top)
        if len({*same} - {*parts_of(same)}) < 2 or _of_patients(same, pattern):
            same = []
        holding = f"{self.image_dir}: {quoted(top[:4])} hold the same folders ({some_of(same)})"
        if same and parts:
            raise UserError(
                f"{holding}, and {quoted(parts)} is a part of a split; call the others so too "
                "(train, val, test), or set DATASET.FOLDER to one part and it is split by ratio"
            )
        if not cfg.DATASET.FOLDER:
            self._check_no_data_sets(cfg, top)
        if same:
            self.warn(
                f"{holding}, and are taken as the classes; if they are parts of a split, call them "
                "train, val and test"
            )

    @staticmethod
    def _holds_classes(folder: Path) -> bool:
        """Whether images lie in folders of a folder, and none in itself."""
        images = image_files(folder)
        return bool(images) and all("/" in path for path in images)

    def below_parts(self, paths: list[str]) -> list[str]:
        """Paths without the part's folder; of a list none, since its folders need be no classes."""
        if self._listed:
            return []
        if self._parts_in_classes:
            return ["/".join([*path.split("/", 2)[::2]]) for path in paths]
        return [path.partition("/")[2] if path in self._parts else path for path in paths]

    def patient_of(self, regex: re.Pattern[str], path: str) -> str:
        """The patient by file name and folders: never those of part and class."""
        if not self._listed:
            return patient_in(regex, path, above=2 if path in self._parts else 1)
        found = patient_in(regex, path)
        if found:
            return found
        others = [part for part in path.split("/") if part != self._classes.get(path)]
        return patient_in(regex, "/".join(others), above=0)

    def _scan_list(self, cfg: CfgNode) -> Iterator[tuple[str, str]]:
        file = self._list_file(cfg)
        entries = read_list_file(file)
        self._unused = entries.unused
        for name in entries.unused:
            if re.fullmatch(r"(k|cv|test|val)?folds?(id|no|nr|number|index)?", header_key(name)):
                self.warn(
                    f"{self.name}: the column {name} of {file.name} is not used, and the split is "
                    "made anew; to repeat folds, write one list for each with a column split"
                )
        where = self._places(entries, file)
        absent = [entry.path for entry in entries if not where[entry]]
        self._listed = True
        for entry in entries:
            path = where[entry]
            if not path:
                continue
            if path in self._patients:
                raise UserError(f"{file} lists {entry.path} twice; keep one of them")
            if not entry.classname:
                fill = "fill its column label"
                if entries.unused and not any(one.classname for one in entries):
                    others = ", ".join(entries.unused)
                    fill = f"call its column of labels label (not used: {others})"
                raise UserError(
                    f"{file} gives no label for {entry.path}; {fill}, or, where class folders hold "
                    "the images, name the file in DATASET.SPLIT_FILE"
                )
            if entry.part and entry.part not in PARTS:
                raise UserError(
                    f'{file} puts {entry.path} into "{entry.part}"; '
                    f"the parts are {', '.join(PARTS)}"
                )
            self._patients[path] = entry.patient
            self._classes[path] = entry.classname
            if entry.part:
                self._parts[path] = entry.part
        if absent:
            raise MissingFileError(
                f"{len(absent)} of {len(entries)} images in {file} do not exist (first: "
                f"{absent[0]}); its paths are relative to {self.image_dir} (DATASET.FOLDER) or to "
                "the list itself"
            )
        self._numbers_to_names(file)
        yield from self._classes.items()

    def _places(self, entries: Entries, file: Path) -> dict[Entry, str]:
        """Where each listed image lies, relative to the image folder; "" if it is not there."""
        where = {entry: self._path_of(entry, file) for entry in entries}
        lost = [entry for entry, path in where.items() if not path]
        self.notes += [f"list {file.name}: {note}" for note in entries.notes]
        if lost:  # another machine's paths, perhaps
            known = set(image_files(self.image_dir))
            folder = str(self.image_dir)
            places = ListedPaths(str(file), known, folder, folder, [str(file.parent.absolute())])
            where |= {entry: places.find_entry(entry.path, entry.alone) for entry in lost}
            self.notes += [f"list {file.name}: {note}" for note in places.notes()]
        return where

    def _numbers_to_names(self, file: Path) -> None:
        """Where a list's labels are numbers and folders have names, one to one, the folders' names
        are the classes; numbers that contradict numbered folders are refused."""
        labels = set(self._classes.values())
        if not all(map(is_number, labels)):
            return
        pairs = {
            (label, os.path.basename(os.path.dirname(p))) for p, label in self._classes.items()
        }
        folders = {folder for _, folder in pairs}
        if "" in folders or not len(pairs) == len(labels) == len(folders):
            return
        names = dict(pairs)
        if all(map(is_number, folders)):
            unlike = sorted((a, b) for a, b in pairs if int(a) != int(whole_number(b)))
            if unlike:
                label, folder = unlike[0]
                raise UserError(
                    f"{file} gives the label {label} to the images of folder {folder}, and both "
                    "are numbers: give the classes' names in the list instead of their indices"
                )
        elif not any(map(is_number, folders)):
            self._classes = {path: names[label] for path, label in self._classes.items()}
            self.notes.append(f"list {file.name}: labels are numbers; the folders name the classes")

    def _list_file(self, cfg: CfgNode) -> Path:
        file = at_home(cfg.DATASET.FILE)
        for base in (self.image_dir, at_home(cfg.DATASET.ROOT or ".")):
            if os.path.isfile(base / file):  # False where a name is too long
                return base / file
        return file

    def _path_of(self, entry: Entry, file: Path) -> str:
        """Path relative to the image folder; "" if there is no such file."""
        for base in (self.image_dir, file.parent.absolute()):
            full = Path(os.path.normpath(base / entry.path))
            if not os.path.isfile(full):
                continue
            if full.is_relative_to(self.image_dir):
                return full.relative_to(self.image_dir).as_posix()
            real, home = Path(os.path.realpath(full)), Path(os.path.realpath(self.image_dir))
            if real.is_relative_to(home):
                return real.relative_to(home).as_posix()
            raise UserError(
                f"{file} points outside the data's root {self.image_dir}: {entry.path}; set "
                "DATASET.ROOT to a folder that holds all images"
            )
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
                if name and (patient := self.patient_of(re.compile(pattern), path)):
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
        ready_made = bool(self._parts) and not options.SPLIT_FILE
        split = self._ready_made(cfg, items) if ready_made else super().make_split(cfg, items)
        if not self.patients_known:
            so = "each counts as a patient of its own; if patients have several"
            if self.split_source:
                so = "nobody checked that no patient is in two parts; if patients have several"
            way_out = "set DATASET.PATIENT_PATTERN"
            if self._unused:
                columns = ", ".join(self._unused)
                way_out += f", or call their column patient (columns that are not used: {columns})"
            self.warn(f"{self.image_dir}: nothing tells whose images these are, so {so}, {way_out}")
        return split

    def _ready_made(self, cfg: CfgNode, items: list[Item]) -> Split:
        """The split that train, val and test folders or a list's column say."""
        options = cfg.DATASET
        self.check_split_by(options.SPLIT_BY)
        self.split_source = "list" if options.FILE else "folders"
        split: Split = {part: [] for part in PARTS}
        for item in items:
            part = self._parts.get(item.path)
            if part is None:
                raise UserError(f"{options.FILE} gives no split for {item.path}; fill the column")
            split[part].append(item)
        for part in ("train", "test"):
            if not split[part]:
                raise UserError(f"{options.FILE or self.image_dir} has no images in {part}")
        if options.SPLIT_BY == "patient":
            check_parts(split, options.FILE or str(self.image_dir))
        return split


def _of_patients(folders: list[str], pattern: str) -> bool:
    """Whether a pattern finds a patient in each folder's name, as below a class folder."""
    return pattern not in ("", STEM) and all(map(compile_pattern(pattern).search, folders))


def _some(names: list[str], between: str) -> str:
    """The first names of a list."""
    return between.join(names[:3]) + (" ..." if names[3:] else "")
