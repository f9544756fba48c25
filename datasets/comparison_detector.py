"""ComparisonDetector (Liang et al., 2021): cells of liquid-based Pap smears in eleven classes.

Where: github.com/kuku-sichuan/ComparisonDetector (and CVIU-CSU/ComparisonDetector), the folder
``images``. Licence: none is stated.

    comparison_detector/images/1/1001.jpg ...      reference crops, 11 folders of numbers
    comparison_detector/labels.tsv                 Index (a file's number) and Label

Folder 1 is ASC-US, 2 ASC-H, 3 LSIL, 4 HSIL, 5 SCC, 6 AGC, 7 trichomonas, 8 candida, 9 flora, 10
herpes (the lists write ``herps``), 11 actinomyces. Folders that bear these names are read too.

These 1,563 crops are the references of a detector whose data are 7,410 fields with 48,587 boxes.
The fields are another download and are not read here: they have boxes and no classes.

**Neither patient nor slide nor field is published** for a crop: each counts as a patient of its
own, and a warning says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cerviclip.data.files.csv_rows import read_rows
from cerviclip.data.files.names import clean
from cerviclip.data.releases import ReleasedDataset
from dassl.data.datasets import DATASET_REGISTRY
from dassl.errors import UserError
from dassl.paths import is_file

if TYPE_CHECKING:
    from yacs.config import CfgNode

_LIST = "labels.tsv"


@DATASET_REGISTRY.register()
class ComparisonDetector(ReleasedDataset):
    """ComparisonDetector's reference crops, 11 classes (no patient is known)."""

    homes = ("comparison_detector", "comparisondetector", "cdetector")
    inside = ("images",)
    #: In the order of the release's numbers.
    classes = (
        *("ASC-US", "ASC-H", "LSIL", "HSIL", "SCC", "AGC"),
        *("trichomonas", "candida", "flora", "herpes", "actinomyces"),
    )
    spellings = {name: (str(n),) for n, name in enumerate(classes, start=1)} | {
        "herpes": ("10", "herps")
    }
    positive = ("ASC-US", "ASC-H", "LSIL", "HSIL", "SCC", "AGC")
    prompts = "comparison_detector"
    templates = ("a liquid-based Pap smear photomicrograph showing {}.",)
    split_ratio = (0.60, 0.10, 0.30)

    def why_left_out(self, cfg: CfgNode, path: str) -> str:
        return "being a picture of the README" if path.startswith("README/") else ""

    def scan(self, cfg: CfgNode) -> Iterator[tuple[str, str]]:
        """The crops of the class folders, compared with the list where there is one."""
        found = list(super().scan(cfg))
        for file in (self.image_dir / _LIST, self.image_dir.parent / _LIST):
            if is_file(file):
                self._compare(file, found)
                break
        yield from found

    def _compare(self, file: Path, found: list[tuple[str, str]]) -> None:
        """Refuse a list that contradicts the folders; warn of crops that only one of them has."""
        listed = dict(self._rows(file))
        here = {Path(path).stem: (path, name) for path, name in found}
        for number in listed.keys() & here.keys():
            path, name = here[number]
            if self.class_of_folder(listed[number]) != name:
                raise UserError(
                    f"{file} calls {number} {listed[number]}, but it lies in the folder of {name} "
                    f"({path}); take the release's own files"
                )
        for lost, what in (
            (sorted(listed.keys() - here.keys()), "named crops are not there"),
            (
                sorted(here.keys() - listed.keys()),
                "crops are not named; their folders say the class",
            ),
        ):
            if lost:
                self.warn(f"{file}: {len(lost)} {what} (such as {lost[0]})")

    def _rows(self, file: Path) -> Iterator[tuple[str, str]]:
        for line, row in read_rows(file, even=False, delimiter="\t")[1]:
            number, label = clean(row.get("Index", "")), clean(row.get("Label", ""))
            if not (number and label):
                raise UserError(
                    f"{file} line {line} has no Index or no Label; take the release's own list"
                )
            yield number, label
