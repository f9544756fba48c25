"""An ensemble of finished runs: from their predictions a run's folder like any other."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cerviclip.data.centers.coarse import is_coarse
from cerviclip.evaluation.measures import Settings
from cerviclip.locks import claimed
from cerviclip.runs.measured import measure_predictions, read_val
from cerviclip.runs.predictions import (
    PREDICTIONS,
    VAL_PREDICTIONS,
    Predictions,
    read_predictions,
    write_predictions,
)
from cerviclip.runs.report.groups import member_label
from cerviclip.runs.report.pooled import intervals_of
from cerviclip.runs.results_check import check_blocks
from cerviclip.runs.results_json import (
    KEYS,
    SCHEMA_VERSION,
    is_finished,
    read_results,
    write_results,
)
from cerviclip.runs.results_shape import COMPARED
from cerviclip.runs.settings.run_key import RunKey
from cerviclip.runs.study_title import named, titles_of
from dassl.errors import UserError

TRAINER = "Ensemble"
MEAN, STACKED = "mean", "stacked"
_OF_MEMBER = ("trainer", "variant", "backbone", "shots", "fold", "seed", "config_hash")
_SHARED = ("dataset", "positive_classes", "split_hash", "left_out_center", "fold")
_VAL_DIFFERS = "the members have different val images, so no threshold is chosen"


@dataclass
class Ensemble:
    """Runs on the same test images, and how they become one.

    Args:
        runs: contents of results.json, with ``folder``.
        how: ``mean`` or ``stacked``.
        variant: names it in tables and folders.
    """

    runs: Sequence[Mapping[str, Any]]
    how: str
    variant: str

    def __post_init__(self) -> None:
        for run in self.runs:
            if run["status"] != "done":
                raise UserError(f"{run['folder']} is {run['status']}, not done; finish it first")
            if run["base_to_new"]:
                raise UserError(f"{run['folder']} is a base-to-new run: no ensemble is made of it")
            if lacking := [key for key in (*_SHARED, *_OF_MEMBER) if key not in run]:
                raise UserError(
                    f"{run['folder']}: results.json lacks the key {lacking[0]}; make the run again"
                )
        for name in _SHARED:
            if len({json.dumps(run[name]) for run in self.runs}) > 1:
                told = "; ".join(f"{run['folder']}: {run[name]}" for run in self.runs)
                raise UserError(f"the runs differ in {name}, so they are no ensemble ({told})")
        if len({run["shots"] for run in self.runs if run["shots"] != 0}) > 1:
            told = ", ".join(str(run["shots"]) for run in self.runs)
            raise UserError(f"the runs have different shots ({told}); join those of one number")

    @property
    def key(self) -> RunKey:
        trained = [run for run in self.runs if run["shots"] != 0]
        seeds = {run["seed"] for run in trained}
        return RunKey(
            dataset=self.runs[0]["dataset"],
            trainer=TRAINER,
            backbone=" + ".join(sorted({run["backbone"] for run in self.runs})),
            variant=self.variant,
            shots=trained[0]["shots"] if trained else 0,
            fold=self.runs[0]["fold"],
            seed=seeds.pop() if len(seeds) == 1 else 0,  # 0: several seeds together
        )

    @property
    def study_title(self) -> str:
        """The title that all members have; "" where they have several or none."""
        titles = titles_of(self.runs)
        return titles[0] if len(titles) == 1 else ""

    def config_hash(self) -> str:
        """Of how it is made, and of the predictions that it is made of."""
        digest = hashlib.sha256(f"{self.how} {self.variant}".encode())
        for run in self.runs:
            for name in (PREDICTIONS, VAL_PREDICTIONS):
                path = Path(run["folder"], name)
                digest.update(path.read_bytes() if path.is_file() else b"none")
        return digest.hexdigest()

    def write(self, root: str | Path, fresh: bool = False) -> tuple[Path, dict[str, Any]]:
        """Make it below ``root``, unless it is there; returns its folder and results.

        Raises:
            UserError: another run is there, or the members do not fit each other.
        """
        folder, old = self.key.folder(root), read_results(self.key.folder(root))
        if is_finished(old, self.config_hash()):
            from cerviclip.runs.run.finished import retitle

            retitle(folder, self.study_title)
            return folder, dict(read_results(folder) or {})
        if old is not None and not fresh:
            raise UserError(
                f"{folder} holds another ensemble; give --fresh to replace it, or another --name"
            )
        from cerviclip.runs.run.working_folder import (
            check_only_run_files,
            folder_beside,
            replace_folder,
            tidy_up,
        )

        with claimed(folder), folder_beside(folder) as new:
            if folder.is_dir():
                check_only_run_files(folder)
            tidy_up(folder)
            results = self._write_into(new)
            replace_folder(folder, new)
        return folder, results

    def _write_into(self, folder: Path) -> dict[str, Any]:
        from cerviclip.runs.report.figures import run_figures
        from cerviclip.runs.run.testing.scoring import score_predictions

        predictions, val, made_by = self.combine()
        first, names = self.runs[0], predictions[0].classnames
        positive = first["positive_classes"]
        centers = score_predictions(predictions, names, positive, intervals_of(self.runs))
        check_blocks(first, first["folder"], COMPARED)
        settings = Settings.from_json(first["measured_with"] or {})
        blocks = measure_predictions(val, predictions, positive, centers, settings, _VAL_DIFFERS)
        folder.mkdir(parents=True)
        write_predictions(folder, predictions, names)
        if val is not None:
            write_predictions(folder, [val], names, VAL_PREDICTIONS)
        for name in ("split.json", "task.json"):
            if (source := Path(first["folder"], name)).is_file():
                shutil.copy(source, folder / name)
        shown = named(self.key.dataset, self.study_title)
        run_figures(folder, centers, [], self.key.title_with(shown))
        results = self.record(made_by) | {"centers": centers} | blocks
        write_results(folder, results)
        return results

    def record(self, made_by: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of results.json that are not measures."""
        members = [{name: run[name] for name in _OF_MEMBER} for run in self.runs]
        titled = {"title": self.study_title} if self.study_title else {}
        own = {
            **{name: self.runs[0][name] for name in KEYS},
            **self.key.__dict__,
            "schema_version": SCHEMA_VERSION,
            "weights_sha256": self._shared("weights_sha256"),
            "draw_hash": self._shared("draw_hash"),
            "setup": {},  # each member has its own
            "search": self.search(made_by),
            "transductive": any(run["transductive"] for run in self.runs),
            "ensemble": {"how": self.how, "members": members, **made_by},
            "config_hash": self.config_hash(),
            "test_read_early": any(run["test_read_early"] for run in self.runs),
            "runtime": {"members": [str(run["folder"]) for run in self.runs], **titled},
        }
        return own

    def _shared(self, name: str) -> Any:
        values = {run.get(name) for run in self.runs}  # a hash may be absent
        return values.pop() if len(values) == 1 else None

    def search(self, made_by: Mapping[str, Any]) -> dict[str, Any]:
        """What the members' choices on val have cost, and the stacking's."""
        choices = {
            f"{member_label(run)} seed {run['seed']}: {what}": choice
            for run in self.runs
            for what, choice in (run["search"] or {}).get("choices", {}).items()
        }
        if self.how == STACKED:
            choices["stacking"] = {"tries": made_by["tries"], "labels": made_by["labels"]}
        if not choices:
            return {}
        tries, labels = ([c[k] for c in choices.values()] for k in ("tries", "labels"))
        return {"tries": sum(tries), "labels": max(labels), "choices": choices}

    # -- probabilities -----------------------------------------------------------------------------

    def combine(self) -> tuple[list[Predictions], Predictions | None, dict[str, Any]]:
        """Predictions of every centre, of val, and what the stacking chose."""
        found = [{p.center: p for p in self._read(run)} for run in self.runs]
        centers = list(found[0])
        for run, other in zip(self.runs, found, strict=True):
            if set(other) != set(centers):
                raise UserError(
                    f"{run['folder']} has predictions of {', '.join(other)}, and "
                    f"{self.runs[0]['folder']} of {', '.join(centers)}; evaluate both on the same"
                )
        parts = {center: self._aligned([of[center] for of in found]) for center in centers}
        val = self._val()
        if self.how == MEAN:
            return (
                [_with(of[0], _mean(of)) for of in parts.values()],
                _with(val[0], _mean(val)) if val else None,
                {},
            )
        if not val or is_coarse(val[0].labels):
            raise UserError(f"stacking needs the same val images in each run: {_VAL_DIFFERS}")
        _check_all_classes(val[0])
        from cerviclip.runs.stacking import C_GRID, stack

        fitted = stack(_probs(val), val[0].labels, val[0].known_patients)
        made_by = {
            "tries": len(C_GRID), "labels": len(val[0]), "C": fitted.c,
            "log_loss": fitted.log_loss, "weight": fitted.weight.tolist(),
            "bias": fitted.bias.tolist(),
        }  # fmt: skip
        done = [_with(of[0], fitted.apply(_probs(of))) for of in parts.values()]
        return done, _with(val[0], fitted.held_out), made_by

    @staticmethod
    def _read(run: Mapping[str, Any]) -> list[Predictions]:
        try:
            return read_predictions(run["folder"])
        except FileNotFoundError as error:
            raise UserError(f"{run['folder']} has no {PREDICTIONS}: it was not tested") from error

    def _val(self) -> list[Predictions]:
        """Val predictions of all members; none where they are not of the same images."""
        found = [read_val(run["folder"]) for run in self.runs]
        there = [p for p in found if p is not None]
        if len(there) < len(found) or len({tuple(sorted(p.paths)) for p in there}) > 1:
            return []
        return self._aligned(there)

    def _aligned(self, parts: Sequence[Predictions]) -> list[Predictions]:
        """One centre's predictions by each run, in the order of the first.

        Raises:
            UserError: other images, labels, patients or classes.
        """
        first, out = parts[0], []
        for run, part in zip(self.runs, parts, strict=True):
            place = {path: i for i, path in enumerate(part.paths)}
            same = sorted(first.paths) == sorted(part.paths) and len(place) == len(part)
            if part.paths == first.paths:
                order = list(range(len(part)))
            else:
                order = [place[path] for path in first.paths] if same else []
            known = [(part.paths[i], part.patient_ids[i], int(part.labels[i])) for i in order]
            wanted = list(zip(first.paths, first.patient_ids, map(int, first.labels), strict=True))
            if known != wanted or part.classnames != first.classnames:
                raise UserError(
                    f"{run['folder']} and {self.runs[0]['folder']} were not scored on the same "
                    f"images, patients and classes ({first.center})"
                )
            out.append(_with(first, part.probs[order]))
        return out


def _check_all_classes(val: Predictions) -> None:
    """Refuse val images that lack a class: what is fitted on them would never name it."""
    there = set(map(int, val.labels))
    lacking = [name for c, name in enumerate(val.classnames) if c not in there]
    if lacking:
        raise UserError(
            f"stacking is fitted on the {len(val)} val images, and none of them is of "
            f"{', '.join(lacking)}: it would never name it; leave --stack out, which averages"
        )


def _probs(parts: Sequence[Predictions]) -> np.ndarray:
    return np.stack([part.probs for part in parts])  # (M, B, C)


def _mean(parts: Sequence[Predictions]) -> np.ndarray:
    return _probs(parts).mean(axis=0)


def _with(like: Predictions, probs: np.ndarray) -> Predictions:
    ids = (like.center, like.paths, like.patient_ids, like.labels)
    return Predictions(*ids, probs, like.classnames)


def ensembles(
    runs: Sequence[Mapping[str, Any]], how: str, variant: str, join_seeds: bool = False
) -> list[Ensemble]:
    """One ensemble for each data set, number of shots, fold and seed of these runs.

    Args:
        join_seeds: the seeds of a number of shots together instead.

    Raises:
        UserError: a method lacks a seed or a fold that another has, or a run is alone.
    """
    trained = [run for run in runs if run["shots"] != 0]
    idle = [run for run in runs if run["shots"] == 0]  # one run suits each seed and shots
    cells: dict[tuple, list[Mapping[str, Any]]] = {}
    for run in trained or idle:
        seed = 0 if join_seeds else run["seed"]
        cells.setdefault((run["dataset"], run["shots"], run["fold"], seed), []).append(run)
    for key, members in cells.items() if trained else ():
        members += [run for run in idle if (run["dataset"], run["fold"]) == (key[0], key[2])]
    every = {key: {member_label(run) for run in members} for key, members in cells.items()}
    for key, names in every.items():
        others = [of for other, of in every.items() if other[0] == key[0]]
        lacking = set().union(*others) - names
        if lacking:
            where = f"{key[0]}, shots {key[1]}, " + f"fold {key[2]}, " * bool(key[2])
            raise UserError(
                f"{where}seed {key[3]}: no run of {', '.join(sorted(lacking))}, which others have"
            )
    for (dataset, shots, _, seed), members in cells.items():
        if len(members) < 2:
            raise UserError(
                f"{dataset}, shots {shots}, seed {seed}: {members[0]['folder']} is the only run, "
                "and an ensemble joins two or more; name folders of more methods, or --join-seeds"
            )
    return [Ensemble(members, how, variant) for members in cells.values()]
