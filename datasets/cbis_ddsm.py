"""CBIS-DDSM (Lee et al., Scientific Data 2017): film mammograms, masses and calcifications.

Get it: The Cancer Imaging Archive, collection CBIS-DDSM (DICOM), or Kaggle's JPEG copy
``awsaf49/cbis-ddsm-breast-cancer-image-dataset`` (8 bits instead of 16). Both come with four case
lists, ``{mass,calc}_case_description_{train,test}_set.csv``. DICOM needs pydicom:
pip install -e ".[dicom]". docs/datasets_histology.md shows the trees.

What the release is like, and what is done about it:

* Every row of the lists has a line break inside a quoted path; fields are stripped.
* The lists mix up which file is the crop and which the mask. Size and pixels decide: a mask is as
  large as its mammogram and has two values.
* 31 patients are in a training list of one lesion type and in a test list of the other. With both
  types they are tested on, and never trained on.
* The DICOM header's PatientID names the picture. The patient is ``patient_id`` of the lists.
* Kaggle's lists keep the paths of the DICOM files: pictures are found by their SeriesInstanceUID.
* One film may show several findings, and the mass and the calcification list then each have a file
  of it: it is one picture with the gravest finding (``IMAGE full``).
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cerviclip.counted import counted
from cerviclip.data.files.csv_rows import read_rows
from cerviclip.data.files.unpacked import unpacked_folder, write_pictures
from cerviclip.data.imaging import ImagingDataset
from cerviclip.data.own_keys import add_keys, keys_of, one_of
from cerviclip.data.split.patient_grouped import Item, Split, check_ratio, split_by_ratio
from cerviclip.data.split.release import ReleasedSplit
from cerviclip.places import install_hint
from dassl.data.datasets import DATASET_REGISTRY
from dassl.errors import MissingFileError, UserError
from dassl.paths import is_file
from dassl.utils.images import opened

if TYPE_CHECKING:
    from yacs.config import CfgNode

KEYS = {
    "IMAGE": "crop",  # or full: the whole mammogram
    "LESION": "both",  # or mass, calc
    "LABELS": "binary",  # or pathology: benign_without_callback is a class of its own
    "SPLIT": "release",  # or ratio: DATASET.SPLIT_RATIO over all patients
}
PATHOLOGY = ("benign", "benign_without_callback", "malignant")  # in order of gravity
CLEARLY_LARGER = 4.0  # times the pixels: then sizes alone tell the mask from the crop
TWO_VALUED = 0.98  # share of a mask's pixels near its darkest or brightest value


def extend_cfg(cfg: CfgNode) -> None:
    add_keys(cfg, "CBISDDSM", KEYS)


@dataclass(frozen=True)
class Finding:
    """A row of a case list: one abnormality in one film.

    Attributes:
        lesion: mass or calc.
        part: train or test.
        film: patient, breast and view.
        pathology: as in `PATHOLOGY`.
        image, crop, mask: paths of the DICOM release as the list has them.
    """

    lesion: str
    part: str
    film: tuple[str, str, str]
    pathology: str
    image: str
    crop: str
    mask: str

    @property
    def patient(self) -> str:
        return self.film[0]


def read_findings(folder: Path, lesions: Sequence[str]) -> list[Finding]:
    """The rows of the case lists, which lie in the folder or in its ``csv``."""
    found = []
    for lesion in lesions:
        for part in ("train", "test"):
            found += _read_list(case_list(folder, lesion, part), lesion, part)
    return found


def case_list(folder: Path, lesion: str, part: str) -> Path:
    """The file of a case list."""
    name = f"{lesion}_case_description_{part}_set.csv"
    file = next((f for f in (folder / name, folder / "csv" / name) if is_file(f)), None)
    if file is None:
        raise MissingFileError(
            f"{folder} lacks {name}, also in csv; it comes with the release, or leave that lesion "
            "out with DATASET.CBISDDSM.LESION"
        )
    return file


def _read_list(file: Path, lesion: str, part: str) -> Iterator[Finding]:
    for _, row in read_rows(file, even=False)[1]:
        cells = {name.replace("_", " "): text.strip() for name, text in row.items()}
        try:
            film = (cells["patient id"], cells["left or right breast"], cells["image view"])
            paths = (cells[f"{what} file path"] for what in ("image", "cropped image", "ROI mask"))
            yield Finding(lesion, part, film, cells["pathology"].lower(), *paths)
        except KeyError as error:
            raise UserError(
                f"{file} lacks the column {error}; take the list as it is released"
            ) from error


class Pictures:
    """The files of a copy of the release, by series and by the case's folder.

    Args:
        folder: holds ``jpeg/<SeriesInstanceUID>/*.jpg``, or DICOM files at any depth below folders
            such as ``Mass-Training_P_00001_LEFT_CC_1``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.by_folder: dict[str, list[str]] = defaultdict(list)
        jpegs = sorted(folder.glob("jpeg/*/*.jp*g"))
        self.dicom = not jpegs
        for file in jpegs or sorted(folder.glob("**/*.dcm")):
            path = file.relative_to(folder)
            for part in path.parts[:-1]:
                self.by_folder[part].append(path.as_posix())

    def of(self, *listed: str) -> list[str]:
        """Files of the series that listed paths name, else of their case's folder.

        Newer downloads have dates instead of UIDs in their folders' names.
        """
        for part in (-2, 0):
            names = {path.split("/")[part] for path in listed if path.count("/") > 1}
            files = {file for name in names for file in self.by_folder.get(name, ())}
            if files:
                return sorted(files)
        return []

    def size(self, path: str) -> tuple[int, int]:
        """(width, height) in px, from the header."""
        return _size(str(self.folder / path))

    def is_mask(self, path: str) -> bool:
        """Whether the pixels have two values only, but for JPEG's noise."""
        return _is_two_valued(str(self.folder / path))

    def film_of(self, finding: Finding) -> str:
        """The whole mammogram of a finding; "" where it is not there."""
        files = self.of(finding.image)
        if len(files) == 1:  # a film's pixels are read in doubt alone: it has 15 million
            return files[0]
        return next((f for f in files if not self.is_mask(f)), "")

    def crop_of(self, finding: Finding) -> str:
        """The crop among the files of a finding; "" where only masks are there."""
        files = self.of(finding.crop, finding.mask)
        full = set(self.of(finding.image))
        files = sorted((f for f in files if f not in full), key=self._pixels)
        if len(files) == 2 and self._pixels(files[1]) > CLEARLY_LARGER * self._pixels(files[0]):
            files = files[:1] if not self.is_mask(files[0]) else files[::-1]
        return next((file for file in files if not self.is_mask(file)), "")

    def _pixels(self, path: str) -> int:
        width, height = self.size(path)
        return width * height


@DATASET_REGISTRY.register()
class CBISDDSM(ReleasedSplit, ImagingDataset):
    """CBIS-DDSM mammograms or crops, benign and malignant, by patient; DICOM or JPEG copy."""

    dataset_dir = "CBIS-DDSM"
    other_dirs = ("cbis-ddsm", "cbis_ddsm", "cbis-ddsm-breast-cancer-image-dataset", ".")
    positive = ("malignant",)
    prompts = "cbis_ddsm"
    templates = ("a mammogram of a {} finding.",)

    def prepare(self, cfg: CfgNode) -> None:
        """Take the data set's own keys."""
        keys = keys_of(cfg, "CBISDDSM", KEYS)
        lesion = one_of("CBISDDSM.LESION", keys.LESION, ("both", "mass", "calc"))
        self._lesions = ("mass", "calc") if lesion == "both" else (lesion,)
        self._whole = one_of("CBISDDSM.IMAGE", keys.IMAGE, ("crop", "full")) == "full"
        binary = one_of("CBISDDSM.LABELS", keys.LABELS, ("binary", "pathology")) == "binary"
        self.classes = ("benign", "malignant") if binary else PATHOLOGY
        self._released = one_of("CBISDDSM.SPLIT", keys.SPLIT, ("release", "ratio")) == "release"
        self.parts: dict[str, str] = {}
        self._patients: dict[str, str] = {}

    def find_folder(self, cfg: CfgNode) -> Path:
        """The folder of the release; of DICOM files, that of their pictures in the cache."""
        folder = super().find_folder(cfg)
        self._findings = read_findings(folder, self._lesions)
        self._pictures = Pictures(folder)
        if not self._pictures.by_folder:
            raise MissingFileError(
                f"{folder} holds neither jpeg/<series>/*.jpg nor .dcm files; set --root "
                "(DATASET.ROOT) or DATASET.FOLDER to the folder that does"
            )
        if not self._pictures.dicom:
            return folder
        cases = unpacked_folder(case_list(folder, self._lesions[0], "train"))
        place = hashlib.sha256(str(folder).encode()).hexdigest()[:6]  # of several copies
        return cases.with_name(f"cbis_ddsm-{cases.name[-12:]}-{place}")

    def _root_of(self, cfg: CfgNode) -> str:
        return str(self.image_dir) if self._pictures.dicom else super()._root_of(cfg)

    def scan(self, cfg: CfgNode) -> Iterator[tuple[str, str]]:
        """Each picture once, with its gravest finding."""
        groups: dict[str, list[Finding]] = defaultdict(list)
        films: dict[tuple[str, str, str], str] = {}
        for finding in self._findings:
            path = self._film(finding, films) if self._whole else self._crop(finding)
            if path:
                groups[path].append(finding)
        self._report_absent()
        tested = {finding.patient for finding in self._findings if finding.part == "test"}
        for path, findings in groups.items():
            patient = findings[0].patient
            self._patients[path] = patient
            if self._released:
                self.parts[path] = "test" if patient in tested else "train"
            yield path, self._class_of(findings)
        self._report_moved(tested)

    def _film(self, finding: Finding, films: dict[tuple[str, str, str], str]) -> str:
        """The film, the first file of it where both lists have one."""
        if finding.film not in films:
            file = self._pictures.film_of(finding)
            if file:
                films[finding.film] = self._as_picture(file)
            else:
                self.skipped.left_out["the copy, which lacks its file"].append(finding.image)
        return films.get(finding.film, "")

    def _crop(self, finding: Finding) -> str:
        file = self._pictures.crop_of(finding)
        if not file:
            why = "mask alone is there" if self._pictures.of(finding.crop) else "lacks its file"
            self.skipped.left_out[f"the copy, which {why}"].append(finding.crop)
        return self._as_picture(file) if file else ""

    def _as_picture(self, file: str) -> str:
        """The path below the image folder; a DICOM file becomes a PNG of its depth there."""
        if not self._pictures.dicom:
            return file
        path = f"{file.rpartition('.')[0]}.png"
        source = str(self._pictures.folder / file)
        write_pictures(self.image_dir, [path], lambda _: read_dicom(source))
        return path

    def _report_absent(self) -> None:
        absent = sum(map(len, (v for k, v in self.skipped.left_out.items() if "copy" in k)))
        if absent:
            self.warn(
                f"{self.name}: {absent} of {len(self._findings)} findings have no picture in "
                f"{self._pictures.folder}; the download is not complete"
            )

    def _report_moved(self, tested: set[str]) -> None:
        moved = {f.patient for f in self._findings if f.part == "train"} & tested
        if moved and self._released:
            self.notes.append(
                f"{counted(len(moved), 'patient', 'are')} in a training list and in a test list "
                f"(such as {min(moved)}); all their pictures are tested on, none is trained on"
            )

    def _class_of(self, findings: Sequence[Finding]) -> str:
        pathology = max((f.pathology for f in findings), key=PATHOLOGY.index)
        return pathology if pathology in self.classes else "benign"

    def patients_of(self, paths: Sequence[str], pattern: str = "") -> list[str]:
        """``patient_id`` of the lists, the same in all four."""
        if pattern:
            return super().patients_of(paths, pattern)
        self.patients_known = True
        return [self._patients[path] for path in paths]

    def make_split(self, cfg: CfgNode, items: list[Item]) -> Split:
        """The release's test part; its training part gives a validation part by ratio."""
        split = super().make_split(cfg, items)
        if self.split_source == "release":
            options = cfg.DATASET
            train, val, _ = check_ratio(options.SPLIT_RATIO)
            inner = (train, val, 0.0)
            parts = split_by_ratio(split["train"], inner, options.SPLIT_SEED, options.SPLIT_BY)
            split = {**parts, "test": split["test"]}
        return split

    def below_parts(self, paths: list[str]) -> list[str]:
        return []


@lru_cache(maxsize=65536)
def _size(path: str) -> tuple[int, int]:
    if path.endswith(".dcm"):
        header = _dicom(path, pixels=False)
        return int(header.Columns), int(header.Rows)
    with opened(path) as image:
        return image.size


@lru_cache(maxsize=65536)
def _is_two_valued(path: str) -> bool:
    if path.endswith(".dcm"):
        pixels = read_dicom(path)
    else:
        with opened(path) as image:
            pixels = np.asarray(image.convert("L"))
    low, high = float(pixels.min()), float(pixels.max())
    near = 0.06 * (high - low)
    return bool(np.mean((pixels <= low + near) | (pixels >= high - near)) >= TWO_VALUED)


def read_dicom(path: str) -> np.ndarray:
    """The pixels of a DICOM file, (H, W), dark for low values."""
    file = _dicom(path)
    try:
        pixels = file.pixel_array
    except Exception as error:  # pydicom's decoders raise anything
        raise UserError(f"{path} has no pixels that can be read ({error!r})") from error
    if getattr(file, "PhotometricInterpretation", "") == "MONOCHROME1":
        pixels = pixels.max() - pixels
    return pixels


def _dicom(path: str, pixels: bool = True):
    try:
        import pydicom
    except ImportError:
        raise UserError(f"reading {path} needs pydicom: {install_hint('dicom')}") from None
    try:
        return pydicom.dcmread(path, stop_before_pixels=not pixels)
    except Exception as error:  # pydicom raises anything
        raise UserError(f"{path} is no whole DICOM file ({error}); download it again") from error
