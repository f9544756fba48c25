"""A plug-in for tests: phantoms of a few patients, rendered on first use as the large ones are."""

from __future__ import annotations

from dataclasses import replace

from cerviclip.data.phantoms import CENTERS
from cerviclip.datasets.phantom_oct import PhantomOCT
from dassl.data.datasets import DATASET_REGISTRY

CENTERS["tiny"] = replace(CENTERS["mixed"], name="tiny", patients=(4, 4, 4, 4, 4), frames=(2, 2))


@DATASET_REGISTRY.register()
class TinyPhantomOCT(PhantomOCT):
    """Forty frames of twenty patients."""

    center = "tiny"
    dataset_dir = "phantom/tiny/images"
