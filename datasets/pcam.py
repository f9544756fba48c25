"""PatchCamelyon (PCam): 327,680 patches of lymph nodes, 96 px, tumour in the centre or not.

``PCam`` reads the original release (Veeling et al., MICCAI 2018): https://zenodo.org/record/2546921
or the Google Drive folder of github.com/basveeling/pcam. Data CC0. Files, each ``.gz`` or not:
``camelyonpatch_level_2_split_{train,valid,test}_{x,y}.h5`` and ``..._meta.csv``. The label is
"tumour in the central 32 px" (``center_tumor_patch``), not ``tumor_patch``. The slide stands in the
meta files alone; it counts as the patient. Reading needs h5py: pip install -e ".[hdf5]".
Of the HDF5 files only the patches that a run draws are read; they become pictures in the cache.

``PCamKaggle`` reads the copy of Kaggle's competition "histopathologic-cancer-detection":
``train_labels.csv`` and ``train/<id>.tif``, without duplicates, without slides. Its test part has
no labels. Two blank pictures are left out.
"""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cerviclip.data.files.csv_rows import read_rows
from cerviclip.data.files.folders import image_files
from cerviclip.data.files.unpacked import UnpackedPictures, unpacked_folder, write_pictures
from cerviclip.data.imaging import ImagingDataset
from cerviclip.data.split.patient_grouped import PARTS, Item, Split
from cerviclip.data.split.release import ReleasedSplit
from cerviclip.places import install_hint
from dassl.data.datasets import DATASET_REGISTRY
from dassl.errors import MissingFileError, UserError
from dassl.paths import at_home, is_file

if TYPE_CHECKING:
    from yacs.config import CfgNode

CLASSES = ("normal", "tumor")
RELEASE_PARTS = {"train": "train", "valid": "val", "test": "test"}  # the release's word: ours
BLANK = {
    "dd6dfed324f9fcb6f93f46f32fc800f2ec196be2",
    "9369c7278ec8bcc6c880d99194de09fc2bd4efbe",
}


class _Patches(ImagingDataset):
    classes = CLASSES
    positive = ("tumor",)
    prompts = "pcam"
    templates = ("a histopathology image of lymph node tissue: {}.",)


@DATASET_REGISTRY.register()
class PCam(ReleasedSplit, UnpackedPictures, _Patches):
    """PCam lymph-node patches from the original HDF5 files, split by slide as released."""

    def prepare(self, cfg: CfgNode) -> None:
        """Look for the files; nothing is unpacked yet."""
        self.parts: dict[str, str] = {}
        self._slides: dict[str, str] = {}
        self._labels: dict[str, int] = {}
        self._found_copies = []  # patches are no files; a patch drawn twice is of one slide
        self._folder = self._release_folder(cfg)
        self._arrays = {part: self._plain(self._file(f"{part}_x.h5")) for part in RELEASE_PARTS}

    def find_folder(self, cfg: CfgNode) -> Path:
        """Where patches become pictures, by the training part's file."""
        return unpacked_folder(self._arrays["train"])

    def _release_folder(self, cfg: CfgNode) -> Path:
        root = at_home(cfg.DATASET.ROOT or ".").absolute()
        names = [cfg.DATASET.FOLDER] if cfg.DATASET.FOLDER else ["pcam", "PCam", "pcamv1", "."]
        for name in names:
            if any((root / name).glob("camelyonpatch_level_2_split_train_x.h5*")):
                return root / name
        raise MissingFileError(
            f"no camelyonpatch_level_2_split_train_x.h5 (or .gz) in "
            f"{' or '.join(str(root / name) for name in names)}; set --root (DATASET.ROOT) or "
            "DATASET.FOLDER. Kaggle's TIFF copy is the data set PCamKaggle"
        )

    def _file(self, tail: str) -> Path:
        """A file of the release, packed or not."""
        name = f"camelyonpatch_level_2_split_{tail}"
        for file in (self._folder / name, self._folder / f"{name}.gz"):
            if is_file(file):
                return file
        raise MissingFileError(
            f"{self._folder} lacks {name} (or .gz); get it from https://zenodo.org/record/2546921"
        )

    def _plain(self, file: Path) -> Path:
        """The file itself, unpacked into the cache once where it is gzip."""
        if file.suffix != ".gz":
            return file
        target = unpacked_folder(file) / file.stem
        if not is_file(target):
            print(f"Unpacking {file} to {target}", flush=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f".{target.name}.{os.getpid()}.tmp")
            try:
                with gzip.open(file, "rb") as packed, open(partial, "wb") as plain:
                    shutil.copyfileobj(packed, plain, 2**22)
                os.replace(partial, target)
            except (EOFError, OSError) as error:
                raise UserError(
                    f"{file} cannot be unpacked to {target.parent} ({error}); download it again, "
                    "or make room"
                ) from error
            finally:
                partial.unlink(missing_ok=True)
        return target

    def scan(self, cfg: CfgNode) -> Iterator[tuple[str, str]]:
        """A path for each patch, ``train/<slide>/<number>.png``, and its class."""
        for word, part in RELEASE_PARTS.items():
            labels = self._labels_of(word)
            slides = self._slides_of(word, labels)
            for number, label in enumerate(labels):
                slide = f"{slides[number]}/" if slides else ""
                path = f"{part}/{slide}{number:06d}.png"
                self.parts[path] = part
                if slides:
                    self._slides[path] = slides[number]
                yield path, CLASSES[label]

    def _labels_of(self, part: str) -> list[int]:
        with open_hdf5(self._plain(self._file(f"{part}_y.h5"))) as file:
            labels = _array(file, "y")[:].reshape(-1)  # (N, 1, 1, 1)
        with open_hdf5(self._arrays[part]) as file:
            patches = _array(file, "x")
            shape, kind = patches.shape, patches.dtype
        wrong = [label for label in labels.tolist() if label not in (0, 1)]
        if wrong:
            raise UserError(
                f"{self._file(f'{part}_y.h5')} has the label {wrong[0]!r}, which is neither 0 nor "
                "1; download it again"
            )
        if shape != (len(labels), *shape[1:3], 3) or kind != "uint8":
            raise UserError(
                f"{self._arrays[part]} holds patches of shape {shape} ({kind}), "
                f"and its y file has {len(labels)} labels; patches are (N, H, W, 3) of bytes: "
                "download both again"
            )
        return [int(label) for label in labels]

    def _slides_of(self, part: str, labels: list[int]) -> list[str]:
        """The slide of each patch by the meta file; [] without one."""
        file = self._folder / f"camelyonpatch_level_2_split_{part}_meta.csv"
        if not is_file(file):
            return []
        head, numbered = read_rows(file, even=False)
        if lacking := {"center_tumor_patch", "wsi"} - set(head):
            raise UserError(f"{file} lacks the column {min(lacking)}; download it again")
        rows = [row for _, row in numbered]
        told = [int(row["center_tumor_patch"].strip().lower() == "true") for row in rows]
        if told != labels:
            raise UserError(
                f"{file} does not belong to the y file beside it: {len(rows)} rows for "
                f"{len(labels)} labels, or other labels in center_tumor_patch; download both again"
            )
        return [row["wsi"].strip() for row in rows]

    def patients_of(self, paths: list[str], pattern: str = "") -> list[str]:
        """The slide, where all parts have their meta file."""
        if pattern or len(self._slides) < len(self.parts):
            return super().patients_of(paths, pattern)
        self.patients_known = True
        return [self._slides[path] for path in paths]

    def _look_at_pictures(self, cfg: CfgNode, items: list[Item]) -> None:
        """Nothing: all patches are 96 px of 8-bit RGB, and most are never read."""

    def make_split(self, cfg: CfgNode, items: list[Item]) -> Split:
        if not self.patients_known:
            self.warn(
                f"{self.name}: {self._folder} lacks a meta.csv, so no slide is known and intervals "
                "count each patch; get the three meta files"
            )
        return super().make_split(cfg, items)

    def make_lists(self, cfg: CfgNode, split: Split, drawn: Split) -> dict[str, Any]:
        """Only patches that are drawn become pictures; of an external centre the test part."""
        if self.is_external:
            drawn = {"train": [], "val": [], "test": drawn["test"]}
        paths = [item.path for part in PARTS for item in drawn[part]]
        for (
            word,
            part,
        ) in RELEASE_PARTS.items():  # a split file may have put patches into another part
            with open_hdf5(self._arrays[word]) as file:
                own = (path for path in paths if self.parts[path] == part)
                patches = file["x"]
                write_pictures(self.image_dir, own, lambda path, x=patches: x[_number(path)])
        return super().make_lists(cfg, split, drawn)


@DATASET_REGISTRY.register()
class PCamKaggle(_Patches):
    """PCam's Kaggle copy: TIFF patches without duplicates, slides unknown, split by ratio."""

    dataset_dir = "histopathologic-cancer-detection"
    other_dirs = ("pcam_kaggle", "pcam", ".")

    def find_folder(self, cfg: CfgNode) -> Path:
        folder = super().find_folder(cfg)
        if not is_file(folder / "train_labels.csv"):
            raise MissingFileError(
                f"{folder} lacks train_labels.csv, the labels of Kaggle's copy; set --root "
                "(DATASET.ROOT) or DATASET.FOLDER. The HDF5 release is the data set PCam"
            )
        return folder

    def scan(self, cfg: CfgNode) -> Iterator[tuple[str, str]]:
        """The labelled pictures of ``train``; those of ``test`` have no labels."""
        labels = _labels(self.image_dir / "train_labels.csv")
        for path in image_files(self.image_dir, self.skipped, self.image_dir.name):
            patch = path.rpartition("/")[2].rpartition(".")[0]
            if patch in BLANK:
                self.skipped.left_out["what they show, which is nothing"].append(path)
            elif patch in labels:
                yield path, CLASSES[labels.pop(patch)]
            else:
                self.skipped.left_out["train_labels.csv, which gives no label"].append(path)
        absent = [patch for patch in labels if patch not in BLANK]
        if absent:
            raise MissingFileError(
                f"{len(absent)} patches of {self.image_dir / 'train_labels.csv'} do not lie in "
                f"{self.image_dir} (first: {absent[0]}.tif); unpack the whole download"
            )

    def make_split(self, cfg: CfgNode, items: list[Item]) -> Split:
        if not self.patients_known:
            self.warn(
                f"{self.name}: this copy tells no slide, so patches of one slide are in both parts "
                "and the results are too good; PCam reads the release with slides"
            )
        return super().make_split(cfg, items)

    def below_parts(self, paths: list[str]) -> list[str]:
        return []


def _labels(file: Path) -> dict[str, int]:
    """Label by patch.

    Raises:
        UserError: the list lacks a column, or a label is neither 0 nor 1.
    """
    _, rows = read_rows(file, even=False)
    labels = {}
    for line, row in rows:
        if row.get("label", "").strip() not in ("0", "1") or not row.get("id", "").strip():
            raise UserError(f"{file} line {line} has no id, or a label that is neither 0 nor 1")
        labels[row["id"].strip()] = int(row["label"])
    return labels


def open_hdf5(path: Path) -> Any:
    """An HDF5 file, open for reading.

    Raises:
        UserError: h5py is not installed, or the file is damaged.
    """
    try:
        import h5py
    except ImportError:
        raise UserError(f"reading {path.name} needs h5py: {install_hint('hdf5')}") from None
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise UserError(f"{path} is no whole HDF5 file ({error}); download it again") from error


def _array(file: Any, name: str) -> Any:
    """An array of an open HDF5 file."""
    if name not in file:
        found = ", ".join(file) or "nothing"
        raise UserError(
            f'{file.filename} has no array "{name}" (it has {found}); download it again'
        )
    return file[name]


def _number(path: str) -> int:
    """The row of a patch in its array."""
    return int(path.rpartition("/")[2].partition(".")[0])
