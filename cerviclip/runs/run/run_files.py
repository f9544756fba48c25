"""The smaller files of a run, and the fields of results.json that are not metrics."""

from __future__ import annotations

import csv
import hashlib
import json
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cerviclip.evaluation.names import BLOCKS
from cerviclip.runs.predictions import relative_path
from cerviclip.runs.results_json import SCHEMA_VERSION, finite_or_none
from cerviclip.runs.settings.config_hash import config_hash
from cerviclip.runs.settings.run_key import RunKey
from dassl.config import CfgNode
from dassl.paths import is_file
from dassl.utils.files import atomic_write, file_sha256


def results_record(
    key: RunKey,
    cfg: CfgNode,
    *,
    status: str,
    error: str | None = None,
    trainer: Any = None,
    centers: Mapping[str, Any] | None = None,
    setup: Mapping[str, Any] | None = None,
    blocks: Mapping[str, Any] | None = None,
    subgroups: Mapping[str, Any] | None = None,
    test_read_early: bool = False,
    base_to_new: Mapping[str, Any] | None = None,
    flow: Mapping[str, Any] | None = None,
    runtime: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The content of results.json, every key of the newest schema in its order."""
    dataset = getattr(getattr(trainer, "dm", None), "dataset", None)
    return finite_or_none(
        {
            "schema_version": SCHEMA_VERSION,
            "status": status,
            "error": error,
            "dataset": key.dataset,
            "trainer": key.trainer,
            "backbone": key.backbone,
            "weights_sha256": weights_sha256(cfg, trainer),
            "variant": key.variant,
            "shots": key.shots,
            "fold": key.fold,
            "seed": key.seed,
            "split_hash": getattr(dataset, "split_hash", "") or None,
            "draw_hash": getattr(dataset, "draw_hash", "") or None,
            "left_out_center": str(getattr(dataset, "left_out", "") or ""),
            "base_to_new": dict(base_to_new or {}),
            "search": search_budget(trainer),
            "trainable_params": trainable_params(trainer),
            "setup": dict(setup or {}),
            "transductive": getattr(trainer, "transductive", False) is True,
            "ensemble": {},
            "config_hash": config_hash(cfg),
            "positive_classes": list(getattr(dataset, "positive_classes", [])),
            "test_read_early": test_read_early,
            "centers": dict(centers or {}),
            **dict.fromkeys(BLOCKS),
            **(blocks or {}),
            "subgroups": dict(subgroups or {}),
            "flow": dict(flow or {}),
            "warnings": list(getattr(dataset, "warnings", None) or []),
            "runtime": dict(runtime or {}),
            "adopted": _adopted(cfg),
        }
    )


def search_budget(trainer: Any) -> dict[str, Any]:
    """What was chosen on val in this run: all tries, the labels they saw, and each choice alone.

    Empty where nothing was. What a person or a sweep has tried before is not known here.
    """
    choices = dict(getattr(trainer, "_search", None) or {})
    if not choices:
        return {}
    return {
        "tries": sum(choice["tries"] for choice in choices.values()),
        "labels": max(choice["labels"] for choice in choices.values()),
        "choices": choices,
    }


def trainable_params(trainer: Any) -> int | None:
    """How many numbers training sets: elements of all parameters that require a gradient.

    What a method computes in closed form (class means, a cache) lies in buffers and counts as 0.
    None where the run came to no model.
    """
    models = getattr(trainer, "_models", None)
    if models is None:
        return None
    parameters = {p for model in models.values() for p in model.parameters() if p.requires_grad}
    return sum(parameter.numel() for parameter in parameters)


def _adopted(cfg: CfgNode) -> dict[str, str] | None:
    """Whose code an adopted trainer is; None for ours."""
    facts = cfg.get("ADOPT")
    if not facts:
        return None
    return {
        "name": facts.NAME,
        "trainer": facts.TRAINER,
        "repository": Path(facts.REPOSITORY).name,
        "commit": facts.COMMIT,
        "files_sha256": facts.FILES,
        "transforms": facts.TRANSFORMS,
    }


def weights_sha256(cfg: CfgNode, trainer: Any = None) -> str | None:
    """Hash of the backbone's weights: the loaded backbone's, or that of the file it came from."""
    loaded = getattr(getattr(trainer, "backbone", None), "weights_sha256", "")
    if loaded:
        return loaded
    path = cfg.MODEL.INIT_WEIGHTS
    return file_sha256(path) if path and is_file(path) else None


def write_split(folder: Path, dataset: Any, cfg: CfgNode) -> None:
    """split.json: which image of which patient is in which part; paths relative to the data."""
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
