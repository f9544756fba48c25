"""How the parts of a data set came about, what was drawn from them, and what they were used for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from cerviclip.counted import counted
from cerviclip.evaluation.names import HOME_PARTS, IN_DOMAIN, VAL, patients_known
from cerviclip.report.document import blank
from cerviclip.report.study import ON_VAL, Part
from cerviclip.runs.report.costs import chosen_settings
from cerviclip.runs.report.groups import split_hashes
from cerviclip.runs.report.tables import row_labels

_GIVEN = {
    "file": "as a file of a split says",
    "list": "as the list of images says",
    "folders": "as the folders of the data set say",
    "release": "as the data set's release says",
}
UNLABELLED = "unlabelled"  # the part of ``flow`` that is kept without labels


def given_split(record: Mapping[str, Any]) -> bool:
    return record.get("by") in _GIVEN


def knows_patients(run: Mapping[str, Any]) -> bool:
    """Whether the patients of the training's data set are known."""
    sources = (run["flow"].get("sources") or {}).values()
    seen = [s["seen"] for s in sources if s["role"] == "training"]
    if seen and "patients" in seen[0]:
        return seen[0]["patients"] is not None
    return patients_known(run["centers"].get(home_part(run)) or {})


def home_part(run: Mapping[str, Any]) -> str:
    """The part of the training's data set that was scored: ``test``, or ``val`` by TEST.SPLIT."""
    return VAL if VAL in run["centers"] and IN_DOMAIN not in run["centers"] else IN_DOMAIN


def external_centers(run: Mapping[str, Any]) -> list[str]:
    return [center for center in run["centers"] if center not in HOME_PARTS]


# -- the split ------------------------------------------------------------------------------------


def split_sentence(part: Part) -> str:
    """How the parts came about, by the split.json of the run in detail."""
    several = max((len(hashes) for hashes in split_hashes(part.groups)), default=0)
    told = _split_of_one(part)
    if several < 2:
        return told
    return (
        f"The runs are of {several} different splits, and what follows is of the run shown in "
        f"detail. {told}"
    )


def _split_of_one(part: Part) -> str:
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
            "scores may be too good. "
            + blank("which images are of the same patients")
            + _of_targets(part)
        )
    return f"{how}; parts are disjoint at the level of the {unit}.{_of_targets(part)}"


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
        sources = ", ".join(record["sources"])
        return f"The images of {sources} were {by_shares}"
    if part.featured.folds:
        folds = f"{part.featured.folds} folds by {unit}"
        told = f"The images were dealt into {folds}, stratified by class; each fold is test once"
        train, val = (list(record.get("ratio") or ()) + [0, 0])[:2]
        if not (train and val):
            return told
        return (
            f"{told}, and the images of the other folds are split by {unit} into train and val "
            f"(shares {train / (train + val):.2g} / {val / (train + val):.2g})"
        )
    return f"The images were {by_shares}"


def _of_targets(part: Part) -> str:
    """Which images of the target centres were tested on. They may have a part without labels, for
    methods that adapt, and that part is not tested on."""
    targets = list(part.split.get("targets") or ())
    if not targets or part.split.get("left_out"):
        return ""
    tested = Counter(row.get("domain") for row in part.test_rows)
    names = " and ".join(targets)
    numbers = ", ".join(f"{counted(tested[name], 'image')} of {name}" for name in targets)
    known = all(tested[name] for name in targets)
    told = f" The test images are {numbers if known else f'of {names}'}"
    if kept := unlabelled_images(part.run):
        told += (
            f"; {kept:,} other images of {names}, the train part of the same "
            "split, were kept without labels for methods that adapt to them, and were not tested on"
        )
    return f"{told}."


def unlabelled_images(run: Mapping[str, Any]) -> int:
    """Images of the training's data set that were kept without their labels."""
    sources = (run["flow"].get("sources") or {}).values()
    used = [s["used"].get(UNLABELLED) or {} for s in sources if s["role"] == "training"]
    return sum(part.get("images", 0) for part in used)


# -- the use of what is scored --------------------------------------------------------------------


def use_of_test_sentence(part: Part) -> str:
    """What the test images were used for: not for scores alone by every method."""
    runs = [run for group in part.groups for run in group.runs]
    if all(home_part(run) == VAL for run in runs):
        chosen = any(run.get("search") for run in runs)
        return "The test part was not scored; the scores are those of val." + (
            " Settings were chosen on the same images, so these scores are too good." * chosen
        )
    told = {
        "without their labels, by transductive methods": "transductive",
        "before training had ended, by runs that are marked in the tables": "test_read_early",
    }
    exceptions = [text for text, key in told.items() if any(run.get(key) for run in runs)]
    external = " and the external centres were" * any(map(external_centers, runs)) or " was"
    used = f"The test part{external} used for nothing but the final scores"
    return f"{used}{', except ' * bool(exceptions)}{'; and '.join(exceptions)}."


def use_of_val_sentence(part: Part) -> str:
    """All that val was used for, by any run; "" where it was used for nothing."""
    runs = [run for group in part.groups for run in group.runs]
    uses = ["to choose thresholds"] * any(map(chosen_on_val, runs))
    uses += ["to fit calibration maps"] * any(map(was_calibrated, runs))
    sets = any((run.get("conformal") or {}).get("centers") for run in runs)
    uses += ["to calibrate prediction sets"] * sets
    if told := _settings_of_val(part):
        uses.append(f"to choose settings ({told})")
    if part.why.startswith(ON_VAL):
        uses.append("to choose the method that is shown in detail")
    if len(uses) > 1:
        return f"Val was used {', '.join(uses[:-1])} and {uses[-1]}."
    return f"Val was used {uses[0]}." if uses else ""


def _settings_of_val(part: Part) -> str:
    """``C of LinearProbe; alpha, beta of TipAdapterF``: what val has chosen for each method."""
    labels = row_labels(part.groups)
    found: dict[str, dict[str, None]] = {}
    for group in part.groups:
        for run in group.runs:
            choices = (run.get("search") or {}).get("choices") or {}
            names = [name for name in choices if name != "settings"]
            settings = list(chosen_settings(run)) or ["settings"]
            names += settings if "settings" in choices else []
            found.setdefault(labels[group.row], {}).update(dict.fromkeys(names))
    return "; ".join(f"{', '.join(names)} of {label}" for label, names in found.items() if names)


def in_fold(run: Mapping[str, Any]) -> str:
    """``, fold 1/4`` of a run in folds."""
    return f", fold {run['fold']}" if run["fold"] else ""


def chosen_on_val(run: Mapping[str, Any]) -> bool:
    """Whether val has chosen any operating point."""
    points = (run.get("operating_points") or {}).get("points") or {}
    return any(point.get("threshold") is not None for point in points.values())


def was_calibrated(run: Mapping[str, Any]) -> bool:
    """Whether calibration maps were fitted on val."""
    return (run["calibration"] or {}).get("fitted_on") == VAL


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
