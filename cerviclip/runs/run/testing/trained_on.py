"""What a saved run has learned from, as its split.json says, is never in a test of it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cerviclip.data.centers.external import check_no_common_images
from cerviclip.data.files.copies import Contents, resaved_among
from cerviclip.data.split.record import FILE, read_split_record
from cerviclip.runs.predictions import relative_path
from cerviclip.shapes import plain_json
from dassl.config import CfgNode
from dassl.data.datasets.base_dataset import Datum
from dassl.errors import UserError
from dassl.paths import is_file
from dassl.utils.files import atomic_write, file_sha256

LEARNED = ("train", "train_u", "val")


@dataclass
class TrainedOn:
    """The images of a run's split.json.

    Attributes:
        folder: the run's.
        record: the content of split.json; empty for a run without one.
        root: the folder that its paths are relative to, as far as today's settings tell.
        root_now: the same of the data that are tested on now.
    """

    folder: Path
    record: dict[str, Any] = field(default_factory=dict)
    root: str = ""
    root_now: str = ""

    @classmethod
    def of(cls, folder: Path, saved_root: str, cfg: CfgNode, dataset: Any) -> TrainedOn:
        """Read it.

        Args:
            folder: the run's.
            saved_root: the DATASET.ROOT that the run was trained with.
            cfg: of the evaluation.
            dataset: of the evaluation.

        Raises:
            UserError: split.json is there and cannot be read.
        """
        path = folder / FILE
        if not is_file(path):
            return cls(folder)
        try:
            record = read_split_record(path)
        except (OSError, ValueError) as error:
            raise UserError(
                f"{path} cannot be read ({error}), so nothing tells what {folder} was trained "
                "on; restore the file"
            ) from error
        own = getattr(dataset, "root", "") if hasattr(dataset, "split_record") else ""
        now = str(own or cfg.DATASET.ROOT)  # as write_split has it
        within = os.path.relpath(os.path.abspath(now), os.path.abspath(cfg.DATASET.ROOT))
        root = now if within.startswith("..") else os.path.normpath(f"{saved_root}/{within}")
        return cls(folder, record, root, now)

    def rows(self, *parts: str) -> list[dict[str, Any]]:
        return [row for part in parts for row in self.record.get(part) or ()]

    def check(self, dataset: Any, tested_on: str = "test") -> None:
        """Refuse test images, or patients with such images, that the run has learned from.

        The run's own test images pass: what is to be said of them was said at its training. Val
        counts as learned from, except where val itself is tested on (``TEST.SPLIT val``).

        Args:
            dataset: of the evaluation.
            tested_on: the part that is scored.

        Raises:
            UserError: there are such images, with their number.
        """
        pairs = {"test": LEARNED, "val": ("train", "train_u")}
        if tested_on == "val":
            del pairs["test"]
        for part, learned in pairs.items():
            items = list(getattr(dataset, part, None) or ())
            images, patients = self._found(items, part, learned, dataset)
            if not (images or patients):
                continue
            what = " and ".join(
                words
                for words in (
                    f"{len(images)} were trained or validated on" if images else "",
                    f"{len(patients)} are of patients that were" if patients else "",
                )
                if words
            )
            raise UserError(
                f"{self.folder}: of the {len(items)} {part} images now, {what} (such as "
                f"{(images or patients)[0]}); test on the run's own test images by --split "
                f"{self.folder / FILE}, or give other people's images as a centre "
                "(DATASET.EXTERNAL_FOLDERS)"
            )

    def _found(
        self, items: Sequence[Datum], part: str, learned: Sequence[str], dataset: Any
    ) -> tuple[list[str], list[str]]:
        """Paths of images that were learned from, and of others of the same patients."""
        roots = (self.root_now, str(getattr(dataset, "root", "")))
        names = {item.impath: relative_path(item.impath, *roots) for item in items}
        own = {row["path"] for row in self.rows(part) if self._is_same(row["path"])}
        asked = [item for item in items if names[item.impath] not in own]
        rows = self.rows(*learned)
        same = {row["path"] for row in rows if self._is_same(row["path"])}
        copies = Contents(os.path.join(self.root, row["path"]) for row in rows)
        paths = [item.impath for item in asked]
        images = [path for path in paths if names[path] in same]
        others = [path for path in paths if names[path] not in same]
        learned_files = [os.path.join(self.root, row["path"]) for row in rows]
        images += copies.found_in(others) or resaved_among(others, learned_files)
        patients = {str(row.get("patient", "")) for row in rows} - {""}
        if self.record.get("by") == "image" or not getattr(dataset, "patients_known", True):
            patients = set()
        others = [i.impath for i in asked if i.patient_id in patients and i.impath not in images]
        return images, others

    def _is_same(self, name: str) -> bool:
        """Whether a name means the same image now; where the old file is gone, it is taken to."""
        old, now = os.path.join(self.root, name), os.path.join(self.root_now, name)
        if os.path.realpath(old) == os.path.realpath(now) or not os.path.isfile(old):
            return True
        return os.path.isfile(now) and file_sha256(old) == file_sha256(now)

    def check_centers(self, centers: Mapping[str, Sequence[Datum]], dataset: Any = None) -> None:
        """Refuse external centres with images of the run's split, whatever the training's folder
        holds today.

        Args:
            centers: images by centre's name.
            dataset: keeps what is warned of, for results.json.

        Raises:
            UserError: a centre has such images, or copies of them.
        """
        rows = self.rows(*LEARNED, "test")
        images = {os.path.join(self.root, row["path"]): str(row.get("patient", "")) for row in rows}
        check_no_common_images(centers, images, str(self.folder), dataset)

    def write_split(self, folder: Path) -> None:
        """Put the run's train and val into the split.json of its evaluation, beside its test."""
        if not self.record:
            return
        path = folder / FILE
        record = plain_json(path.read_text(encoding="utf-8"))
        record |= {part: self.record[part] for part in LEARNED if part in self.record}
        if "draw_hash" in self.record:
            record["draw_hash"] = self.record["draw_hash"]
        with atomic_write(path) as handle:
            json.dump(record, handle, indent=1)
