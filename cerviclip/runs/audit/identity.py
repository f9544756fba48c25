"""Whether a run is the one that its results.json says: hashes, config, split, folder."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from cerviclip.counted import counted
from cerviclip.data.files.names import composed
from cerviclip.data.variants.names import is_variant
from cerviclip.plugins import discover, ensure_loaded
from cerviclip.runs.audit.domains import sources_and_tested
from cerviclip.runs.audit.run_folder import AuditedRun
from cerviclip.runs.settings.config_hash import config_hash, flatten
from cerviclip.runs.settings.files.named_files import named_files, named_folders
from cerviclip.runs.settings.run_key import shots_of
from dassl.errors import UserError


def check_config_hash(run: AuditedRun) -> None:
    """config_hash again from config.yaml, where all that the configuration names can be read."""
    if run.config is None:
        return
    flat = flatten(run.config)
    found = {**named_files(flat), **named_folders(flat)}
    absent = [key for key, path in found.items() if path is None]
    if config_hash(run.config) == run.results["config_hash"]:
        return
    if absent:
        named = ", ".join(f"{key} {flat.get(key)}" for key in absent)
        run.note("not_checked", f"config_hash: what {named} names is not to be found here")
        return
    changed = ", or what its keys name has changed" if found else ""
    run.note("config_hash", f"config.yaml gives another hash: a key was edited{changed}")


def check_identity(run: AuditedRun) -> None:
    """The facts that results.json shares with config.yaml, split.json and task.json."""
    if run.config is not None:
        shots = run.option("DATASET", "NUM_SHOTS")
        said = {
            "dataset": run.option("DATASET", "NAME"),
            "trainer": run.option("TRAINER", "NAME"),
            "seed": run.config.get("SEED"),
            "fold": run.option("DATASET", "FOLD", ""),
            "shots": shots_of(shots) if isinstance(shots, int) else shots,
        }
        _compare(run, "config.yaml", said)
    if run.done and run.split is not None:
        names = {"dataset": "dataset", "split_hash": "hash", "draw_hash": "draw_hash"}
        names |= {"fold": "fold", "left_out_center": "left_out"}
        split = run.split
        # A draw of another's file (--split) may be trained with another seed, or not at all.
        own = not run.option("DATASET", "DRAW_FILE") and not run.ensemble
        names |= {"seed": "draw_seed"} if own else {}
        # What lies outside ImagingDataset has a hash of its own and no draw in its split.json.
        if "draw_hash" in split:
            said = {k: split[v] for k, v in names.items() if v in split}
            said.setdefault("left_out_center", "")
            if own and "shots" in split:
                said["shots"] = shots_of(split["shots"])
            if run.ensemble:  # of several draws it has none
                said = {k: v for k, v in said.items() if run.results[k] is not None}
            _compare(run, "split.json", said)
            if own:
                check_shots(run, split)
        elif _of_an_imaging_dataset(run, split):
            _compare(run, "split.json", {"split_hash": None, "draw_hash": None})
    if run.done and run.task is not None and "positive" in run.task:
        _compare(run, "task.json", {"positive_classes": run.task["positive"]})


def check_sources(run: AuditedRun) -> None:
    """A split that joins several data sets joins those that config.yaml names: training images are
    of SOURCE_DOMAINS, and the others of what is tested."""
    split = run.split
    if split is None or run.config is None or "sources" not in split:
        return
    name = run.option("DATASET", "NAME")
    if not run.joins:
        text = f"split.json joins several data sets (sources), and {name} is one"
        run.note("identity", f"{text}: it is checked as one")
        return
    options = run.config.get("DATASET")
    wanted = sources_and_tested(options if isinstance(options, Mapping) else {})
    if wanted is None:
        run.note("not_checked", f"sources of split.json: data set {name} is not known here")
        sources = split["sources"]
        tested = [*sources, *(split.get("targets") or ())]
    else:
        sources, tested = wanted
    if sorted(sources) != sorted(split["sources"]):
        said, ours = (", ".join(names) or "none" for names in (split["sources"], sources))
        run.note("identity", f"sources are {said} in split.json and {ours} by config.yaml")
    for part, allowed in (("train", sources), ("val", sources), ("test", tested)):
        strange = [row["path"] for row in split[part] if row.get("domain") not in allowed]
        if strange:
            text = f"{counted(len(strange), 'row')} of {part}, such as {strange[0]}, of no domain "
            run.note("split_edited", f"{text}that is used there ({', '.join(allowed)})")


def _of_an_imaging_dataset(run: AuditedRun, split: Mapping[str, Any]) -> bool:
    """Whether split.json is one that is written with a draw_hash. A data set of a plug-in may have
    hashes of its own, which no split.json repeats."""
    entry = discover()["dataset"].get(run.key.dataset)
    ours = entry is not None and entry.module.startswith("cerviclip.datasets.")
    return ours or not {"by", "version", "draw_seed", "test_hash"}.isdisjoint(split)


def check_shots(run: AuditedRun, split: Mapping[str, Any]) -> None:
    """No class (of a domain) has more training images than shots, nor val images than
    NUM_SHOTS_VAL. A variant of an image is no shot of its own; shots of patients or of another
    scenario are not counted."""
    for key, option in (("shots_by", "SHOTS_BY"), ("scenario", "SHOTS_SCENARIO")):
        if key in split and run.config is not None and split[key] != run.option("DATASET", option):
            told = f"{option} {run.option('DATASET', option)}"
            run.note("identity", f"split.json says {key} {split[key]}, config.yaml {told}")
    shots = split.get("shots", -1)
    if shots < 0 or "shots_by" in split or "scenario" in split:
        return
    most = {"train": shots, "val": run.option("DATASET", "NUM_SHOTS_VAL", -1)}
    for part, limit in most.items():
        rows = [
            (row["label"], row.get("domain", "") if run.joins else "")
            for row in split[part]
            if not is_variant(row["path"])
        ]
        (label, domain), count = next(iter(Counter(rows).most_common(1)), ((0, ""), 0))
        if isinstance(limit, int) and 0 <= limit < count:
            of = f" and domain {domain}" if domain else ""
            text = f"{counted(count, 'image')} of class {label}{of} in {part} of split.json"
            run.note("identity", f"{text}, and {counted(limit, 'shot')} stated")


def check_classes(run: AuditedRun) -> None:
    """The classes, in their order: a name at another's place turns what a number is of."""
    if run.predictions is None:
        return
    known = [(p.center, p.classnames) for p in run.predictions.values()]
    known += [("val", run.val.classnames)] if run.val is not None else []
    names = tuple((run.task or {}).get("classnames") or ())
    of_split = tuple((run.split or {}).get("classes") or ())
    for center, classes in known:
        if names and classes != names:
            _say_classes(run, f"the predictions of {center}", classes, "task.json", names)
            return
        rest = iter(of_split)  # a half of the classes (base to new) keeps their order
        if of_split and not all(name in rest for name in classes):
            _say_classes(run, f"the predictions of {center}", classes, "split.json", of_split)
            return


def _say_classes(run: AuditedRun, one: str, its: Any, other: str, others: Any) -> None:
    its, others = (", ".join(names)[:150] for names in (its, others))
    run.note("identity", f"{one} have the classes {its}, and {other} has {others}")


#: Key of ``measured_with`` -> key of TEST in config.yaml.
_MEASURED = {
    "patient_rule": "PATIENT_RULE",
    "miss_cost": "MISS_COST",
    "prevalences": "PREVALENCES",
    "coverage": "COVERAGE",
}


def check_settings(run: AuditedRun) -> None:
    """What the measures were made with, and the positive group, as far as config.yaml says it."""
    measured = run.results["measured_with"] or {}
    for name, key in _MEASURED.items():
        stated = run.option("TEST", key)
        if name in measured and stated is not None and measured[name] != stated:
            text = f"measured_with.{name} is {measured[name]!r} in results.json and {stated!r} in "
            run.note("identity", f"{text}config.yaml")
    stated = run.option("DATASET", "POSITIVE") or ()
    if isinstance(stated, list) and stated and run.task:
        classes = run.task.get("classnames") or ()
        wanted = {composed(name) for name in stated} & set(classes)
        if set(run.results["positive_classes"]) != wanted:
            text = f"positive_classes are {', '.join(run.results['positive_classes']) or 'none'} in"
            run.note("identity", f"{text} results.json, and DATASET.POSITIVE {', '.join(stated)}")


def check_transductive(run: AuditedRun) -> None:
    """A method of ours that sees all test images of a centre at once says so: tables keep it apart.
    What a plug-in is, is not known here."""
    if not run.results["transductive"] and _sees_all(run.key.trainer):
        text = "transductive is False in results.json, and the method sees all test images at once"
        run.note("identity", text)


@lru_cache(maxsize=64)
def _sees_all(trainer: str) -> bool:
    entry = discover()["trainer"].get(trainer)
    try:
        text = Path(entry.source).read_text(encoding="utf-8") if entry else ""
        if "transductive" not in text.lower():
            return False  # most modules need not be loaded, which takes seconds
        return bool(getattr(ensure_loaded("trainer", trainer), "transductive", False))
    except (UserError, OSError, ValueError):
        return False


def check_status(run: AuditedRun) -> None:
    """A finished run has no error."""
    if run.done and run.results["error"]:
        text = f"status is done, but there is an error: {run.results['error']}"
        run.note("identity", text)


def _compare(run: AuditedRun, source: str, said: dict[str, Any]) -> None:
    for name, value in said.items():
        if run.results[name] != value:
            own, other = map(_short_hash, (run.results[name], value))
            run.note("identity", f"{name} is {own} in results.json and {other} in {source}")


def _short_hash(value: Any) -> str:
    text = repr(value)
    return f"'{value[:12]}...'" if re.fullmatch(r"'[0-9a-f]{64}'", text) else text


def check_place(run: AuditedRun) -> None:
    """The folder ``.../shots_<k>/seed_<s>`` is that of the run's key."""
    if not re.fullmatch(r"seed_-?\d+", run.folder.name):
        return
    wanted = run.key.folder("").parts
    # The audited folder may be any one above; a copy of the output has its own names above that.
    inside = run.folder.relative_to(run.root).parts
    have = (*_parts_of(run.root), *inside)[-len(wanted) :]
    if not any(part.startswith("shots_") for part in have[-2:-1]):
        return  # a layout of its own, as that of active learning
    count = min(len(inside), len(wanted)) or 1
    if have[-count:] != wanted[-count:]:
        run.note("misplaced", f"its results are those of {'/'.join(wanted[-count:])}")


@lru_cache(maxsize=4)
def _parts_of(root: Path) -> tuple[str, ...]:
    return root.resolve().parts[1:]
