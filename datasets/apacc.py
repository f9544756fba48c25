"""APACC: 103,675 cells of Pap smears in four classes.

Where: https://osf.io/fp2xe. Its training part is also that of the PS3C challenge (ISBI 2025).

    apacc/train|test/<class>/*.png                            two parts
    apacc/isbi2025-ps3c-train-dataset/<class>/*.png           the challenge's part with labels

``healthy``, ``unhealthy``, ``bothcells`` (cells of both kinds in one image), ``rubbish`` (no cell
that can be judged). The challenge's folders are those that public loaders read. **The layout in
``train`` and ``test`` is an assumption**: no loader and no file list that shows it was found. No
file of the release was at hand when this was written.

**Neither patient nor slide stands in the names**: the cells are of 107 smears, and nothing tells
which. Parts are taken as they are; without parts the split is by image and the same smear is on all
sides, so scores are too good and intervals too narrow. A warning says so. If your copy's names tell
the smear, ``DATASET.PATIENT_PATTERN`` takes it.
"""

from __future__ import annotations

from cerviclip.data.releases import ReleasedDataset
from dassl.data.datasets import DATASET_REGISTRY


@DATASET_REGISTRY.register()
class APACC(ReleasedDataset):
    """APACC Pap-smear cells, 4 classes; no patient or slide is known."""

    homes = ("apacc", "ps3c", "isbi2025-ps3c-train-dataset")
    classes = ("healthy", "unhealthy", "bothcells", "rubbish")
    spellings = {"bothcells": ("both",)}
    positive = ("unhealthy", "bothcells")
    prompts = "apacc"
    templates = ("a Pap smear photomicrograph of {} cells.",)
