"""External centres, and ``flow``: whose images were scored, and how many of them there were."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cerviclip.counted import counted
from cerviclip.data.split.patient_grouped import PARTS
from cerviclip.evaluation.names import IN_DOMAIN
from cerviclip.runs.audit.run_folder import AuditedRun
from cerviclip.runs.predictions import Predictions
from cerviclip.runs.report.groups import NEW

_NOT_EXTERNAL = (IN_DOMAIN, "val")
_Counts = tuple[int, Counter[str] | None, set[str]]


def external(run: AuditedRun) -> dict[str, Predictions]:
    """The predictions of centres outside the split."""
    found = run.predictions or {}
    return {name: p for name, p in found.items() if name not in _NOT_EXTERNAL}


def check_images_once(run: AuditedRun) -> None:
    """No image of an external centre has two lines."""
    for center, p in external(run).items():
        path, times = Counter(p.paths).most_common(1)[0]
        if times > 1:
            more = len(p) - len(set(p.paths))
            text = f"centre {center} has {counted(more, 'line')} too many, such as {path}"
            run.note("test_list", f"{text}, which is there {times} times")


def check_centers_agree(runs: Sequence[AuditedRun]) -> None:
    """Runs of one data set and split were scored on the same images of an external centre, with the
    same classes and patients."""
    first: dict[tuple[Any, ...], tuple[AuditedRun, list[tuple[Any, ...]]]] = {}
    for run in runs:
        if not run.done:
            continue
        for center, p in external(run).items():
            rows = sorted(zip(p.paths, p.labels.tolist(), p.patient_ids, strict=True))
            key = (run.key.dataset, run.results["split_hash"], p.classnames, center)
            other, wanted = first.setdefault(key, (run, rows))
            if rows != wanted:
                unlike = sorted(set(rows) ^ set(wanted)) or [rows[0]]
                text = f"centre {center} has other images, classes or patients than in"
                run.note("split_differs", f"{text} {other.where}, such as {unlike[0][0]}")


def check_patients_of_centers(run: AuditedRun) -> None:
    """Patients of the split at an external centre are those that ``flow.leaks`` tells of."""
    if run.split is None:
        return
    known = {str(row["patient"]) for part in PARTS for row in run.split[part] if row["patient"]}
    told = ((run.results["flow"] or {}).get("leaks") or {}).get("centers") or {}
    for center, p in external(run).items():
        shared = sorted(known.intersection(p.patient_ids))
        said = (told.get(center) or {}).get("shared_patient_ids")
        if not shared or said is not None and said >= len(shared):
            continue  # of images that were not drawn it knows more
        text = f"{counted(len(shared), 'patient')} of centre {center} in the split, such as"
        where = "does not say so" if said is None else f"says {said}"
        run.note("patient_leak", f"{text} {shared[0]}; flow.leaks {where}")


def check_flow(run: AuditedRun) -> None:
    """The counts of ``flow`` are those of split.json and predictions.csv."""
    flow = run.results["flow"] or {}
    if flow.get("sources"):
        _check_sources(run, flow["sources"])
    for name, said in (flow.get("sources") or {}).items():
        wanted = _counts_of_split(run) if said["role"] == "training" else _of_center(run, name)
        for part, counts in wanted.items():
            _compare(run, f"flow.sources.{name}.used.{part}", said["used"].get(part), counts)
    if run.split is not None and flow.get("leaks"):
        for key, count in _leaks_of_split(run.split):
            told = (flow["leaks"].get(key) or {}).get("count")
            if count and (told is None or told < count):
                text = f"flow.leaks.{key} is {told!r}; split.json has {count}"
                run.note("flow", text)


def _check_sources(run: AuditedRun, sources: Mapping[str, Any]) -> None:
    """One source is trained on, and the others are the centres that were tested."""
    trained = [name for name, said in sources.items() if said["role"] == "training"]
    if len(trained) != 1:
        run.note("flow", f"flow.sources has {counted(len(trained), 'source')} of the training")
    told = {name for name, said in sources.items() if said["role"] != "training"}
    # A centre without images has no line in predictions.csv.
    tested = {name for name in run.results["centers"] if name not in (*_NOT_EXTERNAL, NEW)}
    if missing := sorted(tested - told):
        run.note("flow", f"centre {missing[0]} was scored and is not in flow.sources")
    whole = run.option("TEST", "SPLIT") == "test" and not run.option("TEST", "NO_TEST")
    if whole and (more := sorted(told - tested)):
        run.note("flow", f"centre {more[0]} is in flow.sources and was not scored")


def _counts_of_split(run: AuditedRun) -> dict[str, _Counts]:
    """Part -> images, those of each class where split.json names classes, and patients."""
    split = run.split
    if split is None:
        return {}
    names, counts = split.get("classes") or [], {}
    for part in PARTS:
        labels = [row["label"] for row in split[part]]
        named = bool(names) and all(0 <= label < len(names) for label in labels)
        of_classes = Counter(names[label] for label in labels) if named else None
        rows = [(Path(row["path"]).stem, str(row["patient"])) for row in split[part]]
        known = any(stem != patient for stem, patient in rows)  # else they repeat the files' names
        counts[part] = (len(labels), of_classes, {p for _, p in rows} if known else set())
    return counts


def _of_center(run: AuditedRun, center: str) -> dict[str, _Counts]:
    """The same of an external centre, whose images are tested."""
    p = external(run).get(center)
    if p is None:
        return {}
    labels = p.labels.tolist()
    classes = Counter(p.classnames[label] for label in labels) if min(labels) >= 0 else None
    return {"test": (len(p), classes, set(p.known_patients))}


def _compare(run: AuditedRun, where: str, said: Any, counts: _Counts) -> None:
    images, classes, patients = counts
    said = said or {"images": 0, "per_class": {}}
    if said["images"] != images:
        text = f"{where}.images is {said['images']}; there are {counted(images, 'image')}"
        run.note("flow", text)
        return
    if said.get("patients") is not None and patients and "" not in patients:
        if said["patients"] != len(patients):
            text = f"{where}.patients is {said['patients']}; there are {len(patients)}"
            run.note("flow", text)
            return
    told = {name: entry["images"] for name, entry in said["per_class"].items() if entry["images"]}
    if classes is not None and told != dict(classes):
        name = sorted(name for name in {*told, *classes} if told.get(name, 0) != classes[name])[0]
        text = f"{where}.per_class.{name} is {told.get(name, 0)}; there are {classes[name]}"
        run.note("flow", text)


def _leaks_of_split(split: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """How many images and patients split.json has in two parts."""
    for key, column in (("images_in_two_parts", "path"), ("patients_in_two_parts", "patient")):
        places: dict[str, set[str]] = {}
        for part in PARTS:
            for row in split[part]:
                if row[column]:
                    places.setdefault(str(row[column]), set()).add(part)
        yield key, sum(len(parts) > 1 for parts in places.values())
