"""What results.json says under ``runtime``: all that may differ between two identical runs."""

from __future__ import annotations

import platform
import sys
from contextlib import suppress
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any

from cerviclip.environment import job_record
from cerviclip.git_commit import commit_of
from cerviclip.places import HOME
from dassl import __version__
from dassl.utils.distributed import world_size


def runtime_record(run: Any) -> dict[str, Any]:
    """Everything that may differ between two identical runs."""
    import torch

    device = torch.device(getattr(run.trainer, "device", "cpu"))
    out = {
        "started": run.started_at.isoformat(timespec="seconds"),
        "ended": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "seconds": {key: round(value, 4) for key, value in run.seconds.items()},
        "peak_memory_mib": peak_memory_mib(),
        "device": str(device),
        "device_name": device_name(str(device)),
        "threads": torch.get_num_threads(),
        "versions": {
            "cerviclip": __version__,
            "commit": code_version(),
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
        "output_dir": str(run.final_dir),
        "data_root": str(run.cfg.DATASET.ROOT),
        "host": platform.node(),
        "warnings": list(run.shown_warnings),
    }
    if title := run.cfg.DATASET.get("TITLE", ""):
        out["title"] = title
    if job := job_record():
        out["job"] = job
    if world_size() > 1:
        out["processes"] = world_size()
    if device.type == "cuda":
        out["peak_gpu_memory_mib"] = round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    counts = getattr(run.trainer, "store_counts", None)
    if counts is not None:
        out["feature_store"] = dict(counts)
    if extra := getattr(run.trainer, "extra_results", None):
        out["trainer"] = dict(extra)
    return out


def begin_peak_memory() -> None:
    """Let `peak_memory_mib` begin anew, so that a run of a sweep does not show another run's peak.

    Linux alone can; elsewhere the peak stays that of the process so far.
    """
    with suppress(OSError), open("/proc/self/clear_refs", "w", encoding="ascii") as handle:
        handle.write("5")
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()


def peak_memory_mib() -> float | None:
    """The process's largest resident memory since `begin_peak_memory`.

    Linux says it of the program itself; ``ru_maxrss`` there begins with what the process that
    started this one held at that moment.
    """
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as handle:
            lines = dict(line.split(":", 1) for line in handle)
        return round(int(lines["VmHWM"].split()[0]) / 2**10, 1)
    except (OSError, KeyError, ValueError):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


@lru_cache(maxsize=8)
def device_name(device: str) -> str:
    """What the device is called."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(torch.device(device))
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as handle:
            for line in handle:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@lru_cache(maxsize=1)
def code_version() -> str | None:
    """The commit of the project's checkout; None outside one."""
    return commit_of(HOME)
