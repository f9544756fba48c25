"""A contact sheet of confident errors, a panel for each centre."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cerviclip.data.checks.sheet import Panel, draw_panels
from cerviclip.runs.inspection.errors import ConfidentError
from cerviclip.runs.inspection.pictures import picture_files
from cerviclip.runs.predictions import Predictions
from cerviclip.runs.report.figures import short_name


def error_sheet(
    centers: Sequence[Predictions],
    errors: Sequence[Sequence[ConfidentError]],
    root: str,
    target: Path,
) -> int:
    """Write the sheet; returns how many pictures are on it.

    Args:
        centers: the predictions that the errors are of.
        errors: those to show of each centre.
        root: what the images' paths are relative to.
        target: the picture to write.
    """
    files = picture_files(centers, root)
    panels = [
        Panel(
            center.center,
            f"the surest {len(shown)} errors of {len(center)} images",
            [(str(paths[e.place]), _lines(e)) for e in shown],
        )
        for center, shown, paths in zip(centers, errors, files, strict=True)
        if shown
    ]
    return draw_panels(panels, target)


def _lines(error: ConfidentError) -> tuple[str, str]:
    return (
        f"true {short_name(error.label)} {error.of_truth:.2f}",
        f"said {short_name(error.predicted)} {error.probability:.2f}",
    )
