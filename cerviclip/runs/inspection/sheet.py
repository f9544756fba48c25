"""A contact sheet of confident errors, a panel for each centre."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cerviclip.counted import counted
from cerviclip.data.checks.sheet import Panel, draw_panels
from cerviclip.runs.inspection.errors import ConfidentError
from cerviclip.runs.inspection.pictures import picture_files
from cerviclip.runs.predictions import Predictions
from cerviclip.runs.report.figures import short_name


def error_sheet(
    centers: Sequence[Predictions],
    errors: Sequence[Sequence[ConfidentError]],
    most: int,
    root: str,
    target: Path,
) -> int:
    """Write the sheet; returns how many pictures are on it.

    Args:
        centers: the predictions that the errors are of.
        errors: all of each centre, the surest first.
        most: how many of a centre are shown.
        root: what the images' paths are relative to.
        target: the picture to write.
    """
    files = picture_files(centers, root)
    panels = [
        Panel(
            center.center,
            _heading(min(most, len(own)), len(own), len(center)),
            [(str(paths[e.place]), _lines(e)) for e in own[:most]],
        )
        for center, own, paths in zip(centers, errors, files, strict=True)
        if own
    ]
    return draw_panels(panels, target)


def _heading(shown: int, errors: int, images: int) -> str:
    """``the surest 16 of 57 errors in 178 images``."""
    which = (
        f"the surest {shown} of {errors:,} errors" if shown < errors else counted(errors, "error")
    )
    return f"{which} in {counted(images, 'image')}"


def _lines(error: ConfidentError) -> tuple[str, ...]:
    """The number that the CSV has, the file's name, and both classes with their probabilities."""
    return (
        f"{error.rank}: {error.path.rpartition('/')[2]}",
        f"true {short_name(error.label)} {error.of_truth:.2f}",
        f"said {short_name(error.predicted)} {error.probability:.2f}",
    )
