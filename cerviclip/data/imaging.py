"""``ImagingDataset``: what every data set of class folders shares.

A subclass says where the images are, which classes there are and how a file name tells the patient;
scanning, splitting by patient, drawing shots and the record of it all are done here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cerviclip.data.files.copies import as_they_were, joined
from cerviclip.data.files.folders import IMAGE_SUFFIXES, class_folders, image_files
from cerviclip.data.files.names import class_map_of, clean, composed, quoted
from cerviclip.data.images.looks import LooksAtData
from cerviclip.data.patients import STEM, PatientPatternError, compile_pattern, patient_in
from cerviclip.data.split.checks import check_classes
from cerviclip.data.split.folds import Fold, parse_fold, split_into_fold
from cerviclip.data.split.making import SplitsAndDraws
from cerviclip.data.split.patient_grouped import (
    PARTS,
    Item,
    Split,
    split_by_ratio,
    split_hash,
)
from cerviclip.data.split.repeated import (
    IMAGES,
    check_draw_hash,
    draw_hash_of,
    read_record,
)
from cerviclip.data.split.subsample import BASE_TO_NEW, NewClasses, classes_of_half, only_classes
from cerviclip.data.texts.descriptions import load_descriptions
from cerviclip.data.texts.templates import wrong_in_template
from cerviclip.data.variants.names import original_of
from dassl.data.datasets.base_dataset import DatasetBase, Datum
from dassl.errors import MissingFileError, UnknownNameError, UserError
from dassl.paths import at_home, is_dir
from dassl.utils.images import check_images

if TYPE_CHECKING:
    from yacs.config import CfgNode


class ImagingDataset(SplitsAndDraws, LooksAtData, DatasetBase):
    """Images in class folders, split by patient.

    Class attributes to set in a subclass:

    * ``dataset_dir``, ``other_dirs``: image folder under ``DATASET.ROOT``, and where else to look.
    * ``classes``: folder names in label order; () takes the sorted names of the folders found.
    * ``patient_pattern``: regex with one group, searched in the file name; "" where names tell no
      patient.
    * ``positive``: class names that count as disease.
    * ``levels``: for classes in a tree, each class's nodes from the top level down, "" below the
      class itself. The instance has those of its own classes, or none if one is in no tree.
    * ``prompts``: name of a file in ``configs/prompts``, or a path; ``templates``.
    * ``split_ratio``: instead of ``DATASET.SPLIT_RATIO``'s default; ``test_only``: a centre that is
      never trained on; ``is_external``: built as another training's centre; ``may_lack_classes``:
      fewer classes than declared are no error; ``version``: of generated data, part of the split's
      hash; ``domain``.

    Attributes set on the instance, besides upstream's: ``root``, ``image_dir``,
    ``positive_classes``, ``templates``, ``descriptions``, ``split_hash``, ``draw_hash``,
    ``split_record``, ``mapped`` (paths of images whose class ``DATASET.CLASS_MAP`` has given),
    ``warnings`` (all that was warned of, in order), ``notes`` and ``skipped`` (what was read in an
    unusual way or not at all), ``images_read`` (all items, those of no part included), ``summary``
    (lines printed before training).
    """

    dataset_dir = ""
    other_dirs: Sequence[str] = ()
    classes: Sequence[str] = ()
    patient_pattern = ""
    positive: Sequence[str] = ()
    levels: Mapping[str, Sequence[str]] = {}
    prompts = ""
    templates: Sequence[str] = ("a photo of a {}.",)
    split_ratio: Sequence[float] | None = None
    test_only = False
    is_external = False
    may_lack_classes = False
    version = ""
    domain = 0
    splits_into_folds = True  # DATASET.FOLD is allowed
    repeats_draws = True  # so is DATASET.DRAW_FILE
    patients_known = True  # set by patients_of
    fold: Fold | None = None  # set by make_split where DATASET.FOLD asks for it
    new_classes: NewClasses | None = None  # set where DATASET.SUBSAMPLE_CLASSES is base_to_new
    split_source = ""  # set where the split is found rather than made ("file", "folders", "list")

    def __init__(self, cfg: CfgNode) -> None:
        self.name = type(self).__name__
        options = cfg.DATASET
        self._nothing_seen()
        self.prepare(cfg)
        self.image_dir = self.find_folder(cfg)
        self.root = self._root_of(cfg)

        items = self.read_items(cfg)
        names = self.class_list(cfg, items)
        labels = {name: label for label, name in enumerate(names)}
        items = [
            Item(i.path, labels[i.classname], i.classname, i.patient)
            for i in sorted(items, key=lambda i: i.path)
        ]
        if not (self.test_only or self.may_lack_classes):
            self._check_classes(items, names)
            check_classes(self.name, names)
        self._look_at_names(names)
        self._look_at_pictures(cfg, items)
        self.images_read = items
        record = read_record(options.DRAW_FILE) if options.DRAW_FILE else None
        split = self._repeat(cfg, items, record) if record else self.make_split(cfg, items)
        self._check_fold_was_made(cfg)
        split = self._without_tested_variants(cfg, split)
        self._look_at_split(cfg, items, split)
        self.all_class_names = list(names)
        names, others = classes_of_half(names, options.SUBSAMPLE_CLASSES)
        self.classes_set_aside = others
        whole = split
        split = only_classes(whole, names) if others else whole
        self.split_hash = split_hash(self.name, self.version, split)
        drawn = split if record else self._draw(cfg, split)
        if record:
            self.split_hash = record["hash"]
            check_draw_hash(Path(options.DRAW_FILE), record, drawn)
        self.draw_hash = draw_hash_of(self.split_hash, drawn)
        self.split_record = self._record(cfg, drawn, names)
        if record:
            self.split_record = {k: v for k, v in record.items() if k != IMAGES}

        super().__init__(**self.make_lists(cfg, split, drawn))
        self.full_split = split  # before the few-shot draw
        self._num_classes = len(names)
        self._classnames = list(names)
        self._lab2cname = dict(enumerate(names))

        self.templates = _templates(options.TEMPLATES or self.templates)
        positive = self._positive(options.POSITIVE, self.all_class_names)
        self.positive_classes = [name for name in names if name in positive]
        in_tree = all(name in self.levels for name in names)
        self.levels = {name: self.levels[name] for name in names} if in_tree else {}
        self.descriptions = self._descriptions(options.DESCRIPTIONS, names)
        if options.SUBSAMPLE_CLASSES == BASE_TO_NEW:
            items_of_new = self.to_data(only_classes(whole, others)["test"])
            texts = self._descriptions(options.DESCRIPTIONS, others)
            self.new_classes = NewClasses(others, items_of_new, positive, texts)
        self._look_at_texts()
        if options.PROMPT_SET and self.descriptions and options.PROMPT_SET not in self.descriptions:
            known = ", ".join(sorted(self.descriptions))
            raise UnknownNameError(
                f'DATASET.PROMPT_SET "{options.PROMPT_SET}" is unknown for {self.name}; '
                f"its prompt sets: {known}"
            )
        self._summarise(items, split, cfg.VERBOSE)

    # -- hooks -----------------------------------------------------------------------------------

    def prepare(self, cfg: CfgNode) -> None:
        """Make the data if they are made rather than found (phantoms do)."""

    def find_folder(self, cfg: CfgNode) -> Path:
        """The folder that holds the class folders."""
        root = at_home(cfg.DATASET.ROOT or ".")
        wanted = (
            [cfg.DATASET.FOLDER] if cfg.DATASET.FOLDER else [self.dataset_dir, *self.other_dirs]
        )
        for name in wanted:
            folder = root / at_home(name)
            if is_dir(folder):
                return Path(os.path.abspath(folder))
        looked = ", ".join(str(root / name) for name in wanted)
        raise MissingFileError(
            f"no images of {self.name}: looked for {looked}; give the data's place with --root "
            "(DATASET.ROOT) or the folder's name with DATASET.FOLDER"
        )

    def read_items(self, cfg: CfgNode) -> list[Item]:
        """All images with class and patient; labels are set later.

        Raises:
            UserError: no images, a folder that is no class, or file names without a patient.
        """
        try:
            found = list(self.scan(cfg))
        except PermissionError as error:
            raise UserError(
                f"{error.filename} cannot be read ({error.strerror}); change its permissions"
            ) from error
        if not found:
            key = f"EXTERNAL_FOLDERS.{self.name}" if self.is_external else "FOLDER"
            raise UserError(
                f"{self.image_dir} holds no images in class folders "
                f"({', '.join(IMAGE_SUFFIXES)}){self._lost_text()}; check DATASET.ROOT and "
                f"DATASET.{key}"
            )
        found = self._without_left_out(found, tuple(cfg.DATASET.LEAVE_OUT))
        self._look_at_folders(cfg, [path for path, _ in found])
        kept = self._name_classes(cfg, found)
        paths = [path for path, _ in kept]
        patients = self.patients_of(paths, cfg.DATASET.PATIENT_PATTERN)
        if cfg.DATASET.PATIENT_PER_CLASS and self.patients_known:
            self._look_at_patients_per_class(patients, [name for _, name in kept])
            patients = [f"{name}/{p}" for (_, name), p in zip(kept, patients, strict=True)]
        items = [
            Item(path, -1, classname, patient)
            for (path, classname), patient in zip(kept, patients, strict=True)
        ]
        self._look_at_items(cfg, items)
        return items

    def scan(self, cfg: CfgNode) -> Iterator[tuple[str, str]]:
        """(path relative to the image folder, folder's class name) of every image."""
        for folder in class_folders(self.image_dir, self.skipped):
            yield from self.scan_class(folder, folder)

    def scan_class(self, inner: str, classname: str) -> Iterator[tuple[str, str]]:
        """The images of one class folder, taking account of what is not read there."""
        found = image_files(self.image_dir / inner, self.skipped, inner)
        if not found:
            self.skipped.empty.append(inner)
        for path in found:
            yield f"{inner}/{path}", composed(classname)

    def patient_of(self, regex: Any, path: str) -> str:
        """The patient of one path by a pattern; "" where it tells none."""
        return patient_in(regex, path)

    def class_list(self, cfg: CfgNode, items: Sequence[Item]) -> list[str]:
        """Class names in label order."""
        declared = self._declared(cfg)
        if len(set(declared)) < len(declared):
            raise UserError(f"DATASET.CLASSES names a class twice: {declared}")
        return declared or sorted({item.classname for item in items})

    def make_split(self, cfg: CfgNode, items: list[Item]) -> Split:
        """Put every image into train, val or test."""
        options = cfg.DATASET
        if self.test_only:
            return {"train": [], "val": [], "test": items}
        self.check_split_by(options.SPLIT_BY)
        if options.SPLIT_FILE:
            self.split_source = "file"
            return self._split_from_file(cfg, items)
        together = joined(items, self._kept_together(items))
        ratio, seed, by = self._ratio(cfg), options.SPLIT_SEED, options.SPLIT_BY
        self.fold = parse_fold(options.FOLD)
        if self.fold is None:
            return as_they_were(split_by_ratio(together, ratio, seed, by), items)
        split = split_into_fold(together, self.fold, ratio, seed, by)
        self._warn_of_few_patients(together, self.fold, by)
        return as_they_were(split, items)

    def make_lists(self, cfg: CfgNode, split: Split, drawn: Split) -> dict[str, Any]:
        """The four lists that ``DatasetBase`` takes, from the split and the few-shot draw."""
        lists: dict[str, Any] = {
            {"train": "train_x"}.get(part, part): self.to_data(drawn[part]) for part in PARTS
        }
        check_images(datum.impath for part in lists.values() for datum in part)
        return lists

    def _descriptions(self, given: str, names: Sequence[str]) -> dict[str, dict[str, list[str]]]:
        """The prompt sets of a file; the data set's own where the classes are its own."""
        return load_descriptions(given or self._own_prompts(names), names)

    # -- parts of the work -----------------------------------------------------------------------

    def to_data(self, items: Sequence[Item]) -> list[Datum]:
        """Items as ``Datum`` with absolute paths."""
        folder, domain, known = f"{self.image_dir}{os.sep}", self.domain, self.patients_known
        return [
            Datum(folder + i.path, i.label, domain, i.classname, i.patient if known else "")
            for i in items
        ]

    def check_split_by(self, by: str) -> None:
        """Refuse an unknown way of splitting; warn of the one that leaks patients."""
        if by not in ("patient", "image"):
            raise UserError(f'DATASET.SPLIT_BY is "{by}"; it takes patient or image')
        if by == "image":
            self.warn(
                f"{self.name} is split by image (DATASET.SPLIT_BY): images of one patient may fall "
                "in both parts, and the results are too good"
            )

    def patients_of(self, paths: Sequence[str], pattern: str = "") -> list[str]:
        """The patient of each path by the config's pattern or the data set's own.

        Without a pattern each file is split as a patient of its own, and nobody is told that its
        name were a patient's (``patient_id`` is empty).
        """
        pattern = pattern or self.patient_pattern
        self.patients_known = bool(pattern)
        if pattern in ("", STEM):
            return [original_of(path).rpartition(".")[0] for path in paths]
        regex = compile_pattern(pattern)
        found = [self.patient_of(regex, path) for path in paths]
        if not all(found):
            wrong = [path for path, patient in zip(paths, found, strict=True) if not patient]
            raise PatientPatternError(
                f"{len(wrong)} of {len(paths)} file names of {self.name} hold no patient by the "
                f'pattern "{pattern}" (such as {wrong[0]}); set DATASET.PATIENT_PATTERN to a regex '
                f"with one group, or to {STEM} if each file is a patient of its own"
            )
        return found

    def _root_of(self, cfg: CfgNode) -> str:
        """What the record's paths are relative to: DATASET.ROOT, else the image folder itself."""
        root = Path(os.path.abspath(at_home(cfg.DATASET.ROOT or ".")))
        return str(root if self.image_dir.is_relative_to(root) else self.image_dir)

    def _declared(self, cfg: CfgNode) -> list[str]:
        """The classes named by the config or the data set; empty where the folders say them."""
        return [composed(name) for name in cfg.DATASET.CLASSES or self.classes]

    def _name_classes(self, cfg: CfgNode, found: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Turn folder names into class names; drop folders of classes that are not asked for."""
        declared = set(self._declared(cfg))
        class_map = class_map_of(cfg.DATASET.CLASS_MAP)
        if not (declared or self.is_external):
            self._check_map_means_others(class_map, {folder for _, folder in found})
            class_map = {}
        self.mapped = set()
        self.folder_names = {clean(folder) for _, folder in found}
        kept = []
        for path, folder in found:
            name = folder if folder in declared else class_map.get(clean(folder), folder)
            if name == "":
                self.skipped.left_out["DATASET.CLASS_MAP"].append(path)
                continue
            if name in self.classes and name not in declared:
                self.skipped.left_out["DATASET.CLASSES"].append(path)
                continue
            if declared and name not in declared:
                raise UserError(
                    f'{self.image_dir / folder} is no class folder of {self.name}: "{name}" is not '
                    f"among {', '.join(sorted(declared))}; rename or move it, or map it with "
                    f'DATASET.CLASS_MAP ("" leaves it out)'
                )
            if name != folder:
                self.mapped.add(f"{self.image_dir}{os.sep}{path}")
            kept.append((path, name))
        return kept

    def _check_map_means_others(self, class_map: dict[str, str], folders: set[str]) -> None:
        """Where all folders are classes, a map of one of them may mean them or other centres'."""
        both = sorted(folders & class_map.keys())
        if both:
            raise UserError(
                f'DATASET.CLASS_MAP maps "{both[0]}", which is a class folder in {self.image_dir} '
                "itself; name the classes to train on in DATASET.CLASSES: the map is for other "
                "folders and for external centres"
            )

    def _check_classes(self, items: Sequence[Item], names: Sequence[str]) -> None:
        empty = sorted(set(names) - {item.classname for item in items})
        if empty:
            raise UserError(
                f"{self.image_dir} has no images of {', '.join(empty)}; "
                "add them, or name fewer classes in DATASET.CLASSES"
            )

    def _own_prompts(self, names: Sequence[str]) -> str:
        """The data set's own descriptions; "" where ``DATASET.CLASSES`` names classes that they do
        not know, as when classes are merged by ``DATASET.CLASS_MAP``."""
        others = [name for name in names if self.classes and name not in self.classes]
        if not (self.prompts and others):
            return self.prompts
        self.notes.append(
            f"{self.name}'s descriptions are not used: they know no class {quoted(others)} "
            "(DATASET.DESCRIPTIONS takes a file of your own)"
        )
        return ""

    def _positive(self, given: Sequence[str], names: Sequence[str]) -> list[str]:
        given = [composed(name) for name in given]
        for name in given:
            if name not in names:
                raise UnknownNameError(
                    f'DATASET.POSITIVE names "{name}", which is no class of {self.name}; '
                    f"its classes: {', '.join(names)}"
                )
        return [name for name in names if name in (given or self.positive)]


def _templates(templates: Sequence[str]) -> list[str]:
    for template in templates:
        if wrong := wrong_in_template(template):
            raise UserError(f'DATASET.TEMPLATES: "{template}" {wrong}')
    return list(templates)
