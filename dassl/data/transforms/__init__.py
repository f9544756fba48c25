"""Image transforms that a config names."""

from .transforms import INTERPOLATION_MODES, build_styled_transform, build_transform

__all__ = ["INTERPOLATION_MODES", "build_styled_transform", "build_transform"]
