"""Captions of phantom frames: what a hurried reader would note, with omissions and slips."""

from __future__ import annotations

import numpy as np

from .render import Frame
from .structures import CLASSES

# What is seen, in several wordings. The wordings share words with the prompt sets, not sentences.
SIGNS: dict[str, tuple[str, ...]] = {
    "cancer": (
        "irregular nests and dark areas, the layers are lost",
        "dark necrotic areas of irregular shape in the tissue",
        "tumour nests of uneven brightness without a layered structure",
        "loss of layers with necrosis beside irregular nests",
        "patchy stroma with irregular dark areas",
    ),
    "cyst": (
        "an oval dark area with smooth borders",
        "oval dark cavities under smooth curved layers",
        "one or more dark cavities, smooth and oval, the layers bend over them",
        "a round cavity below the surface with a smooth border",
        "curved layers over a dark oval",
    ),
    "ectropion": (
        "papillary protrusions side by side at the surface",
        "a continuous row of papillary protrusions with dark clefts between them",
        "columnar epithelium near the surface formed by protrusions of even size",
        "a scalloped surface with bright columnar rim",
        "continuous protrusions near the surface with clefts",
    ),
    "high-grade_squamous_intraepithelial_lesion": (
        "densely packed vertical streaks like icicles",
        "dense icicle-like streaks of uneven length without layers",
        "vertical streaks replace the layered structure",
        "packed streaks, pointed like icicles, no layers",
        "dense vertical streaks in the epithelium",
    ),
    "mild_inflammation": (
        "distinct layers with a clear border between them",
        "grey-white upper and lower bands",
        "an upper and a lower grey-white band, the layers are preserved",
        "two bands, the epithelium and the stroma, with a clear border",
        "layers are distinct, the upper band is grey-white",
    ),
}
NAMES: dict[str, tuple[str, ...]] = {
    "cancer": ("cervical cancer", "cancer"),
    "cyst": ("a cervical cyst", "a cyst"),
    "ectropion": ("cervical ectropion", "ectropion"),
    "high-grade_squamous_intraepithelial_lesion": (
        "a high-grade squamous intraepithelial lesion",
        "a high-grade squamous intraepithelial lesion of the cervix",
    ),
    "mild_inflammation": ("mild cervical inflammation", "mild inflammation"),
}
PLAIN = ("homogeneous tissue", "grey tissue of even brightness", "tissue that fades with depth")

_OPENINGS = (
    "the oct image shows {}",
    "an oct image of the cervix with {}",
    "{}",
    "{}",
    "below the surface there are {}",
    "a photo of {}",
)
_CLOSINGS = ("in keeping with {}", "this is {}", "an oct image of {}")

# How often a caption says less or something else than the frame shows. High on purpose: a small
# model that reads captions without error would leave nothing for a few shots to add.
SLIP = 0.30
OMISSION = 0.15
NAMED = 0.30


def _scan_remarks(scan: dict[str, float]) -> list[str]:
    """What can be said of sheath and signal."""
    row, thickness = scan["sheath_row"], scan["sheath_thickness"]
    return [
        "a thick sheath" if thickness > 17 else "a thin sheath",
        "the sheath lies deep" if row > 52 else "the sheath lies near the top",
        "many bright specks in the sheath" if scan["sheath_specks"] > 10 else "a plain sheath",
        "the signal fades early" if scan["attenuation"] > 0.0155 else "the signal reaches deep",
        "vertical shadows" if scan["shadow_count"] > 2 else "no shadows",
    ]


def caption(frame: Frame, rng: np.random.Generator) -> tuple[str, tuple[str, ...]]:
    """A caption and the signs it states, own sign first (empty: none stated).

    Args:
        frame: the frame to describe.
        rng: decides wording, slips and omissions.
    """
    stated: list[str] = []
    for k, (name, weight) in enumerate(frame.mix.items()):
        if k and (weight < 0.3 or rng.random() < 0.5):
            continue
        if rng.random() < SLIP:
            name = CLASSES[int(rng.integers(len(CLASSES)))]
        if rng.random() >= OMISSION and name not in stated:
            stated.append(name)
    signs = [str(rng.choice(SIGNS[name])) for name in stated] or [str(rng.choice(PLAIN))]
    text = str(rng.choice(_OPENINGS)).format(" and ".join(signs))
    if rng.random() < 0.5:
        text += ", " + str(rng.choice(_scan_remarks(frame.scan)))
    if stated and rng.random() < NAMED:
        name = str(rng.choice(NAMES[stated[0]]))
        if rng.random() < 0.3:
            text = str(rng.choice(_CLOSINGS[1:])).format(name)
        else:
            text += ", " + str(rng.choice(_CLOSINGS)).format(name)
    return text + ".", tuple(stated)
