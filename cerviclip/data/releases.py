"""``ReleasedDataset``: a published data set, found in the layouts in which its copies go round.

Copies of one release differ in the spelling of the class folders, in folders put around them, and
in train, val and test folders that somebody made. A subclass says which spellings it knows; where
the class folders are, what lies in parts, and whether those parts may be trusted is found out here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cerviclip.data.files.folders import class_folders
from cerviclip.data.files.names import clean, parts_of
from cerviclip.data.imaging import ImagingDataset
from cerviclip.data.patients import patient_in
from cerviclip.data.split.patient_grouped import PARTS, Item, Split, patients_on_two_parts
from dassl.errors import MissingFileError
from dassl.paths import at_home, is_dir

if TYPE_CHECKING:
    from yacs.config import CfgNode

_DEPTH = 3  # folders that downloads put around the class folders, at most


class ReleasedDataset(ImagingDataset):
    """Class folders of a release, also below train, val and test folders.

    Class attributes to set in a subclass, besides those of `ImagingDataset`:

    * ``homes``: usual names of its folder under ``DATASET.ROOT``, capitals aside.
    * ``inside``: folders of the release around the class folders, for a root that is the release.
    * ``spellings``: by class name, how copies call its folder; capitals, blanks, dashes and
      underscores aside.
    * ``group_word``: what ``patient_pattern`` finds, for messages: no release here names patients.
    """

    homes: Sequence[str] = ()
    inside: Sequence[str] = ()
    spellings: Mapping[str, Sequence[str]] = {}
    group_word = "groups"

    # -- hooks -----------------------------------------------------------------------------------

    def why_left_out(self, cfg: CfgNode, path: str) -> str:
        """Why an image file is not read, such as "being a mask"; "" if it is."""
        return ""

    def class_of_folder(self, folder: str) -> str:
        """The class that a folder's name means; "" if it means none."""
        wanted = _letters(folder)
        for name in self.classes:
            if wanted in map(_letters, (name, *self.spellings.get(name, ()))):
                return name
        return ""

    # -- the work --------------------------------------------------------------------------------

    def prepare(self, cfg: CfgNode) -> None:
        self._parts: dict[str, str] = {}  # by path, where folders say it
        self._classes: dict[str, str] = {}  # by path

    def find_folder(self, cfg: CfgNode) -> Path:
        """The folder that holds the class folders, or the parts that do."""
        root = Path(os.path.abspath(at_home(cfg.DATASET.ROOT or ".")))
        for folder in home_and_below(root, cfg.DATASET.FOLDER, self.homes, self.inside):
            if self._is_home(folder):
                return folder
        raise MissingFileError(
            f"no {self.name} images in {root / (cfg.DATASET.FOLDER or self.homes[0])}: no class "
            f"folders ({', '.join(self.classes[:2])} ...) are there; set --root (DATASET.ROOT) or "
            "DATASET.FOLDER"
        )

    def _is_home(self, folder: Path) -> bool:
        if not is_dir(folder):
            return False
        names = class_folders(folder)
        parts = [folder / name for name in parts_of(names)]
        inner = [name for part in parts for name in class_folders(part)]
        return len({self.class_of_folder(name) for name in [*names, *inner]} - {""}) > 1

    def scan(self, cfg: CfgNode) -> Iterator[tuple[str, str]]:
        top = class_folders(self.image_dir, self.skipped)
        parts = {} if any(map(self.class_of_folder, top)) else parts_of(top)
        self.skipped.folders += [name for name in top if parts and name not in parts]
        for part in parts or [""]:
            inner = class_folders(self.image_dir / part, self.skipped) if part else top
            for folder in inner:
                name = self.class_of_folder(folder) or folder
                path = f"{part}/{folder}" if part else folder
                yield from self._scan_folder(cfg, path, name, parts.get(part, ""))

    def _scan_folder(
        self, cfg: CfgNode, folder: str, classname: str, part: str
    ) -> Iterator[tuple[str, str]]:
        """The images of one class folder that are read, with the part that they are in."""
        for path, name in self.scan_class(folder, classname):
            if why := self.why_left_out(cfg, path):
                self.skipped.left_out[why].append(path)
                continue
            self._classes[path] = name
            if part:
                self._parts[path] = part
            yield path, name

    def below_parts(self, paths: Sequence[str]) -> list[str]:
        return [path.partition("/")[2] if path in self._parts else path for path in paths]

    def patient_of(self, regex: re.Pattern[str], path: str) -> str:
        return patient_in(regex, path, above=2 if path in self._parts else 1)

    def make_split(self, cfg: CfgNode, items: list[Item]) -> Split:
        """The split of train, val and test folders where no group crosses it, else one by ratio."""
        if not self.patients_known:
            self.warn(
                f"{self.name}: neither patient nor slide is published, so each image counts as a "
                "patient of its own: nobody can tell whether one is in several parts, and "
                "intervals are too narrow"
            )
        if not self._parts or cfg.DATASET.SPLIT_FILE or self.test_only:
            return super().make_split(cfg, items)
        split: Split = {part: [i for i in items if self._parts[i.path] == part] for part in PARTS}
        if why := self._why_not(split, cfg.DATASET.SPLIT_BY):
            self.warn(
                f"{self.image_dir}: {why}, so the images of all folders are put together and split "
                "anew by DATASET.SPLIT_RATIO"
            )
            return super().make_split(cfg, items)
        self.check_split_by(cfg.DATASET.SPLIT_BY)
        self.split_source = "folders"
        return split

    def _why_not(self, split: Split, by: str) -> str:
        """Why a split by folders cannot be taken as it is; "" if it can."""
        empty = [part for part in ("train", "test") if not split[part]]
        if empty:
            return f"its folders are no whole split (no {' and no '.join(empty)})"
        crossing = patients_on_two_parts(split) if by == "patient" else {}
        if crossing:
            group, parts = next(iter(crossing.items()))
            return (
                f"{len(crossing)} {self.group_word} lie in several of its folders (such as {group} "
                f"in {' and '.join(parts)}; DATASET.SPLIT_BY image takes the folders as they are)"
            )
        return ""


def _letters(name: str) -> str:
    """A folder's name without capitals, blanks, dashes and underscores."""
    return re.sub(r"[\W_]+", "", clean(name)).casefold()


def home_and_below(
    root: Path, folder: str, homes: Sequence[str], inside: Sequence[str] = ()
) -> Iterator[Path]:
    """Where a release may lie: its home under the root and three folders deep in it, shallow ones
    first; then the root itself.

    Args:
        root: ``DATASET.ROOT``.
        folder: ``DATASET.FOLDER``, which is the home if it is given.
        homes: usual names of the home, capitals aside.
        inside: folders around the images, for a root that is the release.
    """
    if folder:
        yield from _and_below(root / at_home(folder))
        return
    wanted = {name.casefold() for name in homes}
    for name in class_folders(root) if is_dir(root) else ():
        if name.casefold() in wanted:
            yield from _and_below(root / name)
    yield root
    yield from (root / name for name in inside)


def _and_below(folder: Path) -> Iterator[Path]:
    """A folder and those below it, the shallow ones first."""
    level = [folder] if is_dir(folder) else []
    for _ in range(_DEPTH + 1):
        yield from level
        level = [inner / name for inner in level for name in class_folders(inner)]
