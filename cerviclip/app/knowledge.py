"""What a run knows beside its model: calibration, thresholds and their figures, training images.

All of it follows from results.json and ``train_features.safetensors``; of an ensemble from the
means of its runs' predictions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cerviclip.app.answer import Neighbour, OperatingPoint
from cerviclip.evaluation.measures import Home, Settings
from cerviclip.evaluation.measures.blocks import measure_with
from cerviclip.features.training import FILE, TrainFeatures
from cerviclip.runs.measured import read_val, sample_of
from cerviclip.runs.predictions import PREDICTIONS, Predictions, read_predictions
from cerviclip.runs.results_json import finite_or_none

SHOWN_NEIGHBOURS = 5
_ANSWERED_BY = ("operating_points", "calibration", "conformal")  # blocks that answers are made of
_NO_BLOCKS = "the run has no results.json"


@dataclass(frozen=True)
class Knowledge:
    """What is said of a picture beside its probabilities.

    Args:
        classnames: in label order.
        positive: classes that count as disease.
        home: what was fitted on val.
        blocks: results.json, or the blocks of it that there are.
        features: of the training images of each member; None for a member that kept none.
        reasons: attribute of an answer -> why it is None.
    """

    classnames: tuple[str, ...]
    positive: tuple[str, ...]
    home: Home
    blocks: Mapping[str, Any] = field(repr=False)
    features: tuple[TrainFeatures | None, ...] = field(repr=False)
    reasons: Mapping[str, str]

    @classmethod
    def of(
        cls,
        blocks: Mapping[str, Any],
        classnames: tuple[str, ...],
        positive: tuple[str, ...],
        features: Sequence[TrainFeatures | None],
        why_not: str = "",
    ) -> Knowledge:
        """From blocks of results.json.

        Args:
            why_not: why there are no blocks.
        """
        absent = why_not or ("" if blocks else _NO_BLOCKS)
        home = Home.absent(absent) if absent else Home.from_results(blocks, classnames)
        return cls(
            classnames,
            positive,
            home,
            blocks,
            tuple(features),
            _reasons(home, features),
        )

    @property
    def wants_features(self) -> bool:
        """Whether an image's features are compared with anything."""
        return any(kept is not None for kept in self.features)

    @property
    def coverage(self) -> float | None:
        return (self.blocks.get("conformal") or {}).get("coverage") if self.home.conformal else None

    def identity(self) -> str:
        """A hash of what answers say beside their probabilities: every threshold, what was fitted
        on val, the figures of each centre, and the training features."""
        blocks = [self.blocks.get(name) for name in _ANSWERED_BY] if self.blocks else []
        digest = hashlib.sha256(json.dumps(blocks, sort_keys=True).encode())
        for kept in self.features:
            digest.update(b"none" if kept is None else kept.identity().encode())
        return digest.hexdigest()

    def of_batch(
        self, probs: np.ndarray, features: Sequence[np.ndarray | None]
    ) -> Iterator[dict[str, Any]]:
        """What `Prediction` takes beside the probabilities, picture by picture.

        Args:
            probs: (B, C) raw probabilities.
            features: (B, D) of each member.
        """
        home = self.home
        calibrated = home.temperature.apply(probs) if home.temperature else None
        inside = [c in self.positive for c in self.classnames]
        score = np.clip(probs[:, inside].sum(axis=1), 0.0, 1.0)
        positive = home.isotonic.apply(score) if home.isotonic else None
        sets = {name: fitted.sets(probs) for name, fitted in home.conformal.items()}
        ood, threshold = self._out_of_distribution(features)
        near = self._neighbours(features)
        for i in range(len(probs)):
            yield {
                "calibrated": None if calibrated is None else tuple(map(float, calibrated[i])),
                "calibrated_positive": None if positive is None else float(positive[i]),
                "operating_points": self._points(float(score[i])),
                "conformal_sets": self._named_sets(sets, i),
                "coverage": self.coverage,
                "ood_score": None if ood is None else float(ood[i]),
                "ood_threshold": threshold,
                "neighbours": None if near is None else near[i],
                "reasons": self.reasons,
            }

    def _points(self, score: float) -> dict[str, OperatingPoint] | None:
        if not self.home.thresholds:
            return None
        points = self.blocks["operating_points"]["points"]
        return {
            name: OperatingPoint(
                *(name, threshold, score >= threshold, points[name]["centers"]), self.home.chosen_on
            )
            for name, threshold in self.home.thresholds.items()
        }

    def _named_sets(
        self, sets: Mapping[str, np.ndarray], row: int
    ) -> dict[str, tuple[str, ...]] | None:
        if not sets:
            return None
        return {
            method: tuple(c for c, said in zip(self.classnames, inside[row], strict=True) if said)
            for method, inside in sets.items()
        }

    def _out_of_distribution(
        self, features: Sequence[np.ndarray | None]
    ) -> tuple[np.ndarray | None, float | None]:
        """Scores (B,) and their threshold; of an ensemble the mean of scores over thresholds,
        which has the threshold 1."""
        pairs = list(zip(self.features, features, strict=True))
        if any(kept is None or seen is None for kept, seen in pairs):
            return None, None
        if len(pairs) == 1:
            (kept, seen) = pairs[0]
            return kept.scores(seen), kept.threshold
        if any(not kept.threshold for kept, _ in pairs):
            return None, None
        return np.mean([kept.scores(seen) / kept.threshold for kept, seen in pairs], axis=0), 1.0

    def _neighbours(
        self, features: Sequence[np.ndarray | None]
    ) -> list[tuple[Neighbour, ...]] | None:
        """By the first member that kept its training features."""
        for kept, seen in zip(self.features, features, strict=True):
            if kept is not None and seen is not None:
                distances = kept.distances(seen)
                order = np.argsort(distances, axis=1, kind="stable")[:, :SHOWN_NEIGHBOURS]
                return [
                    tuple(
                        Neighbour(
                            kept.paths[j], self.classnames[kept.labels[j]], float(distances[i, j])
                        )
                        for j in near
                    )
                    for i, near in enumerate(order)
                ]
        return None


def _reasons(home: Home, features: Sequence[TrainFeatures | None]) -> dict[str, str]:
    found = {}
    if home.temperature is None:
        found["calibrated"] = home.reason or "no temperature was fitted"
    if home.isotonic is None:
        found["calibrated_positive"] = home.no_binary or home.reason
    if not home.thresholds:
        found["operating_points"] = home.no_binary or home.reason
    if not home.conformal:
        found["conformal_sets"] = found["conformal_set"] = home.reason
    if any(kept is None for kept in features):
        why = f"the run has no {FILE}: an older version made it, or its method has no features"
        found["ood_score"] = found["ood_threshold"] = why
        if all(kept is None for kept in features):
            found["neighbours"] = why
    elif any(kept is not None and kept.threshold is None for kept in features):
        found["ood_threshold"] = "the run has no val images and one training image"
    return found


def ensemble_blocks(
    folders: Sequence[Path], positive: tuple[str, ...], settings: Settings
) -> tuple[dict[str, Any], str]:
    """Blocks of results.json for the mean of several runs' probabilities.

    Thresholds are chosen on the images that are val in every run, and figures are of the images
    that every run has tested, so that no member was trained on any of them.

    Returns:
        The blocks, empty where there are none, and why.
    """
    vals = [read_val(folder) for folder in folders]
    if any(val is None for val in vals):
        return {}, f"{folders[vals.index(None)]} has no val_predictions.csv"
    try:
        tested = [read_predictions(folder) for folder in folders]
    except FileNotFoundError:
        return {}, f"a run of the ensemble has no {PREDICTIONS}"
    val = mean_of([one for one in vals if one is not None])
    if not len(val):
        return {}, "no image is in the val part of every run of the ensemble"
    by_center = [{p.center: p for p in parts} for parts in tested]
    names = [name for name in by_center[0] if all(name in of for of in by_center)]
    means = [mean_of([of[name] for of in by_center]) for name in names]
    samples = [sample_of(p, positive) for p in means if len(p)]
    home = Home.fit(sample_of(val, positive), settings)
    return finite_or_none(measure_with(home, samples, {}, settings)), ""


def mean_of(parts: Sequence[Predictions]) -> Predictions:
    """The mean probabilities of the images that all parts have, with one label."""
    rows = [{(path, int(p.labels[i])): i for i, path in enumerate(p.paths)} for p in parts]
    common = [key for key in rows[0] if all(key in of for of in rows)]
    index = [[of[key] for key in common] for of in rows]
    first = parts[0]
    probs = np.mean([p.probs[i] for p, i in zip(parts, index, strict=True)], axis=0)
    return Predictions(
        center=first.center,
        paths=[path for path, _ in common],
        patient_ids=[first.patient_ids[i] for i in index[0]],
        labels=first.labels[index[0]],
        probs=probs.reshape(len(common), len(first.classnames)),
        classnames=first.classnames,
    )
