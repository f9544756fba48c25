"""Phantom OCT: rendered frames in the layout of the real centres (docs/phantom.md).

No patient is behind any of them: figures on these sets say that the software works, nothing about a
hospital. A centre is rendered under DATASET.ROOT (``phantom/<center>``) when it is first asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cerviclip.data.centers.domains import CentersAsDomains
from cerviclip.data.phantoms import CENTERS, VERSION, ensure_center
from cerviclip.datasets.cervix_oct import HuaxiOCT, MixedCenterOCT, XiangyaOCT
from dassl.data.datasets import DATASET_REGISTRY
from dassl.paths import at_home, exists

if TYPE_CHECKING:
    from yacs.config import CfgNode


class RenderedOnFirstUse:
    """Mixin: renders the centre ``center`` before its folder is read."""

    is_phantom = True  # tables and figures say so beside every number
    center = ""
    other_dirs = ()
    version = VERSION

    def prepare(self, cfg: CfgNode) -> None:
        if not cfg.DATASET.FOLDER:
            render_center(cfg, self.center)


def render_center(cfg: CfgNode, center: str) -> Path:
    """Render a phantom centre under ``DATASET.ROOT`` unless it is there."""
    root = at_home(cfg.DATASET.ROOT or ".")
    if not exists(root / "phantom" / center):
        patients = sum(CENTERS[center].patients)
        print(f"Rendering phantom centre {center} ({patients} patients) under {root}", flush=True)
    return ensure_center(root, center)


@DATASET_REGISTRY.register()
class PhantomOCT(RenderedOnFirstUse, MixedCenterOCT):
    """Phantom of the mixed-centre OCT set: rendered frames, no patients; train, val and test."""

    center = "mixed"
    dataset_dir = "phantom/mixed/images"


@DATASET_REGISTRY.register()
class PhantomHuaxi(RenderedOnFirstUse, HuaxiOCT):
    """Phantom of an external centre in the Huaxi set's layout: rendered, tested on only."""

    center = "huaxi"
    dataset_dir = "phantom/huaxi/images"


@DATASET_REGISTRY.register()
class PhantomXiangya(RenderedOnFirstUse, XiangyaOCT):
    """Phantom of an external centre in the Xiangya set's layout: rendered, tested on only."""

    center = "xiangya"
    dataset_dir = "phantom/xiangya/images"


@DATASET_REGISTRY.register()
class PhantomHuaxiB(RenderedOnFirstUse, HuaxiOCT):
    """Phantom external centre of the second shift setting (B): rendered, tested on only."""

    center = "huaxi_b"
    dataset_dir = "phantom/huaxi_b/images"
    domain = 3


@DATASET_REGISTRY.register()
class PhantomXiangyaB(RenderedOnFirstUse, XiangyaOCT):
    """Phantom external centre of the second shift setting (B): rendered, tested on only."""

    center = "xiangya_b"
    dataset_dir = "phantom/xiangya_b/images"
    domain = 4


@DATASET_REGISTRY.register()
class PhantomDomains(CentersAsDomains):
    """Phantom centres as domains (SOURCE_DOMAINS, TARGET_DOMAINS), for DG, DA and SSL methods."""

    is_phantom = True
    centers = {
        "mixed": PhantomOCT,
        "huaxi": PhantomHuaxi,
        "xiangya": PhantomXiangya,
        "huaxi_b": PhantomHuaxiB,
        "xiangya_b": PhantomXiangyaB,
    }
