"""Any registered data sets as the centres of one: train on some, test on others.

    python train.py --dataset Centers --root $DATA --trainer LinearProbe --backbone ... \\
        DATASET.CENTERS "['Herlev', 'SIPaKMeD']" DATASET.CLASS_MAP_FILE normal_abnormal \\
        DATASET.FOLD 1/2

``DATASET.CLASS_MAP_FILE`` (or CLASSES and CLASS_MAP) gives them common classes. ``DATASET.FOLD``
leaves a centre out, ``SOURCE_DOMAINS`` and ``TARGET_DOMAINS`` choose centres by name.
``DATASET.EXTERNAL_FOLDERS`` says where a centre lies, if not in its usual place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cerviclip import plugins
from cerviclip.data.centers.domains import CentersAsDomains
from cerviclip.data.imaging import ImagingDataset
from dassl.data.datasets import DATASET_REGISTRY
from dassl.errors import UserError

if TYPE_CHECKING:
    from yacs.config import CfgNode


@DATASET_REGISTRY.register()
class Centers(CentersAsDomains):
    """Registered data sets as centres (DATASET.CENTERS), for leave-one-centre-out and DG."""

    own_images = True

    def _chosen(self, cfg: CfgNode) -> dict[str, type[ImagingDataset]]:
        names = list(dict.fromkeys(cfg.DATASET.CENTERS))
        if len(names) < 2:
            raise UserError(
                "Centers needs DATASET.CENTERS, two or more registered data sets, such as "
                "\"['Herlev', 'SIPaKMeD']\""
            )
        kinds = {name: plugins.ensure_loaded("dataset", name) for name in names}
        for name, kind in kinds.items():
            if not (isinstance(kind, type) and issubclass(kind, ImagingDataset)):
                raise UserError(f"DATASET.CENTERS names {name}, which is no set of single images")
        return kinds
