"""``Reading``: how a run's training read its image files, so that new ones are read alike.

Two things are not in the files themselves: the range of values of images of more than 8 bits, which
is found over a whole data set, and how a file's name tells the patient, which the code of a data
set may say. A run keeps both as ``reading.json``.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cerviclip.shapes import parse_json
from dassl.errors import UserError
from dassl.paths import is_file
from dassl.utils.deep_images import Range, Windows, windows_of
from dassl.utils.files import atomic_write

if TYPE_CHECKING:
    from yacs.config import CfgNode

FILE = "reading.json"
VERSION = 1


@dataclass(frozen=True)
class Reading:
    """How image files are read.

    Args:
        windows: the values that become 0-255 in images of more than 8 bits; None: not known.
        patient_pattern: regex with one group that finds the patient in a file name; "" for none.
    """

    windows: Windows | None = None
    patient_pattern: str = ""

    @classmethod
    def of(cls, cfg: CfgNode, dataset: Any) -> Reading:
        """How ``dataset`` reads its files.

        Args:
            cfg: of the run.
            dataset: any ``DatasetBase``; ``image_dir``, ``patient_pattern`` and ``patients_known``
                are read where it has them.
        """
        folder = getattr(dataset, "image_dir", "")
        windows = windows_of(os.path.join(str(folder), "any.png")) if folder else Windows()
        pattern = cfg.DATASET.PATIENT_PATTERN or getattr(dataset, "patient_pattern", "")
        # Where numbers start anew in each class, a new image's class is needed to tell its patient.
        known = getattr(dataset, "patients_known", True) and not cfg.DATASET.PATIENT_PER_CLASS
        return cls(windows, pattern if known and isinstance(pattern, str) else "")

    def save(self, folder: str | Path) -> Path:
        """Write ``reading.json`` into a run's folder, whole or not at all."""
        path = Path(folder) / FILE
        windows = self.windows or Windows()
        record = {
            "version": VERSION,
            "integers": windows.integers,
            "floats": windows.floats,
            "patient_pattern": self.patient_pattern,
        }
        with atomic_write(path) as handle:
            json.dump(record, handle, indent=1, ensure_ascii=False)
            handle.write("\n")
        return path

    @classmethod
    def load(cls, folder: str | Path, cfg: CfgNode) -> Reading:
        """The reading of a run; of one without ``reading.json`` what its settings say.

        Args:
            folder: the run's.
            cfg: its configuration.

        Raises:
            UserError: a broken file, or one of a later version.
        """
        path = Path(folder) / FILE
        if not is_file(path):
            return cls(_declared(cfg), cfg.DATASET.PATIENT_PATTERN)
        try:
            record = parse_json(path.read_text(encoding="utf-8"))
            version = int(record["version"])
            integers, floats = _range(record["integers"]), _range(record["floats"])
            reading = cls(Windows(integers, floats), str(record["patient_pattern"]))
        except (OSError, ValueError, TypeError, KeyError, OverflowError) as error:
            what = f"{type(error).__name__}: {error}"
            raise UserError(f"{path} does not say how images were read ({what})") from error
        if version > VERSION:
            raise UserError(f"{path} has version {version}, newer than this code reads")
        return reading


def _declared(cfg: CfgNode) -> Windows | None:
    """The ranges that a run's settings name; None where they were left to the data set."""
    if window := tuple(cfg.INPUT.WINDOW):
        return Windows(_range(window), _range(window))
    return Windows(integers=(0.0, float(2**cfg.INPUT.BITS - 1))) if cfg.INPUT.BITS else None


def _range(values: Any) -> Range | None:
    if values is None:
        return None
    low, high = map(float, values)
    if not low < high < math.inf or low == -math.inf:
        raise ValueError(f"the values {low:g} to {high:g} are no range")
    return low, high
