"""Domain adaptation: labelled source, unlabelled target images."""

from .dann import DANN

__all__ = ["DANN"]
