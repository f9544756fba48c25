"""Splits: their hashes, patients and images in several parts, and runs against each other."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cerviclip.counted import counted
from cerviclip.data.split.patient_grouped import PARTS, Item, patients_on_two_parts, split_hash
from cerviclip.data.split.repeated import draw_hash_of, hash_of_rows, hash_of_test_part
from cerviclip.evaluation.names import IN_DOMAIN
from cerviclip.federated.record import center_of
from cerviclip.runs.audit.declared import SPLIT, declared
from cerviclip.runs.audit.run_folder import AuditedRun


def check_split_hash(run: AuditedRun) -> None:
    """split.json's own hashes again from its rows."""
    split = run.split
    if split is None:
        return
    if "draw_hash" not in split:
        content = {key: value for key, value in split.items() if key != "hash"}
        text = json.dumps(content, sort_keys=True)
        if hashlib.sha256(text.encode()).hexdigest() != split.get("hash"):
            run.note("split_edited", "its rows do not give the hash of split.json")
    elif run.joins:
        if "rows_hash" not in split:  # of an earlier version
            run.note("not_checked", "draw_hash: the split joins several data sets")
        elif hash_of_rows(split) != split["rows_hash"]:
            run.note("split_edited", "its rows do not give the rows_hash of split.json")
    elif not any(_gives_hashes(split, prefix) for prefix in _prefixes(split)):
        run.note("split_edited", "its rows do not give the draw_hash or hash of split.json")


def _prefixes(split: Mapping[str, Any]) -> Iterator[str]:
    """What may stand before paths that are relative to the image folder: any common folder."""
    paths = [row["path"] for part in PARTS for row in split[part]]
    first = paths[0].split("/")[:-1] if paths else []
    for depth in range(len(first) + 1):
        prefix = "".join(f"{name}/" for name in first[:depth])
        if not all(path.startswith(prefix) for path in paths):
            return
        yield prefix


def _gives_hashes(split: Mapping[str, Any], prefix: str) -> bool:
    names = split["classes"]
    try:
        parts = {
            part: [
                Item(r["path"][len(prefix) :], r["label"], names[r["label"]], r["patient"])
                for r in split[part]
            ]
            for part in PARTS
        }
    except (IndexError, TypeError):
        return False
    if draw_hash_of(split["hash"], parts) != split["draw_hash"]:
        return False
    if split.get("test_hash", hash_of_test_part(parts)) != hash_of_test_part(parts):
        return False
    whole = split.get("shots", 0) < 0 and split.get("by") != "file"
    known = all(item.patient for items in parts.values() for item in items)
    if not (whole and known):  # of the split a drawn run holds a part only
        return True
    return split_hash(split["dataset"], split["version"], parts) == split["hash"]


def check_leaks(run: AuditedRun) -> None:
    """No patient and no image in two parts, and none of the training's images at a centre."""
    split = run.split
    if split is None:
        return
    patients = {
        part: [Item(r["path"], 0, "", str(r["patient"])) for r in split[part] if r["patient"]]
        for part in PARTS
    }
    if crossing := patients_on_two_parts(patients):
        patient, where = next(iter(crossing.items()))
        # Its own word counts where the split is another's file (DRAW_FILE); else config.yaml's.
        declared = run.option("DATASET", "SPLIT_BY") == "image"
        if run.config is None or run.option("DATASET", "DRAW_FILE"):
            declared = declared or split.get("by") == "image"
        run.note(
            "declared_leak" if declared else "patient_leak",
            f"{counted(len(crossing), 'patient')}, such as {patient} in {' and '.join(where)}",
        )
    places: dict[str, list[str]] = defaultdict(list)
    for part in PARTS:
        for row in split[part]:
            places[row["path"]].append(part)
    twice = {path: where for path, where in places.items() if len(where) > 1}
    if twice:
        path, where = next(iter(twice.items()))
        images = counted(len(twice), "image")
        run.note("image_leak", f"{images}, such as {path} in {' and '.join(where)}")
    for center, predictions in (run.predictions or {}).items():
        if center in (IN_DOMAIN, "val"):
            continue
        common = sorted(set(predictions.paths) & places.keys())
        if common:
            run.note(
                "image_leak",
                f"{counted(len(common), 'image')} of centre {center} in the split, such as "
                f"{common[0]}",
            )


def check_predicted_images(run: AuditedRun) -> None:
    """predictions.csv is of the test part, val_predictions.csv of the val part: paths, classes and
    patients."""
    if run.split is None:
        return
    found = run.predictions or {}
    for name, part, kind in ((IN_DOMAIN, "test", "test_list"), ("val", "val", "val_list")):
        predictions = found.get(name) if name == IN_DOMAIN else run.val or found.get("val")
        if predictions is None:
            continue
        classes = predictions.classnames
        rows = {r["path"]: (r["label"], str(r["patient"])) for r in run.split[part]}
        paths = predictions.paths
        strange = [path for path in paths if path not in rows]
        left = sorted(rows.keys() - set(paths))
        if strange or left or len(set(paths)) != len(paths):
            first = (strange or left or paths)[0]
            numbers = {
                f"not in {part}": len(strange),
                f"missing of {part}": len(left),
                "there twice": len(paths) - len(set(paths)),
            }
            text = ", ".join(f"{counted(n, 'image')} {what}" for what, n in numbers.items() if n)
            run.note(kind, f"{text} (such as {first})")
            continue
        given = zip(paths, predictions.labels.tolist(), predictions.patient_ids, strict=True)
        wrong = [
            path
            for path, label, patient in given
            if rows[path][0] != label or (rows[path][1] and rows[path][1] != patient)
        ]
        if wrong:
            of = f"another class (of {len(classes)}) or patient"
            run.note(
                kind,
                f"{counted(len(wrong), 'image', 'have')} {of} than in split.json, such as "
                f"{wrong[0]}",
            )


def check_splits_agree(runs: Sequence[AuditedRun]) -> None:
    """Runs of one data set and fold have one split, in a federation those of one centre. Entries of
    a sweep may ask for others, each by a name of its own."""
    first: dict[tuple[str, ...], AuditedRun] = {}
    of_entry: dict[tuple[str, ...], AuditedRun] = {}
    hashes: set[tuple[Any, ...]] = set()
    told: set[tuple[str, str]] = set()
    for run in sorted(runs, key=lambda run: run.ensemble):  # which have their members' splits
        if not run.done or run.split is None or _edited(run):
            continue
        key = (run.key.dataset, run.key.fold, center_of(run.folder, run.key.variant))
        split_hash = run.results["split_hash"]
        if run.ensemble and (key, split_hash) in hashes:
            continue
        hashes.add((key, split_hash))
        own = of_entry.get((*key, run.key.variant))
        of_entry.setdefault((*key, run.key.variant), run)
        other = own or first.setdefault(key, run)
        left_out = [r.results["left_out_center"] for r in (run, other)]
        if split_hash == other.results["split_hash"] or len(set(left_out)) > 1:
            continue
        if own is None and (why := declared(run, other, SPLIT)):
            if (run.key.dataset, run.key.variant) not in told:  # once for all folds
                told.add((run.key.dataset, run.key.variant))
                run.note("other_data", f"it was split otherwise: {why}")
        else:
            run.note("split_differs", f"it was split otherwise than {other.where}")


def _edited(run: AuditedRun) -> bool:
    """Whether the run's own split is known to be false: others are not held to it."""
    return any(finding.kind == "split_edited" for finding in run.findings)


def check_hashes_agree(runs: Sequence[AuditedRun]) -> None:
    """Equal hashes of splits and draws mean equal images."""
    lists: dict[tuple[str, str], tuple[AuditedRun, Any]] = {}
    for run in runs:
        if not run.done or run.split is None or _edited(run):
            continue
        wanted = {f"split {run.results['split_hash']}": sorted(_rows(run, "test"))}
        wanted[f"draw {run.results['draw_hash']}"] = _rows(run, "train") + _rows(run, "val")
        for name, rows in wanted.items():
            if name.endswith(" None"):
                continue  # a data set written in Dassl's way, or members of several draws: no hash
            same, others = lists.setdefault((run.key.dataset, name), (run, rows))
            if rows != others:
                what = "test" if name.startswith("split") else "train and val"
                text = f"its {what} images, classes or patients are others than those of "
                text += f"{same.where}, which has its {name.split()[0]}_hash"
                run.note("split_differs", text)


def check_patients_agree(runs: Sequence[AuditedRun]) -> None:
    """An image is of one class and patient in all runs of a split: the hash of a draw holds no
    patients, so an edited one shows here alone."""
    known: dict[tuple[str, Any], dict[str, tuple[AuditedRun, tuple[int, str]]]] = defaultdict(dict)
    for run in runs:
        if not run.done or run.split is None:
            continue
        images = known[run.key.dataset, run.results["split_hash"]]
        for part in PARTS:
            for path, label, patient in _rows(run, part):
                other, fact = images.setdefault(path, (run, (label, patient)))
                if fact != (label, patient):
                    text = f"{path} has label {label} and patient {patient!r} in split.json, "
                    text += f"{fact[0]} and {fact[1]!r} in that of {other.where}"
                    run.note("split_differs", text)
                    break
            else:
                continue
            break


def _rows(run: AuditedRun, part: str) -> list[tuple[str, int, str]]:
    rows = run.split[part] if run.split else []
    return [(r["path"], r["label"], str(r["patient"])) for r in rows]
