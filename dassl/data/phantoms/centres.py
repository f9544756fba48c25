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
    "sheath_row": (76.0, 96.0),
    "sheath_thickness": (21.0, 34.0),
    "sheath_bend": (3.0, 7.0),
    "sheath_specks": (1.5, 4.5),
    "contact_gap": (0.0, 3.0),
    "gain": (4.2, 6.6),
    "gamma": (1.02, 1.20),
    "attenuation": (0.014, 0.020),
    "water_noise": (0.07, 0.12),
    "psf_axial": (0.60, 0.85),
    "psf_lateral": (0.65, 0.95),
    "shadow_count": (2.0, 6.0),
    "column_noise": (0.08, 0.16),
    "scan_width": (1.12, 1.32),
    "dash_echo": (0.4, 0.8),
}
_XIANGYA: dict[str, Range] = {
    "sheath_row": (16.0, 34.0),
    "sheath_thickness": (7.0, 13.0),
    "sheath_fill": (1.2, 2.6),
    "contact_gap": (0.5, 4.0),
    "gain": (6.6, 10.5),
    "gamma": (0.82, 0.97),
    "contrast": (42.0, 54.0),
    "attenuation": (0.0165, 0.0225),
    "water_noise": (0.14, 0.26),
    "psf_axial": (0.55, 0.80),
    "psf_lateral": (0.85, 1.25),
    "shadow_count": (4.0, 9.0),
    "shadow_depth": (0.4, 1.0),
    "shadow_width": (3.0, 10.0),
    "column_noise": (0.12, 0.22),
    "scan_width": (0.72, 0.88),
    "edge_flare": (0.2, 0.6),
}
# Setting B: other values of the same parameters, fixed together with setting A, before any method
# was compared, and not looked at while methods are tuned.
_HUAXI_B: dict[str, Range] = {
    "sheath_row": (62.0, 84.0),
    "sheath_thickness": (5.0, 10.0),
    "sheath_bend": (4.0, 8.0),
    "sheath_specks": (10.0, 20.0),
    "contact_gap": (1.0, 5.0),
    "gain": (7.0, 11.0),
    "gamma": (0.85, 1.0),
    "attenuation": (0.009, 0.013),
    "psf_axial": (0.85, 1.20),
    "psf_lateral": (0.50, 0.70),
    "shadow_count": (3.0, 8.0),
    "shadow_width": (5.0, 14.0),
    "scan_width": (0.76, 0.92),
}
_XIANGYA_B: dict[str, Range] = {
    "sheath_row": (22.0, 40.0),
    "sheath_thickness": (24.0, 40.0),
    "sheath_fill": (1.4, 2.8),
    "sheath_specks": (2.0, 6.0),
    "gain": (4.0, 6.0),
    "gamma": (1.05, 1.22),
    "contrast": (54.0, 66.0),
    "attenuation": (0.017, 0.023),
    "water_noise": (0.16, 0.28),
    "psf_axial": (0.50, 0.70),
    "psf_lateral": (0.95, 1.35),
    "shadow_count": (1.0, 5.0),
    "shadow_depth": (0.6, 1.2),
    "column_noise": (0.14, 0.24),
    "scan_width": (1.15, 1.38),
    "dash_echo": (0.3, 0.7),
}


@dataclass(frozen=True)
class Centre:
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


CENTRES: dict[str, Centre] = {
    c.name: c
    for c in (
        Centre("mixed", 1, (22, 22, 22, 22, 22), (9, 11), 8),
        Centre("huaxi", 2, (5, 5, 5, 5, 6), (8, 10), 21, _HUAXI),
        Centre("xiangya", 3, (5, 5, 5, 5, 6), (8, 10), 34, _XIANGYA),
        Centre("huaxi_b", 4, (5, 5, 5, 5, 6), (8, 10), 22, _HUAXI_B),
        Centre("xiangya_b", 5, (5, 5, 5, 5, 6), (8, 10), 35, _XIANGYA_B),
    )
}

# Centre of the pre-training patients: in no data set; its ranges are wide and drawn per patient.
PRETRAINING_CODE = 90


def pretraining_centre() -> Centre:
    """Patients that no data set holds; each range spans half-way to the external centres.

    Wide enough that the backbone is not tied to one scanner, not so wide that the centre shift is
    something it has already seen.
    """
    ranges = {}
    for key, (low, high) in _MIXED.items():
        span = 0.35 * (high - low)
        ranges[key] = (max(low - span, 0.0), high + span)
    return Centre("pretraining", PRETRAINING_CODE, (1, 1, 1, 1, 1), (6, 6), 77, ranges)


def shift_by_kind(centre: str, reference: str = "mixed") -> dict[str, float]:
    """How far a centre lies from the reference, by kind of parameter.

    Returns:
        Per kind of ``SHIFT_KINDS``: the sum of the distances between the ranges' middles, each in
        half-widths of the reference's range.
    """
    here, there = CENTRES[centre].ranges, CENTRES[reference].ranges
    shift = {}
    for kind, keys in SHIFT_KINDS.items():
        total = 0.0
        for key in keys:
            low, high = there[key]
            middle = sum(here[key]) / 2 - (low + high) / 2
            total += abs(middle) / ((high - low) / 2)
        shift[kind] = total
    return shift
