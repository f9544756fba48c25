"""SupBaseline: what semi-supervised methods are measured against; labelled images only."""

from __future__ import annotations

from dassl.engine.build import TRAINER_REGISTRY
from dassl.engine.da.source_only import SourceOnly


@TRAINER_REGISTRY.register()
class SupBaseline(SourceOnly):
    """Cross-entropy on labelled images: SourceOnly under the name that the other field uses."""
