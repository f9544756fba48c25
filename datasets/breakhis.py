"""BreakHis (BreaKHis_v1): 7,909 pictures of breast tumours, 82 slide folders, 40X to 400X.

Get it: http://www.inf.ufpr.br/vri/databases/BreaKHis_v1.tar.gz (Spanhol et al., IEEE TBME 2016).
Licence: CC BY 4.0 as kaiko-ai/eva states it; the release's page asks for use in research.

Pictures are found by their names at any depth, so the original tree, Kaggle's doubled root and
Kaggle's "BreaKHis 400X" are all read; type, slide and magnification stand in every name. The split
by picture of the 400X copy is not used. docs/datasets_histology.md shows the trees.

Known defects:

* Slide 14-13412 is filed twice, as ductal and as lobular carcinoma, with equally many pictures at
  each magnification. Among eight classes nobody can tell which label is right: both are left out.
  Among two classes it is read once, as ductal. ``DATASET.BREAKHIS.TWICE_FILED`` says otherwise.
* Letters behind a slide's number may mean blocks of one case. ``DATASET.BREAKHIS.GROUP stem`` keeps
  them in one part (70 groups).
* Some pictures are 700 x 456 px instead of 700 x 460. Slide 14-4364 has one picture at 40X.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from cerviclip.data.files.folders import class_folders, image_files
from cerviclip.data.files.names import parts_of
from cerviclip.data.imaging import ImagingDataset
from cerviclip.data.own_keys import add_keys, keys_of, one_of
from dassl.data.datasets import DATASET_REGISTRY

if TYPE_CHECKING:
    from yacs.config import CfgNode

SUBTYPES = {
    "A": "adenosis",
    "F": "fibroadenoma",
    "PT": "phyllodes_tumor",
    "TA": "tubular_adenoma",
    "DC": "ductal_carcinoma",
    "LC": "lobular_carcinoma",
    "MC": "mucinous_carcinoma",
    "PC": "papillary_carcinoma",
}
PARTS_OF_TUMOUR = {"B": "benign", "M": "malignant"}
KEYS = {
    "LABELS": "subtype",  # or binary: benign and malignant
    "MAGNIFICATION": "all",  # or 40X, 100X, 200X, 400X
    "GROUP": "slide",  # or stem: slides whose numbers differ in letters only count as one patient
    "TWICE_FILED": "",  # slide 14-13412 as DC, as LC or out; "": out of eight classes, DC of two
}
TWICE_FILED = "14-13412"
# SOB_B_A-14-22549AB-40-001.png: biopsy, benign or malignant, type, year and slide, magnification,
# number. Copies of the release put the folder's name before it and a number of theirs behind it.
_NAME = re.compile(
    r"(?:.*___)?(?P<biopsy>[A-Z]{3})_(?P<tumour>[BM])_(?P<type>A|F|PT|TA|DC|LC|MC|PC)"
    r"-(?P<slide>\d{2}-\d+[A-Z]*)-(?P<magnification>40|100|200|400)-(?P<number>\d{3})(?:_\d+)?"
)
_IN_NAME = r"[A-Z]{{3}}_[BM]_[A-Z]+-{}-(?:40|100|200|400)-\d{{3}}"
_PATTERNS = {
    "slide": _IN_NAME.format(r"(\d{2}-\d+[A-Z]*)"),
    "stem": _IN_NAME.format(r"(\d{2}-\d+)[A-Z]*"),
}


def extend_cfg(cfg: CfgNode) -> None:
    add_keys(cfg, "BREAKHIS", KEYS)


class Picture(NamedTuple):
    """What a file's name says of it."""

    biopsy: str
    tumour: str
    type: str
    slide: str
    magnification: str
    number: str


def picture_of(path: str) -> Picture | None:
    """What the name of a file says; None of a name that is not BreakHis's."""
    stem = path.rpartition("/")[2].rpartition(".")[0]
    match = _NAME.fullmatch(stem)
    return Picture(**match.groupdict()) if match else None


@DATASET_REGISTRY.register()
class BreakHis(ImagingDataset):
    """BreakHis breast histology, 8 tumour types or benign/malignant, by slide, 40X to 400X."""

    dataset_dir = "BreaKHis_v1"
    other_dirs = ("breakhis", "BreakHis", "BreaKHis 400X", "breakhis-400x", "histology_slides")
    classes = tuple(SUBTYPES.values())
    patient_pattern = _PATTERNS["slide"]
    positive = (
        *("ductal_carcinoma", "lobular_carcinoma", "mucinous_carcinoma", "papillary_carcinoma"),
        "malignant",
    )
    prompts = "breakhis"
    templates = ("a histopathology image of {} of the breast.",)

    def prepare(self, cfg: CfgNode) -> None:
        """Take the data set's own keys: classes, magnification and what counts as a patient."""
        keys = keys_of(cfg, "BREAKHIS", KEYS)
        magnifications = ("all", "40X", "100X", "200X", "400X", "40", "100", "200", "400")
        asked = one_of("BREAKHIS.MAGNIFICATION", keys.MAGNIFICATION, magnifications)
        self._magnification = "" if asked == "all" else asked.rstrip("X")
        self._binary = one_of("BREAKHIS.LABELS", keys.LABELS, ("subtype", "binary")) == "binary"
        self.patient_pattern = _PATTERNS[one_of("BREAKHIS.GROUP", keys.GROUP, tuple(_PATTERNS))]
        filed = one_of("BREAKHIS.TWICE_FILED", keys.TWICE_FILED, ("", "DC", "LC", "out"))
        self._filed_as = filed or ("DC" if self._binary else "out")
        if self._binary:
            self.classes = tuple(PARTS_OF_TUMOUR.values())

    def scan(self, cfg: CfgNode) -> Iterator[tuple[str, str]]:
        """Every picture once, whatever folders lie around it."""
        seen: set[Picture] = set()
        found = image_files(self.image_dir, self.skipped, self.image_dir.name)
        for path in sorted(found, key=_original_first):
            picture = picture_of(path)
            why = self._why_not(picture, seen)
            if why:
                self.skipped.left_out[why].append(path)
                continue
            seen.add(picture)
            name = PARTS_OF_TUMOUR[picture.tumour] if self._binary else SUBTYPES[picture.type]
            yield path, name
        parts = parts_of(class_folders(self.image_dir))
        if parts:
            self.notes.append(
                f"the {' and '.join(parts)} folders are not used: they are split by picture, and "
                "slides are in both parts"
            )

    def _why_not(self, picture: Picture | None, seen: set[Picture]) -> str:
        """Why a file is not read; "" if it is."""
        if picture is None:
            return "their names, which are not BreakHis's"
        if self._magnification not in ("", picture.magnification):
            return "DATASET.BREAKHIS.MAGNIFICATION"
        if picture.slide == TWICE_FILED and picture.type != self._filed_as:
            kept = "neither is read" if self._filed_as == "out" else f"read as {self._filed_as}"
            return f"slide {TWICE_FILED}, which is filed as DC and as LC ({kept})"
        return "a picture of the same name elsewhere" if picture in seen else ""

    def below_parts(self, paths: list[str]) -> list[str]:
        """None: folders are slides, magnifications or nothing, and say nothing on levels."""
        return []


def _original_first(path: str) -> tuple[bool, str]:
    """The release's own tree, with its folder for each magnification, before copies of it."""
    return re.search(r"/(40|100|200|400)X/[^/]*$", path) is None, path
