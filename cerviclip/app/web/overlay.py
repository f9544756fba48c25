"""A heat map laid over a picture."""

from __future__ import annotations

import numpy as np
from PIL import Image


def overlay(image: Image.Image, heat: np.ndarray, opacity: float) -> Image.Image:
    """Blend a heat map into a picture; where the map is 0 the picture stays as it is.

    Args:
        image: RGB.
        heat: (H, W) in 0-1, of the picture's own size.
        opacity: 0 (the picture alone) to 1.
    """
    from matplotlib import colormaps

    base = np.asarray(image.convert("RGB"), dtype=np.float64)
    if heat.shape != base.shape[:2]:
        raise ValueError(f"a heat map of {heat.shape} does not fit a picture of {base.shape[:2]}")
    heat = np.clip(np.nan_to_num(heat), 0, 1)
    colour = 255 * colormaps["inferno"](heat)[..., :3]
    share = (opacity * np.sqrt(heat))[..., None]  # the root lets weak places show
    return Image.fromarray(np.round((1 - share) * base + share * colour).astype(np.uint8))
