"""Every proportion that the blocks of results.json need, with limits found in one search.

A centre's blocks ask for some seventy proportions in some thirty places. Asked for one place after
the other, most of the time goes into starting the same search again. So all are solved before, and
each place finds its own remembered. What is forgotten here costs time and changes no number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np

from cerviclip.evaluation.bootstrap import MIN_PATIENTS
from cerviclip.evaluation.intervals import several_proportion_intervals
from cerviclip.evaluation.measures.home import Home
from cerviclip.evaluation.measures.probabilities import calibration, conformal
from cerviclip.evaluation.measures.sample import LEVEL, Sample
from cerviclip.evaluation.measures.thresholds import operating_points

_Counts = tuple[np.ndarray, np.ndarray]


def solve_proportions(samples: Sequence[Sample], homes: Mapping[str, Home]) -> None:
    """Find the limits of all proportions of these centres, which are then remembered."""
    enough = [s for s in samples if s.n_patients >= MIN_PATIENTS]
    parts = [part for s in enough for part in _counts(s, homes[s.center])]
    several_proportion_intervals(parts, LEVEL)


def _counts(sample: Sample, home: Home) -> Iterator[_Counts]:
    """Hits and trials of all proportions of one centre, as the measures count them."""
    if not sample.no_group and home.thresholds:
        yield operating_points.rate_counts(sample, list(home.thresholds.values()))
    if sample.groups_only:
        return
    images = np.bincount(sample.patients)
    yield _of(sample, sample.labels != sample.predicted), images
    for _, version, score in calibration.versions(sample, home):
        if version is not None:
            yield _of(sample, version.labels == version.predicted), images
        if not sample.no_group:
            yield _of(sample, sample.is_positive != (score > 0.5)), images
            yield _of(sample, sample.is_positive), images
            yield calibration.bin_counts(sample, score)
    for sets in home.conformal.values():
        yield conformal.set_counts(sample, cast(Any, sets))


def _of(sample: Sample, right: np.ndarray) -> np.ndarray:
    """(P,) how many of each patient's images are so."""
    return np.bincount(sample.patients, right, sample.n_patients)
