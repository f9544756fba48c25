"""Zero-shot accuracy of each class under every prompt that a data set has, one by one and together.

Image features are encoded once; a prompt costs one pass of the text tower over the classes' names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cerviclip.evaluation import report
from cerviclip.vlm.prompts import class_texts
from dassl.errors import UserError

TEMPLATE, SET_TEXT = "template", "text of a set"  # one prompt of each class
TEMPLATES, SET = "all templates", "prompt set"  # several, averaged
SINGLE, ENSEMBLE = (TEMPLATE, SET_TEXT), (TEMPLATES, SET)


@dataclass(frozen=True)
class Prompt:
    """One way to name the classes.

    Args:
        kind: one of ``SINGLE`` or ``ENSEMBLE``.
        name: the template, or the set and the number of its text.
        texts: of each class, in label order.
    """

    kind: str
    name: str
    texts: list[list[str]]


@dataclass(frozen=True)
class Scored:
    """What a prompt gives.

    Args:
        accuracy: in percent.
        low, high: its 95 % interval over patients; None where there is none.
        recall: class -> percent of its images that are named so; None for a class without images.
    """

    prompt: Prompt
    accuracy: float
    low: float | None
    high: float | None
    recall: Mapping[str, float | None]

    @property
    def single(self) -> bool:
        return self.prompt.kind in SINGLE


def prompts_of(
    classnames: Sequence[str],
    templates: Sequence[str],
    sets: Mapping[str, Mapping[str, Sequence[str]]],
) -> Iterator[Prompt]:
    """Every template, all of them, every text of every prompt set, every set.

    Of a set whose classes have different numbers of texts, those numbers that all have are singles.
    """
    for template in templates:
        yield Prompt(TEMPLATE, template, class_texts(classnames, [template]))
    if len(templates) > 1:
        yield Prompt(TEMPLATES, TEMPLATES, class_texts(classnames, templates))
    for name in sorted(sets):
        texts = class_texts(classnames, templates, sets[name])
        for number in range(min(map(len, texts)) if max(map(len, texts)) > 1 else 0):
            alone = [[of_class[number]] for of_class in texts]
            yield Prompt(SET_TEXT, f"{name} {number + 1}", alone)
        yield Prompt(SET, name, texts)


def score_prompts(trainer: Any, items: Sequence[Any], split: str) -> list[Scored]:
    """The scores of every prompt on these images.

    Args:
        trainer: a ZeroShotCLIP; its classifier is replaced prompt by prompt.
        items: the images.
        split: their name, for the error.

    Raises:
        UserError: there are no images, or nothing to compare.
    """
    import torch

    if not items:
        raise UserError(f"{trainer.cfg.DATASET.NAME} has no {split} images to score prompts on")
    task = trainer.task
    prompts = list(prompts_of(task.classnames, task.templates, task.descriptions))
    if sum(prompt.kind in SINGLE for prompt in prompts) < 2:
        raise UserError(
            f"{task.dataset} has one prompt alone ({prompts[0].name!r}), so there is nothing to "
            "compare; give DATASET.TEMPLATES or DATASET.DESCRIPTIONS"
        )
    with torch.no_grad():
        rows = [trainer.image_features(batch["img"]) for batch in trainer.make_loader(items)]
        features = torch.cat(rows)
        scored = []
        for prompt in prompts:
            trainer.classifier = trainer.text_features(prompt.texts)
            probs = trainer.clip_logits(features).double().softmax(-1).cpu().numpy()
            scored.append(score_one(prompt, probs, items, task.classnames))
    return scored


def score_one(
    prompt: Prompt, probs: np.ndarray, items: Sequence[Any], classnames: Sequence[str]
) -> Scored:
    """A prompt's scores from probabilities (N, C) of the items."""
    labels = np.array([item.label for item in items])
    patients = [str(getattr(item, "patient_id", "")) for item in items]
    whole = report.score(labels.tolist(), probs, patients, classnames, [])["accuracy"]
    right = probs.argmax(1) == labels
    recall = {
        name: float(right[labels == c].mean() * 100) if (labels == c).any() else None
        for c, name in enumerate(classnames)
    }
    return Scored(prompt, whole["value"], whole["low"], whole["high"], recall)


@dataclass(frozen=True)
class Spread:
    """How a number moves from prompt to prompt, in percent: of the singles, sd with n - 1."""

    least: float
    median: float
    most: float
    sd: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        found = np.array(values)
        sd = float(found.std(ddof=1)) if len(found) > 1 else 0.0
        return cls(float(found.min()), float(np.median(found)), float(found.max()), sd)


def spreads(scored: Sequence[Scored]) -> dict[str, Spread]:
    """The spread of the accuracy under "all classes", and of each class that has images."""
    single = [s for s in scored if s.single]
    columns: dict[str, list[float]] = {"all classes": [s.accuracy for s in single]}
    for name in single[0].recall:
        values = [s.recall[name] for s in single]
        if None not in values:
            columns[name] = [v for v in values if v is not None]
    return {name: Spread.of(values) for name, values in columns.items()}
