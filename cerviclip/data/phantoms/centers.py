"""How the phantom centres differ: scanner, probe sheath and acquisition, one range per parameter.

``SHIFT_KINDS`` sorts the parameters by whether an image augmentation could undo them. Gain, gamma,
speckle contrast and attenuation are what style augmentation simulates; the geometry of sheath and
scan, the shadows and the point-spread function are in no augmentation of this project.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

Range = tuple[float, float]

# Parameters of a scan, with the range that the "mixed" centre uses (px unless said otherwise).
_MIXED: dict[str, Range] = {
    "sheath_row": (34.0, 60.0),  # row of the sheath's upper line
    "sheath_thickness": (11.0, 20.0),
    "sheath_bend": (1.5, 4.5),  # sd of its slow waves
    "sheath_fill": (0.7, 1.7),  # echo between the two lines, over the noise scale
    "sheath_specks": (6.0, 14.0),  # bright specks per 1000 px^2
    "contact_gap": (0.0, 1.5),  # mean gap between sheath and tissue
    "gain": (6.0, 10.0),  # tissue echo at the surface, over the noise scale
    "gamma": (0.94, 1.06),
    "contrast": (50.0, 60.0),  # grey levels per e-fold of echo
    "attenuation": (0.0125, 0.0175),  # 1/px
    "water_noise": (0.10, 0.16),
    "psf_axial": (0.50, 0.66),  # sd of the point-spread function
    "psf_lateral": (0.50, 0.72),
    "shadow_count": (0.0, 3.0),
    "shadow_depth": (0.3, 0.8),  # log units
    "shadow_width": (2.5, 7.0),
    "column_noise": (0.05, 0.12),  # log units, sd of the gain from column to column
    "scan_width": (0.92, 1.10),  # lateral field of view, 1 = 2.5 mm
    "edge_flare": (0.0, 0.3),  # chance of a bright smear at the frame's edge
    "dash_echo": (0.0, 0.15),  # chance of a specular dash on the sheath
}

SHIFT_KINDS: dict[str, tuple[str, ...]] = {
    "style": ("gain", "gamma", "contrast", "attenuation", "water_noise"),
    "geometry": ("sheath_row", "sheath_thickness", "sheath_bend", "contact_gap", "scan_width"),
    "sheath echo": ("sheath_fill", "sheath_specks"),
    "shadows": ("shadow_count", "shadow_depth", "shadow_width", "column_noise"),
    "point spread": ("psf_axial", "psf_lateral"),
    "artefacts": ("edge_flare", "dash_echo"),
}

_HUAXI: dict[str, Range] = {
    "sheath_row": (69.7, 90.6),
    "sheath_thickness": (19.5, 31.9),
    "sheath_bend": (2.77, 6.62),
    "sheath_specks": (2.18, 5.93),
    "contact_gap": (0.0, 2.77),
    "gain": (4.47, 7.11),
    "gamma": (1.01, 1.18),
    "attenuation": (0.0138, 0.0196),
    "water_noise": (0.0745, 0.126),
    "psf_axial": (0.585, 0.822),
    "psf_lateral": (0.627, 0.915),
    "shadow_count": (1.7, 5.55),
    "column_noise": (0.0755, 0.154),
    "scan_width": (1.09, 1.29),
    "dash_echo": (0.34, 0.703),
}
_XIANGYA: dict[str, Range] = {
    "sheath_row": (19.6, 39.2),
    "sheath_thickness": (7.8, 14.4),
    "sheath_fill": (1.1, 2.42),
    "contact_gap": (0.4, 3.5),
    "gain": (6.48, 10.4),
    "gamma": (0.844, 0.988),
    "contrast": (43.6, 55.2),
    "attenuation": (0.0157, 0.0215),
    "water_noise": (0.132, 0.24),
    "psf_axial": (0.54, 0.772),
    "psf_lateral": (0.78, 1.14),
    "shadow_count": (3.2, 7.8),
    "shadow_depth": (0.38, 0.96),
    "shadow_width": (2.9, 9.4),
    "column_noise": (0.106, 0.2),
    "scan_width": (0.76, 0.924),
    "edge_flare": (0.16, 0.54),
}
# Setting B: other values of the same parameters, fixed together with setting A, before any method
# was compared, and not looked at while methods are tuned.
_HUAXI_B: dict[str, Range] = {
    "sheath_row": (56.4, 79.2),
    "sheath_thickness": (6.2, 12.0),
    "sheath_bend": (3.5, 7.3),
    "sheath_specks": (9.2, 18.8),
    "contact_gap": (0.8, 4.3),
    "gain": (6.8, 10.8),
    "gamma": (0.868, 1.01),
    "attenuation": (0.0097, 0.0139),
    "psf_axial": (0.78, 1.09),
    "psf_lateral": (0.5, 0.704),
    "shadow_count": (2.4, 7.0),
    "shadow_width": (4.5, 12.6),
    "scan_width": (0.792, 0.956),
}
_XIANGYA_B: dict[str, Range] = {
    "sheath_row": (24.4, 44.0),
    "sheath_thickness": (21.4, 36.0),
    "sheath_fill": (1.26, 2.58),
    "sheath_specks": (2.8, 7.6),
    "gain": (4.4, 6.8),
    "gamma": (1.03, 1.19),
    "contrast": (53.2, 64.8),
    "attenuation": (0.0161, 0.0219),
    "water_noise": (0.148, 0.256),
    "psf_axial": (0.5, 0.692),
    "psf_lateral": (0.86, 1.22),
    "shadow_count": (0.8, 4.6),
    "shadow_depth": (0.54, 1.12),
    "column_noise": (0.122, 0.216),
    "scan_width": (1.1, 1.32),
    "dash_echo": (0.24, 0.59),
}


@dataclass(frozen=True)
class Center:
    """One phantom hospital.

    Args:
        name: folder under ``phantom/``.
        code: number in the seeds and in the patient ids; never used twice.
        patients: patients per class, in the order of ``structures.CLASSES``.
        frames: fewest and most frames of a patient.
        device: number of the scanner in the file names.
        overrides: ranges that differ from the mixed centre's.
    """

    name: str
    code: int
    patients: tuple[int, ...]
    frames: tuple[int, int]
    device: int
    overrides: dict[str, Range] = field(default_factory=dict)

    @property
    def ranges(self) -> dict[str, Range]:
        return {**_MIXED, **self.overrides}

    def draw_scan(self, rng: np.random.Generator) -> dict[str, float]:
        """Parameters of one patient's scan."""
        return {key: float(rng.uniform(low, high)) for key, (low, high) in self.ranges.items()}


CENTERS: dict[str, Center] = {
    c.name: c
    for c in (
        Center("mixed", 1, (22, 22, 22, 22, 22), (9, 11), 8),
        Center("huaxi", 2, (5, 5, 5, 5, 6), (8, 10), 21, _HUAXI),
        Center("xiangya", 3, (5, 5, 5, 5, 6), (8, 10), 34, _XIANGYA),
        Center("huaxi_b", 4, (5, 5, 5, 5, 6), (8, 10), 22, _HUAXI_B),
        Center("xiangya_b", 5, (5, 5, 5, 5, 6), (8, 10), 35, _XIANGYA_B),
    )
}

# Patients to develop methods on, so that no centre of a data set has to be looked at for it.
DEVELOPMENT_CODE, _DEVELOPMENT_SEED = 40, 20261121


def development_centers(count: int = 4) -> list[Center]:
    """``dev_mixed``, an in-domain centre with patients of its own, and ``dev_ext0`` ... : external
    centres whose ranges are moved at random, most parameters, each in a direction of its own."""
    rng = np.random.default_rng(_DEVELOPMENT_SEED)
    centers = [Center("dev_mixed", DEVELOPMENT_CODE, (40,) * 5, (9, 11), 8)]
    for n in range(count):
        code = DEVELOPMENT_CODE + 1 + n
        centers.append(Center(f"dev_ext{n}", code, (6,) * 5, (8, 10), 50 + n, _moved_ranges(rng)))
    return centers


def _moved_ranges(rng: np.random.Generator) -> dict[str, Range]:
    """Ranges moved by 0.8 to 2.4 of their half-widths, up or down; a quarter of them stay."""
    moved = {}
    for key, (low, high) in _MIXED.items():
        if rng.random() < 0.25:
            continue
        half, middle = (high - low) / 2, (high + low) / 2
        shift = rng.choice([-1, 1]) * rng.uniform(0.8, 2.4) * half
        width, center = half * rng.uniform(0.8, 1.5), middle + shift
        if center < width:  # no parameter is below 0
            center = max(center, 0.25 * middle)
            width = min(width, center)
        moved[key] = (max(center - width, 0.0), center + width)
    return moved


CENTERS |= {center.name: center for center in development_centers()}

# Centre of the pre-training patients: in no data set; its ranges are wide and drawn per patient.
PRETRAINING_CODE = 90


def pretraining_center() -> Center:
    """Patients that no data set holds; each range is the mixed one, widened by a third.

    Wide enough that the backbone is not tied to one scanner, not so wide that the centre shift is
    something it has already seen.
    """
    ranges = {}
    for key, (low, high) in _MIXED.items():
        span = 0.35 * (high - low)
        ranges[key] = (max(low - span, 0.0), high + span)
    return Center("pretraining", PRETRAINING_CODE, (1, 1, 1, 1, 1), (6, 6), 77, ranges)


def shift_by_kind(center: str, reference: str = "mixed") -> dict[str, float]:
    """How far a centre lies from the reference, by kind of parameter.

    Returns:
        Per kind of ``SHIFT_KINDS``: the sum of the distances between the ranges' middles, each in
        half-widths of the reference's range.
    """
    here, there = CENTERS[center].ranges, CENTERS[reference].ranges
    shift = {}
    for kind, keys in SHIFT_KINDS.items():
        total = 0.0
        for key in keys:
            low, high = there[key]
            middle = sum(here[key]) / 2 - (low + high) / 2
            total += abs(middle) / ((high - low) / 2)
        shift[kind] = total
    return shift
