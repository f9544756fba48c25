"""Which images a check looks at: those of a data set, or of any folder as it lies on the disk.

A data set that training would refuse is surveyed all the same: the refusal is a finding.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cerviclip.data.files.folders import (
    IMAGE_SUFFIXES,
    Skipped,
    class_folders,
    image_files,
    is_system,
    left_out,
)
from cerviclip.data.files.names import parts_of
from cerviclip.data.patients import STEM, compile_pattern, patient_in
from cerviclip.data.split.patient_grouped import PARTS
from dassl.errors import UserError

if TYPE_CHECKING:
    from yacs.config import CfgNode

WHOLE = "all"  # the part of images that no folder or split puts into one


@dataclass(frozen=True)
class Entry:
    """One image: path relative to the survey's folder, class, part and patient ("" unknown)."""

    path: str
    classname: str
    part: str
    patient: str = ""


@dataclass
class Survey:
    """What there is to look at.

    Attributes:
        name: of the data set or folder.
        folder: the entries' paths are relative to it.
        entries: all images in class folders.
        skipped: what the scan did not take.
        refused: what training says of the data set; "" where it takes it.
        stray: images outside the class folders.
        part_folders: what is wrong with the folders of the parts.
        below: folders above that of the class, for rules on paths.
        unsorted: there are no class folders.
        made: the parts were made by a ratio rather than found.
        said: what the data set's reader warns of its release.
    """

    name: str
    folder: Path
    entries: list[Entry] = field(default_factory=list)
    skipped: Skipped = field(default_factory=Skipped)
    refused: str = ""
    stray: list[str] = field(default_factory=list)
    part_folders: str = ""
    below: int = 0
    unsorted: bool = False
    made: bool = False
    said: list[str] = field(default_factory=list)

    @property
    def parts(self) -> list[str]:
        """The parts that have images, in their usual order."""
        have = {entry.part for entry in self.entries}
        return [part for part in (*PARTS, WHOLE) if part in have]

    @property
    def patients_known(self) -> bool:
        return any(entry.patient for entry in self.entries)


def survey_folder(folder: Path, pattern: str = "", leave_out: Sequence[str] = ()) -> Survey:
    """All images below a folder of class folders, or of train, val and test folders of them.

    Args:
        folder: where to look.
        pattern: regex with one group that finds the patient in a file name; "" for none.
        leave_out: patterns of files, as ``DATASET.LEAVE_OUT``.
    """
    survey = Survey(folder.name, folder)
    try:
        top = class_folders(folder, survey.skipped)
        parts = parts_of(top)
        found = set(parts.values())
        holding = any(class_folders(folder / name) for name in parts)
        if len(found) < 2 and (len(parts) < len(top) or not holding):
            parts = {}
        if parts:
            survey.below = 1
            survey.skipped.folders += [name for name in top if name not in parts]
            survey.part_folders = _part_fault(parts)
            for part, meaning in parts.items():
                survey.stray += _images_in(folder, f"{part}/")
                for name in class_folders(folder / part, survey.skipped):
                    _add_class(survey, f"{part}/{name}", name, meaning)
        elif top:
            survey.stray += _images_in(folder, "")
            for name in top:
                _add_class(survey, name, name, WHOLE)
        else:
            survey.unsorted = True
            _add_class(survey, "", folder.name, WHOLE)
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read ({error.strerror})") from error
    survey.entries = [e for e in survey.entries if not left_out(e.path, leave_out)]
    if pattern and pattern != STEM:
        regex, above = compile_pattern(pattern), survey.below + 1
        survey.entries = [
            Entry(e.path, e.classname, e.part, patient_in(regex, e.path, above))
            for e in survey.entries
        ]
    return survey


def survey_dataset(cfg: CfgNode) -> Survey:
    """The images of a data set as training reads them: its classes, patients and split.

    Where training refuses it, its folder as it lies on the disk.
    """
    from cerviclip.data.imaging import ImagingDataset
    from dassl.data.datasets import DATASET_REGISTRY

    kind = DATASET_REGISTRY.get(cfg.DATASET.NAME)
    if not issubclass(kind, ImagingDataset):
        return _plain_survey(cfg, kind)
    seen = Survey(cfg.DATASET.NAME, Path())
    options = cfg.DATASET
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the rules of the check say the same with all paths
            data = _watched(kind, seen)(cfg)
    except UserError as error:
        if not seen.folder.is_absolute():  # there is no such folder: nothing to look at
            raise
        refused, name, said = str(error), seen.name, seen.said
        pattern = options.PATIENT_PATTERN or getattr(kind, "patient_pattern", "")
        seen = survey_folder(seen.folder, pattern, options.LEAVE_OUT)
        seen.name, seen.refused, seen.said = name, refused, said
        return seen
    seen.skipped = data.skipped
    seen.below = 1 if data.split_source == "folders" else 0
    seen.made = not data.split_source
    return seen


def _watched(kind: Any, seen: Survey) -> Any:
    """The data set's class, leaving to the check what it would look at itself, and telling where
    its images are and who is where."""

    class Watched(kind):
        def find_folder(self, cfg):
            seen.folder = super().find_folder(cfg)
            seen.said += self.warnings
            return seen.folder

        def scan(self, cfg):
            before = len(self.warnings)
            yield from super().scan(cfg)
            seen.said += self.warnings[before:]

        def _look_at_pictures(self, cfg, items):
            pass

        def _look_at_split(self, cfg, items, split):
            seen.entries = [
                Entry(i.path, i.classname, part, i.patient if self.patients_known else "")
                for part in PARTS
                for i in split[part]
            ]

        def make_lists(self, cfg, split, drawn):
            return {"train_x": self.to_data(split["train"]), "test": self.to_data(split["test"])}

    Watched.__name__ = kind.__name__
    return Watched


def _plain_survey(cfg: CfgNode, kind: Any) -> Survey:
    """Images of a data set that is no `ImagingDataset`."""
    data = kind(cfg)
    lists = {"train": data.train_x, "val": data.val, "test": data.test}
    items = [(part, item) for part, found in lists.items() for item in found or ()]
    if not items:
        raise UserError(f"{cfg.DATASET.NAME} has no images")
    folder = Path(os.path.commonpath([os.path.dirname(item.impath) for _, item in items]))
    entries = [
        Entry(
            os.path.relpath(item.impath, folder).replace(os.sep, "/"),
            item.classname,
            part,
            getattr(item, "patient_id", "") or "",
        )
        for part, item in items
    ]
    return Survey(cfg.DATASET.NAME, folder, entries)


def _add_class(survey: Survey, inner: str, classname: str, part: str) -> None:
    found = image_files(survey.folder / inner, survey.skipped, inner)
    if not found and inner:
        survey.skipped.empty.append(inner)
    start = f"{inner}/" if inner else ""
    survey.entries += [Entry(f"{start}{path}", classname, part) for path in found]


def _images_in(folder: Path, inner: str) -> list[str]:
    with os.scandir(folder / inner) as entries:
        names = [e.name for e in entries if e.name.lower().endswith(IMAGE_SUFFIXES) and e.is_file()]
    return sorted(f"{inner}{name}" for name in names if not is_system(name))


def _part_fault(parts: dict[str, str]) -> str:
    """What is wrong with the folders of the parts; "" for nothing."""
    for part in PARTS:
        several = [name for name, meaning in parts.items() if meaning == part]
        if len(several) > 1:
            return f"the folders {' and '.join(several)} both mean {part}; put them together"
    lacking = [part for part in ("train", "test") if part not in parts.values()]
    return f"there is no folder {' and no folder '.join(lacking)}" if lacking else ""
