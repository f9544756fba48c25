"""Captions of phantom frames: what a hurried reader would note, with omissions and slips."""

from __future__ import annotations

import numpy as np

from cerviclip.data.phantoms.render import Frame
from cerviclip.data.phantoms.structures import CLASSES

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

# What a careful reader adds on a sign: (parameter, threshold, words below it, words above it).
DETAILS: dict[str, tuple[tuple[str, float, str, str], ...]] = {
    "cancer": (
        ("nest_size", 17, "small nests", "large nests"),
        ("necrosis_share", 0.68, "little necrosis", "much necrosis"),
    ),
    "cyst": (
        ("cyst_size", 25, "a small cavity", "a large cavity"),
        ("cyst_depth", 45, "near the surface", "deep in the stroma"),
        ("cyst_count", 1.5, "a single one", "several of them"),
    ),
    "ectropion": (
        ("papilla_period", 25, "narrow papillae", "broad papillae"),
        ("papilla_height", 13, "low papillae", "tall papillae"),
    ),
    "high-grade_squamous_intraepithelial_lesion": (
        ("icicle_period", 7, "fine streaks", "coarse streaks"),
        ("icicle_length", 57, "short streaks", "long streaks"),
    ),
    "mild_inflammation": (
        ("band", 28, "a thin upper band", "a thick upper band"),
        ("band_line_dark", 0.95, "a faint border", "a sharp border"),
    ),
}

# What a hurried reader takes a sign for: shadows for icicles, necrosis for a cavity, and so on.
MISTAKEN_FOR = {
    "cancer": "cyst",
    "cyst": "mild_inflammation",
    "ectropion": "high-grade_squamous_intraepithelial_lesion",
    "high-grade_squamous_intraepithelial_lesion": "mild_inflammation",
    "mild_inflammation": "cancer",
}

# How often a caption says something else, or less, than the frame shows. High on purpose, and for
# two classes more often wrong than right: a model that reads captions without error would leave
# nothing for a few shots to add.
MISTAKE = {
    "cancer": 0.20,
    "cyst": 0.50,
    "ectropion": 0.25,
    "high-grade_squamous_intraepithelial_lesion": 0.20,
    "mild_inflammation": 0.45,
}
SLIP = 0.10
OMISSION = 0.10
DETAILED = 0.7
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


def _stated_signs(frame: Frame, rng: np.random.Generator) -> list[str]:
    """The signs that a caption states: the frame's own, sometimes a trace, sometimes neither."""
    stated: list[str] = []
    for k, (name, weight) in enumerate(frame.mix.items()):
        if k and (weight < 0.25 or rng.random() < 0.5):
            continue
        chance = rng.random()
        mistake = MISTAKE[name]
        if chance < mistake:
            name = MISTAKEN_FOR[name]
        elif chance < mistake + SLIP:
            name = CLASSES[int(rng.integers(len(CLASSES)))]
        elif chance < mistake + SLIP + OMISSION:
            continue
        if name not in stated:
            stated.append(name)
    return stated


def caption(frame: Frame, rng: np.random.Generator) -> tuple[str, tuple[str, ...]]:
    """A caption and the facts it states (captions of equal facts describe equal frames).

    Args:
        frame: the frame to describe.
        rng: decides wording, mistakes and omissions.
    """
    stated = _stated_signs(frame, rng)
    facts = list(stated)
    signs = [str(rng.choice(SIGNS[name])) for name in stated] or [str(rng.choice(PLAIN))]
    text = str(rng.choice(_OPENINGS)).format(" and ".join(signs))
    if stated and stated[0] in frame.mix and rng.random() < DETAILED:
        key, threshold, below, above = DETAILS[stated[0]][
            int(rng.integers(len(DETAILS[stated[0]])))
        ]
        facts.append(above if frame.anatomy[key] > threshold else below)
        text += ", " + facts[-1]
    if rng.random() < 0.5:
        facts.append(str(rng.choice(_scan_remarks(frame.scan))))
        text += ", " + facts[-1]
    if stated and rng.random() < NAMED:
        name = str(rng.choice(NAMES[stated[0]]))
        text += ", " + str(rng.choice(_CLOSINGS)).format(name)
    elif stated and rng.random() < 0.15:
        facts = [stated[0]]
        text = str(rng.choice(_CLOSINGS[1:])).format(str(rng.choice(NAMES[stated[0]])))
    return text + ".", tuple(facts)
