"""Cytology beyond the cervix, and BMT: sets of the few-shot benchmark Cytology_Benchmark.

The layout is that of github.com/mdausort/Cytology_Benchmark (Dausort et al.): class folders in
``<set>/images`` and, if wanted, its lists ``<set>/splits/{train,val,test}.txt``, whose lines are
``path label`` with paths below ``images``. Class folders may also lie in ``<set>`` itself.

| set | get it | classes |
| --- | --- | --- |
| BCFC | kaggle cmacus/body-cavity-fluid-cytology-images | benign, malignant |
| BMCD | kaggle andrewmvd/bone-marrow-cell-classification (Matek et al.) | 21 bone-marrow cells |
| BMT | Synapse syn55262661 (Brown Multicellular ThinPrep, PMC11682344) | NIL, LSIL, HSIL |
| FNAC2019 | OneDrive, link in the benchmark's README | B (benign), M (malignant) |

No public loader tells the patient from a file's name, and the releases were not at hand: each image
counts as a patient until ``DATASET.PATIENT_PATTERN`` says more. BMT's paper says that its 600
images are of 180 patients. The benchmark's own lists are read with ``DATASET.CYTOLOGY_BENCHMARK
.SPLIT lists``; nothing shows that they keep patients apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cerviclip.data.files.folders import class_folders
from cerviclip.data.files.lists.entries import Entry
from cerviclip.data.files.lists.tables import read_pairs
from cerviclip.data.imaging import ImagingDataset
from cerviclip.data.own_keys import add_keys, keys_of, one_of
from cerviclip.data.split.files import place_entries
from cerviclip.data.split.patient_grouped import PARTS, Item, Split
from dassl.data.datasets import DATASET_REGISTRY
from dassl.errors import MissingFileError, UserError
from dassl.paths import is_dir, is_file

if TYPE_CHECKING:
    from yacs.config import CfgNode

KEYS = {"SPLIT": "ratio"}  # or lists: the benchmark's splits/{train,val,test}.txt
BONE_MARROW = {
    "ABE": "abnormal eosinophil",
    "ART": "artefact",
    "BAS": "basophil",
    "BLA": "blast",
    "EBO": "erythroblast",
    "EOS": "eosinophil",
    "FGC": "faggot cell",
    "HAC": "hairy cell",
    "KSC": "smudge cell",
    "LYI": "immature lymphocyte",
    "LYT": "lymphocyte",
    "MMZ": "metamyelocyte",
    "MON": "monocyte",
    "MYB": "myelocyte",
    "NGB": "band neutrophil",
    "NGS": "segmented neutrophil",
    "NIF": "not identifiable cell",
    "OTH": "other cell",
    "PEB": "proerythroblast",
    "PLM": "plasma cell",
    "PMO": "promyelocyte",
}


def extend_cfg(cfg: CfgNode) -> None:
    add_keys(cfg, "CYTOLOGY_BENCHMARK", KEYS)


class _BenchmarkSet(ImagingDataset):
    """Class folders, of which the release's names become classes by ``folders``."""

    folders: dict[str, str] = {}  # folder of the release: class

    def prepare(self, cfg: CfgNode) -> None:
        """Take the set's own keys."""
        keys = keys_of(cfg, "CYTOLOGY_BENCHMARK", KEYS)
        split = one_of("CYTOLOGY_BENCHMARK.SPLIT", keys.SPLIT, ("ratio", "lists"))
        self._lists = split == "lists"

    def find_folder(self, cfg: CfgNode) -> Path:
        """The folder of class folders: the set's ``images``, or what lies around them."""
        folder = self._home = super().find_folder(cfg)
        known = {*self.folders, *self.folders.values()}
        for place in (folder / "images", folder, *sorted(folder.glob("*/"))):
            if is_dir(place) and known & set(class_folders(place)):
                return place
        raise MissingFileError(
            f"{folder} holds none of the class folders of {self.name} "
            f"({', '.join(sorted(self.folders)[:3])}), also in images; set --root (DATASET.ROOT) "
            "or DATASET.FOLDER"
        )

    def scan(self, cfg: CfgNode) -> Iterator[tuple[str, str]]:
        for folder in class_folders(self.image_dir, self.skipped):
            if folder == "splits" and self.image_dir == self._home:
                continue
            yield from self.scan_class(folder, self.folders.get(folder, folder))

    def make_split(self, cfg: CfgNode, items: list[Item]) -> Split:
        """The benchmark's lists if they are asked for, else a split by ratio."""
        if not self.patients_known:
            self.warn(
                f"{self.name}: nothing tells whose images these are, so each counts as a patient "
                "of its own; if file names tell more, set DATASET.PATIENT_PATTERN"
            )
        if not self._lists or cfg.DATASET.SPLIT_FILE:
            return super().make_split(cfg, items)
        self.check_split_by(cfg.DATASET.SPLIT_BY)
        self.split_source = "release"
        folder = self._home / "splits"
        entries = self._entries(folder)
        split = place_entries(
            entries, items, str(folder), self.root, self.image_dir, cfg.DATASET.SPLIT_BY
        )
        listed = {item.path for part in split.values() for item in part}
        absent = [item.path for item in items if item.path not in listed]
        if absent:
            raise UserError(
                f"{len(absent)} images of {self.image_dir} are in no list of {folder} (such as "
                f"{absent[0]}); leave them out with DATASET.LEAVE_OUT, or split by ratio"
            )
        return split

    def _entries(self, folder: Path) -> list[Entry]:
        """What the three lists name. The folder is the class: their numbers say nothing."""
        entries: list[Entry] = []
        for part in PARTS:
            file = folder / f"{part}.txt"
            if not is_file(file):
                raise MissingFileError(
                    f"there is no {file}, one of the benchmark's lists; set "
                    "DATASET.CYTOLOGY_BENCHMARK.SPLIT to ratio to split anew"
                )
            entries += read_pairs(file, part)
        return entries


@DATASET_REGISTRY.register()
class BCFC(_BenchmarkSet):
    """Body cavity fluid cytology, benign or malignant."""

    dataset_dir = "bcfc"
    folders = {"benign": "benign", "malignant": "malignant"}
    classes = ("benign", "malignant")
    positive = ("malignant",)
    prompts = "cytology_benchmark"
    templates = ("a cytology image of {} body cavity fluid.",)


@DATASET_REGISTRY.register()
class FNAC2019(_BenchmarkSet):
    """Breast fine-needle aspiration cytology (FNAC 2019), benign or malignant."""

    dataset_dir = "fnac2019"
    folders = {"B": "benign", "M": "malignant"}
    classes = ("benign", "malignant")
    positive = ("malignant",)
    prompts = "cytology_benchmark"
    templates = ("a fine-needle aspiration cytology image of a {} breast lesion.",)


@DATASET_REGISTRY.register()
class BMT(_BenchmarkSet):
    """Brown Multicellular ThinPrep: liquid-based Pap fields, NILM, LSIL and HSIL."""

    dataset_dir = "bmt"
    folders = {"NIL": "NILM", "LSIL": "LSIL", "HSIL": "HSIL"}
    classes = ("NILM", "LSIL", "HSIL")
    class_order = classes
    positive = ("LSIL", "HSIL")
    prompts = "bmt"
    templates = ("a liquid-based Pap smear image: {}.",)


@DATASET_REGISTRY.register()
class BMCD(_BenchmarkSet):
    """Bone-marrow cells (Matek et al.), 21 kinds under three-letter codes."""

    dataset_dir = "bmcd"
    other_dirs = ("bone_marrow_cell_dataset",)
    folders = BONE_MARROW
    classes = tuple(BONE_MARROW.values())
    templates = ("a bone marrow smear photomicrograph of a {}.",)
