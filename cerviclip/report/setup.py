"""What the report says of a run's data and training: what was used, not what config.yaml has keys
for. Sources: ``setup`` of results.json, split.json and the blocks that val decides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cerviclip.engine.task import Task
from cerviclip.report.document import blank
from cerviclip.report.sentences.analysis import has_conformal
from cerviclip.report.sentences.draws import is_drawn
from cerviclip.report.sentences.ensembles import PREPARED, ensemble_rows, members_of
from cerviclip.report.sentences.partitions import (
    external_centers,
    given_split,
    knows_patients,
)
from cerviclip.report.study import Part
from cerviclip.runs.report.costs import chosen_settings
from cerviclip.runs.report.tables import row_labels
from dassl.errors import UserError

OLD = "the runs are older than this record"
_OF_SPLIT = ("DATASET.SPLIT_RATIO", "DATASET.SPLIT_BY", "DATASET.SPLIT_SEED")
_OF_DRAW = ("DATASET.SHOTS_BY", "DATASET.SHOTS_SCENARIO", "DATASET.NUM_SHOTS_VAL")
_OF_POSITIVE = ("TEST.MISS_COST", "TEST.PREVALENCES")


# -- images ---------------------------------------------------------------------------------------


def preparation(part: Part) -> list[str]:
    """Sentences on what each method saw of an image, methods that saw the same together."""
    labels = row_labels(part.groups)
    seen: dict[str, dict[str, list[str]]] = {}
    for group in part.groups:
        setup, label = group.runs[0].get("setup") or {}, labels[group.row]
        in_test = PREPARED if group.members else _seen_in_test(setup)
        in_training = seen.setdefault(in_test, {})
        names = in_training.setdefault(_seen_in_training(setup), [])
        names += [label] if label not in names else []
    found = []
    for tested, in_training in seen.items():
        names = [name for some in in_training.values() for name in some]
        who = "" if len(seen) == 1 else f", {', '.join(names)}"
        if len(in_training) == 1:
            found.append(f"{part.name}{who}: {' '.join([tested, *in_training]).rstrip()}")
            continue
        found.append(f"{part.name}{who}: {tested}")
        found += [f"{', '.join(some)}: {told}" for told, some in in_training.items() if told]
    return found


def _seen_in_test(setup: Mapping[str, Any]) -> str:
    seen = setup.get("input") or {}
    if seen.get("given_features"):
        return "the model saw features that were made elsewhere, and no image. " + blank(
            "how images were prepared for these features"
        )
    if not any(seen.get("test") or ()):
        return f"what the model saw of an image is not recorded ({OLD}). " + blank(
            "size, interpolation and normalisation of images, and augmentation in training"
        )
    return f"the model saw each image after these steps: {_steps(seen, 'test')}."


def _seen_in_training(setup: Mapping[str, Any]) -> str:
    """A sentence; "" where `_seen_in_test` says that no image was seen or nothing is known."""
    seen = setup.get("input") or {}
    if seen.get("given_features") or not any(seen.get("test") or ()):
        return ""
    if (setup.get("training") or {}).get("by") == "none":
        return "Nothing was trained on images."
    if seen["train"] == seen["test"]:
        return "Training images had the same steps, without random changes."
    how = f"in {seen['views']} stored views" if seen["views"] > 1 else "anew in each epoch"
    return (
        f"Training images, {how}: {_steps(seen, 'train')}. Val and test images had no random "
        "change."
    )


def _steps(seen: Mapping[str, Any], part: str) -> str:
    """One backbone's steps, or those of several, numbered."""
    told = [
        f"{', '.join(steps)} ({mode} interpolation)"
        for steps, mode in zip(seen[part], seen["interpolation"], strict=True)
    ]
    if len(told) == 1:
        return told[0]
    return "; ".join(f"for backbone {i}: {text}" for i, text in enumerate(told, 1))


# -- texts ----------------------------------------------------------------------------------------


def texts_sentence(part: Part) -> str:
    """The texts of the classes that the runs kept, for methods that read them."""
    head = f"Texts of the classes of {part.name}"
    try:
        task = Task.load(part.run["folder"])
    except (OSError, UserError):  # damaged; an audit says so
        task = None
    if task is None:
        return f"{head}: {blank('templates and prompts of each class')}"
    templates = (part.config.get("DATASET") or {}).get("TEMPLATES") or task.templates
    told = "; ".join(f'"{template}"' for template in templates)
    sets = []
    for name, by_class in task.descriptions.items():
        numbers = sorted({len(texts) for texts in by_class.values()})
        each = f"{numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else str(numbers[0])
        sets.append(f"{name} ({each} for each class)")
    described = f" Prompt sets: {', '.join(sets)}; task.json of a run has them." if sets else ""
    return f"{head}, for methods that read any: {told}.{described}"


# -- training -------------------------------------------------------------------------------------


def training_rows(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Rows of the table of settings: how the model was trained."""
    if members_of(run):
        return ensemble_rows(run)
    found = (run.get("setup") or {}).get("training") or {}
    if not found:
        return [("training", f"not recorded ({OLD}); " + blank("optimiser, schedule, epochs"))]
    if found["by"] == "none":
        return [("training", "none")]
    if found["by"] == "fit":
        own = "one fit of the method's own; the config's optimiser and epochs are not used"
        return [("training", own)]
    rows = [(f"optimiser of {name}", _optimizer(one)) for name, one in found["optimizers"].items()]
    rows.append(("learning rate's schedule", found["schedule"]))
    rows.append(("epochs", str(found["epochs"])))
    return [*rows, ("images in a batch", str(found["batch_size"] or "-"))]


def searched(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Key and value of each setting that val has chosen from a grid of the method's own."""
    tries = ((run.get("search") or {}).get("choices") or {}).get("settings", {}).get("tries", 0)
    of = f", the best of {tries:,} on val" if tries else ", chosen on val"
    return [(key_of(run, name), f"{value:.4g}{of}") for name, value in chosen_settings(run).items()]


def key_of(run: Mapping[str, Any], name: str) -> str:
    """The key of a setting that a run calls ``SHARPNESS`` where val chooses it."""
    return f"TRAINER.{run['trainer'].upper()}.{name.upper().replace(' ', '_')}"


def replaced(run: Mapping[str, Any]) -> set[str]:
    """Keys of config.yaml in whose place values stand that the run has chosen on val."""
    keys = [key_of(run, name) for name in chosen_settings(run)]
    return {f"{key}{end}" for key in keys for end in ("", "_DEFAULT")}


def _optimizer(one: Mapping[str, Any]) -> str:
    rates, decays = (", ".join(f"{v:g}" for v in one[key]) for key in ("lr", "weight_decay"))
    return f"{one['name']}, learning rate {rates or '-'}, weight decay {decays or '-'}"


def unused(part: Part) -> set[str]:
    """Keys of config.yaml that the run in detail did not use, and those that val replaced."""
    left_out = replaced(part.run)
    if given_split(part.split):
        left_out.update(_OF_SPLIT)
    elif part.split.get("ratio"):
        left_out.update(_OF_SPLIT[:1])  # the record has the shares that were taken
    if not is_drawn(part.run):
        left_out.update(_OF_DRAW)
    if not part.run["positive_classes"]:
        left_out.update(_OF_POSITIVE)
    if not external_centers(part.run):
        left_out.add("TEST.EXTERNAL")
    if not has_conformal(part.run):
        left_out.add("TEST.COVERAGE")
    if not knows_patients(part.run):
        left_out.add("TEST.PATIENT_RULE")
    return left_out
