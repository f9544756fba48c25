"""What a data set has read and what it left out, in a few lines before training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from cerviclip.counted import counted
from cerviclip.data.split.patient_grouped import PARTS, Item


def describe(
    name: str,
    items: Sequence[Item],
    split: Mapping[str, Sequence[Item]],
    patients_known: bool,
    pictures: str,
    notes: Iterable[str],
) -> list[str]:
    """Lines on images, classes, patients, pictures and parts, and on what is not among them.

    Args:
        name: of the data set.
        items: all images read.
        split: who is where.
        patients_known: the items' patients are people rather than file names.
        pictures: sizes and modes.
        notes: what was left out or read in an unusual way.
    """
    classes = Counter(item.classname for item in items)
    listed = ", ".join(f"{c} {n}" for c, n in sorted(classes.items())[:12])
    more = f" and {len(classes) - 12} more" if len(classes) > 12 else ""
    images = counted(len(items), "image")
    lines = [f"{name}: {images} in {counted(len(classes), 'class')} ({listed}{more})"]
    lines.append(f"  pictures: {pictures}")
    if patients_known:
        patients = sorted({item.patient for item in items})
        first = ", ".join(patients[:3]) + (" ..." if len(patients) > 3 else "")
        lines.append(f"  patients: {len(patients)} in {images} ({first})")
    else:
        lines.append("  patients: not known; each image counts as a patient of its own")
    parts = [_part(part, split[part], patients_known) for part in PARTS if split[part]]
    lines.append(f"  {', '.join(parts)}")
    return lines + [f"  {note}" for note in notes]


def _part(part: str, items: Sequence[Item], patients_known: bool) -> str:
    patients = counted(len({item.patient for item in items}), "patient")
    return f"{part} {counted(len(items), 'image')}" + (f" of {patients}" if patients_known else "")
