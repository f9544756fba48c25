"""IARC's atlas of colposcopy: pictures of the cervix of women with low-grade or high-grade lesions.

Where: https://screening.iarc.fr/atlascolpo.php; as files in github.com/naghim/
colposcopy-digital-atlas-dataset. Licence: IARC's terms of use; the repository states none.

    iarc/colposcopy_cases_{high,low}_grade.csv                     a row for each case
    iarc/images_high_grade/case_AAAN/3_After_acetic_acid.jpg       45 cases, 219 pictures
    iarc/images_low_grade/case_AABD/1_After_normal_saline.jpg      17 cases,  74 pictures

All pictures have 800 x 600 px.

**A case is a patient**: the split keeps the pictures of a case in one part. The grade is the
histology's (CIN1 against CIN2 and worse), as the atlas files the case, and not the colposcopist's.

Each case has pictures of several steps of the examination, and the name tells the step.
``DATASET.IARC.IMAGES`` takes ``acetic`` (after acetic acid, in white light, the usual input),
``saline``, ``iodine`` or ``all``. Pictures of the vulva show no cervix and are left out.

62 cases are few: use folds, and read the intervals. The two lists hold no healthy cervix.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cerviclip.data.files.csv_rows import read_rows
from cerviclip.data.files.names import clean
from cerviclip.data.own_keys import add_keys, keys_of, one_of
from cerviclip.data.releases import ReleasedDataset
from dassl.data.datasets import DATASET_REGISTRY
from dassl.errors import UserError
from dassl.paths import is_file

if TYPE_CHECKING:
    from yacs.config import CfgNode

KEYS = {"IMAGES": "acetic"}  # or saline, iodine, all
_STEPS = {
    # Not through a green filter and not of the canal behind a speculum; a closer look is one.
    "acetic": re.compile(r"after_acetic_acid(?!.*(green|speculum))", re.IGNORECASE),
    "saline": re.compile(r"after_normal_saline(?!.*green)", re.IGNORECASE),
    "iodine": re.compile(r"after_lugol", re.IGNORECASE),
    "all": re.compile(""),
}
_CASE = re.compile(r"case_([A-Z]+)/")
_WORSE = re.compile(r"CIN ?[23]|invasive|carcinoma|cancer", re.IGNORECASE)


def extend_cfg(cfg: CfgNode) -> None:
    """The section ``DATASET.IARC``."""
    add_keys(cfg, "IARC", KEYS)


@DATASET_REGISTRY.register()
class IARCColposcopy(ReleasedDataset):
    """IARC's colposcopies of low-grade and high-grade lesions, split by case (the patient)."""

    homes = ("iarc", "iarc_colposcopy", "colposcopy-digital-atlas-dataset")
    classes = ("low-grade", "high-grade")
    spellings = {"low-grade": ("images_low_grade",), "high-grade": ("images_high_grade",)}
    # case_AAAN/3_After_acetic_acid.jpg: the folder tells the case.
    patient_pattern = _CASE.pattern
    group_word = "cases"
    positive = ("high-grade",)
    prompts = "iarc_colposcopy"
    templates = ("a colposcopy of a cervix with a {} lesion.",)
    split_ratio = (0.60, 0.10, 0.30)

    def prepare(self, cfg: CfgNode) -> None:
        super().prepare(cfg)
        keys = keys_of(cfg, "IARC", KEYS)
        self._wanted = one_of("IARC.IMAGES", keys.IMAGES, tuple(_STEPS))

    def why_left_out(self, cfg: CfgNode, path: str) -> str:
        name = path.rpartition("/")[2]
        if "vulva" in name.casefold():
            return "being of the vulva"
        if not _STEPS[self._wanted].search(name):
            return f"being of another step than {self._wanted} (DATASET.IARC.IMAGES)"
        return ""

    def scan(self, cfg: CfgNode) -> Iterator[tuple[str, str]]:
        """The pictures of the asked step, their cases compared with the lists."""
        found = list(super().scan(cfg))
        taken = {case for path, _ in found if (case := _case_of(path))}
        out = (path for paths in self.skipped.left_out.values() for path in paths)
        without = sorted({case for path in out if (case := _case_of(path))} - taken)
        if without:
            self.warn(
                f"{self.name}: {len(without)} of the cases have no picture of the step "
                f"{self._wanted} (such as {without[0]}) and are left out (DATASET.IARC.IMAGES)"
            )
        for name in self.classes:
            file = self.image_dir / f"colposcopy_cases_{name.replace('-grade', '_grade')}.csv"
            if is_file(file):
                self._compare(file, name)
        yield from found

    def _compare(self, file: Path, name: str) -> None:
        """Warn where a list and the folders disagree on cases, pictures or the grade."""
        folder = next(
            (f for f in self.image_dir.iterdir() if self.class_of_folder(f.name) == name), None
        )
        counts = Counter(
            case
            for path in (folder.rglob("*.jpg") if folder else ())
            if (case := _case_of(path.relative_to(self.image_dir).as_posix()))
        )
        rows = _rows(file)
        differ = [c for c, row in rows.items() if str(counts[c]) != clean(row["num_images"] or "")]
        if differ:
            shown = rows[differ[0]]["num_images"]
            self.warn(
                f"{file}: {len(differ)} of {len(rows)} cases have other numbers of pictures than "
                f"it says (such as {differ[0]}: {counts[differ[0]]} instead of {shown})"
            )
        unlisted = sorted(counts.keys() - rows.keys())
        if unlisted:
            self.warn(f"{file}: {len(unlisted)} cases are not named in it (such as {unlisted[0]})")
        high = name == "high-grade"
        odd = [
            case
            for case, row in rows.items()
            if bool(_WORSE.search(row["histopathology_diagnosis"] or "")) != high
        ]
        if odd:
            says = rows[odd[0]]["histopathology_diagnosis"]
            self.warn(
                f"{file}: the histology of {len(odd)} cases is not {name} (such as {odd[0]}: "
                f"{says}); the folder is taken as their class"
            )


def _case_of(path: str) -> str:
    """The case of a path below the image folder; "" where no folder tells one."""
    match = _CASE.search(path)
    return match.group(1) if match else ""


def _rows(file: Path) -> dict[str, dict[str, str]]:
    """A list's rows by case."""
    wanted = ("case_id", "histopathology_diagnosis", "num_images")
    head, rows = read_rows(file, even=False)
    lacking = [column for column in wanted if column not in head]
    if lacking:
        raise UserError(f"{file} has no column {lacking[0]}; take the repository's own list")
    return {clean(row["case_id"]): row for _, row in rows}
