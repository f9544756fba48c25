"""The whole audit: every check over every run below a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from cerviclip.runs.audit import cells, identity, scores, splits
from cerviclip.runs.audit.copies import check_copies
from cerviclip.runs.audit.findings import Finding, ordered, relative
from cerviclip.runs.audit.report import Report
from cerviclip.runs.audit.run_folder import AuditedRun
from cerviclip.runs.audit.tables import check_tables
from cerviclip.runs.results_check import check_blocks
from cerviclip.runs.results_json import read_results
from cerviclip.runs.settings.folders import find_results
from dassl.errors import MissingFileError, UserError

#: Checks of one run, whatever became of it.
EVERY_RUN = (identity.check_config_hash, identity.check_identity, identity.check_place)
#: Checks of one finished run.
FINISHED_RUN = (
    splits.check_split_hash,
    splits.check_leaks,
    splits.check_predicted_images,
    scores.check_values,
    scores.check_thresholds,
)
#: Checks of all runs together.
ALL_RUNS = (
    splits.check_splits_agree,
    cells.check_seeds,
    cells.check_versions,
    cells.check_weights,
    cells.check_no_run_twice,
)


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
    unreached = check_copies(runs, data_root)
    findings += [finding for run in runs for finding in run.findings]
    findings += check_tables(root, runs)
    if unreached:
        text = f"copies: images of {unreached} runs are not to be found (--root names their folder)"
        findings.append(Finding("not_checked", ".", text))
    return Report(root, len(runs), sum(run.done for run in runs), len(chosen), ordered(findings))


def find_runs(root: Path) -> tuple[list[AuditedRun], list[Finding]]:
    """The runs below a folder, and those whose results.json cannot be read."""
    if not root.is_dir():
        raise MissingFileError(f"there is no folder {root}; give a folder of runs, such as output/")
    runs, findings = [], []
    for path in find_results(root):
        try:
            results = read_results(path, consistent=False)
            if results is None:
                continue
            run = AuditedRun(path.parent, root, results)
            _ = run.key, run.done, run.results["config_hash"], run.results["runtime"]
            check_blocks(results, path)
            runs.append(run)
        except UserError as error:
            findings.append(Finding("unreadable", relative(path, root), str(error)))
        except KeyError as error:
            text = f"it lacks the key {error}"
            findings.append(Finding("unreadable", relative(path, root), text))
    if not runs and not findings:
        raise MissingFileError(f"no results.json below {root}; run train.py or run_shell.py first")
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
