"""From a patient to B-scans: anatomy, sheath, attenuation, shadows, speckle, log compression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cerviclip.data.phantoms.centers import Center
from cerviclip.data.phantoms.fields import VolumeFields
from cerviclip.data.phantoms.structures import (
    CLASSES,
    STRUCTURES,
    View,
    draw_anatomy,
    surface_relief,
)

SIZE = 224  # px, both sides of a frame
FRAME_STEP = 0.30  # radians of a patient's slow change from one frame to the next

_ROWS = np.arange(SIZE, dtype=np.float32)[:, None]
_COLUMNS = np.arange(SIZE, dtype=np.float32)


@dataclass(frozen=True)
class Frame:
    """One B-scan.

    Args:
        image: (224, 224) uint8.
        mask: (224, 224) uint8, 255 where tissue is.
        label: class of the frame, an index into ``CLASSES``.
        mix: weight of each structure in the frame.
        scan, anatomy: the parameters of its patient's scan and tissue.
        circle, slice: place in the scan, as file names give it.
    """

    image: np.ndarray
    mask: np.ndarray
    label: int
    mix: dict[str, float]
    scan: dict[str, float]
    anatomy: dict[str, float]
    circle: int
    slice: int


def _gaussian_taps(sigma: float) -> np.ndarray:
    radius = max(1, int(np.ceil(2.2 * sigma)))
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return (taps / np.sqrt((taps**2).sum())).astype(
        np.float32
    )  # keeps white noise at unit variance


def _smooth(noise: np.ndarray, taps: np.ndarray, axis: int) -> np.ndarray:
    """Filter along an axis of an array that carries a margin for it; the margin is dropped."""
    length = noise.shape[axis] - len(taps) + 1
    views = [noise[:, k : k + length] if axis else noise[k : k + length] for k in range(len(taps))]
    total = taps[0] * views[0]
    for tap, view in zip(taps[1:], views[1:], strict=True):
        total += tap * view
    return total


def speckle(rng: np.random.Generator, axial: float, lateral: float) -> np.ndarray:
    """Fully developed speckle amplitude (Rayleigh, mean square 1), blurred by the PSF: (H, W)."""
    down, across = _gaussian_taps(axial), _gaussian_taps(lateral)
    shape = (SIZE + len(down) - 1, SIZE + len(across) - 1)
    power = np.zeros((SIZE, SIZE), np.float32)
    for _ in range(2):
        noise = rng.standard_normal(shape, dtype=np.float32)
        part = _smooth(_smooth(noise, down, 0), across, 1)
        power += part * part
    return np.sqrt(0.5 * power)


def draw_mix(label: int, rng: np.random.Generator) -> tuple[dict[str, float], float]:
    """A patient's structures: the own one, perhaps a trace of another; and how clear they are."""
    own = CLASSES[label]
    mix = {own: float(np.clip(rng.normal(0.95, 0.20), 0.45, 1.4))}
    if rng.random() < 0.45:
        other = CLASSES[int((label + rng.integers(1, len(CLASSES))) % len(CLASSES))]
        mix[other] = float(rng.uniform(0.12, 0.50))
    return mix, float(rng.uniform(0.08, 0.2))


def render_patient(
    center: Center, number: int, label: int, frames: int, other_frames: dict[int, int] | None = None
) -> list[Frame]:
    """All frames of a patient.

    Args:
        centre: where the patient was scanned.
        number: number of the patient within the centre; with the centre's code it is the seed.
        label: the patient's class, an index into ``CLASSES``.
        frames: how many frames.
        other_frames: {frame index: class} of frames that show another finding.
    """
    seed = (center.code, number)
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([*seed, 1])))
    scan = center.draw_scan(rng)
    anatomy = draw_anatomy(rng)
    mixes = {label: draw_mix(label, rng)}
    for other in sorted(set((other_frames or {}).values())):
        mixes[other] = draw_mix(other, rng)
    circle, first = int(rng.integers(1, 13)), int(rng.integers(1, 20))
    start = float(rng.uniform(0, 2 * np.pi))
    result = []
    for k in range(frames):
        frame_label = (other_frames or {}).get(k, label)
        mix, heterogeneity = mixes[frame_label]
        frame_rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([*seed, 2, k])))
        fields = VolumeFields(seed, start + FRAME_STEP * k)
        mix = _frame_mix(mix, frame_rng)
        image, mask = _render(scan, anatomy, mix, heterogeneity, fields, start, k, frame_rng)
        result.append(Frame(image, mask, frame_label, mix, scan, anatomy, circle, first + k))
    return result


def _frame_mix(mix: dict[str, float], rng: np.random.Generator) -> dict[str, float]:
    """Structures of one frame: all vary a little, and now and then the plane misses the lesion."""
    clarity = float(np.clip(rng.normal(1.0, 0.15), 0.6, 1.4))
    if rng.random() < 0.08:
        clarity *= 0.45
    own = next(iter(mix))
    return {k: v * (clarity if k == own else float(rng.uniform(0.5, 1.3))) for k, v in mix.items()}


def _sheath_lines(
    scan: dict[str, float], fields: VolumeFields, lateral: float
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the sheath's upper and lower line: two arrays (W,)."""
    tilt = fields.line(1, 2, 1) @ np.stack([_COLUMNS / SIZE - 0.5, 0 * _COLUMNS])
    wave = fields.line(2, SIZE, 110 * lateral)
    ripple = fields.line(3, SIZE, 70 * lateral)
    upper = scan["sheath_row"] + scan["sheath_bend"] * (wave + 1.3 * tilt)
    thickness = scan["sheath_thickness"] * (1 + 0.05 * ripple) + 0.6 * scan["sheath_bend"] * ripple
    return upper, upper + np.maximum(thickness, 4)


def _add_line(echo: np.ndarray, rows: np.ndarray, width: float, strength: np.ndarray) -> None:
    """A bright line along ``rows`` (W,), in place; beyond three rows it is below the noise."""
    columns = np.arange(SIZE)
    nearest = np.rint(rows).astype(int)
    for step in range(-3, 4):
        at = nearest + step
        inside = (at >= 0) & (at < SIZE)
        glow = strength * np.exp(-0.5 * ((at - rows) / width) ** 2)
        echo[at[inside], columns[inside]] += glow[inside]


def _add_specks(
    echo: np.ndarray, upper: np.ndarray, lower: np.ndarray, density: float, rng: np.random.Generator
) -> None:
    """Bright grains in the sheath, in place."""
    area = float((lower - upper).sum())
    count = rng.poisson(density * area / 1000)
    column = rng.integers(1, SIZE - 1, count)
    row = upper[column] + rng.uniform(0.12, 0.88, count) * (lower - upper)[column]
    row = np.clip(row.astype(int), 1, SIZE - 2)
    strength = rng.lognormal(2.6, 0.7, count).astype(np.float32)
    for dy, dx, share in ((0, 0, 1.0), (0, 1, 0.6), (1, 0, 0.4), (0, -1, 0.3)):
        np.add.at(echo, (row + dy, column + dx), share * strength)


def _shadows(scan: dict[str, float], fields: VolumeFields, rng: np.random.Generator) -> np.ndarray:
    """Log gain per column: broad shadows under grains and mucus, and column noise: (W,)."""
    loss = scan["column_noise"] * (
        0.7 * fields.line(4, SIZE, 3.2) + 0.7 * rng.standard_normal(SIZE, dtype=np.float32)
    )
    for _ in range(rng.poisson(scan["shadow_count"])):
        center, width = rng.uniform(0, SIZE), scan["shadow_width"] * rng.uniform(0.4, 1.3)
        depth = scan["shadow_depth"] * rng.uniform(0.5, 1.4)
        loss = loss - depth * np.exp(-0.5 * ((_COLUMNS - center) / width) ** 2)
    return loss.astype(np.float32)


def _artefacts(
    echo: np.ndarray, upper: np.ndarray, scan: dict[str, float], rng: np.random.Generator
) -> None:
    """Specular dash on the sheath, thin streaks through it, flare at the edge; in place."""
    if rng.random() < scan["dash_echo"]:
        left, length = int(rng.uniform(60, 170)), int(rng.uniform(14, 34))
        row = int(np.clip(upper[left], 6, SIZE - 4))
        echo[row, left : left + length] += 40
        echo[row + 1, left : left + length] += 12
        echo[row - 5 : row + 3, left] += 12
    for _ in range(rng.poisson(2.0)):
        column = int(rng.integers(0, SIZE))
        row, tail = int(upper[column]), int(rng.uniform(6, 18))
        echo[max(row - tail, 0) : row + tail, column] += rng.uniform(0.2, 1.0)
    if rng.random() < scan["edge_flare"]:
        flare = np.exp(-(SIZE - 1 - _COLUMNS) / rng.uniform(2, 4)) * rng.uniform(4, 20)
        row = upper[-1] + rng.uniform(-4, 4)
        echo += flare[None, :] * np.exp(-0.5 * ((_ROWS - row) / rng.uniform(6, 14)) ** 2)


def _render(
    scan: dict[str, float],
    anatomy: dict[str, float],
    mix: dict[str, float],
    heterogeneity: float,
    fields: VolumeFields,
    start: float,
    index: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """One frame and its tissue mask."""
    lateral = 1.0 / scan["scan_width"]
    upper, lower = _sheath_lines(scan, fields, lateral)
    gap = scan["contact_gap"] * np.maximum(fields.line(5, SIZE, 60 * lateral) + 0.4, 0)
    surface = lower + 1.0 + gap + surface_relief(mix, fields, anatomy, SIZE, lateral)
    depth = _ROWS - surface[None, :]
    tissue = depth >= 0

    view = View(depth, fields, lateral, FRAME_STEP * index)
    log_echo = heterogeneity * fields.plane(6, SIZE, SIZE, 24, 30 * lateral)
    for name, weight in mix.items():
        log_echo += weight * STRUCTURES[name](view, anatomy)
    # Denser and looser tissue side by side: the light reaches deeper in some columns.
    decay = scan["attenuation"] * (1 + 0.22 * fields.line(9, SIZE, 65 * lateral))
    log_echo -= np.maximum(decay, 0.005).astype(np.float32)[None, :] * depth
    gain = scan["gain"] * rng.uniform(0.92, 1.08)
    echo = gain * np.exp(log_echo, dtype=np.float32)
    echo *= tissue
    echo += 0.5 * ((depth < 0) & (_ROWS > lower[None, :]))  # fluid between sheath and tissue

    shadow = np.exp(_shadows(scan, fields, rng))
    echo *= shadow[None, :]
    inside = (_ROWS > upper[None, :]) & (_ROWS < lower[None, :])
    echo += scan["sheath_fill"] * inside
    glint = np.exp(0.45 * rng.standard_normal((2, SIZE), dtype=np.float32))
    _add_line(echo, upper, 0.7, 9 * glint[0] * np.exp(0.5 * fields.line(7, SIZE, 25)))
    _add_line(echo, lower, 0.8, 16 * glint[1] * np.exp(0.6 * fields.line(8, SIZE, 30)))
    _add_specks(echo, upper, lower, scan["sheath_specks"], rng)
    _artefacts(echo, upper, scan, rng)

    amplitude = (echo + scan["water_noise"]) * speckle(rng, scan["psf_axial"], scan["psf_lateral"])
    grey = np.log(amplitude.astype(np.float32) + 1)  # log1p is many times slower
    grey *= scan["contrast"] / 255.0
    return _apply_gamma(grey, scan["gamma"]), tissue.astype(np.uint8) * np.uint8(255)


def _apply_gamma(grey: np.ndarray, gamma: float) -> np.ndarray:
    """Gamma and rounding to 8 bits through a fine table: a power per pixel would cost more."""
    steps = 4095
    table = np.rint(255.0 * np.linspace(0.0, 1.0, steps + 1) ** gamma).astype(np.uint8)
    return table[np.minimum(grey * steps, steps).astype(np.int16)]


def surface_rows(mask: np.ndarray) -> np.ndarray:
    """First tissue row of each column of a mask (H, W): (W,), the height where there is none."""
    tissue = np.asarray(mask) > 127
    return np.where(tissue.any(axis=0), tissue.argmax(axis=0), tissue.shape[0])
