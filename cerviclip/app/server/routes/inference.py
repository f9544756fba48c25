"""Open Inference Protocol, version 2 (REST): pictures as tensors or as base64 of their files."""

from __future__ import annotations

import base64
import binascii
import math
from typing import Annotated, Any

import numpy as np
from anyio import to_thread
from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict, Field

from cerviclip.app.predictor import RESEARCH_ONLY
from cerviclip.app.server.batching import Answer, Served
from cerviclip.app.server.context import Context, context_of
from cerviclip.app.server.problems import Problem, responses
from cerviclip.app.server.routes.v1 import REFUSED, Reader
from cerviclip.app.server.uploads import Upload, array_upload
from dassl._version import __version__

router = APIRouter(prefix="/v2", tags=["Open Inference Protocol v2"])
Name = Annotated[str, Path(max_length=200, description="a model's name")]
_OUTPUTS = ("probabilities", "predicted", "entry")


class Tensor(BaseModel):
    """A picture or several: ``BYTES`` [N] with base64 of files, or ``UINT8`` [N, H, W, 3]."""

    name: str = Field("image", max_length=200)
    shape: list[Annotated[int, Field(ge=0, le=2**31)]] = Field(max_length=8)
    datatype: str = Field(max_length=20)
    data: list[Any]
    parameters: dict[str, Any] | None = None


class Wanted(BaseModel):
    name: str = Field(max_length=200)
    parameters: dict[str, Any] | None = None


class InferRequest(BaseModel):
    id: str = Field("", max_length=200)
    inputs: list[Tensor] = Field(min_length=1, max_length=1)
    outputs: list[Wanted] | None = Field(None, max_length=8)
    parameters: dict[str, Any] | None = None
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "7",
                "inputs": [
                    {
                        "name": "image",
                        "shape": [1, 2, 2, 3],
                        "datatype": "UINT8",
                        "data": [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110],
                    }
                ],
            }
        }
    )


@router.get("/health/live")
async def live() -> Any:
    return {"live": True}


@router.get("/health/ready", responses=responses(503))
async def ready(request: Request) -> Any:
    return _ready(context_of(request).ready)


@router.get("", responses=responses(401, 403, 429))
async def server(_: Reader) -> Any:
    """What the server is."""
    return {"name": "cerviclip", "version": __version__, "extensions": []}


@router.get("/models/{name}/versions/{version}", responses=responses(401, 403, 404, 422, 429))
@router.get("/models/{name}", responses=responses(401, 403, 404, 422, 429))
async def model(request: Request, _: Reader, name: Name, version: str = "") -> Any:
    """What a model takes and gives."""
    served = _served(context_of(request), name, version)
    count = len(served.predictor.classnames)
    return {
        "name": served.name,
        "versions": [served.model_id],
        "platform": "pytorch_cerviclip",
        "inputs": [{"name": "image", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            {"name": "probabilities", "datatype": "FP64", "shape": [-1, count]},
            {"name": "predicted", "datatype": "BYTES", "shape": [-1]},
            {"name": "entry", "datatype": "BYTES", "shape": [-1]},
        ],
        "parameters": {"classes": list(served.predictor.classnames), "use": RESEARCH_ONLY},
    }


@router.get("/models/{name}/versions/{version}/ready", responses=responses(404, 422, 503))
@router.get("/models/{name}/ready", responses=responses(404, 422, 503))
async def model_ready(request: Request, name: Name, version: str = "") -> Any:
    return _ready(_served(context_of(request), name, version).alive)


@router.post("/models/{name}/versions/{version}/infer", responses=responses(*REFUSED))
@router.post("/models/{name}/infer", responses=responses(*REFUSED))
async def infer(
    request: Request, who: Reader, name: Name, asked: InferRequest, version: str = ""
) -> Any:
    """Probabilities, class and audit entry of each picture."""
    context = context_of(request)
    served = _served(context, name, version)
    wanted = [one.name for one in asked.outputs or ()] or list(_OUTPUTS)
    for one in wanted:
        if one not in _OUTPUTS:
            raise Problem(400, f"no output of that name; there are {', '.join(_OUTPUTS)}")
    uploads = await _uploads_of(context, served, asked.inputs[0])
    answers = await context.answer(served, uploads, who, "/v2/models/infer")
    for number, answer in enumerate(answers, start=1):
        if answer.prediction.error:
            raise Problem(422, f"picture {number} cannot be used: {answer.prediction.error}")
    every = _outputs(served, answers)
    return {
        "model_name": served.name,
        "model_version": served.model_id,
        **({"id": asked.id} if asked.id else {}),
        "parameters": {"classes": list(served.predictor.classnames), "use": RESEARCH_ONLY},
        "outputs": [every[one] for one in wanted],
    }


def _served(context: Context, name: str, version: str) -> Served:
    served = context.served(name)
    if version and version != served.model_id:
        raise Problem(404, f"model {served.name} has the version {served.model_id} alone")
    return served


def _ready(yes: bool) -> dict[str, bool]:
    if not yes:
        raise Problem(503, "not ready")
    return {"ready": True}


async def _uploads_of(context: Context, served: Served, tensor: Tensor) -> list[Upload]:
    if tensor.datatype == "BYTES":
        if tensor.shape not in ([len(tensor.data)], [len(tensor.data), 1]):
            raise Problem(400, f"BYTES of {len(tensor.data)} files have another shape")
        _check_count(context, len(tensor.data))
        files = [("", from_base64(data)) for data in tensor.data]
        return await context.read(served, files)
    if tensor.datatype != "UINT8":
        raise Problem(400, "datatype is UINT8 (pixels in 0-255) or BYTES (base64 of files)")
    return await to_thread.run_sync(_from_pixels, context, tensor, limiter=context.decoding)


def _from_pixels(context: Context, tensor: Tensor) -> list[Upload]:
    shape = tensor.shape
    if len(shape) not in (3, 4) or shape[-1] != 3:
        raise Problem(400, "UINT8 needs the shape [N, H, W, 3] or [H, W, 3]")
    shape = shape if len(shape) == 4 else [1, *shape]
    _check_count(context, shape[0])
    if math.prod(shape) // 3 > context.settings.limits.pixels:
        raise Problem(413, f"{context.settings.limits.pixels} px are allowed in a request")
    try:
        values = np.asarray(tensor.data)
        values = values.reshape(shape) if values.dtype.kind in "iu" else None
    except (ValueError, OverflowError):
        values = None
    if values is None or (values.size and (values.min() < 0 or values.max() > 255)):
        raise Problem(400, "data are not whole numbers in 0-255 that fill the shape")
    return [array_upload(one) for one in values.astype(np.uint8)]


def _check_count(context: Context, count: int) -> None:
    if count > context.settings.limits.files:
        raise Problem(413, f"at most {context.settings.limits.files} pictures are taken")


def from_base64(data: Any) -> bytes:
    """Bytes of a string of base64.

    Raises:
        Problem: 400, it is none.
    """
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise Problem(400, "data are no base64 of files") from None


def _outputs(served: Served, answers: list[Answer]) -> dict[str, dict[str, Any]]:
    said = [answer.prediction for answer in answers]
    count = len(said)
    return {
        "probabilities": {
            "name": "probabilities",
            "datatype": "FP64",
            "shape": [count, len(served.predictor.classnames)],
            "data": [p for one in said for p in one.probabilities],
        },
        "predicted": {
            "name": "predicted",
            "datatype": "BYTES",
            "shape": [count],
            "data": [one.predicted for one in said],
        },
        "entry": {
            "name": "entry",
            "datatype": "BYTES",
            "shape": [count],
            "data": [answer.entry for answer in answers],
        },
    }
