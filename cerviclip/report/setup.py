"""What the report says of a run's data and training: what was used, not what config.yaml has keys
for. Sources: ``setup`` of results.json, split.json and the blocks that val decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cerviclip.counted import counted
from cerviclip.engine.task import Task
from cerviclip.evaluation.names import IN_DOMAIN, patients_known
from cerviclip.report.document import blank
from cerviclip.report.study import Part
from cerviclip.runs.report.costs import chosen_settings
from cerviclip.runs.report.tables import row_labels
from dassl.errors import UserError

OLD = "the runs are older than this record"
_OF_SPLIT = ("DATASET.SPLIT_RATIO", "DATASET.SPLIT_BY", "DATASET.SPLIT_SEED")
_OF_DRAW = ("DATASET.SHOTS_BY", "DATASET.SHOTS_SCENARIO", "DATASET.NUM_SHOTS_VAL")
_GIVEN = {
    "file": "as a file of a split says",
    "list": "as the list of images says",
    "folders": "as the folders of the data set say",
    "release": "as the data set's release says",
}


# -- images ---------------------------------------------------------------------------------------


def preparation(part: Part) -> list[str]:
    """Sentences on what each method saw of an image, methods that saw the same together."""
    labels = row_labels(part.groups)
    seen: dict[str, dict[str, list[str]]] = {}
    for group in part.groups:
        setup, label = group.runs[0].get("setup") or {}, labels[group.row]
        in_training = seen.setdefault(_seen_in_test(setup), {})
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
    found = (run.get("setup") or {}).get("training") or {}
    if not found:
        return [("training", f"not recorded ({OLD}); " + blank("optimiser, schedule, epochs"))]
    if found["by"] == "none":
        return [("training", "none"), *_searched(run)]
    if found["by"] == "fit":
        own = "one fit of the method's own; the config's optimiser and epochs are not used"
        return [("training", own), *_searched(run)]
    rows = [(f"optimiser of {name}", _optimizer(one)) for name, one in found["optimizers"].items()]
    rows.append(("learning rate's schedule", found["schedule"]))
    rows.append(("epochs", str(found["epochs"])))
    return [*rows, ("images in a batch", str(found["batch_size"] or "-")), *_searched(run)]


def _searched(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    tries = ((run.get("search") or {}).get("choices") or {}).get("settings", {}).get("tries", 0)
    of = f", the best of {tries:,} on val" if tries else ", chosen on val"
    return [(name, f"{value:.4g}{of}") for name, value in chosen_settings(run).items()]


def replaced(run: Mapping[str, Any]) -> set[str]:
    """Keys of config.yaml in whose place values stand that the run has chosen on val."""
    section = f"TRAINER.{run['trainer'].upper()}."
    chosen = [name.upper().replace(" ", "_") for name in chosen_settings(run)]
    return {f"{section}{name}{end}" for name in chosen for end in ("", "_DEFAULT")}


def _optimizer(one: Mapping[str, Any]) -> str:
    rates, decays = (", ".join(f"{v:g}" for v in one[key]) for key in ("lr", "weight_decay"))
    return f"{one['name']}, learning rate {rates or '-'}, weight decay {decays or '-'}"


def unused(part: Part) -> tuple[str, ...]:
    """Keys of config.yaml that the run in detail did not use."""
    left_out: tuple[str, ...] = ()
    if given_split(part.split):
        left_out += _OF_SPLIT
    elif part.split.get("ratio"):
        left_out += _OF_SPLIT[:1]  # the record has the shares that were taken
    if not _drawn(part.run):
        left_out += _OF_DRAW
    return left_out


# -- partitions -----------------------------------------------------------------------------------


def given_split(record: Mapping[str, Any]) -> bool:
    return record.get("by") in _GIVEN


def split_sentence(part: Part) -> str:
    """How the parts came about, by the run's own split.json."""
    record = part.split
    by = str(record.get("by") or "")
    if given_split(record):
        return (
            f"The images were split into train, val and test {_GIVEN[by]}. The table of leaks says "
            "whether images or patients lie in two parts."
        )
    if not by:
        return "How the images were split is not in the files: " + blank("the split and its unit")
    known = knows_patients(part.run)
    unit = by if known or by != "patient" else "image"
    how = _how_split(part, unit)
    if not known:
        return (
            f"{how}. No patient is known, so images of one patient may lie in several parts, and "
            "scores may be too good. " + blank("which images are of the same patients")
        )
    return f"{how}; parts are disjoint at the level of the {unit}."


def _how_split(part: Part, unit: str) -> str:
    record = part.split
    shares = " / ".join(f"{share:g}" for share in record.get("ratio") or ())
    by_shares = f"split by {unit} into train, val and test (shares {shares}), stratified by class"
    by_shares = by_shares if shares else f"split by {unit}"
    if record.get("left_out"):
        left_out = ", ".join(part.featured.left_out) or record["left_out"]
        return (
            f"Left out of training, one at a time, and tested on as a whole: {left_out}. The "
            f"images of the other centres were {by_shares}"
        )
    if record.get("sources"):
        sources, targets = (", ".join(record.get(key) or ()) for key in ("sources", "targets"))
        outside = f", and all images of {targets} were tested on" if targets else ""
        return f"The images of {sources} were {by_shares}{outside}"
    if part.featured.folds:
        folds = f"{part.featured.folds} folds by {unit}"
        return f"The images were dealt into {folds}, stratified by class"
    return f"The images were {by_shares}"


def knows_patients(run: Mapping[str, Any]) -> bool:
    """Whether the patients of the training's data set are known."""
    sources = (run["flow"].get("sources") or {}).values()
    seen = [s["seen"] for s in sources if s["role"] == "training"]
    if seen and "patients" in seen[0]:
        return seen[0]["patients"] is not None
    return patients_known(run["centers"].get(IN_DOMAIN) or {})


def use_of_test_sentence(part: Part) -> str:
    """What the test images were used for: not for scores alone by every method."""
    runs = [run for group in part.groups for run in group.runs]
    if all(IN_DOMAIN not in run["centers"] for run in runs):
        return "The test part was not scored; the scores are those of val."
    told = {
        "without their labels, by transductive methods": "transductive",
        "before training had ended, by runs that are marked in the tables": "test_read_early",
    }
    exceptions = [text for text, key in told.items() if any(run.get(key) for run in runs)]
    used = "The test part and the external centres were used for nothing but the final scores"
    return f"{used}{', except ' * bool(exceptions)}{'; and '.join(exceptions)}."


def draw_sentence(part: Part) -> str:
    """Which training images a method learned from."""
    told = []
    shots = {g.shots for g in part.groups}
    if shots - {0, "full"}:
        seeds = sorted({s for g in part.groups for s in g.seeds if g.shots not in (0, "full")})
        if files := _draw_files(part):
            told.append(
                f"The images that a method learned from are those that {files} names "
                f"(DATASET.DRAW_FILE); seeds: {', '.join(map(str, seeds))}."
            )
        else:
            by = part.split.get("shots_by", "class")
            scenario = part.split.get("scenario", "balanced")
            told.append(
                f"Shots were drawn from train by {by} ({scenario}), anew for each seed "
                f"({', '.join(map(str, seeds))})."
            )
    if "full" in shots:
        told.append("With full shots a method learned from all training images, at every seed.")
    if 0 in shots:
        told.append("A zero-shot method learned from no image.")
    return " ".join(told)


def _draw_files(part: Part) -> str:
    """The split that the run in detail repeats, by its file's name; "" where it drew its own."""
    path = (part.config.get("DATASET") or {}).get("DRAW_FILE")
    return Path(str(path)).name if path else ""


def imbalance_sentence(part: Part) -> str:
    if not _drawn(part.run):
        return "no balance was made: the classes have the shares of the training part"
    if part.split.get("scenario", "balanced") == "balanced":
        return (
            "the draw takes equally many images of each class; prevalences of training and test "
            "therefore differ"
        )
    return "the draw keeps the classes' shares"


def _drawn(run: Mapping[str, Any]) -> bool:
    return run["shots"] not in (0, "full")


def chosen_on_val(run: Mapping[str, Any]) -> bool:
    """Whether val has chosen any operating point."""
    points = (run.get("operating_points") or {}).get("points") or {}
    return any(point.get("threshold") is not None for point in points.values())


def thresholds_sentence(run: Mapping[str, Any]) -> str:
    """Which operating points there are; nothing is claimed where val chose none."""
    if not chosen_on_val(run):
        why = (run.get("operating_points") or {}).get("reason") or "none were chosen"
        return f"No operating points were chosen ({why})."
    return (
        "Operating points were chosen on val alone, and carried unchanged to each "
        "centre: the highest threshold with 95 % sensitivity, the lowest with 95 % "
        "specificity, the largest Youden index, and the least cost where a cost is stated."
    )


def hidden_sentence(runs: Sequence[Mapping[str, Any]]) -> str:
    """What a model could see before it was tested."""
    early = [run for run in runs if run.get("test_read_early")]
    told = (
        "Blinding of the model: a run that reads test images before training has ended is marked "
        f"in every table; {len(early) or 'none'} of {counted(len(runs), 'run')} here did."
    )
    names = dict.fromkeys(run["trainer"] for run in runs if run.get("transductive"))
    if names:
        told += (
            f" {', '.join(names)}: transductive, so it saw all test images of a centre, without "
            "their labels, before it predicted any of them."
        )
    return told
