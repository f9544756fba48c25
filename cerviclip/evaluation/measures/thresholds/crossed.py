"""What is chosen out of fold: for each fold on the predictions of the others.

Under k-fold cross-validation the images of every fold are predicted by a model that never saw their
patients. Put together, these predictions are as many as there are images, where each run's val part
is small. The threshold of a fold is chosen on those of all other folds, so no image is called by a
threshold that its own label has moved. What is carried to other centres is chosen on all of them.

Letters: B images, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cerviclip.evaluation.measures.home import Home
from cerviclip.evaluation.measures.probabilities.conformal import METHODS
from cerviclip.evaluation.measures.probabilities.recalibration import ByFold
from cerviclip.evaluation.measures.sample import Sample, Settings

OUT_OF_FOLD = "out of fold"
ONE_FOLD = "there is one fold alone: no other one to choose on"


def fit_folds(sample: Sample, sizes: Sequence[int], settings: Settings) -> tuple[Home, Home]:
    """What is chosen on all folds, and what each fold has from the others.

    Args:
        sample: the out-of-fold predictions of all images, fold after fold.
        sizes: how many images each fold has.
        settings: what the user states.

    Returns:
        ``Home`` for other centres, chosen on all images; and ``Home`` for the sample itself, whose
        thresholds are (B,) and whose maps are ``ByFold``.
    """
    whole = Home.fit(replace(sample, center=OUT_OF_FOLD), settings)
    if len(sizes) < 2:
        return whole, Home.absent(ONE_FOLD)
    fold = np.repeat(np.arange(len(sizes)), sizes)
    others = [sample.take(fold != i, "the other folds") for i in range(len(sizes))]
    return whole, _crossed([Home.fit(other, settings) for other in others], tuple(sizes), whole)


def _crossed(homes: Sequence[Home], sizes: tuple[int, ...], whole: Home) -> Home:
    lacking = next((home.no_binary for home in homes if home.no_binary), "")
    return replace(
        whole,
        thresholds={
            name: np.repeat([home.thresholds[name] for home in homes], sizes)
            for name in ([] if lacking else whole.thresholds)
        },
        temperature=ByFold(sizes, tuple(home.temperature for home in homes)),
        isotonic=None if lacking else ByFold(sizes, tuple(home.isotonic for home in homes)),
        conformal={m: ByFold(sizes, tuple(h.conformal[m] for h in homes)) for m in METHODS},
        no_binary=lacking,
    )
