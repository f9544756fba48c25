"""The whole audit: every check over every run below a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cerviclip.runs.audit import cells, centers, identity, members, scores, splits
from cerviclip.runs.audit.copies import check_copies
from cerviclip.runs.audit.findings import KINDS, Finding, ordered, relative
from cerviclip.runs.audit.report import Report
from cerviclip.runs.audit.run_folder import AuditedRun
from cerviclip.runs.audit.tables.files import check_tables
from cerviclip.runs.audit.tables.scope import by_tables, folders_with_tables
from cerviclip.runs.many.index import Index
from cerviclip.runs.many.load import Narrow
from cerviclip.runs.report.groups import METRICS
from cerviclip.runs.results_check import check_blocks
from cerviclip.runs.results_json import read_results
from cerviclip.runs.settings.folders import find_results
from dassl.errors import MissingFileError, UserError
from dassl.paths import is_dir

#: Checks of one run, whatever became of it.
EVERY_RUN = (
    identity.check_config_hash,
    identity.check_identity,
    identity.check_status,
    identity.check_place,
    members.check_name,
)
#: Checks of one finished run.
FINISHED_RUN = (
    splits.check_split_hash,
    splits.check_leaks,
    splits.check_predicted_images,
    identity.check_sources,
    identity.check_classes,
    identity.check_settings,
    identity.check_transductive,
    centers.check_images_once,
    centers.check_patients_of_centers,
    centers.check_flow,
    scores.check_values,
    scores.check_new_classes,
    scores.check_harmonic_means,
    scores.check_thresholds,
    scores.check_measured,
)
#: Checks of all runs together.
ALL_RUNS = (
    splits.check_hashes_agree,
    splits.check_patients_agree,
    centers.check_centers_agree,
    members.check_members,
)
#: Checks of the runs of one folder's tables: those of another may have other settings.
ONE_TABLE = (
    splits.check_splits_agree,
    cells.check_alike,
    cells.check_settings,
    cells.check_seeds,
    cells.check_versions,
    cells.check_machines,
    cells.check_weights,
    cells.check_keys,
    cells.check_predictions,
)
#: Those that need results.json alone.
QUICK_RUN = (*(identity.check_status, identity.check_place, members.check_name, cells.check_flags),)
QUICK_TABLE = (
    *(cells.check_alike, cells.check_seeds, cells.check_versions),
    *(cells.check_weights, cells.check_keys),
)
_QUICK_KEYS = ("weights_sha256", "runtime", "classes")
#: What every run's results.json has had since the first version, and the checks read.
_READ_BY_CHECKS = (
    *("config_hash", "split_hash", "draw_hash", "weights_sha256", "runtime"),
    *("positive_classes", "test_read_early"),
)
_READ_QUICKLY = ("weights_sha256", "positive_classes", "test_read_early")


def audit(
    folder: str | Path,
    data_root: str = "",
    full: int | None = 16,
    advance: Callable[[AuditedRun], object] = lambda _: None,
) -> Report:
    """Check all runs below a folder.

    Args:
        folder: such as ``output``.
        data_root: where the images lie; "" takes the folder that each run notes.
        full: of how many runs the intervals and all blocks are made again; None for all.
        advance: called after each run.

    Raises:
        MissingFileError: there is no such folder, or no run in it.
    """
    root = Path(folder)
    runs, findings = find_runs(root)
    chosen = chosen_for_full(runs, full)
    for run in runs:
        for check in EVERY_RUN:
            check(run)
        cells.check_flags(run)
        if run.done:
            _ = run.task
            for check in FINISHED_RUN:
                check(run)
            # A value that is wrong makes its interval wrong too: once is enough.
            wrong = any(f.kind in ("scores", "unreadable", "missing_file") for f in run.findings)
            if run.folder in chosen and not wrong:
                scores.check_everything(run)
        advance(run)
    for check_all in ALL_RUNS:
        check_all(runs)
    for own in by_tables(folders_with_tables(root), runs).values():
        for check_all in ONE_TABLE:
            check_all(own)
    unreached = check_copies(runs, data_root)
    findings += [finding for run in runs for finding in run.findings]
    findings += check_tables(root, runs, full)
    if unreached:
        text = f"copies: images of {unreached} runs are not to be found (--root names their folder)"
        findings.append(Finding("not_checked", ".", text))
    return Report(root, len(runs), sum(run.done for run in runs), len(chosen), ordered(findings))


def audit_results(folder: str | Path, advance: Callable[[Path], object] = lambda _: None) -> Report:
    """Check what results.json files and tables alone tell, of very many runs.

    Each file is read and compared with what the index knows of it (`many.index`).

    Args:
        folder: such as ``output``.
        advance: called after each run.

    Raises:
        MissingFileError: there is no such folder, or no run in it.
    """
    root = Path(folder)
    _check_folder(root)
    narrow, runs, findings = Narrow(METRICS), [], []
    with Index(root) as index:
        for found in index.check(advance):
            where = relative(found.path, root)
            if found.altered:
                findings.append(Finding("altered", where, KINDS["altered"][1]))
            if found.results is None:
                findings.append(Finding("unreadable", where, str(found.error)))
                continue
            if lacking := [key for key in _READ_QUICKLY if key not in found.results]:
                text = f"it lacks the key {lacking[0]!r}"
                findings.append(Finding("unreadable", where, text))
                continue
            slim = {**found.results, "runtime": _kept_runtime(found.results)}
            slim["classes"] = cells.classes_of(found.results)
            run = AuditedRun(found.path.parent, root, narrow.run(slim, _QUICK_KEYS))
            for check in QUICK_RUN:
                check(run)
            runs.append(run)
    _check_found(root, runs, findings)
    for own in by_tables(folders_with_tables(root), runs).values():
        for check_all in QUICK_TABLE:
            check_all(own)
    findings += [finding for run in runs for finding in run.findings]
    findings += check_tables(root, runs, quick=True)
    done = sum(run.done for run in runs)
    return Report(root, len(runs), done, 0, ordered(findings), quick=True)


def _kept_runtime(results: Mapping[str, Any]) -> dict[str, Any]:
    return {key: results["runtime"].get(key) for key in ("versions", "title")}


def _check_folder(root: Path) -> None:
    if not is_dir(root):
        raise MissingFileError(f"there is no folder {root}; give a folder of runs, such as output/")


def _check_found(root: Path, runs: Sequence[AuditedRun], findings: Sequence[Finding]) -> None:
    if not runs and not findings:
        raise MissingFileError(f"no results.json below {root}; run train.py or run_shell.py first")


def altered_files(root: Path) -> list[Finding]:
    """Results whose bytes are not those that the index has for their size and time."""
    with Index(root) as index:
        return [
            Finding("altered", relative(found.path, root), KINDS["altered"][1])
            for found in index.check()
            if found.altered
        ]


def find_runs(root: Path) -> tuple[list[AuditedRun], list[Finding]]:
    """The runs below a folder, and those whose results.json cannot be read."""
    _check_folder(root)
    runs: list[AuditedRun] = []
    findings = altered_files(root)
    for path in find_results(root):
        try:
            results = read_results(path, consistent=False)
            if results is None:
                continue
            run = AuditedRun(path.parent, root, results)
            _ = run.key, run.done, [results[key] for key in _READ_BY_CHECKS]
            check_blocks(results, path)
            runs.append(run)
        except UserError as error:
            findings.append(Finding("unreadable", relative(path, root), str(error)))
        except KeyError as error:
            text = f"it lacks the key {error}"
            findings.append(Finding("unreadable", relative(path, root), text))
    _check_found(root, runs, findings)
    return runs, findings


def chosen_for_full(runs: Sequence[AuditedRun], full: int | None) -> set[Path]:
    """The finished runs that are measured again in full: a sample that looks random and is the same
    each time."""
    done = [run for run in runs if run.done]
    if full is None:
        return {run.folder for run in done}

    def order(run: AuditedRun) -> str:
        return hashlib.sha256(run.where.encode("utf-8", "surrogateescape")).hexdigest()

    return {run.folder for run in sorted(done, key=order)[:full]}
