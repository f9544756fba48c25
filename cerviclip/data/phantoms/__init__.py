"""Phantom OCT: rendered cervical B-scans of five classes at several centres (docs/phantom.md)."""

from cerviclip.data.phantoms.centers import (
    CENTERS,
    SHIFT_KINDS,
    Center,
    pretraining_center,
    shift_by_kind,
)
from cerviclip.data.phantoms.render import Frame, render_patient, surface_rows
from cerviclip.data.phantoms.store import (
    VERSION,
    ensure_center,
    frame_name,
    mask_path,
    patients_of,
    read_surface,
)
from cerviclip.data.phantoms.structures import CLASSES

__all__ = [
    "CENTERS",
    "CLASSES",
    "SHIFT_KINDS",
    "VERSION",
    "Center",
    "Frame",
    "ensure_center",
    "frame_name",
    "mask_path",
    "patients_of",
    "pretraining_center",
    "read_surface",
    "render_patient",
    "shift_by_kind",
    "surface_rows",
]
