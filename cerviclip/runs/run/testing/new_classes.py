"""Base to new: a model trained on some classes, scored on classes that it has never seen.

The method is built again for the new classes' names, and what it has learnt is put into it. That
means something for methods whose weights belong to no class (prompts, adapters, LoRA). It means
nothing for a linear layer with a row for each class, even where the numbers of classes are equal;
so whether a weight's shape depends on the number of classes is tried out, not asked for.
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import replace
from typing import Any

from cerviclip.data.split.subsample import NewClasses
from cerviclip.engine.task import Task
from cerviclip.engine.without_images import ManagerWithoutImages
from cerviclip.evaluation.groups_only import unscored
from cerviclip.evaluation.report import score
from cerviclip.runs.predictions import Predictions
from cerviclip.runs.report.groups import NEW, harmonic_mean
from cerviclip.runs.run.testing.predict import predict_items
from dassl.errors import UserError
from dassl.utils.rng import get_rng_state, set_rng_state

BOUND = "what {} learns belongs to the classes that it was trained on, so it has none of new ones"
METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "macro_auc")


def score_new_classes(trainer: Any) -> tuple[Predictions | None, dict[str, Any]]:
    """Predictions and scores of the new classes' test images.

    Args:
        trainer: trained; its data set has ``new_classes``.

    Returns:
        The predictions, None where the method cannot name classes that it was not trained on, and
        a centre's entry of results.json.
    """
    dataset = trainer.dm.dataset
    new: NewClasses = dataset.new_classes
    if not new.items:
        return None, unscored(new.classnames, 0, "no test image of a new class")
    state = get_rng_state()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            other = trainer_for(trainer, new_task(dataset))
    finally:
        set_rng_state(state)
    if other is None:
        why = BOUND.format(trainer.cfg.TRAINER.NAME)
        return None, unscored(new.classnames, len(new.items), why)
    roots = [str(trainer.cfg.DATASET.ROOT), str(getattr(dataset, "root", ""))]
    p = predict_items(other, new.items, NEW, roots)
    positive = [name for name in new.classnames if name in new.positive_classes]
    how = trainer.cfg.TEST.INTERVALS
    names = list(new.classnames)
    return p, score(p.labels.tolist(), p.probs, p.known_patients, names, positive, how)


def check_can_be_built_anew(trainer: Any) -> None:
    """Refuse, before the training, a trainer that is not built from a task."""
    if not hasattr(trainer, "task"):
        raise UserError(
            f"{trainer.cfg.TRAINER.NAME} is not built from class names (cerviclip's TaskTrainer), "
            "so it cannot be scored on new classes; leave base_to_new out"
        )


def new_task(dataset: Any) -> Task:
    """The new classes as a task of their own."""
    new = dataset.new_classes
    return replace(
        Task.of(dataset),
        classnames=tuple(new.classnames),
        descriptions=Task.from_attributes(new).descriptions,
        positive=tuple(name for name in new.classnames if name in new.positive_classes),
        all_classnames=tuple(dataset.all_class_names),
    )


def trainer_for(trainer: Any, task: Task) -> Any:
    """The trained method for other classes; None if its weights belong to its own classes."""
    other = _built(trainer, task)
    wider = other
    if task.num_classes == trainer.num_classes:  # equal shapes would prove nothing
        wider = _built(trainer, _with_one_more(task))
    if _shapes(wider) != _shapes(trainer):
        return None
    for name in trainer.get_model_names():
        other._models[name].load_state_dict(trainer._models[name].state_dict())
    other.set_model_mode("eval")
    other.dm.training_ended = True
    return other


def _built(trainer: Any, task: Task) -> Any:
    """An untrained copy of a trainer, built for a task and without images."""
    kind = type(trainer)
    stand_in = {"make_data_manager": lambda self: ManagerWithoutImages(self.cfg, task)}
    copy = type(kind.__name__, (kind,), {"__module__": kind.__module__, **stand_in})
    return copy(trainer.cfg)


def _with_one_more(task: Task) -> Task:
    """The task with one more class, whose texts are those of the first."""
    first, name = task.classnames[0], "another"
    sets = {of: {**texts, name: texts[first]} for of, texts in task.descriptions.items()}
    return replace(task, classnames=(*task.classnames, name), descriptions=sets)


def _shapes(trainer: Any) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor that a checkpoint of a trainer holds."""
    return {
        f"{name}.{key}": tuple(tensor.shape)
        for name in trainer.get_model_names()
        if trainer._models[name] is not None
        for key, tensor in trainer._models[name].state_dict().items()
    }


def base_to_new_record(dataset: Any, centers: dict[str, Any]) -> dict[str, Any]:
    """``base_to_new`` of results.json: which classes are which, and the harmonic means."""
    run = {"centers": centers, "base_to_new": True}
    return {
        "base_classes": list(dataset.classnames),
        "new_classes": list(dataset.new_classes.classnames),
        "harmonic_mean": {metric: harmonic_mean(run, metric) for metric in METRICS},
    }
