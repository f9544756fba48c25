"""The API of this project: predict, explain, models, corrections."""

from __future__ import annotations

import base64
import importlib
import io
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from anyio import to_thread
from fastapi import APIRouter, Depends, Query, Request
from PIL import Image

from cerviclip.app.predictor import RESEARCH_ONLY
from cerviclip.app.server.access import Token
from cerviclip.app.server.answers import (
    Correction,
    EntryModel,
    ExplainModel,
    ModelsModel,
    PredictModel,
    describe,
    describe_model,
    head,
)
from cerviclip.app.server.batching import Served
from cerviclip.app.server.context import context_of, multipart, needs, read_form
from cerviclip.app.server.problems import Problem, SafeJSON, responses
from cerviclip.app.server.uploads import Upload
from cerviclip.places import install_hint
from dassl.errors import UserError

router = APIRouter(prefix="/v1", tags=["CerviCLIP"])
EXPLAIN = "cerviclip.app.explain"
REFUSED = (400, 401, 403, 404, 413, 415, 422, 429, 503, 507)
FRAME = {"type": "integer", "minimum": 0, "description": "of a DICOM file, read alone"}
Reader = Annotated[Token, Depends(needs("reader"))]
Annotator = Annotated[Token, Depends(needs("annotator"))]
Model = Annotated[str, Query(max_length=200, description="a model's name; the first by default")]


@router.post(
    "/predict",
    response_model=PredictModel,
    responses=responses(*REFUSED),
    openapi_extra=multipart("files", many=True, frame=FRAME),
)
async def predict(request: Request, who: Reader, model: Model = "") -> Any:
    """Answers for one or more pictures. One that cannot be read refuses the request by its number;
    a batch job goes on past such files."""
    context = context_of(request)
    served = context.served(model)
    form = await read_form(request, context.settings.limits.files)
    uploads = await context.read(served, form.files, frame_of(form.fields))
    answers = await context.answer(served, uploads, who, "/v1/predict")
    # As it is: FastAPI would check each answer against its model, which costs more than decoding a
    # small picture. A test checks the shape instead.
    return SafeJSON({**head(served), "answers": [describe(answer) for answer in answers]})


@router.post(
    "/explain",
    response_model=ExplainModel,
    responses=responses(*REFUSED, 501),
    openapi_extra=multipart(
        "file", many=False, class_name={"type": "string"}, method={"type": "string"}, frame=FRAME
    ),
)
async def explain(request: Request, who: Reader, model: Model = "") -> Any:
    """The answer for one picture, and a map of what spoke for a class (by default the answer's)."""
    context = context_of(request)
    served = context.served(model)
    explainer = _explainer()
    form = await read_form(request, 1, "file")
    class_name = form.fields.get("class_name", "")
    if class_name and class_name not in served.predictor.classnames:
        raise Problem(422, f"class_name is none of {', '.join(served.predictor.classnames)}")
    uploads = await context.read(served, form.files, frame_of(form.fields))
    check_one_frame(uploads, "; choose one by frame")
    (answer,) = await context.answer(served, uploads, who, "/v1/explain")
    if answer.prediction.error:
        raise Problem(422, f"the picture cannot be used: {answer.prediction.error}")
    class_name = class_name or answer.prediction.predicted
    pixels = uploads[0].pixels
    asked = form.fields.get("method", "")
    values, method = await _map_of(explainer, served, pixels, class_name, asked)
    return {
        **head(served),
        "answer": describe(answer),
        "class_name": class_name,
        "method": method,
        "width": pixels.shape[1],
        "height": pixels.shape[0],
        "map_png": _png(values, (pixels.shape[0], pixels.shape[1])),
    }


@router.get("/models", response_model=ModelsModel, responses=responses(401, 403, 429))
async def models(request: Request, who: Reader) -> Any:
    """The models that are served."""
    every = context_of(request).models.values()
    return {"use": RESEARCH_ONLY, "models": [describe_model(served) for served in every]}


@router.post(
    "/corrections",
    response_model=EntryModel,
    status_code=201,
    responses=responses(400, 401, 403, 404, 413, 422, 429, 507),
)
async def correct(request: Request, who: Annotator, correction: Correction) -> Any:
    """Record in the audit log that a reader sees another class than the model."""
    context = context_of(request)
    answered = context.answered(correction.entry)
    if correction.model and context.served(correction.model).model_id != answered.model:
        raise Problem(422, f"entry {correction.entry} is an answer of another model")
    if correction.class_name not in answered.classes:
        raise Problem(422, f"class_name is none of {', '.join(answered.classes)}")
    entry = {
        "kind": "correction",
        "who": who.name,
        "route": "/v1/corrections",
        "model": answered.model,
        "of": correction.entry,
        "output": {"predicted": correction.class_name},
    }
    (id,) = await context.record([entry])
    return {"use": RESEARCH_ONLY, "entry": id}


def frame_of(fields: Mapping[str, str]) -> int | None:
    """The frame that a form chooses; None for all.

    Raises:
        Problem: 422, no number.
    """
    text = fields.get("frame", "")
    if text and not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Problem(422, "frame is no number from 0")
    return int(text) if text else None


def check_one_frame(uploads: Sequence[Upload], way_out: str) -> None:
    """For routes that answer for one picture.

    Raises:
        Problem: 422, the file has several frames.
    """
    if len(uploads) > 1:
        raise Problem(422, f"the file has {len(uploads)} frames{way_out}")


def _explainer() -> Any:
    """The module `cerviclip.app.explain`."""
    try:
        return importlib.import_module(EXPLAIN)
    except ModuleNotFoundError as error:
        if error.name and EXPLAIN.startswith(error.name):
            raise Problem(501, "this version makes no explanations") from None
        raise Problem(501, f"explanations need more packages: {install_hint('explain')}") from None


async def _map_of(
    explainer: Any,
    served: Served,
    pixels: np.ndarray,
    class_name: str,
    method: str,
) -> tuple[np.ndarray, str]:
    """The map and its method: the one asked for, else the model's first."""

    def work() -> tuple[np.ndarray, str]:
        with served.lock:  # maps hang hooks on the model
            chosen = method or explainer.methods_of(served.predictor)[0]
            image = Image.fromarray(pixels)
            return explainer.explain(served.predictor, image, class_name, chosen), chosen

    try:
        return await to_thread.run_sync(work)
    except UserError as error:
        absent = isinstance(error.__cause__, ImportError)  # the library of most methods
        raise Problem(501 if absent else 422, str(error)) from None


def _png(values: np.ndarray, size: tuple[int, int]) -> str:
    """base64 of a map (H, W) in 0-1 as an 8-bit PNG of the picture's size."""
    grey = Image.fromarray(np.round(255 * np.clip(values, 0, 1)).astype(np.uint8))
    height, width = size
    if grey.size != (width, height):
        grey = grey.resize((width, height), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    grey.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")
