"""By how much the method in detail was ahead on val, and how little val is."""

from __future__ import annotations

from cerviclip.counted import counted
from cerviclip.evaluation.names import WANTED_PATIENTS
from cerviclip.report.sentences.partitions import knows_patients
from cerviclip.report.study import Part
from cerviclip.runs.measured import read_val


def ranks_sentence(part: Part) -> str:
    """The accuracies by which val has ranked methods, and the images and patients of val; "" where
    val has ranked none."""
    if not part.on_val:
        return ""
    ranked = sorted(part.on_val.items(), key=lambda pair: -pair[1])
    told = ", ".join(f"{label} {100 * accuracy:.1f} %" for label, accuracy in ranked)
    tied = len(ranked) > 1 and ranked[0][1] == ranked[1][1]
    first = " Of equal ones the first of the table was taken." * tied
    return f" Accuracy on val: {told}.{first}{_size_of_val(part)}"


def _size_of_val(part: Part) -> str:
    images, patients = [], []
    for run in part.featured.runs:
        if (val := read_val(run["folder"])) is not None:
            images.append(len(val))
            patients.append(len(set(val.patient_ids)))
    if not images:
        return ""
    told = _span(images, "image")
    if not knows_patients(part.run):
        return f" Val has {told} in a run."
    few = ", so few that the order may be chance" if min(patients) < WANTED_PATIENTS else ""
    return f" Val has {told} of {_span(patients, 'patient')} in a run{few}."


def _span(numbers: list[int], unit: str) -> str:
    low, high = min(numbers), max(numbers)
    return counted(low, unit) if low == high else f"{low:,} to {counted(high, unit)}"
