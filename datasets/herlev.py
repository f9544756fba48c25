"""Herlev (smear2005): 917 single cells from Pap smears in seven classes, split by slide.

Two layouts are read: class folders of JPEG under ``images``, and the original release, whose
folders hold ``.BMP`` cells with ``-d.bmp`` segmentations beside them. The data lie in
DATASET.ROOT/herlev or in DATASET.ROOT itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cerviclip.data.files.folders import class_folders
from cerviclip.data.imaging import ImagingDataset
from dassl.data.datasets import DATASET_REGISTRY
from dassl.errors import MissingFileError

if TYPE_CHECKING:
    from yacs.config import CfgNode

# Folder names of the original release that differ from ours.
ORIGINAL_NAMES = {"normal_superficiel": "normal_superficial"}


@DATASET_REGISTRY.register()
class Herlev(ImagingDataset):
    """Herlev Pap-smear cells, 7 classes (normal and dysplastic), split by slide."""

    classes = (
        "carcinoma_in_situ",
        "light_dysplastic",
        "moderate_dysplastic",
        "normal_columnar",
        "normal_intermediate",
        "normal_superficial",
        "severe_dysplastic",
    )
    # 149143370-149143378-001.jpg: the leading number is the slide.
    patient_pattern = r"^(\d+)-"
    positive = (
        "carcinoma_in_situ",
        "light_dysplastic",
        "moderate_dysplastic",
        "severe_dysplastic",
    )
    prompts = "herlev"
    templates = ("a Pap smear photomicrograph of a {} cell.",)
    # 0.6 rather than 0.45 for training: seven classes share 917 cells.
    split_ratio = (0.60, 0.10, 0.30)

    def find_folder(self, cfg: CfgNode) -> Path:
        """The first folder among the usual places that holds class folders."""
        root = Path(cfg.DATASET.ROOT or ".").expanduser().absolute()
        bases = [root / cfg.DATASET.FOLDER] if cfg.DATASET.FOLDER else [root / "herlev", root]
        inner = ("images", "", "New database pictures", "smear2005/New database pictures")
        known = {*self.classes, *ORIGINAL_NAMES}
        for base in bases:
            for name in inner:
                folder = base / name
                if folder.is_dir() and known & set(class_folders(folder)):
                    return folder
        raise MissingFileError(
            f"no Herlev cells under {' or '.join(map(str, bases))}: none of the class folders "
            f"({', '.join(self.classes[:2])} ...) is there; set --root (DATASET.ROOT) or "
            "DATASET.FOLDER"
        )

    def scan(self, cfg: CfgNode) -> Iterator[tuple[str, str]]:
        """Cells only: ``-d`` files are segmentations."""
        for path, folder in super().scan(cfg):
            if not path.rpartition(".")[0].lower().endswith("-d"):
                yield path, ORIGINAL_NAMES.get(folder, folder)
