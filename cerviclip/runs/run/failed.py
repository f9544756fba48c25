"""A run that broke: what its log.txt and results.json say of it."""

from __future__ import annotations

import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cerviclip.environment import job_record
from cerviclip.runs.results_json import write_results
from cerviclip.runs.run import run_files
from cerviclip.runs.run.process.log import print_to_log
from cerviclip.runs.run.process.outside import FROM_OUTSIDE, describe, outside_cause
from cerviclip.runs.settings.run_key import RunKey

if TYPE_CHECKING:
    from yacs.config import CfgNode


def failed_results(
    cfg: CfgNode, variant: str, error: BaseException | str, started: float | None = None
) -> dict[str, Any]:
    """results.json of a run that did not end well."""
    text = error if isinstance(error, str) else describe(error, cfg.OUTPUT_DIR)
    runtime: dict[str, Any] = {"seconds": {}}
    if started is not None:
        runtime["seconds"] = {"total": time.perf_counter() - started}
    if isinstance(error, str) or outside_cause(error):  # a text: its process died
        runtime[FROM_OUTSIDE] = True
    if job := job_record():
        runtime["job"] = job
    return run_files.results_record(
        RunKey.of(cfg, variant), cfg, status="failed", error=text, runtime=runtime
    )


def record_failure(
    folder: Path, cfg: CfgNode, variant: str, error: BaseException, started: float
) -> None:
    """Say in log.txt and results.json why a run broke; on a full disk it can be said nowhere."""
    with suppress(OSError):
        print_to_log(traceback.format_exc())
    with suppress(OSError):
        write_results(folder, failed_results(cfg, variant, error, started))
