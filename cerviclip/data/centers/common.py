"""Images that two data sets have in common: the same files, or copies of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cache

from cerviclip.data.files.copies import Contents, resaved_among
from cerviclip.data.imaging import ImagingDataset
from dassl.data.datasets.base_dataset import DatasetBase


class KnownImages:
    """The images of one data set, among which those of others are looked for.

    Args:
        paths: of its images.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self.paths = list(paths)
        self._folder = cache(os.path.realpath)
        self._real = {self._real_path(path) for path in self.paths}
        self._contents = Contents(self.paths)

    def found_in(self, paths: Sequence[str]) -> list[str]:
        """Those of ``paths`` that are one of these images: the same file, the same bytes or, where
        there are none of these, the same pixels under the same name."""
        same = {path for path in paths if self._real_path(path) in self._real}
        same |= set(self._contents.found_in([path for path in paths if path not in same]))
        return [path for path in paths if path in same] or resaved_among(paths, self.paths)

    def _real_path(self, path: str) -> str:
        if os.path.islink(path):
            return os.path.realpath(path)
        folder, name = os.path.split(path)
        return os.path.join(self._folder(folder), name)


def all_images(dataset: DatasetBase) -> Iterator[tuple[str, str]]:
    """Path and patient of all images of a data set, those that the few-shot draw left out
    included; the patient is empty where nobody knows."""
    if isinstance(dataset, ImagingDataset):
        known = dataset.patients_known
        for items in dataset.full_split.values():
            for item in items:
                path = f"{dataset.image_dir}{os.sep}{item.path}"
                yield path, item.patient if known else ""
        return
    for part in (dataset.train_x, dataset.train_u, dataset.val, dataset.test):
        yield from ((item.impath, item.patient_id) for item in part or ())
