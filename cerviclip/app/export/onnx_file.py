"""A run as one ONNX file: pixels to probabilities, with what belongs to it in the file's metadata.

Weights are merged and class texts are features, as in `cerviclip.app.export.graph`. The file takes
any number of images. ONNX Runtime must give the run's probabilities before the file is written.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from cerviclip.app.export.folder import ONNX, example_samples, roi_record
from cerviclip.app.export.graph import Program, trace
from cerviclip.data.images.views import describe_transform
from cerviclip.engine.inference import batch_probabilities
from cerviclip.places import install_hint
from dassl.errors import UserError
from dassl.utils.files import atomic_write

if TYPE_CHECKING:
    from cerviclip.app.members.member import Member
    from cerviclip.app.predictor import Predictor

KEY = "cerviclip"  # of the metadata
LIMIT = 1e-4  # largest difference of a probability
OPSET = 20
_BATCHES = (1, 3, 8)  # images of the comparison


def check_packages() -> None:
    """The optional extra.

    Raises:
        UserError: a part of it is absent.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(f"--onnx needs {error.name}: {install_hint('onnx')}") from error


def write_onnx(predictor: Predictor, out: Path) -> float:
    """Write ``model.onnx`` into an export; the largest difference of a probability.

    Args:
        predictor: of one run, on the CPU.
        out: folder of the export.

    Raises:
        UserError: an ensemble, a model that ONNX cannot hold, or other numbers.
    """
    if len(predictor.members) > 1:
        raise UserError("an ensemble has no single ONNX file; export its runs one by one")
    (member,) = predictor.members
    content = to_onnx(member, metadata_of(predictor))
    difference = largest_difference(member, content)
    if not difference <= LIMIT:
        raise UserError(
            f"ONNX Runtime gives probabilities that differ by {difference:.1e} from this run's "
            f"(limit {LIMIT:.0e}), so no ONNX file was written; take the export without --onnx"
        )
    with atomic_write(out / ONNX, "wb") as handle:
        handle.write(content)
    return difference


def to_onnx(member: Member, metadata: dict[str, Any]) -> bytes:
    """The file's content.

    Raises:
        UserError: the model cannot be held for any number of images.
    """
    trainer = member.trainer
    name = trainer.cfg.TRAINER.NAME
    rois = roi_record(trainer) is not None
    example = inputs_of(member, example_samples(trainer), rois)
    program = trace(lambda *given: _whole(trainer, given, rois), example)
    if program.batch:
        raise UserError(
            f"{name} works on batches of one size, so it has no ONNX file; take the export without "
            "--onnx"
        )
    outputs = ["probabilities"] + ["features"] * (program.outputs[1] is not None)
    inputs = ["pixels"] + ["roi"] * rois
    try:
        model = _converted(program, example, inputs, outputs)
    except Exception as error:  # the exporter raises many kinds
        line = str(error).strip().splitlines()[0]
        raise UserError(f"{name} cannot be written as ONNX ({line})") from error
    model.metadata_props.add(key=KEY, value=json.dumps(metadata, ensure_ascii=False))
    return model.SerializeToString()


def _whole(trainer: Any, given: Sequence[Tensor], rois: bool) -> list[Tensor | None]:
    """Probabilities (B, C) and features (B, D), float32, of pixels (B, 3, H, W)."""
    kind, rows = getattr(trainer, "stored_kind", ""), given[0]
    if kind:  # frozen rows are rounded as in the run's own tests
        encoder = trainer._encoder(kind)
        rows = encoder._encode(rows).to(getattr(torch, encoder.dtype)).float()
    logits, features = trainer.inference_with_features((rows, given[1]) if rois else rows)
    return [torch.softmax(logits.float(), dim=1), None if features is None else features.float()]


class _Steps(nn.Module):
    """A program as a module, its constants as buffers."""

    def __init__(self, program: Program) -> None:
        super().__init__()
        self._program = program
        for name, tensor in program.tensors.items():
            self.register_buffer(f"constant_{name}", tensor)  # a bare name may be a method's

    def forward(self, *arguments: Tensor) -> Any:
        known = {name.removeprefix("constant_"): value for name, value in self.named_buffers()}
        whole = Program(self._program.inputs, self._program.steps, self._program.outputs, known)
        return tuple(one for one in whole.steps_of(arguments) if one is not None)


def _converted(
    program: Program, example: Sequence[Tensor], inputs: list[str], outputs: list[str]
) -> Any:
    """An ``onnx.ModelProto`` that takes any number of images."""
    import logging
    import warnings

    rows = torch.export.Dim("batch", min=1, max=2**20)
    shapes = {"arguments": tuple({0: rows} for _ in example)}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = torch.export.export(
            _Steps(program), tuple(example), dynamic_shapes=shapes, strict=False
        )
        made = torch.onnx.export(
            exported,
            input_names=inputs,
            output_names=outputs,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert made is not None
    return made.model_proto


def inputs_of(member: Member, samples: Sequence[dict[str, Tensor]], rois: bool) -> list[Tensor]:
    """Pixels (B, 3, H, W), and ROIs (B, N) where the model takes them."""
    keys = ["img"] + ["roi"] * rois
    return [torch.stack([sample[key] for sample in samples]) for key in keys]


def largest_difference(member: Member, content: bytes) -> float:
    """Of a probability, between ONNX Runtime and the run, over batches of several sizes.

    Half of the images are of one colour, half are noise.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]
    trainer, draws = member.trainer, torch.Generator().manual_seed(0)
    samples, worst = example_samples(trainer), 0.0
    for sample in samples[::2]:
        sample["img"] = torch.randn(sample["img"].shape, generator=draws)
    for count in _BATCHES:
        some = samples[:count]
        given = inputs_of(member, some, len(names) > 1)
        fed = {name: tensor.numpy() for name, tensor in zip(names, given, strict=True)}
        (said,) = session.run(["probabilities"], fed)
        batch = {key: torch.stack([s[key] for s in some]) for key in some[0]}
        batch |= {"img": trainer.rows_of(batch["img"]), "label": torch.zeros(count).long()}
        with torch.no_grad():
            wanted = batch_probabilities(trainer, batch)[0].numpy()
        worst = max(worst, float(np.abs(said - wanted).max()))
    return worst


def metadata_of(predictor: Predictor) -> dict[str, Any]:
    """What a program must know to use the file: classes, preprocessing, thresholds."""
    (member,) = predictor.members
    trainer, home, results = member.trainer, predictor.knowledge.home, predictor.knowledge.blocks
    backbone = getattr(trainer, "backbone", None)
    return {
        "version": 1,
        "use": "research only",
        "model": predictor.model_id,
        "trainer": trainer.cfg.TRAINER.NAME,
        "backbone": trainer.cfg.MODEL.BACKBONE.NAME,
        "dataset": member.task.dataset,
        "classes": list(member.task.classnames),
        "positive": list(member.task.positive),
        "preprocessing": {
            "steps": describe_transform(trainer.tfm_test),
            "backbone": None if backbone is None else backbone.preprocess.params(),
        },
        "roi": roi_record(trainer),
        "operating_points": dict(home.thresholds),
        "chosen_on": home.chosen_on,
        "temperature": (results.get("calibration") or {}).get("temperature"),
        "conformal": (results.get("conformal") or {}).get("methods"),
    }
