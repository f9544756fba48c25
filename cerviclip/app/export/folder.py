"""An exported run: a folder with tensors, JSON and a model card, and the model that reads it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from cerviclip.app.export.card import model_card
from cerviclip.app.export.graph import Program, trace
from cerviclip.data.reading import FILE as READING
from cerviclip.engine.task import FILE as TASK
from cerviclip.engine.task import Task
from cerviclip.features.training import FILE as FEATURES
from cerviclip.runs.results_check import check_blocks
from cerviclip.runs.results_json import read_results
from cerviclip.shapes import parse_json
from dassl.config import get_cfg_default
from dassl.data.transforms import build_transform
from dassl.errors import MissingFileError, UserError
from dassl.utils.files import atomic_write, file_sha256

RECORD, TENSORS, CARD = "export.json", "model.safetensors", "MODEL_CARD.md"
VERSION = 1
_EXAMPLE = 8  # images that a model is traced with
_KEPT_INPUT = ("SIZE", "INTERPOLATION", "PIXEL_MEAN", "PIXEL_STD", "TRANSFORMS", "NO_TRANSFORM")


class ExportedModel:
    """Behaves as a trainer that predicts; made of an export's two programs.

    Args:
        record: of ``export.json``.
        tensors: all constants, by ``<program>.<name>``.
        task: classes.
        device: ``cpu`` or ``cuda``.
    """

    def __init__(
        self, record: dict[str, Any], tensors: dict[str, Tensor], task: Task, device: str
    ) -> None:
        if device not in ("", "cpu"):
            raise UserError(f"an export runs on cpu, not {device}; take the run itself")
        self.device = torch.device("cpu")
        self.num_classes = task.num_classes
        self.test_batch_size = int(record["batch_size"])
        self.cfg = SimpleNamespace(TRAINER=SimpleNamespace(NAME=record["trainer"]))
        self.programs = {
            name: Program.from_json(
                values,
                {k[len(name) + 1 :]: t for k, t in tensors.items() if k.startswith(f"{name}.")},
            )
            for name, values in record["programs"].items()
        }
        self.tfm_test = _transform(record)
        self.patch_rois = _rois(record["roi"], self.tfm_test)

    def set_model_mode(self, mode: str) -> None:
        """Nothing: an export only predicts."""

    def sample_of(self, image: Image.Image, path: str = "") -> dict[str, Tensor]:
        sample = {"img": self.tfm_test(image)}
        if self.patch_rois is not None:
            sample["roi"] = self.patch_rois.of_image(image, path)
        return sample

    def rows_of(self, pixels: Tensor) -> Tensor:
        encode = self.programs.get("encode")
        return pixels if encode is None else encode(pixels)[0].float()

    def parse_batch_test(self, batch: dict[str, Any]) -> tuple[tuple[Tensor, ...], Tensor]:
        rows = (batch["img"],) if self.patch_rois is None else (batch["img"], batch["roi"])
        return rows, batch["label"]

    def inference_with_features(self, input: tuple[Tensor, ...]) -> tuple[Tensor, Tensor | None]:
        logits, features = self.programs["head"](*input)
        return logits, features

    def model_inference(self, input: tuple[Tensor, ...]) -> Tensor:
        return self.inference_with_features(input)[0]


def write_export(member: Any, out: Path) -> Path:
    """Write a loaded run (`cerviclip.app.predictor.Member`, on the CPU) as a folder.

    Raises:
        UserError: the folder holds something else, or the model cannot be written down.
    """
    from safetensors.torch import save

    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / RECORD).is_file())):
        raise UserError(f"{out} holds something else; name a new folder")
    trainer, results = member.trainer, read_results(member.folder) or {}
    roi = _roi_record(trainer)
    programs = trace_trainer(trainer, roi)
    tensors, copies = {}, set()
    for name, program in programs.items():
        for key, tensor in program.tensors.items():
            fresh = tensor.detach().contiguous()
            tensors[f"{name}.{key}"] = fresh.clone() if fresh.data_ptr() in copies else fresh
            copies.add(fresh.data_ptr())
    with atomic_write(out / TENSORS, "wb") as handle:
        handle.write(save(tensors))
    member.task.save(out)
    member.reading.save(out)
    features = member.folder / FEATURES
    (out / FEATURES).unlink(missing_ok=True)
    if features.is_file():
        with atomic_write(out / FEATURES, "wb") as handle:
            handle.write(features.read_bytes())
    backbone = getattr(trainer, "backbone", None)
    kept = {key: value for key, value in results.items() if key not in ("runtime", "search")}
    record = {
        "version": VERSION,
        "use": "research only",
        "trainer": trainer.cfg.TRAINER.NAME,
        "backbone": trainer.cfg.MODEL.BACKBONE.NAME,
        "model_sha256": file_sha256(out / TENSORS),
        "identity": member.identity(),
        "batch_size": member.batch_size,
        "input": {key: trainer.cfg.INPUT[key] for key in _KEPT_INPUT if key in trainer.cfg.INPUT},
        "preprocess": backbone.preprocess.params() if backbone is not None else None,
        "roi": roi,
        "programs": {name: program.to_json() for name, program in programs.items()},
        "results": kept,
    }
    with atomic_write(out / CARD) as handle:
        handle.write(model_card(record, member.task))
    with atomic_write(out / RECORD) as handle:  # last: what has it is whole
        json.dump(record, handle, indent=1, ensure_ascii=False, allow_nan=False)
        handle.write("\n")
    return out


def trace_trainer(trainer: Any, roi: dict[str, Any] | None) -> dict[str, Program]:
    """``encode``: pixels to what a batch holds, in the encoder's own batches, so that numbers are
    the run's to the last digit; none where batches hold pixels. ``head``: to logits and features.
    """
    colours = ["red", "green", "blue", "white", "black", "gray", "yellow", "purple"]
    pictures = [Image.new("RGB", (96, 96), colour) for colour in colours[:_EXAMPLE]]
    samples = [trainer.sample_of(picture, "") for picture in pictures]
    pixels = torch.stack([sample["img"] for sample in samples])
    programs: dict[str, Program] = {}
    kind = getattr(trainer, "stored_kind", "")
    if kind:
        encoder = trainer._encoder(kind)
        dtype = getattr(torch, encoder.dtype)
        example = pixels[torch.arange(encoder.batch_size) % len(pixels)]
        encode = lambda x: [encoder._encode(x).to(dtype)]  # noqa: E731
        programs["encode"] = trace(encode, [example], any_batch=False)
    rows = [trainer.rows_of(pixels)]
    if roi is not None:
        rows.append(torch.stack([sample["roi"] for sample in samples]))

    def head(*arguments: Tensor) -> list[Tensor | None]:
        input = arguments if roi is not None else arguments[0]
        return list(trainer.inference_with_features(input))

    programs["head"] = trace(head, rows)
    return programs


def read_export(path: str | Path, device: str = "") -> tuple[Path, dict, Task, ExportedModel]:
    """The folder, ``export.json``, the task and the model of an export.

    Args:
        path: the folder, or a file in it.

    Raises:
        UserError: no export, a changed file, or a later version.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = Path(path) if Path(path).is_dir() else Path(path).parent
    if not (folder / RECORD).is_file():
        raise MissingFileError(f"no export in {folder}: it holds no {RECORD}")
    try:
        record = parse_json((folder / RECORD).read_text(encoding="utf-8"))
        check_blocks(record["results"], folder / RECORD)
        if int(record["version"]) > VERSION:
            raise UserError(f"{folder / RECORD} is newer than this code reads")
        if file_sha256(folder / TENSORS) != record["model_sha256"]:
            raise UserError(f"{folder / TENSORS} is not the one that {RECORD} belongs to")
        task = Task.load(folder)
        if task is None:
            raise MissingFileError(f"the export {folder} has lost its {TASK}")
        return (
            folder,
            record,
            task,
            ExportedModel(record, load_file(folder / TENSORS), task, device),
        )
    except UserError:
        raise
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError,
            SafetensorError) as error:  # fmt: skip
        raise UserError(f"{folder} is no whole export ({error!r})") from error


def _transform(record: dict[str, Any]) -> Any:
    from cerviclip.vlm.base import Preprocess

    cfg = get_cfg_default()
    for key, value in record["input"].items():
        cfg.INPUT[key] = tuple(value) if isinstance(value, list) else value
    values = record["preprocess"]
    if values is not None:
        tuples: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
        }
        values = Preprocess(**tuples)
    return build_transform(cfg, is_train=False, preprocess=values)


def _roi_record(trainer: Any) -> dict[str, Any] | None:
    """How a trainer with ``patch_rois`` finds the tissue; None for one without."""
    rois = getattr(trainer, "patch_rois", None)
    if rois is None:
        return None
    source, _, kind, _ = rois.finder.identity
    if source not in ("surface", "full"):
        raise UserError(
            f"this run finds tissue by {source} (TRAINER.SAVLT.ROI.SOURCE), which needs files "
            "beside the images; only runs with surface, full or none can be exported"
        )
    return {"source": source, "kind": kind, "grid": list(rois.grid)}


def _rois(record: dict[str, Any] | None, transform: Any) -> Any:
    if record is None:
        return None
    from cerviclip.data.roi.finder import PatchRois, RoiFinder

    finder = RoiFinder(record["source"], record["kind"])
    return PatchRois(finder, transform, transform, tuple(record["grid"]))


def files_of(out: Path) -> Sequence[str]:
    """Names of an export's files that are there."""
    return [n for n in (TENSORS, RECORD, TASK, READING, FEATURES, CARD) if (out / n).is_file()]
