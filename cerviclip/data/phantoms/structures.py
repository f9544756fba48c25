"""Tissue structure of the five classes, as maps of log echo strength.

Every map is 0 where tissue is plain, negative where it is dark. A frame mixes the map of its own
class with weaker traces of another one, because real frames seldom show one sign alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cerviclip.data.phantoms.fields import VolumeFields

CLASSES: tuple[str, ...] = (
    "cancer",
    "cyst",
    "ectropion",
    "high-grade_squamous_intraepithelial_lesion",
    "mild_inflammation",
)


def soft_step(x: np.ndarray) -> np.ndarray:
    """Smooth step from 0 to 1 around 0 (float32)."""
    return 0.5 + 0.5 * np.tanh(x)


@dataclass(frozen=True)
class View:
    """What a structure needs to know of a frame.

    Args:
        depth: (H, W) px below the tissue surface, negative above it.
        fields: the patient's random fields at this frame.
        lateral: px per unit of lateral size (below 1 on a wide scan).
        position: place in the volume, radians.
    """

    depth: np.ndarray
    fields: VolumeFields
    lateral: float
    position: float

    @property
    def shape(self) -> tuple[int, int]:
        return self.depth.shape  # type: ignore[return-value]


def draw_anatomy(rng: np.random.Generator) -> dict[str, float]:
    """Sizes and contrasts of one patient, for every structure (traces of others need theirs)."""
    u = rng.uniform
    return {
        # mild inflammation: two bands and the line between them
        "band": u(17, 40),
        "band_line": u(2.0, 4.5),
        "band_line_dark": u(0.6, 1.3),
        "band_lower": u(0.15, 0.6),
        "band_end": u(70, 120),
        # cyst
        "cyst_count": float(rng.integers(1, 4)),
        "cyst_size": u(13, 38),
        "cyst_flat": u(0.5, 0.9),
        "cyst_dark": u(1.1, 2.3),
        "cyst_depth": u(24, 66),
        # ectropion: papillae
        "papilla_period": u(15, 36),
        "papilla_height": u(7, 20),
        "papilla_core": u(0.5, 1.2),
        "papilla_length": u(16, 42),
        # HSIL: icicles
        "icicle_period": u(5.0, 9.0),
        "icicle_contrast": u(0.35, 0.75),
        "icicle_length": u(35, 80),
        "icicle_drop": u(0.5, 1.2),
        # cancer: nests and necrosis
        "nest_size": u(11, 24),
        "nest_contrast": u(0.3, 0.65),
        "necrosis_size": u(28, 52),
        "necrosis_dark": u(0.8, 1.9),
        "necrosis_share": u(0.35, 1.0),
        "loss": u(0.001, 0.005),
    }


def layers(view: View, p: dict[str, float]) -> np.ndarray:
    """Distinct layers: a grey-white upper band, a thin dark line, a lower band."""
    height, width = view.shape
    wave = view.fields.line(11, width, 75 * view.lateral)
    border = p["band"] * (1 + 0.16 * wave)
    below = view.depth - border
    line = -p["band_line_dark"] * np.exp(-((below / p["band_line"]) ** 2))
    lower = p["band_lower"] * soft_step(below / 3)
    end = -0.55 * soft_step((view.depth - p["band_end"] * (1 + 0.1 * wave)) / 9)
    return 0.22 + line + lower + end


def cysts(view: View, p: dict[str, float]) -> np.ndarray:
    """Oval dark cavities with smooth borders under smooth curved layers."""
    height, width = view.shape
    columns = np.arange(width, dtype=np.float32)
    echo = np.zeros(view.shape, np.float32)
    spots = view.fields._coefficients(21, (8, 4))
    lift = np.zeros(width, np.float32)
    for k in range(int(p["cyst_count"])):
        a, b, c, d = (float(v) for v in spots[k])
        # A cavity is a ball: it grows and shrinks as the scan passes through it.
        size = p["cyst_size"] * (1.0 + 0.25 * c) / (1 + 0.35 * k)
        size *= 0.75 + 0.25 * float(np.cos(0.6 * (view.position - 1.4) + k))
        rx, ry = max(size * view.lateral, 4.0), max(size * p["cyst_flat"], 3.5)
        cx = width * (0.5 + (0.32 if k == 0 else 0.45) * float(np.tanh(a)))
        cy = max(p["cyst_depth"] * (1 + 0.25 * b) + 8 * k, ry * 0.75 + 3)
        dx = (columns - cx)[None, :]
        dy = view.depth - cy - 0.12 * d * dx
        radius = np.sqrt((dx / rx) ** 2 + (dy / ry) ** 2)
        edge = (1 - radius) * min(rx, ry)
        echo -= p["cyst_dark"] * soft_step(edge / 2.0)
        echo += 0.35 * np.exp(-((edge + 2.5) ** 2) / 7)
        lift += ry * np.exp(-((columns - cx) ** 2) / (2 * (1.2 * rx) ** 2))
    # Layers bend over the cavities.
    curved = view.depth - (p["band"] + 6 - 0.35 * lift)
    return echo - 0.3 * np.exp(-((curved / 3.5) ** 2))


def papilla_shape(view_width: int, fields: VolumeFields, p: dict[str, float], lateral: float):
    """Height of the papillae over the columns, 0 in the clefts and 1 at the tips: ``(W,)``."""
    columns = np.arange(view_width, dtype=np.float32)
    wander = fields.line(31, view_width, 45 * lateral)
    phase = np.pi * columns / (p["papilla_period"] * lateral) + 0.9 * wander
    tall = 0.75 + 0.25 * np.tanh(fields.line(32, view_width, 30 * lateral))
    return np.abs(np.sin(phase)) ** 0.6 * tall


def papillae(view: View, p: dict[str, float]) -> np.ndarray:
    """Papillary protrusions side by side: bright columnar rim, dark clefts running down."""
    width = view.shape[1]
    shape = papilla_shape(width, view.fields, p, view.lateral)
    fade = np.exp(-np.maximum(view.depth, 0) / p["papilla_length"])
    cleft = ((1 - shape) ** 2)[None, :]
    rim = 0.45 * np.exp(-np.maximum(view.depth, 0) / 3.5)
    core = -0.35 * np.exp(-(((view.depth - 11) / 5) ** 2)) * shape[None, :]
    return rim + core - 2.0 * p["papilla_core"] * cleft * fade


def icicles(view: View, p: dict[str, float]) -> np.ndarray:
    """Densely packed vertical streaks of uneven length, no layers."""
    height, width = view.shape
    pitch = p["icicle_period"] * view.lateral
    comb = view.fields.line(41, width, 0.5 * pitch)
    broken = view.fields.plane(43, height, width, 45, 0.5 * pitch)
    reach = p["icicle_length"] * (1 + 0.28 * view.fields.line(42, width, 22 * view.lateral))
    # Wide at the top and pointed below: a column ends the sooner the weaker it is in the comb.
    tip = view.depth - reach * (1 + 0.45 * np.clip(comb, -1.6, 1.6))
    grow = np.clip(view.depth / 12, 0, 1)
    streaks = p["icicle_contrast"] * (0.75 * comb[None, :] + 0.6 * broken) * grow
    return streaks + 0.12 - p["icicle_drop"] * soft_step(tip / 6)


def nests(view: View, p: dict[str, float]) -> np.ndarray:
    """Irregular tumour nests and dark necrotic areas; the layers are gone."""
    height, width = view.shape
    size = p["nest_size"]
    nest = view.fields.plane(51, height, width, 0.8 * size, size * view.lateral)
    big = view.fields.plane(52, height, width, 0.7 * p["necrosis_size"], p["necrosis_size"])
    ragged = view.fields.plane(53, height, width, 8, 8 * view.lateral)
    dead = soft_step((big + 0.4 * ragged - 1.25 + 0.5 * p["necrosis_share"]) * 2.4)
    echo = p["nest_contrast"] * np.tanh(1.6 * nest + 0.4 * ragged)
    return echo - p["necrosis_dark"] * dead - p["loss"] * np.maximum(view.depth, 0)


STRUCTURES: dict[str, Callable[[View, dict[str, float]], np.ndarray]] = dict(
    zip(CLASSES, (nests, cysts, papillae, icicles, layers), strict=True)
)


def surface_relief(
    mix: dict[str, float], fields: VolumeFields, p: dict[str, float], width: int, lateral: float
) -> np.ndarray:
    """How far the tissue surface falls below its contact line, px: ``(W,)``."""
    relief = 0.5 * np.abs(fields.line(61, width, 40 * lateral))
    if mix.get("ectropion"):
        shape = papilla_shape(width, fields, p, lateral)
        relief = relief + mix["ectropion"] * p["papilla_height"] * (1 - shape)
    if mix.get("cancer"):
        rough = np.abs(fields.line(62, width, 13 * lateral))
        relief = relief + 2.0 * mix["cancer"] * rough
    return relief.astype(np.float32)
