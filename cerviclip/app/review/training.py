"""From a review to a training: the labels as a file, and the command that trains on them."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cerviclip.app.review.journal import Journal
from cerviclip.backbones.names import PHANTOM, known_towers
from dassl.errors import UserError
from dassl.utils.files import atomic_write

METHOD = "LinearProbe"  # seconds on a CPU, and any backbone serves it


@dataclass(frozen=True)
class Origin:
    """What a new training takes over from the run of the page.

    Attributes:
        backbone: ``MODEL.BACKBONE.NAME``.
        weights: the backbone's file; "" where its name tells it.
        trainer: `METHOD`, or the run's own where its network is none that `METHOD` takes.
        plugins: modules or files that register it.
    """

    backbone: str = PHANTOM
    weights: str = ""
    trainer: str = METHOD
    plugins: tuple[str, ...] = ()

    @classmethod
    def of(cls, trainer: Any, weights: str, plugins: Sequence[str]) -> Origin:
        """Of a run or an export.

        Args:
            trainer: as it was loaded. results.json will not do: its backbone is a label of tables.
            weights: of the backbone, where the page was told that they have moved.
            plugins: of the page.
        """
        cfg = trainer.cfg
        name, stated = cfg.MODEL.BACKBONE.NAME, weights or cfg.MODEL.INIT_WEIGHTS
        known = os.path.abspath(stated) if stated else ""
        if hasattr(type(trainer), "image_input") or known_towers(name) is not None:
            return cls(name, known)
        return cls(name, known, cfg.TRAINER.NAME, tuple(plugins))


def train_command(folder: Path, labels: Path, origin: Origin) -> str:
    """The command that trains on a review; it runs as it is written.

    Args:
        folder: of the pictures.
        labels: the CSV of `write_labels`.
        origin: backbone and trainer.
    """
    words = ["cerviclip", "train", "--dataset", "FolderDataset", "--trainer", origin.trainer]
    words += ["--backbone", origin.backbone] if origin.backbone else []
    words += ["--weights", origin.weights] if origin.weights else []
    for plugin in origin.plugins:
        words += ["--plugin", plugin]
    words += ["--root", str(folder.parent), "DATASET.FOLDER", folder.name]
    return shlex.join([*words, "DATASET.FILE", str(labels)])


def write_labels(journals: Sequence[Journal], text: str) -> Path:
    """Write the export beside the journals, where it is not there yet.

    Args:
        journals: the reader's own first.
        text: the CSV of `cerviclip.app.review.export.export`.

    Returns:
        The file: the reader's own, or the one of all readers. No reader can have its ``+``.

    Raises:
        UserError: it cannot be written.
    """
    name = f"{journals[0].reader}{'+others' if len(journals) > 1 else ''}.csv"
    path = journals[0].path.absolute().with_name(name)
    try:
        if not path.is_file() or path.read_bytes() != text.encode():
            with atomic_write(path) as handle:
                handle.write(text)
    except OSError as error:
        raise UserError(f"the labels cannot be written to {path}: {error.strerror}") from error
    return path
