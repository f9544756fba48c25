"""An exported run: a folder with tensors, JSON and a model card, and the model that reads it."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from cerviclip.app.export.card import model_card
from cerviclip.app.export.graph import Program, trace
from cerviclip.app.export.record import (
    ALONE,
    ENSEMBLE,
    RECORD,
    check_files,
    hashes_of,
    is_export,
    kept_of,
    read_record,
    write_record,
)
from cerviclip.app.members.joining import MEAN, Joining
from cerviclip.app.members.member import Member
from cerviclip.data.reading import FILE as READING
from cerviclip.data.reading import Reading
from cerviclip.engine.inference import batch_builder
from cerviclip.engine.task import FILE as TASK
from cerviclip.engine.task import Task
from cerviclip.features.training import FILE as FEATURES
from cerviclip.locks import claimed
from cerviclip.runs.run.working_folder import folder_beside, replace_folder, tidy_up
from dassl.config import get_cfg_default
from dassl.data.transforms import build_transform
from dassl.errors import MissingFileError, UserError
from dassl.utils.files import atomic_write, file_sha256

TENSORS, CARD = "model.safetensors", "MODEL_CARD.md"
ONNX = "model.onnx"
_ANSWERED_BY = (TASK, READING, FEATURES)  # files that answers depend on, beside the tensors
_COLOURS = ("red", "green", "blue", "white", "black", "gray", "yellow", "purple")
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
        backbone = SimpleNamespace(NAME=record["backbone"])
        self.cfg = SimpleNamespace(
            TRAINER=SimpleNamespace(NAME=record["trainer"]),
            MODEL=SimpleNamespace(BACKBONE=backbone, INIT_WEIGHTS=""),
        )
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


def check_replaceable(out: Path) -> None:
    """Refuse a place that holds anything but an export: it would be gone with it.

    Raises:
        UserError: it is no folder, or a file in it is none of an export's.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise UserError(f"{out} is no folder; name a new one")
    own = set(files_of(out)) if is_export(out) else set()
    inner = (p for p in out.rglob("*") if not p.is_dir() or p.is_symlink())
    foreign = sorted(set(p.relative_to(out).as_posix() for p in inner) - own)
    if foreign:
        more = " ..." if len(foreign) > 3 else ""
        raise UserError(
            f"{out} holds something else than an export ({', '.join(foreign[:3])}{more}); name a "
            "new folder"
        )


def write_export(
    members: Sequence[Member],
    joining: Joining,
    results: Mapping[str, Any],
    out: Path,
    finish: Callable[[Path], None] = lambda _: None,
) -> Path:
    """Write a predictor's parts as a folder; an ensemble has one in it for each run.

    It is made beside ``out`` and put there whole: an export that was there stays until then. One
    process at a time writes there, so what lies beside it is of a process that was killed.

    Args:
        members: on the CPU.
        joining: how their probabilities become one.
        results: of an ensemble: what was fitted and measured for it.
        out: a new folder, or an export that is replaced.
        finish: called with the folder before it is put in its place, to add to it.

    Raises:
        UserError: the folder holds something else, or a model cannot be written down.
    """
    check_replaceable(out)
    out = Path(os.path.realpath(out))  # a linked folder stays where its link leads
    out.parent.mkdir(parents=True, exist_ok=True)
    with claimed(out), folder_beside(out) as new:
        tidy_up(out)  # what a killed export has left beside it; of this one nothing is there yet
        _write_parts(members, joining, results, new)
        finish(new)
        replace_folder(out, new)
    return out


def _write_parts(
    members: Sequence[Member], joining: Joining, results: Mapping[str, Any], out: Path
) -> Path:
    if len(members) == 1:
        return _write_member(members[0], out)
    names = [f"member_{number}" for number in range(1, len(members) + 1)]
    for name, member in zip(names, members, strict=True):
        _write_member(member, out / name)
    record = {
        "version": ENSEMBLE,
        "use": "research only",
        "members": names,
        "joining": joining.to_json(),
        "results": kept_of(results),
    }
    write_record(out, record)
    return out


def _write_member(member: Member, out: Path) -> Path:
    from safetensors.torch import save

    trainer, results = member.trainer, member.results
    roi = roi_record(trainer)
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
    record = {
        "version": ALONE,
        "use": "research only",
        "trainer": trainer.cfg.TRAINER.NAME,
        "backbone": trainer.cfg.MODEL.BACKBONE.NAME,
        "model_sha256": file_sha256(out / TENSORS),
        "files": hashes_of(out, _ANSWERED_BY),
        "identity": member.identity(),
        "batch_size": member.batch_size,
        "input": {key: trainer.cfg.INPUT[key] for key in _KEPT_INPUT if key in trainer.cfg.INPUT},
        "preprocess": backbone.preprocess.params() if backbone is not None else None,
        "roi": roi,
        "programs": {name: program.to_json() for name, program in programs.items()},
        "results": kept_of(results),
    }
    with atomic_write(out / CARD) as handle:
        handle.write(model_card(record, member.task))
    write_record(out, record)
    return out


def example_samples(trainer: Any) -> list[dict[str, Tensor]]:
    """What a batch holds of a few pictures of one colour each, which a model is traced with."""
    builder = batch_builder(trainer)
    return [builder.sample_of(Image.new("RGB", (96, 96), one), "") for one in _COLOURS]


def trace_trainer(trainer: Any, roi: dict[str, Any] | None) -> dict[str, Program]:
    """``encode``: pixels to what a batch holds, in the encoder's own batches, so that numbers are
    the run's to the last digit; none where batches hold pixels. ``head``: to logits and features.
    """
    samples = example_samples(trainer)
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


def read_members(
    path: str | Path, device: str = ""
) -> tuple[list[Member], dict[str, Any], Joining]:
    """The members of an export, what its results.json said, and how members become one.

    Args:
        path: the folder, or a file in it.

    Raises:
        UserError: no export, a changed file, or a later version.
    """
    folder = Path(path) if Path(path).is_dir() else Path(path).parent
    if not is_export(folder):
        raise MissingFileError(f"no export in {folder}: it holds no {RECORD}")
    record = read_record(folder)
    if "members" not in record:
        return [_read_member(folder, record, device)], record["results"], MEAN
    members = [
        _read_member(folder / name, read_record(folder / name), device)
        for name in record["members"]
    ]
    return members, record["results"], Joining.from_json(record["joining"])


def _read_member(folder: Path, record: dict[str, Any], device: str) -> Member:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if file_sha256(folder / TENSORS) != record["model_sha256"]:
            raise UserError(f"{folder / TENSORS} is not the one that {RECORD} belongs to")
        if "files" in record:  # older exports state none
            check_files(folder, record["files"], _ANSWERED_BY)
        task = Task.load(folder)
        if task is None:
            raise MissingFileError(f"the export {folder} has lost its {TASK}")
        with contextlib.redirect_stdout(io.StringIO()):  # as a run is loaded
            model = ExportedModel(record, load_file(folder / TENSORS), task, device)
        reading = Reading.load(folder, get_cfg_default())
        return Member(folder, model, task, reading, record["results"], record["identity"])
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


def roi_record(trainer: Any) -> dict[str, Any] | None:
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
    """Names of an export's files that are there, below its folder."""
    names = (TENSORS, RECORD, TASK, READING, FEATURES, CARD, ONNX)
    found = [n for n in names if (out / n).is_file()]
    members = sorted(out.glob(f"member_*/{RECORD}"))
    return found + [f"{m.parent.name}/{n}" for m in members for n in files_of(m.parent)]
