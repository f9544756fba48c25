"""Phantom OCT: rendered cervical B-scans of five classes at several centres (docs/phantom.md)."""

from cerviclip.data.phantoms.centres import (
    CENTRES,
    SHIFT_KINDS,
    Centre,
    pretraining_centre,
    shift_by_kind,
)
from cerviclip.data.phantoms.render import Frame, render_patient, surface_rows
from cerviclip.data.phantoms.store import (
    VERSION,
    ensure_centre,
    frame_name,
    mask_path,
    patients_of,
    read_surface,
)
from cerviclip.data.phantoms.structures import CLASSES

__all__ = [
    "CENTRES",
    "CLASSES",
    "SHIFT_KINDS",
    "VERSION",
    "Centre",
    "Frame",
    "ensure_centre",
    "frame_name",
    "mask_path",
    "patients_of",
    "pretraining_centre",
    "read_surface",
    "render_patient",
    "shift_by_kind",
    "surface_rows",
]
