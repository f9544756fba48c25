"""The image files that a run's predictions name. Needs no torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import yaml

from cerviclip.runs.predictions import Predictions, read_predictions
from dassl.errors import MissingFileError, UserError, did_you_mean


def picture_files(predictions: Sequence[Predictions], root: str | Path) -> list[list[Path]]:
    """The files of each centre's images, in the order of its predictions.

    Args:
        predictions: of a run.
        root: what their paths are relative to, the run's ``DATASET.ROOT``.

    Raises:
        MissingFileError: some are not there.
    """
    found = [[Path(os.path.expanduser(root)) / path for path in p.paths] for p in predictions]
    lacking = [file for files in found for file in files if not file.is_file()]
    if lacking:
        total = sum(map(len, found))
        raise MissingFileError(
            f"{len(lacking)} of the run's {total} images are not there, such as {lacking[0]}; "
            "name the data's folder with --root"
        )
    return found


def chosen_centers(folder: str | Path, names: Sequence[str]) -> list[Predictions]:
    """The predictions of a run's centres; of all where none is named.

    Raises:
        MissingFileError: the folder has no predictions.
        UserError: it has none of a centre that is named.
    """
    try:
        parts = {p.center: p for p in read_predictions(folder)}
    except FileNotFoundError as error:
        raise MissingFileError(f"{error.filename} does not exist; name a finished run") from error
    for name in names:
        if name not in parts:
            hint = did_you_mean(name, parts)
            raise UserError(f"no centre {name!r} in {folder}{hint} (it has {', '.join(parts)})")
    return [parts[name] for name in names] or list(parts.values())


def data_root(folder: str | Path, root: str) -> str:
    """``root``, or what the run's own configuration says."""
    if root:
        return root
    path = Path(folder) / "config.yaml"
    if not path.is_file():
        raise MissingFileError(f"{path} does not exist; name the data's folder with --root")
    return str(yaml.safe_load(path.read_text(encoding="utf-8"))["DATASET"]["ROOT"])
