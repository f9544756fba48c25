"""What ``ImagingDataset`` looks at before anything is trained: names, files, pictures, parts.

Each look either refuses what would make a run meaningless, warns, or leaves a line in the summary.
"""

from __future__ import annotations

import os
import warnings
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cerviclip.counted import counted
from cerviclip.data.files.copies import count_copies, groups_of_copies, warn_of_copies
from cerviclip.data.files.folders import (
    IMAGE_SUFFIXES,
    Skipped,
    left_out,
    warn_of_levels,
    warn_of_two_formats,
)
from cerviclip.data.files.masks import warn_of_companions, warn_of_masks
from cerviclip.data.files.names import (
    class_map_of,
    is_number,
    is_text,
    near_equal,
    quoted,
    several_labels,
)
from cerviclip.data.images.facts import (
    Facts,
    check_shapes,
    declare_windows,
    describe_pictures,
    facts_of_all,
    odd_pictures,
)
from cerviclip.data.patients import (
    alone,
    crops_with_their_fields,
    judge_patients,
    no_names,
    spelled_alike,
)
from cerviclip.data.split.checks import check_filled, warn_of_gaps
from cerviclip.data.split.patient_grouped import Item, Split
from cerviclip.data.summary import describe
from cerviclip.data.variants.names import is_variant, original_of, torn_families
from dassl.errors import UserError

if TYPE_CHECKING:
    from yacs.config import CfgNode


class LooksAtData:
    """The looks of a data set and the account that it keeps of them."""

    name: str
    image_dir: Path
    test_only: bool
    is_external: bool
    may_lack_classes: bool
    patients_known: bool
    split_source: str
    fold: Any
    descriptions: Any
    _ratio: Any
    _declared: Any

    def _nothing_seen(self) -> None:
        self.warnings: list[str] = []
        self.notes: list[str] = []
        self.skipped = Skipped()
        self.summary: list[str] = []
        self._facts: dict[str, Facts] = {}
        self._found_copies: list[list[Item]] | None = None

    def _summarise(self, items: Sequence[Item], split: Split, show: bool) -> None:
        pictures = describe_pictures(self._facts)
        notes = [*self.skipped.lines(), *self.notes]
        self.summary = describe(self.name, items, split, self.patients_known, pictures, notes)
        if show:
            print("\n".join(self.summary))

    def below_parts(self, paths: Sequence[str]) -> list[str]:
        """Paths as they are below the folders of a split's parts, if there are any."""
        return list(paths)

    def warn(self, text: str) -> None:
        """Warn, and keep the text for whoever writes down what a run's data were like."""
        if text not in self.warnings:
            self.warnings.append(text)
            warnings.warn(text, stacklevel=3)

    def _without_left_out(
        self, found: list[tuple[str, str]], patterns: Sequence[str]
    ) -> list[tuple[str, str]]:
        """What the scan found, without the files that ``DATASET.LEAVE_OUT`` names."""
        out = {path for path, _ in found if left_out(path, patterns)}
        if out and len(out) == len({path for path, _ in found}):
            raise UserError(f"DATASET.LEAVE_OUT leaves out all {len(out)} images; see {patterns}")
        self.skipped.left_out["DATASET.LEAVE_OUT"] = sorted(out)
        return [(path, name) for path, name in found if path not in out]

    def _look_at_folders(self, cfg: CfgNode, paths: Sequence[str]) -> None:
        """Names, links, files that are not read, masks and crops among the images."""
        self._check_names_are_text(paths)
        for link in self.skipped.links:
            self.warn(f"{self.name}: the link {link} leads back to where it lies; not followed")
        self._check_nothing_is_lost(cfg)
        for text in (
            warn_of_masks(paths),
            warn_of_companions(paths),
            warn_of_two_formats(paths),
            warn_of_levels(self.below_parts(paths)),
        ):
            if text:
                self.warn(f"{self.name}: {text}")

    def _look_at_items(self, cfg: CfgNode, items: Sequence[Item]) -> None:
        if self.patients_known and not self.is_external:
            paths = self.below_parts([item.path for item in items])
            judged = judge_patients(items, paths, cfg.DATASET.PATIENT_PATTERN)
            for text in [*judged, *no_names(items)]:
                self.warn(f"{self.name}: {text}")
            if text := spelled_alike(items):
                self.warn(f"{self.name}: {text}")
            if remark := alone(items, cfg.DATASET.PATIENT_PATTERN):
                self.warnings.append(f"{self.name}: {remark}")
                self.notes.append(f"Warning: {remark}")

    def _look_at_patients_per_class(self, patients: Sequence[str], classes: Sequence[str]) -> None:
        """Warn where one name of a patient stands for several people, and might be one."""
        of: dict[str, set[str]] = defaultdict(set)
        for patient, classname in zip(patients, classes, strict=True):
            of[patient].add(classname)
        if several := sorted(patient for patient, names in of.items() if len(names) > 1):
            self.warn(
                f"{self.name}: {len(several)} of {len(of)} patients (such as {several[0]}) have "
                "images in several classes and are taken for others in each "
                "(DATASET.PATIENT_PER_CLASS); if they are the same people, they may be in train "
                "and test"
            )

    def _check_names_are_text(self, paths: Sequence[str]) -> None:
        odd = [path for path in paths if not is_text(path)]
        if odd:
            shown = os.fsencode(odd[0])
            raise UserError(
                f"{len(odd)} names of files or folders in {self.image_dir} are not UTF-8 (such as "
                f"{shown!r}); rename them, or they could not be written into any result"
            )

    def _check_nothing_is_lost(self, cfg: CfgNode) -> None:
        """Refuse to go on with fewer classes than there are folders; name pictures not read."""
        mapped_out = {name for name, to in class_map_of(cfg.DATASET.CLASS_MAP).items() if not to}
        for name in mapped_out:
            self.skipped.unread.pop(name, None)
        unread = self.skipped.empty = [n for n in self.skipped.empty if n not in mapped_out]
        text = self._lost_text()
        if not text:
            return
        text = f"{self.image_dir}{text} (read are {', '.join(IMAGE_SUFFIXES)})"
        if any(self.skipped.is_class(name, self.is_external) for name in unread):
            if self.is_external:
                raise UserError(f'{text}; convert them, or map the class to "" in CLASS_MAP')
            if not self._declared(cfg):
                raise UserError(
                    f"{text}; convert them, take the folders away, or name the classes to go on "
                    "with in DATASET.CLASSES"
                )
        if self.skipped.unread:
            self.warn(text)

    def _lost_text(self) -> str:
        """The class folders and pictures that are not read, for a message."""
        lost = self.skipped.lost()
        return f": left out: {', '.join(lost)}" if lost else ""

    def _look_at_names(self, names: Sequence[str]) -> None:
        for group in near_equal(names):
            self.warn(
                f"{self.name}: the classes {quoted(group)} differ only in capitals, blanks, dashes "
                "or underscores and are classes of their own; if they are one, rename them, or map "
                "them with DATASET.CLASSES and DATASET.CLASS_MAP"
            )
        if several := several_labels(names):
            self.warn(
                f"{self.name}: the class {quoted(several[:1])} is several of the others; an image "
                "has one class here: take such images out, or map them with DATASET.CLASS_MAP"
            )
        if names and all(map(is_number, names)):
            self.notes.append(
                f'class names are bare numbers: a text prompt would read "a photo of a {names[0]}."'
            )

    def _look_at_pictures(self, cfg: CfgNode, items: Sequence[Item]) -> None:
        """Ask every file what it is, and find the range of the data set's deep images."""
        folder = f"{self.image_dir}{os.sep}"
        self._facts = facts_of_all(folder + item.path for item in items)
        check_shapes(self._facts)
        bits, window = cfg.INPUT.BITS, tuple(cfg.INPUT.WINDOW)
        said = declare_windows(self.name, str(self.image_dir), self._facts, bits, window)
        for text in [*said, *odd_pictures(self.name, self._facts)]:
            self.warn(text)

    def _look_at_split(self, cfg: CfgNode, items: Sequence[Item], split: Split) -> None:
        if self.test_only:
            return
        made = bool(self.split_source)
        for text in warn_of_gaps(self.name, split, made, in_folds=self.fold is not None):
            self.warn(text)
        self._check_variants(cfg, split)
        copies = self._copies(items)
        if copies and self.patients_known:  # a patient's own copies harm no score
            self.notes.append(count_copies(copies))
        elif copies:
            self.warn(f"{self.name}: {count_copies(copies)}")
        for text in warn_of_copies(copies, split):
            self.warn(f"{self.name}: {text}")
        if not (self.may_lack_classes or cfg.TEST.EXTERNAL or cfg.DATASET.EXTERNAL_FOLDERS):
            ratio = None if made else self._ratio(cfg)
            check_filled(self.name, split, ratio, cfg.DATASET.NUM_SHOTS)

    def _check_variants(self, cfg: CfgNode, split: Split) -> None:
        """Refuse a split that trains on a variant of a tested image, or the other way round."""
        paths = [item.path for members in split.values() for item in members]
        if not any(map(is_variant, paths)):
            return
        below = self.below_parts(paths) or paths  # of a list's images none
        torn = torn_families(split, dict(zip(paths, below, strict=True)))
        if not torn:
            return
        number = counted(len(torn), "variant", "are")
        text = f"{number} in another part than the original ({torn[0]})"
        if cfg.DATASET.SPLIT_BY != "image" or not self.split_source:
            raise UserError(
                f"{self.image_dir}: {text}; split first and make variants of train then, as "
                "cerviclip augment does, or accept the leak with DATASET.SPLIT_BY image"
            )
        self.warn(f"{self.name}: {text}: what is tested was trained on")

    def _look_at_texts(self) -> None:
        for prompt_set, texts in (self.descriptions or {}).items():
            by_text: dict[tuple[str, ...], list[str]] = {}
            for name, sentences in texts.items():
                by_text.setdefault(tuple(sentences), []).append(name)
            for group in by_text.values():
                if len(group) > 1:
                    self.warn(
                        f"{self.name}: the classes {quoted(group)} have the same texts in the "
                        f"prompt set {prompt_set}, so no text tells them apart"
                    )

    @property
    def found_copies(self) -> list[list[Item]]:
        """Groups of images with the same bytes; none where they were not looked for."""
        return self._found_copies or []

    def _copies(self, items: Sequence[Item]) -> list[list[Item]]:
        if self._found_copies is None:
            folder = str(self.image_dir)
            self._found_copies = groups_of_copies(folder, items, self._facts)
        return self._found_copies

    def _kept_together(self, items: Sequence[Item]) -> list[list[Item]]:
        """Images that belong in one part though nobody knows whose they are: copies, and crops
        with the field that they were cut out of."""
        if self.patients_known:
            return []
        by_stem = {item.patient: item for item in items}
        crops = crops_with_their_fields([original_of(item.path) for item in items])
        return [*self._copies(items), *([by_stem[c], by_stem[f]] for c, f in crops.items())]
