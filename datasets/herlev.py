"""Herlev (smear2005, Jantzen et al., 2005): single cells of Pap smears in seven classes.

Where: https://mde-lab.aegean.gr/index.php/downloads. Licence: none is stated; free for research.

    smear2005/New database pictures/<class>/149143370-149143378-001.BMP      a cell (32 to 768 px)
    smear2005/New database pictures/<class>/149143370-149143378-001-d.bmp    its segmentation

917 cells. Segmentations are told by the end of their names, whatever the case of the letters, since
copies change it. Read too: class folders of JPEG below ``images``; copies in ``train`` and
``validation`` or ``test`` folders. The release writes ``normal_superficiel``.

**No patient is published.** The leading number of a name is the best group there is: 323 numbers,
which 39 times hold cells of several classes. The split keeps each number in one part. Copies made
by drawing cells at random do not (one that goes round shares 13 numbers between its folders); the
images of such folders are put together and split anew.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cerviclip.data.releases import ReleasedDataset
from dassl.data.datasets import DATASET_REGISTRY

if TYPE_CHECKING:
    from yacs.config import CfgNode

_SEGMENTATION = re.compile(r"-(d|cyt|nuc)\.\w+$", re.IGNORECASE)


@DATASET_REGISTRY.register()
class Herlev(ReleasedDataset):
    """Herlev Pap-smear cells, 7 classes (normal and dysplastic), split by slide."""

    homes = ("herlev", "smear2005", "herlev-dataset")
    inside = ("images", "New database pictures", "smear2005/New database pictures")
    classes = (
        "carcinoma_in_situ",
        "light_dysplastic",
        "moderate_dysplastic",
        "normal_columnar",
        "normal_intermediate",
        "normal_superficial",
        "severe_dysplastic",
    )
    spellings = {"normal_superficial": ("normal_superficiel",)}
    # 149143370-149143378-001.jpg: the leading number stands for the slide.
    patient_pattern = r"^(\d+)-"
    group_word = "slides"
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

    def why_left_out(self, cfg: CfgNode, path: str) -> str:
        return "being a segmentation" if _SEGMENTATION.search(path) else ""
