"""HiCervix (IEEE TMI 2024): 40,229 cells of Pap smears, 26 labels in a tree of three levels.

Where: https://zenodo.org/records/11087263. Licence: the README says GPLv3 and also "non-commercial
academic purposes"; ask before any other use.

    hicervix/train.csv val.csv test.csv     image_name,class_name,class_id,level_1,level_2,level_3
    hicervix/train/<uuid>.jpg ...           28,160 / 4,018 / 8,051 images, one folder a part

The tree has 29 nodes: 4 on level 1, 21 on level 2, 4 on level 3. Cells of inner nodes (``AGC``,
``AGC-NOS``, ``ADC``) stand beside those of their children, so labels do not exclude each other:
``AGC-ECC-NOS`` is an ``AGC-NOS`` that somebody could tell more of. ``levels`` holds the tree.

**Neither patient nor slide is published**, and whether the official split is by slide is not said.
It is taken as it is, each image counts as a patient of its own, and a warning says so.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cerviclip.data.files.csv_rows import read_rows
from cerviclip.data.files.folders import image_files
from cerviclip.data.files.names import clean
from cerviclip.data.releases import ReleasedDataset, home_and_below
from cerviclip.data.split.patient_grouped import PARTS
from dassl.data.datasets import DATASET_REGISTRY
from dassl.errors import MissingFileError, UserError
from dassl.paths import at_home, is_dir, is_file

if TYPE_CHECKING:
    from yacs.config import CfgNode

_COLUMNS = ("image_name", "class_name", "level_1", "level_2", "level_3")
_TREE = {
    "negative": "Normal ECC RPC MPC PG Atrophy EMC HCG".split(),
    "ASC": "ASC-US LSIL ASC-H HSIL SCC".split(),
    "AGC": "AGC-NOS AGC-FN ADC".split(),
    "microbe": "FUNGI ACTINO TRI HSV CC".split(),
}
_LEAVES = {"AGC-NOS": ("AGC-ECC-NOS", "AGC-EMC-NOS"), "ADC": ("ADC-ECC", "ADC-EMC")}


def _levels() -> dict[str, tuple[str, str, str]]:
    """The nodes of levels 1 to 3 on the way to each label; "" below it."""
    found = {name: (top, name, "") for top, names in _TREE.items() for name in names}
    for name, below in _LEAVES.items():
        found |= {leaf: ("AGC", name, leaf) for leaf in below}
    return found | {"AGC": ("AGC", "", "")}


@DATASET_REGISTRY.register()
class HiCervix(ReleasedDataset):
    """HiCervix cells, 26 labels in a tree of three levels, official split (no patient is known)."""

    homes = ("hicervix",)
    #: In the order of the release's class_id.
    classes = (
        *("Normal", "ECC", "RPC", "MPC", "PG", "Atrophy", "EMC", "HCG"),
        *("ASC-US", "LSIL", "ASC-H", "HSIL", "SCC", "AGC", "AGC-NOS", "AGC-FN", "ADC"),
        *("AGC-ECC-NOS", "AGC-EMC-NOS", "ADC-ECC", "ADC-EMC"),
        *("FUNGI", "ACTINO", "TRI", "HSV", "CC"),
    )
    levels = _levels()
    positive = tuple(name for name, (top, _, _) in levels.items() if top in ("ASC", "AGC"))
    prompts = "hicervix"
    templates = ("a Pap smear photomicrograph of a cell: {}.",)

    def find_folder(self, cfg: CfgNode) -> Path:
        """The folder of train.csv and test.csv."""
        root = Path(os.path.abspath(at_home(cfg.DATASET.ROOT or ".")))
        for folder in home_and_below(root, cfg.DATASET.FOLDER, self.homes):
            if is_file(folder / "train.csv") and is_file(folder / "test.csv"):
                return folder
        looked = root / (cfg.DATASET.FOLDER or self.homes[0])
        raise MissingFileError(
            f"no train.csv and test.csv of {self.name} in {looked}; set --root (DATASET.ROOT) or "
            "DATASET.FOLDER"
        )

    def scan(self, cfg: CfgNode) -> Iterator[tuple[str, str]]:
        """The images that the three lists name, wherever they lie in their part's folder."""
        seen: dict[str, str] = {}
        for part in PARTS:
            file = self.image_dir / f"{part}.csv"
            if not is_file(file):  # val alone may be absent
                continue
            rows = self._rows(file)
            folder = self.image_dir / part
            found = image_files(folder, self.skipped, part) if is_dir(folder) else []
            here = {path.rpartition("/")[2]: f"{part}/{path}" for path in found}
            self._account(file, rows, here)
            for name, label in rows.items():
                if name in seen:
                    raise UserError(f"{file} lists {name}, which {seen[name]} lists too")
                seen[name] = file.name
                if name in here:
                    self._parts[here[name]] = part
                    yield here[name], label

    def _rows(self, file: Path) -> dict[str, str]:
        """Label by image's name, its levels compared with the tree."""
        rows: dict[str, str] = {}
        head, lines = read_rows(file, even=False, skipinitialspace=True)
        lacking = [c for c in _COLUMNS if c not in head]
        if lacking:
            raise UserError(f"{file} has no column {lacking[0]}; take the release's own list")
        for _, row in lines:
            name, label, *levels = (clean(row[column]) for column in _COLUMNS)
            if self.levels.get(label) != tuple(levels):
                raise UserError(
                    f'{file} puts {name} under "{label}" ({", ".join(filter(None, levels))}), '
                    "which is not in HiCervix's tree; take the release's own list"
                )
            rows[name] = label
        return rows

    def _account(self, file: Path, rows: dict[str, str], here: dict[str, str]) -> None:
        """Warn of listed images that are not there, and of images that are not listed."""
        for lost, what in (
            (sorted(rows.keys() - here.keys()), "named in it are not there"),
            (sorted(here.keys() - rows.keys()), f"in {file.stem}/ are not named in it"),
        ):
            if lost:
                of = max(len(rows), len(here))
                self.warn(
                    f"{file}: {len(lost)} of {of} images {what} (such as {lost[0]}); they are left "
                    "out"
                )
