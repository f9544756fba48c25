"""A data set opened by its name or folder, for tools that train nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cerviclip.runs.settings.configure import dataset_cfg
from dassl.errors import UserError
from dassl.paths import is_dir

if TYPE_CHECKING:
    from cerviclip.data.imaging import ImagingDataset


def open_dataset(
    data: str, root: str = "", patients: str = "", opts: Sequence[Any] = ()
) -> ImagingDataset:
    """A data set with its split, whole and in silence, for tools that write files of it.

    Args:
        data: a registered name, or a folder that ``FolderDataset`` reads.
        root: of a named data set; "" for ``./data``.
        patients: ``DATASET.PATIENT_PATTERN``; "" for the data set's own.
        opts: flat (KEY, VALUE, ...) overrides.

    Raises:
        UserError: ``root`` with a folder, or a data set without one split of images.
    """
    from cerviclip.data.imaging import ImagingDataset  # brings much that --help does without
    from dassl.data.datasets import build_dataset

    name = data
    if is_dir(data):
        if root:
            raise UserError(f"--root goes with a data set's name, and {data} is a folder")
        name, root = "FolderDataset", data
    cfg = dataset_cfg(name, root, opts)
    cfg.VERBOSE = False
    cfg.DATASET.PATIENT_PATTERN = patients or cfg.DATASET.PATIENT_PATTERN
    cfg.freeze()
    dataset = build_dataset(cfg)
    if not isinstance(dataset, ImagingDataset):
        raise UserError(f"{name} is not one data set with a split of its own; name one of its sets")
    return dataset
