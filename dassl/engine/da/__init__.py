"""Domain adaptation: labelled source, unlabelled target images."""

from .adabn import AdaBN
from .dann import DANN
from .mcd import MCD
from .mme import MME
from .source_only import SourceOnly

__all__ = ["AdaBN", "DANN", "MCD", "MME", "SourceOnly"]
