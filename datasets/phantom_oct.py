"""Phantom OCT: rendered frames in the layout of the real centres (docs/phantom.md).

No patient is behind any of them: figures on these sets say that the software works, nothing about a
hospital. A centre is rendered under DATASET.ROOT (``phantom/<centre>``) when it is first asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cerviclip.data.domains import CentresAsDomains
from cerviclip.data.phantoms import CENTRES, VERSION, ensure_centre
from cerviclip.datasets.cervix_oct import HuaxiOCT, MixedCenterOCT, XiangyaOCT
from dassl.data.datasets import DATASET_REGISTRY

if TYPE_CHECKING:
    from yacs.config import CfgNode


class RenderedOnFirstUse:
    """Mixin: renders the centre ``centre`` before its folder is read."""

    is_phantom = True  # tables and figures say so beside every number
    centre = ""
    other_dirs = ()
    version = VERSION

    def prepare(self, cfg: CfgNode) -> None:
        if not cfg.DATASET.FOLDER:
            render_centre(cfg, self.centre)


def render_centre(cfg: CfgNode, centre: str) -> Path:
    """Render a phantom centre under ``DATASET.ROOT`` unless it is there."""
    root = Path(cfg.DATASET.ROOT or ".").expanduser()
    if not (root / "phantom" / centre).exists():
        patients = sum(CENTRES[centre].patients)
        print(f"Rendering phantom centre {centre} ({patients} patients) under {root}", flush=True)
    return ensure_centre(root, centre)


@DATASET_REGISTRY.register()
class PhantomOCT(RenderedOnFirstUse, MixedCenterOCT):
    """Phantom of the mixed-centre OCT set: rendered frames, no patients; train, val and test."""

    centre = "mixed"
    dataset_dir = "phantom/mixed/images"


@DATASET_REGISTRY.register()
class PhantomHuaxi(RenderedOnFirstUse, HuaxiOCT):
    """Phantom of an external centre in the Huaxi set's layout: rendered, tested on only."""

    centre = "huaxi"
    dataset_dir = "phantom/huaxi/images"


@DATASET_REGISTRY.register()
class PhantomXiangya(RenderedOnFirstUse, XiangyaOCT):
    """Phantom of an external centre in the Xiangya set's layout: rendered, tested on only."""

    centre = "xiangya"
    dataset_dir = "phantom/xiangya/images"


@DATASET_REGISTRY.register()
class PhantomHuaxiB(RenderedOnFirstUse, HuaxiOCT):
    """Phantom external centre of the second shift setting (B): rendered, tested on only."""

    centre = "huaxi_b"
    dataset_dir = "phantom/huaxi_b/images"
    domain = 3


@DATASET_REGISTRY.register()
class PhantomXiangyaB(RenderedOnFirstUse, XiangyaOCT):
    """Phantom external centre of the second shift setting (B): rendered, tested on only."""

    centre = "xiangya_b"
    dataset_dir = "phantom/xiangya_b/images"
    domain = 4


@DATASET_REGISTRY.register()
class PhantomDomains(CentresAsDomains):
    """Phantom centres as domains (SOURCE_DOMAINS, TARGET_DOMAINS), for DG, DA and SSL methods."""

    is_phantom = True
    centres = {
        "mixed": PhantomOCT,
        "huaxi": PhantomHuaxi,
        "xiangya": PhantomXiangya,
        "huaxi_b": PhantomHuaxiB,
        "xiangya_b": PhantomXiangyaB,
    }
