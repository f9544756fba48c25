"""``TrainFeatures``: the features of a run's training images, and how far new ones are from them.

A run keeps them as ``train_features.safetensors``: tensors, and JSON in the file's header. The
score of an image is its mean cosine distance to the `NEAREST` training images that are most like
it, after Sun et al., ICML 2022, arXiv:2204.06507 (there the k-th distance). The threshold is the
95 % quantile of the scores of val.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cerviclip.shapes import plain_json
from dassl.errors import UserError
from dassl.utils.files import atomic_write

FILE = "train_features.safetensors"
VERSION = 1
LIMIT = 2000  # training images that are kept; 2 MB for 512 numbers each
NEAREST = 5  # training images in the score; fewer where there are fewer
QUANTILE = 0.95  # of the val images' scores


@dataclass(frozen=True)
class TrainFeatures:
    """Unit features of training images.

    Args:
        rows: (N, D) float32, L2-normalised.
        labels: (N,) class numbers.
        paths: of the images, relative to the data's root.
        threshold: the score that 95 % of the images of ``threshold_from`` do not exceed.
        threshold_from: ``val``; ``train`` where there is no val: each image against the others.
        of: training images of the run; more than N where some were left out.
    """

    rows: np.ndarray
    labels: np.ndarray
    paths: tuple[str, ...]
    threshold: float | None = None
    threshold_from: str = ""
    of: int = 0

    @classmethod
    def fit(
        cls,
        rows: np.ndarray,
        labels: Sequence[int],
        paths: Sequence[str],
        val: np.ndarray | None = None,
        of: int = 0,
    ) -> TrainFeatures:
        """From features (N, D) of training images and (M, D) of val images, of any length."""
        half = unit(rows).astype(np.float16).astype(np.float32)  # as the file keeps them
        found = cls(unit(half), np.asarray(labels, np.int64), tuple(paths), of=of or len(rows))
        if val is not None and len(val):
            scores, source = found.scores(val), "val"
        elif len(rows) > 1:
            scores, source = found.scores_without_own(), "train"
        else:
            return found
        threshold = float(np.quantile(scores, QUANTILE))
        kept = (found.rows, found.labels, found.paths)
        return cls(*kept, threshold, source, found.of)

    @property
    def nearest_in_score(self) -> int:
        return min(NEAREST, len(self.rows))

    def identity(self) -> str:
        """A hash of all that scores, thresholds and neighbours depend on."""
        said = [self.paths, self.threshold, self.threshold_from, self.rows.shape]
        digest = hashlib.sha256(json.dumps(said).encode())
        digest.update(np.ascontiguousarray(self.rows, np.float32).tobytes())
        digest.update(np.ascontiguousarray(self.labels, np.int64).tobytes())
        return digest.hexdigest()

    def distances(self, features: np.ndarray) -> np.ndarray:
        """Cosine distances (B, N), 0 to 2, of features (B, D) of any length."""
        return np.clip(1.0 - unit(features) @ self.rows.T, 0.0, 2.0)

    def scores(self, features: np.ndarray) -> np.ndarray:
        """(B,) mean distance to the nearest training images."""
        return mean_of_least(self.distances(features), self.nearest_in_score)

    def scores_without_own(self) -> np.ndarray:
        """(N,) scores of the training images, each against the others."""
        distances = self.distances(self.rows)
        np.fill_diagonal(distances, np.inf)
        return mean_of_least(distances, min(NEAREST, len(self.rows) - 1))

    def save(self, folder: str | Path) -> Path:
        """Write the file into a run's folder, whole or not at all."""
        from safetensors.numpy import save

        path = Path(folder) / FILE
        header = {
            "version": VERSION,
            "paths": self.paths,
            "threshold": self.threshold,
            "threshold_from": self.threshold_from,
            "of": self.of,
        }
        tensors = {"features": self.rows.astype(np.float16), "labels": self.labels}
        text = json.dumps(header, ensure_ascii=False)
        with atomic_write(path, "wb") as handle:
            handle.write(save(tensors, metadata={"train_features": text}))
        return path

    @classmethod
    def load(cls, folder: str | Path) -> TrainFeatures | None:
        """Those of a run or an export; None where the folder has no such file.

        Raises:
            UserError: a broken file, or one of a later version.
        """
        path = Path(folder) / FILE
        if not path.is_file():
            return None
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "np") as file:
                header = plain_json((file.metadata() or {})["train_features"])
                rows, labels = file.get_tensor("features"), file.get_tensor("labels")
            if int(header["version"]) > VERSION:
                raise UserError(
                    f"{path} has version {header['version']}, newer than this code reads"
                )
            if not len(rows) == len(labels) == len(header["paths"]):
                raise ValueError("its parts differ in length")
            return cls(
                unit(rows.astype(np.float32)),
                labels,
                tuple(header["paths"]),
                header["threshold"],
                header["threshold_from"],
                int(header["of"]),
            )
        except UserError:
            raise
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} is no file of training features ({error!r})") from error


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows (B, D) at length 1, float32; a row of zeros stays one."""
    rows = np.asarray(rows, np.float32)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def mean_of_least(values: np.ndarray, count: int) -> np.ndarray:
    """(B,) mean of the ``count`` least values of each row of (B, N)."""
    if count >= values.shape[1]:
        return values.mean(axis=1)
    return np.partition(values, count - 1, axis=1)[:, :count].mean(axis=1)


def every_so_many(items: Sequence[Any], limit: int = LIMIT) -> list[Any]:
    """At most ``limit`` items, evenly over the list sorted by label, so that no class is lost."""
    ordered = sorted(items, key=lambda item: item.label)
    if len(ordered) <= limit:
        return list(items)
    return [ordered[i] for i in np.linspace(0, len(ordered) - 1, limit).round().astype(int)]
