"""The smaller files of a run, and the fields of results.json that are not metrics."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import platform
import sys
import weakref
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path
from typing import Any

from cerviclip.places import HOME
from cerviclip.runs.run.predict import relative_path
from cerviclip.runs.run.results_json import SCHEMA_VERSION, finite_or_none
from cerviclip.runs.settings.config_hash import config_hash
from cerviclip.runs.settings.configure import label_of
from dassl import __version__
from dassl.config import CfgNode
from dassl.utils.files import atomic_write, file_sha256


def results_record(
    cfg: CfgNode,
    variant: str,
    *,
    status: str,
    error: str | None = None,
    trainer: Any = None,
    centers: Mapping[str, Any] | None = None,
    test_read_early: bool = False,
    runtime: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The content of results.json, every key of the schema in its order."""
    dataset = getattr(getattr(trainer, "dm", None), "dataset", None)
    shots = cfg.DATASET.NUM_SHOTS
    return finite_or_none(
        {
            "schema_version": SCHEMA_VERSION,
            "status": status,
            "error": error,
            "dataset": cfg.DATASET.NAME,
            "trainer": cfg.TRAINER.NAME,
            "backbone": label_of(cfg),
            "weights_sha256": weights_sha256(cfg, trainer),
            "variant": variant,
            "shots": "full" if shots < 0 else shots,
            "seed": cfg.SEED,
            "split_hash": getattr(dataset, "split_hash", "") or None,
            "draw_hash": getattr(dataset, "draw_hash", "") or None,
            "config_hash": config_hash(cfg),
            "positive_classes": list(getattr(dataset, "positive_classes", [])),
            "test_read_early": test_read_early,
            "centers": dict(centers or {}),
            "runtime": dict(runtime or {}),
        }
    )


def weights_sha256(cfg: CfgNode, trainer: Any = None) -> str | None:
    """Hash of the backbone's weights: the loaded backbone's, or that of the file it came from."""
    loaded = getattr(getattr(trainer, "backbone", None), "weights_sha256", "")
    if loaded:
        return loaded
    path = cfg.MODEL.INIT_WEIGHTS
    return file_sha256(path) if path and Path(path).is_file() else None


def write_split(folder: Path, dataset: Any, cfg: CfgNode) -> None:
    """split.json: which image of which patient is on which side; paths relative to the data."""
    record = dict(getattr(dataset, "split_record", None) or {})
    if not record:
        roots = [str(cfg.DATASET.ROOT), str(getattr(dataset, "root", ""))]
        record = {"dataset": cfg.DATASET.NAME, "seed": cfg.SEED}
        for split in ("train_x", "train_u", "val", "test"):
            items = getattr(dataset, split, None) or []
            record[split.removesuffix("_x")] = [
                {
                    "path": relative_path(item.impath, *roots),
                    "label": item.label,
                    "patient": str(getattr(item, "patient_id", "")),
                }
                for item in items
            ]
        text = json.dumps(record, sort_keys=True)
        record["hash"] = hashlib.sha256(text.encode()).hexdigest()
    with atomic_write(folder / "split.json") as handle:
        json.dump(record, handle, indent=1)


def write_history(folder: Path, history: Sequence[Mapping[str, Any]]) -> None:
    """history.csv: one line per epoch or validation."""
    columns = list(dict.fromkeys(key for row in history for key in row))
    with atomic_write(folder / "history.csv") as handle:
        writer = csv.DictWriter(handle, columns or ["epoch"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)


# As each shared backbone was found at the end of the last run, so that the next need not read it.
_fingerprints: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def backbone_fingerprint(trainer: Any, known: bool = False) -> str:
    """A hash of every tensor of the trainer's shared backbone; "" where it has none.

    Args:
        known: the one found at the end of the last run will do.
    """
    backbone = getattr(trainer, "backbone", None)
    if not hasattr(backbone, "fingerprint"):
        return ""
    if not known or backbone not in _fingerprints:
        _fingerprints[backbone] = backbone.fingerprint()
    return _fingerprints[backbone]


def forget_backbones() -> None:
    """Empty the pool of loaded backbones: the next run loads its weights anew."""
    from cerviclip.vlm import clear_backbones

    clear_backbones()


def runtime(run: Any) -> dict[str, Any]:
    """Everything that may differ between two identical runs."""
    import torch

    device = getattr(run.trainer, "device", torch.device("cpu"))
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
    }
    if device.type == "cuda":
        out["peak_gpu_memory_mib"] = round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    counts = getattr(run.trainer, "store_counts", None)
    if counts is not None:
        out["feature_store"] = dict(counts)
    if extra := getattr(run.trainer, "extra_results", None):
        out["trainer"] = dict(extra)
    return out


def peak_memory_mib() -> float | None:
    """The process's largest resident memory so far."""
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
    """The commit of the checkout, read from .git without running git; None outside one."""
    git = HOME / ".git"
    try:
        if git.is_file():  # a worktree: the file points at the real folder
            git = Path(os.path.join(HOME, git.read_text().split(":", 1)[1].strip()))
        head = (git / "HEAD").read_text().strip()
        if not head.startswith("ref:"):
            return head
        ref = head.split(None, 1)[1]
        common = git / "commondir"
        base = (git / common.read_text().strip()) if common.is_file() else git
        for folder in (git, base):
            if (folder / ref).is_file():
                return (folder / ref).read_text().strip()
        for line in (base / "packed-refs").read_text().splitlines():
            if line.endswith(" " + ref):
                return line.split()[0]
    except OSError:
        pass
    return None
