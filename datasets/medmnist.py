"""MedMNIST v2 (Yang et al., Scientific Data 2023): small 2D pictures in one ``.npz`` a set.

Get it: https://zenodo.org/records/10519652, files such as ``bloodmnist.npz`` (28 px) and
``bloodmnist_64.npz``, ``_128``, ``_224``. Licence: CC BY 4.0 for the sets below (DermaMNIST: see
its page). The file lies in DATASET.ROOT, in its folder ``medmnist``, or in DATASET.FOLDER.

A file holds ``train_images, train_labels, val_images ... test_labels``: images (N, H, W) or
(N, H, W, 3) bytes, labels (N, 1). The release's parts are the split. They tell no patient, so
nothing here proves that a patient is in one part only. Pictures are unpacked once into the cache.
Volumes (``organmnist3d`` ...) and ChestMNIST, whose pictures have several labels, are refused.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cerviclip.data.files.unpacked import UnpackedPictures, unpacked_folder, write_pictures
from cerviclip.data.imaging import ImagingDataset
from cerviclip.data.own_keys import add_keys, keys_of, one_of
from cerviclip.data.split.patient_grouped import PARTS, Item, Split
from cerviclip.data.split.release import ReleasedSplit
from dassl.data.datasets import DATASET_REGISTRY
from dassl.errors import MissingFileError, UserError
from dassl.paths import at_home, is_file

if TYPE_CHECKING:
    from yacs.config import CfgNode

KEYS = {
    "SET": "bloodmnist",
    "SIZE": 28,  # px: 28, 64, 128 or 224, each a file of its own
}
_ORGANS = (
    *("bladder", "left femur", "right femur", "heart", "left kidney", "right kidney", "liver"),
    *("left lung", "right lung", "pancreas", "spleen"),
)
#: Class names in the order of the labels, after the release's own list (medmnist/info.py); long
#: ones are shortened so that they make a prompt.
CLASSES: dict[str, tuple[str, ...]] = {
    "pathmnist": (
        *("adipose tissue", "background", "debris", "lymphocytes", "mucus", "smooth muscle"),
        *("normal colon mucosa", "cancer-associated stroma", "colorectal adenocarcinoma"),
    ),
    "dermamnist": (
        *("actinic keratosis or intraepithelial carcinoma", "basal cell carcinoma"),
        *("benign keratosis-like lesion", "dermatofibroma", "melanoma", "melanocytic nevus"),
        "vascular lesion",
    ),
    "octmnist": ("choroidal neovascularization", "diabetic macular edema", "drusen", "normal"),
    "pneumoniamnist": ("normal", "pneumonia"),
    "retinamnist": tuple(f"grade {grade} diabetic retinopathy" for grade in range(5)),
    "breastmnist": ("malignant", "normal or benign"),
    "bloodmnist": (
        *("basophil", "eosinophil", "erythroblast", "immature granulocyte", "lymphocyte"),
        *("monocyte", "neutrophil", "platelet"),
    ),
    "tissuemnist": (
        *("collecting duct or connecting tubule", "distal convoluted tubule"),
        *("glomerular endothelial cell", "interstitial endothelial cell", "leukocyte", "podocyte"),
        *("proximal tubule segment", "thick ascending limb"),
    ),
    "organamnist": _ORGANS,
    "organcmnist": _ORGANS,
    "organsmnist": _ORGANS,
}
POSITIVE = {
    "pathmnist": ("colorectal adenocarcinoma",),
    "dermamnist": (
        *("actinic keratosis or intraepithelial carcinoma", "basal cell carcinoma", "melanoma"),
    ),
    "octmnist": ("choroidal neovascularization", "diabetic macular edema", "drusen"),
    "pneumoniamnist": ("pneumonia",),
    "retinamnist": tuple(f"grade {grade} diabetic retinopathy" for grade in range(1, 5)),
    "breastmnist": ("malignant",),
}
TEMPLATES = {
    "pathmnist": "a histopathology image of {}.",
    "dermamnist": "a dermatoscopic image of {}.",
    "octmnist": "a retinal optical coherence tomography image of {}.",
    "pneumoniamnist": "a chest X-ray image: {}.",
    "retinamnist": "a retinal fundus photograph of {}.",
    "breastmnist": "a breast ultrasound image: {}.",
    "bloodmnist": "a blood smear photomicrograph of a {}.",
    "tissuemnist": "a kidney cortex microscope image of a {}.",
}


def extend_cfg(cfg: CfgNode) -> None:
    add_keys(cfg, "MEDMNIST", KEYS)


@DATASET_REGISTRY.register()
class MedMNIST(ReleasedSplit, UnpackedPictures, ImagingDataset):
    """A 2D set of MedMNIST from its .npz, named by DATASET.MEDMNIST.SET and SIZE."""

    only_set = ""  # of a subclass that is one set

    def prepare(self, cfg: CfgNode) -> None:
        """Take the set's classes, templates and positive group."""
        keys = keys_of(cfg, "MEDMNIST", KEYS)
        self.set = self.only_set or one_of("MEDMNIST.SET", keys.SET, tuple(CLASSES))
        one_of("MEDMNIST.SIZE", str(keys.SIZE), ("28", "64", "128", "224"))
        self.file_name = (
            f"{self.set}.npz" if int(keys.SIZE) == 28 else f"{self.set}_{keys.SIZE}.npz"
        )
        self.classes = CLASSES[self.set]
        self.positive = POSITIVE.get(self.set, ())
        self.templates = (TEMPLATES.get(self.set, "a CT image of the {}."),)
        self.parts: dict[str, str] = {}

    def find_folder(self, cfg: CfgNode) -> Path:
        """Unpack the set's file and give the folder of its pictures."""
        root = at_home(cfg.DATASET.ROOT or ".")
        folders = [cfg.DATASET.FOLDER] if cfg.DATASET.FOLDER else ["medmnist", "."]
        files = [(root / folder / self.file_name).absolute() for folder in folders]
        file = next(filter(Path.is_file, files), None)
        if file is None:
            raise MissingFileError(
                f"no {self.file_name} at {' or '.join(map(str, files))}; get it from "
                "https://zenodo.org/records/10519652, and set --root (DATASET.ROOT) or "
                "DATASET.MEDMNIST.SIZE"
            )
        self._labels, folder = {}, unpacked_folder(file)
        try:
            with open(file, "rb") as opened, np.load(opened, allow_pickle=False) as arrays:
                for part in PARTS:
                    self._unpack(file, folder, part, arrays)
        except UserError:
            raise
        except (zipfile.BadZipFile, KeyError, ValueError, EOFError) as error:
            raise UserError(f"{file} is no MedMNIST file ({error}); download it again") from error
        return folder

    def _unpack(self, file: Path, folder: Path, part: str, arrays: np.lib.npyio.NpzFile) -> None:
        labels = self._labels_of(file, part, arrays)
        names = {f"{part}/{label}/{i:06d}.png": i for i, label in enumerate(labels)}
        _check_pictures(file, part, arrays, len(labels))
        if not all(is_file(folder / name) for name in names):
            images = arrays[f"{part}_images"]
            write_pictures(folder, names, lambda name: images[names[name]])
        for name in names:
            self._labels[name] = int(name.split("/")[1])
            self.parts[name] = part

    def _labels_of(self, file: Path, part: str, arrays: np.lib.npyio.NpzFile) -> list[int]:
        labels = arrays[f"{part}_labels"]
        if labels.ndim == 2 and labels.shape[1] != 1:
            raise UserError(f"{file}: pictures with several labels are not read")
        labels = labels.reshape(-1)
        known = range(len(self.classes))
        wrong = [label for label in labels.tolist() if label not in known]
        if wrong:
            raise UserError(
                f"{file} has the label {wrong[0]!r} in {part}, and {self.set} has "
                f"{len(self.classes)} classes, from 0 to {len(self.classes) - 1}; is it another "
                "set's file?"
            )
        return [int(label) for label in labels]

    def scan(self, cfg: CfgNode) -> Iterator[tuple[str, str]]:
        for path, label in self._labels.items():
            yield path, self.classes[label]

    def make_split(self, cfg: CfgNode, items: list[Item]) -> Split:
        split = super().make_split(cfg, items)
        if not self.patients_known:
            self.warn(
                f"{self.name}: nothing tells whose images these are, so nobody checked that no "
                f"patient of {self.file_name} is in two parts; intervals count each image"
            )
        return split

    def below_parts(self, paths: list[str]) -> list[str]:
        return [path.partition("/")[2] for path in paths]


def _check_pictures(file: Path, part: str, arrays: np.lib.npyio.NpzFile, labels: int) -> None:
    """Refuse pictures of a part that are none, or not as many as its labels; only the array's
    header is read."""
    shape, kind = _header(arrays, f"{part}_images")
    if kind != np.uint8 or len(shape) < 3 or shape[3:] not in ((), (3,)):
        raise UserError(
            f"{file} holds {kind} arrays of shape {shape}; volumes are not read, only pictures "
            "(N, H, W) and (N, H, W, 3) of bytes"
        )
    if shape[0] != labels:
        raise UserError(
            f"{file} holds {shape[0]} pictures of {part} and {labels} labels; download it again"
        )


def _header(arrays: np.lib.npyio.NpzFile, name: str) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of an array that stays unread."""
    with arrays.zip.open(f"{name}.npy") as opened:  # type: ignore[union-attr]
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[np.lib.format.read_magic(opened)]
        shape, _, kind = read(opened)
    return shape, kind


@DATASET_REGISTRY.register()
class BloodMNIST(MedMNIST):
    """BloodMNIST: 17,092 single blood cells of eight kinds, the release's split."""

    only_set = "bloodmnist"
    prompts = "bloodmnist"
