"""How the parts of a data set came about, what was drawn from them, and what they were used for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cerviclip.counted import counted
from cerviclip.evaluation.names import HOME_PARTS, IN_DOMAIN, VAL, patients_known
from cerviclip.report.document import blank
from cerviclip.report.sentences.classes import plain_name
from cerviclip.report.study import Part
from cerviclip.runs.report.groups import split_hashes
from cerviclip.runs.report.tables import row_labels
from dassl.config import read_yaml
from dassl.paths import is_file

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
        return f"The images were dealt into {folds}, stratified by class"
    return f"The images were {by_shares}"


def _of_targets(part: Part) -> str:
    """Which images of the target centres were tested on. They may have a part without labels, for
    methods that adapt, and that part is not tested on."""
    targets = list(part.split.get("targets") or ())
    if not targets or part.split.get("left_out"):
        return ""
    tested = Counter(row.get("domain") for row in part.test_rows)
    numbers = [f"{counted(tested[name], 'image')} of {name}" for name in targets]
    known = all(tested[name] for name in targets)
    told = f" Tested on were {', '.join(numbers if known else targets)}"
    if kept := _unlabelled(part.run):
        told += (
            f"; {kept:,} other images of {' and '.join(targets)}, the train part of the same "
            "split, were kept without labels for methods that adapt to them, and were not tested on"
        )
    return f"{told}."


def _unlabelled(run: Mapping[str, Any]) -> int:
    """Images of the training's data set that were kept without their labels."""
    sources = (run["flow"].get("sources") or {}).values()
    used = [s["used"].get(UNLABELLED) or {} for s in sources if s["role"] == "training"]
    return sum(part.get("images", 0) for part in used)


# -- the draw -------------------------------------------------------------------------------------


def draw_sentence(part: Part) -> str:
    """Which training images a method learned from."""
    told = []
    shots = {g.shots for g in part.groups}
    if shots - {0, "full"}:
        drawn = [g for g in part.groups if g.shots not in (0, "full") and not g.members]
        seeds = sorted({s for g in drawn for s in g.seeds})
        if files := _draw_files(part):
            told.append(
                f"The images that a method learned from are those that {files} names "
                f"(DATASET.DRAW_FILE); seeds: {', '.join(map(str, seeds))}."
            )
        elif drawn:
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
    return " ".join([*told, *_without_labels(part), *_half_of_the_classes(part)])


def _without_labels(part: Part) -> list[str]:
    """Which methods learned from the rest of train as well, without its labels."""
    labels = row_labels(part.groups)
    found: dict[str, None] = {}
    for group in part.groups:
        path = Path(group.runs[0]["folder"]) / "config.yaml"
        config = read_yaml(path, "config file") if is_file(path) else {}
        own = (config.get("TRAINER") or {}).get(group.trainer.upper()) or {}
        if own.get("WEIGHT_U") and not _unlabelled(group.runs[0]) and is_drawn(group.runs[0]):
            found[labels[group.row]] = None
    if not found:
        return []
    who = ", ".join(found)
    return [f"{who} learned from the other images of train as well, without their labels."]


def new_classes(run: Mapping[str, Any]) -> list[str]:
    """The classes that a base-to-new run was tested on without having seen them."""
    return list((run.get("base_to_new") or {}).get("new_classes") or ())


def _half_of_the_classes(part: Part) -> list[str]:
    """What base to new is, of which classes."""
    of = part.run.get("base_to_new") or {}
    if not of:
        return []
    base, new = (", ".join(map(plain_name, of[key])) for key in ("base_classes", "new_classes"))
    return [
        f"Learned were the base classes alone ({base}), and test has images of these. The methods "
        f"then told apart the classes that they had not seen ({new}), on the test images of these, "
        'which tables call "new".'
    ]


def _draw_files(part: Part) -> str:
    """The split that the run in detail repeats, by its file's name; "" where it drew its own."""
    path = (part.config.get("DATASET") or {}).get("DRAW_FILE")
    return Path(str(path)).name if path else ""


def is_drawn(run: Mapping[str, Any]) -> bool:
    return run["shots"] not in (0, "full")


def imbalance_sentence(part: Part) -> str:
    """How many images of each class the run in detail learned from, and how the shares of the
    classes differ from those of what it was scored on."""
    run = part.run
    used = _used(run)
    learned, scored = (_per_class(used.get(name)) for name in ("train", home_part(run)))
    if run["shots"] == 0:
        return "the run shown in detail learned from no image, so no balance was made"
    if not is_drawn(run):
        made = "no balance was made: the classes have the shares of the training part"
    elif part.split.get("scenario", "balanced") == "balanced":
        made = f"the draw takes {_taken(learned)}"
    else:
        made = "the draw keeps the classes' shares"
    differs = _shares_differ(learned, scored, run["positive_classes"], home_part(run))
    return f"{made}{differs and '; '}{differs}"


def _used(run: Mapping[str, Any]) -> Mapping[str, Any]:
    sources = (run["flow"].get("sources") or {}).values()
    return next((source["used"] for source in sources if source["role"] == "training"), {})


def _per_class(part: Mapping[str, Any] | None) -> dict[str, int]:
    return {name: entry["images"] for name, entry in ((part or {}).get("per_class") or {}).items()}


def _taken(learned: Mapping[str, int]) -> str:
    """``16 images of each class``, or how many where some class had fewer."""
    if not learned:
        return "equally many images of each class, where it has so many"
    low, high = min(learned.values()), max(learned.values())
    if low == high:
        return f"{counted(low, 'image')} of each class"
    return f"{low:,} to {high:,} images of each class, fewer where a class or centre has no more"


def _shares_differ(
    learned: Mapping[str, int], scored: Mapping[str, int], positive: Sequence[str], part: str
) -> str:
    """The shares in training and in what was scored, of the positive group or of the class that
    differs most; "" where they are not in the files."""
    if not sum(learned.values()) or not sum(scored.values()):
        return ""
    names = dict.fromkeys([*learned, *scored])
    shares = {name: _percents([name], learned, scored) for name in names}
    most = max(names, key=lambda name: abs(shares[name][0] - shares[name][1]))
    if _same(*shares[most]):
        return f"every class has the same share of the images in training and in {part}"
    told = f"{plain_name(most)} is {_shown(shares[most])} % in {part}"
    if not positive:
        return f"the share of a class differs by at most this: {told}"
    of_group = _percents(positive, learned, scored)
    group = (
        f"the positive group has the same share of the images in training and in {part} "
        f"({of_group[0]:.1f} %)"
        if _same(*of_group)
        else f"the positive group is {_shown(of_group)} % in {part}"
    )
    return f"{group}; the class whose share differs most: {told}"


def _same(first: float, second: float) -> bool:
    """Whether two shares are printed alike."""
    return f"{first:.1f}" == f"{second:.1f}"


def _shown(shares: tuple[float, float]) -> str:
    return f"{shares[0]:.1f} % of the images in training and {shares[1]:.1f}"


def _percents(
    names: Sequence[str], learned: Mapping[str, int], scored: Mapping[str, int]
) -> tuple[float, float]:
    first, second = (
        100 * sum(of.get(name, 0) for name in names) / sum(of.values()) for of in (learned, scored)
    )
    return first, second


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
