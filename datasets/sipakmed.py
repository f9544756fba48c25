"""SIPaKMeD (Plissiti et al., ICIP 2018): cells of Pap smears in five classes.

Where: https://www.cs.uoi.gr/~marina/sipakmed.html (an archive for each class), or Kaggle's copy.
Licence: none is stated; "for experimental purposes", with a request to cite the paper.

The release holds 966 images of cell clusters and the 4,049 cells cut out of them:

    im_Dyskeratotic/001.bmp                 a cluster image (2048 x 1536 px)
    im_Dyskeratotic/001_cyt01.dat ...       contours as text, not read
    im_Dyskeratotic/CROPPED/001_01.bmp      a cell cut out of 001.bmp (48 to 553 px)

Read too: the class folder inside itself (Kaggle), crops moved up into the class folder, folders
without ``im_`` or with ``_flat``, misspelt ones, and ``train|val|test`` folders of class folders.

**No patient or slide is published.** What is known is the cluster image that a cell was cut out of,
and its number starts anew in each class. So the group is class and number (``Dyskeratotic-001``),
and the split is by cluster, not by patient: a smear may lie in several clusters and in both parts.
A cell's size in px alone separates the classes well (median 108 px against 340 px): resizing hides
it, a reader that pads does not.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from cerviclip.data.own_keys import add_keys, keys_of, one_of
from cerviclip.data.releases import ReleasedDataset
from dassl.data.datasets import DATASET_REGISTRY
from dassl.errors import UserError

if TYPE_CHECKING:
    from yacs.config import CfgNode

KEYS = {"IMAGES": "cells"}  # or clusters (whole fields), or both
_CELL = re.compile(r"\d+_\d+$")  # 001_01
_CLUSTER = re.compile(r"\d+$")  # 001
_SAME_NAME = "being a second copy of an image"


def extend_cfg(cfg: CfgNode) -> None:
    """The section ``DATASET.SIPAKMED``."""
    add_keys(cfg, "SIPAKMED", KEYS)


@DATASET_REGISTRY.register()
class SIPaKMeD(ReleasedDataset):
    """SIPaKMeD Pap-smear cells or clusters, 5 classes, split by cluster (no patient is known)."""

    homes = ("sipakmed", "sipakmed_database", "sipakmed dataset")
    classes = (
        "Dyskeratotic",
        "Koilocytotic",
        "Metaplastic",
        "Parabasal",
        "Superficial-Intermediate",
    )
    # Without "im_" and "_flat", which class_of_folder takes off.
    spellings = {
        "Koilocytotic": ("Koilocytic",),
        "Metaplastic": ("Metaplasticimage",),
        "Superficial-Intermediate": ("Superficial",),
    }
    # 001.bmp and 001_01.bmp: the leading number is the cluster's, in its class.
    patient_pattern = r"^(\d+)(?:_\d+)?\.\w+$"
    group_word = "clusters"
    # The authors' grouping: these two are abnormal, metaplastic cells benign, the others normal.
    positive = ("Dyskeratotic", "Koilocytotic")
    prompts = "sipakmed"
    templates = ("a Pap smear photomicrograph of a {} cell.",)
    split_ratio = (0.70, 0.15, 0.15)

    def class_of_folder(self, folder: str) -> str:
        return super().class_of_folder(re.sub(r"(?i)^im[_ -]+|[_ -]flat$", "", folder.strip()))

    def scan(self, cfg: CfgNode) -> Iterator[tuple[str, str]]:
        """Images of the asked kind, each once."""
        keys = keys_of(cfg, "SIPAKMED", KEYS)
        self._wanted = wanted = one_of(
            "SIPAKMED.IMAGES", keys.IMAGES, ("cells", "clusters", "both")
        )
        self._first: dict[tuple[str, str, str], str] = {}
        found = [(p, name) for p, name in super().scan(cfg) if not self._is_second(p, name)]
        yield from found
        other = f"not being {wanted} (DATASET.SIPAKMED.IMAGES)"
        if not found and self.skipped.left_out.get(other):
            lost = self.skipped.left_out[other]
            kind = "clusters" if wanted == "cells" else "cells"
            raise UserError(
                f"{self.image_dir} holds no {wanted} but {len(lost)} {kind} (such as {lost[0]}); "
                f"add the release's {wanted}, or set DATASET.SIPAKMED.IMAGES {kind}"
            )

    def why_left_out(self, cfg: CfgNode, path: str) -> str:
        unlike = {"cells": _CLUSTER, "clusters": _CELL}.get(self._wanted)
        if unlike is not None and unlike.match(_stem(path)):
            return f"not being {self._wanted} (DATASET.SIPAKMED.IMAGES)"
        return ""

    def patient_of(self, regex: re.Pattern[str], path: str) -> str:
        """The cluster, with its class: its number starts anew in each; a pattern of the user's own
        is taken as it is."""
        found = super().patient_of(regex, path)
        own = regex.pattern == self.patient_pattern
        return f"{self._classes[path]}-{found}" if found and own else found

    def _is_second(self, path: str, name: str) -> bool:
        """Whether the same image was met before, as where crops lie in CROPPED and above it."""
        key = (self._parts.get(path, ""), name, _stem(path))
        first = self._first.setdefault(key, path)
        if first == path or not re.fullmatch(r"\d+(_\d+)?", _stem(path)):
            return False
        sizes = {os.path.getsize(self.image_dir / p) for p in (first, path)}
        if len(sizes) > 1:
            raise UserError(
                f"{self.image_dir} holds two images called {_stem(path)} of class {name} that "
                f"differ ({first} and {path}); keep the release's own"
            )
        self.skipped.left_out[_SAME_NAME].append(path)
        return True


def _stem(path: str) -> str:
    return path.rpartition("/")[2].rpartition(".")[0]
