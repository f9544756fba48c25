"""``Datum``, one labelled image, and ``DatasetBase``, lists of them for training, val and test.

The class paths and the private field names are upstream's, because few-shot pickles hold them.
"""

from __future__ import annotations

import os
import random
import tarfile
import warnings
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from dassl.errors import MissingFileError, UserError
from dassl.utils import download_url


class Datum:
    """One image with its label.

    Args:
        impath: path of the image file, which must exist.
        label: class label from 0.
        domain: domain label from 0 (a centre, a style).
        classname: name of the class.
        patient_id: whom the image is of; all images of one patient stay in one split.
    """

    def __init__(
        self,
        impath: str = "",
        label: int = 0,
        domain: int = 0,
        classname: str = "",
        patient_id: str = "",
    ) -> None:
        if not isinstance(impath, str):
            raise TypeError(f"impath must be a str, got {type(impath).__name__}")
        if not os.path.isfile(impath):
            raise MissingFileError(f'no image file at "{impath}"')
        self._impath = impath
        self._label = label
        self._domain = domain
        self._classname = classname
        self._patient_id = patient_id

    @property
    def impath(self) -> str:
        return self._impath

    @property
    def label(self) -> int:
        return self._label

    @property
    def domain(self) -> int:
        return self._domain

    @property
    def classname(self) -> str:
        return self._classname

    @property
    def patient_id(self) -> str:
        # Pickles written by upstream know nothing of patients.
        return self.__dict__.get("_patient_id", "")

    def __repr__(self) -> str:
        return f"Datum({self._impath!r}, label={self._label}, classname={self._classname!r})"


class DatasetBase:
    """Lists of ``Datum`` for training, validation and test.

    Classes are counted from ``train_x``; where that is empty (a centre that is only tested on) from
    the other splits.
    """

    dataset_dir = ""  # folder of the data set under DATASET.ROOT
    domains: Sequence[str] = []  # names of all domains, in the order of their labels

    def __init__(
        self,
        train_x: list[Datum] | None = None,
        train_u: list[Datum] | None = None,
        val: list[Datum] | None = None,
        test: list[Datum] | None = None,
    ) -> None:
        self._train_x = train_x if train_x is not None else []
        self._train_u = train_u
        self._val = val
        self._test = test if test is not None else []

        labelled = self._train_x or [*(val or []), *self._test]
        self._num_classes = self.get_num_classes(labelled)
        self._lab2cname, self._classnames = self.get_lab2cname(labelled)

    @property
    def train_x(self) -> list[Datum]:
        return self._train_x

    @property
    def train_u(self) -> list[Datum] | None:
        return self._train_u

    @property
    def val(self) -> list[Datum] | None:
        return self._val

    @property
    def test(self) -> list[Datum]:
        return self._test

    @property
    def lab2cname(self) -> dict[int, str]:
        return self._lab2cname

    @property
    def classnames(self) -> list[str]:
        return self._classnames

    @property
    def all_class_names(self) -> list[str]:
        """All class names, those a base-to-new split leaves out included (added by forks).

        A data set that trains on a subset of its classes sets it; else it equals ``classnames``.
        """
        return self.__dict__.get("_all_class_names", self._classnames)

    @all_class_names.setter
    def all_class_names(self, names: list[str]) -> None:
        self.__dict__["_all_class_names"] = names

    @property
    def num_classes(self) -> int:
        return self._num_classes

    def get_num_classes(self, data_source: Iterable[Datum]) -> int:
        """Count classes as the highest label plus one."""
        return max((item.label for item in data_source), default=-1) + 1

    def get_lab2cname(self, data_source: Iterable[Datum]) -> tuple[dict[int, str], list[str]]:
        """Map labels to class names; also return the names in the order of their labels."""
        names = {item.label: item.classname for item in data_source}
        mapping = {label: names[label] for label in sorted(names)}
        return mapping, list(mapping.values())

    def check_input_domains(
        self, source_domains: Sequence[str], target_domains: Sequence[str]
    ) -> None:
        """Check that every domain asked for is one of ``self.domains``."""
        self.is_input_domain_valid(source_domains)
        self.is_input_domain_valid(target_domains)

    def is_input_domain_valid(self, input_domains: Sequence[str]) -> None:
        for domain in input_domains:
            if domain not in self.domains:
                known = ", ".join(self.domains)
                raise UserError(f'unknown domain "{domain}"; this data set has: {known}')

    def download_data(self, url: str, dst: str, from_gdrive: bool = True) -> None:
        """Fetch an archive to ``dst`` and unpack it beside itself."""
        folder = Path(dst).parent
        folder.mkdir(parents=True, exist_ok=True)
        if from_gdrive:
            try:
                import gdown
            except ImportError:
                raise UserError(
                    f"downloading {url} needs gdown: pip install gdown, or put the file at {dst}"
                ) from None
            gdown.download(url, dst, quiet=False)
        else:
            download_url(url, dst)

        print("Extracting file ...")
        if tarfile.is_tarfile(dst):
            with tarfile.open(dst) as archive:
                # Refuses members outside the folder; the first 3.10 releases lack the filter.
                safe = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
                archive.extractall(folder, **safe)  # type: ignore[arg-type]
        else:
            with zipfile.ZipFile(dst) as archive:
                archive.extractall(folder)
        print(f"File extracted to {folder}")

    def generate_fewshot_dataset(
        self, *data_sources: list[Datum], num_shots: int = -1, repeat: bool = False
    ) -> list[Datum] | list[list[Datum]] | tuple[list[Datum], ...]:
        """Draw ``num_shots`` images per class from each source.

        The draws come from the global ``random``, class by class in order of first appearance, so
        that a seed gives the sample that it gives on upstream.

        Args:
            data_sources: lists of items.
            num_shots: images per class; below 1 the sources come back as they are.
            repeat: fill up a smaller class by drawing its images more than once.

        Returns:
            One list for one source, else a list of lists (a tuple if nothing is drawn).
        """
        if num_shots < 1:
            return data_sources[0] if len(data_sources) == 1 else data_sources

        print(f"Creating a {num_shots}-shot dataset")
        drawn = []
        for source in data_sources:
            shots: list[Datum] = []
            few: list[str] = []
            for items in self.split_dataset_by_label(source).values():
                if len(items) >= num_shots:
                    shots += random.sample(items, num_shots)
                elif repeat:
                    shots += random.choices(items, k=num_shots)
                else:
                    few.append(f"class {items[0].label} {items[0].classname}: {len(items)}")
                    shots += items
            if few:
                warnings.warn(
                    f"fewer images than the {num_shots} shots asked, all of them are taken: "
                    f"{'; '.join(few[:5])}{f' and {len(few) - 5} more' if len(few) > 5 else ''}",
                    stacklevel=2,
                )
            drawn.append(shots)
        return drawn[0] if len(drawn) == 1 else drawn

    def split_dataset_by_label(self, data_source: Iterable[Datum]) -> dict[int, list[Datum]]:
        """Group items by label, in order of first appearance."""
        groups: dict[int, list[Datum]] = defaultdict(list)
        for item in data_source:
            groups[item.label].append(item)
        return groups

    def split_dataset_by_domain(self, data_source: Iterable[Datum]) -> dict[int, list[Datum]]:
        """Group items by domain, in order of first appearance."""
        groups: dict[int, list[Datum]] = defaultdict(list)
        for item in data_source:
            groups[item.domain].append(item)
        return groups
