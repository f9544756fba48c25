"""Cervical OCT from three centres (the data of SAVLT): mixed-centre, Huaxi and Xiangya.

Folders under DATASET.ROOT: ``mixed|huaxi|xiangya/images/<class>/*.png``. The mixed-centre frames
give train, val and test; the other two centres are tested on only.
"""

from __future__ import annotations

from cerviclip.data.centers.domains import CentersAsDomains
from cerviclip.data.imaging import ImagingDataset
from dassl.data.datasets import DATASET_REGISTRY

CLASSES = (
    "cancer",
    "cyst",
    "ectropion",
    "high-grade_squamous_intraepithelial_lesion",
    "mild_inflammation",
)


@DATASET_REGISTRY.register()
class MixedCenterOCT(ImagingDataset):
    """Cervical OCT frames of several hospitals, five classes: train, val and test by patient."""

    dataset_dir = "mixed/images"
    other_dirs = ("mixed-center_OCT_images/images", "mixed-center_OCT_images", "mixed")
    classes = CLASSES
    # M0008_2021_P0000199_circle_2.5x3.0_C11_S11.png: P and seven digits are the patient.
    patient_pattern = r"(P\d{7})(?!\d)"
    positive = ("cancer", "high-grade_squamous_intraepithelial_lesion")
    prompts = "cervix_oct"
    templates = ("an optical coherence tomography image of the cervix showing {}.",)
    domain = 0


@DATASET_REGISTRY.register()
class HuaxiOCT(MixedCenterOCT):
    """Cervical OCT frames of West China (Huaxi) hospital, external set B: tested on only."""

    dataset_dir = "huaxi/images"
    other_dirs = ("tiff_huaxi_modified_frame/images", "tiff_huaxi_modified_frame", "huaxi")
    test_only = True
    domain = 1


@DATASET_REGISTRY.register()
class XiangyaOCT(MixedCenterOCT):
    """Cervical OCT frames of Xiangya hospital, external set A: tested on only."""

    dataset_dir = "xiangya/images"
    other_dirs = ("tiff_xiangya_frame_update/images", "tiff_xiangya_frame_update", "xiangya")
    test_only = True
    domain = 2


@DATASET_REGISTRY.register()
class CervixOCTDomains(CentersAsDomains):
    """Cervical OCT with centres as domains (mixed, huaxi, xiangya), for DG, DA and SSL methods."""

    centers = {"mixed": MixedCenterOCT, "huaxi": HuaxiOCT, "xiangya": XiangyaOCT}
