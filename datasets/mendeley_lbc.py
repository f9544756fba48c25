"""Mendeley LBC (Hussain et al., 2020): fields of liquid-based Pap smears in four classes.

Where: https://data.mendeley.com/datasets/zddtpgzv63/4 (and copies on Kaggle). Licence: CC BY 4.0.

    Negative for Intraepithelial malignancy/NL_1_ (6).jpg       613 fields, 43 numbers
    Low squamous intra-epithelial lesion/LSIL_3 (3).jpg         113 fields,  4 numbers
    High squamous intra-epithelial lesion/HSIL_1 (1).jpg        163 fields, 10 numbers
    Squamous cell carcinoma/scc_1 (1).jpg                        74 fields,  4 numbers

963 JPEG of 2048 x 1536 px, 40x; a copy on Kaggle lacks one NILM field. Case, dashes and short
folder names (``NL``, ``HSIL``) are taken as they come.

**No patient is published**: the record speaks of 460 patients, and the number in a name is one of
61 sessions or slides. The split keeps each number of each class in one part. LSIL and SCC have
four numbers each, so their shares are coarse, and number goes with stain and day: with so few of
them a model may learn the day. Copies made by warping (``HSIL_1 (1)_0_4446.jpg``) are refused: in
the one that goes round only the three abnormal classes are warped, which tells them by itself.
"""

from __future__ import annotations

import re

from cerviclip.data.releases import ReleasedDataset
from dassl.data.datasets import DATASET_REGISTRY
from dassl.errors import UserError

_WARPED = re.compile(r"\(\d+\)_\d+_\d+\.\w+$")


@DATASET_REGISTRY.register()
class MendeleyLBC(ReleasedDataset):
    """Mendeley liquid-based cytology, 4 classes, split by group number (no patient is known)."""

    homes = ("mendeley_lbc", "mendeleylbc", "mendeley lbc", "lbc", "liquid_based_cytology")
    classes = ("NILM", "LSIL", "HSIL", "SCC")
    class_order = classes  # Bethesda, from negative to cancer
    spellings = {
        "NILM": (
            "Negative for Intraepithelial malignancy",
            "Negative for intraepithelial lesion or malignancy",
            "NL",
            "Normal",
        ),
        "LSIL": (
            "Low squamous intra-epithelial lesion",
            "Low grade squamous intraepithelial lesion",
        ),
        "HSIL": (
            "High squamous intra-epithelial lesion",
            "High grade squamous intraepithelial lesion",
        ),
        "SCC": ("Squamous cell carcinoma",),
    }
    # HSIL_1 (1).jpg, NL_16_ (4).jpg, scc_2 (9).jpg: class and number; its letters in one case.
    patient_pattern = r"^((?:HSIL|LSIL|NL|SCC)_\d+)_? ?\(\d+\)\.\w+$"
    group_word = "groups"
    positive = ("LSIL", "HSIL", "SCC")
    prompts = "bethesda"
    templates = ("a liquid-based Pap smear photomicrograph showing {}.",)

    def patients_of(self, paths: list[str], pattern: str = "") -> list[str]:
        warped = [path for path in paths if _WARPED.search(path)]
        if warped and not pattern:
            raise UserError(
                f"{len(warped)} of {len(paths)} images of {self.name} are warped copies by their "
                f"names (such as {warped[0]}): take the release's own, or leave them out with "
                "DATASET.LEAVE_OUT \"('*)_*_*',)\""
            )
        return super().patients_of(paths, pattern)

    def patient_of(self, regex: re.Pattern[str], path: str) -> str:
        own = regex.pattern == self.patient_pattern
        if own:
            regex = re.compile(regex.pattern, re.IGNORECASE)
        found = super().patient_of(regex, path)
        return found.upper() if own else found
