"""Semi-supervised learning: a few labelled images and many without."""

from .fixmatch import FixMatch

__all__ = ["FixMatch"]
