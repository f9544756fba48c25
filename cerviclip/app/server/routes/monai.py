"""The shape of MONAI Label's server: ``/info /infer/{model} /activelearning/{strategy}``.

There is no store of pictures behind it: ``/infer`` takes the picture itself, and active learning
chooses among the pictures of the client's finished batch jobs, which it names by their sha256.
"""

from __future__ import annotations

import math
import random
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict, Field

from cerviclip.app.predictor import RESEARCH_ONLY
from cerviclip.app.server.access import Token
from cerviclip.app.server.answers import describe, head
from cerviclip.app.server.context import Context, context_of, multipart, read_form
from cerviclip.app.server.problems import Problem, responses
from cerviclip.app.server.routes.v1 import FRAME, REFUSED, Reader, check_one_frame, frame_of
from dassl._version import __version__

router = APIRouter(tags=["MONAI Label"])
STRATEGIES = {
    "uncertainty": "the picture whose class probabilities have the highest entropy",
    "random": "any picture",
}


class Next(BaseModel):
    """Which picture is to be labelled next."""

    job: str = Field("", max_length=64, description="a batch job; empty: all of the client's")
    labeled: list[str] = Field([], max_length=100_000, description="sha256 that need no label")
    model_config = ConfigDict(
        extra="allow", json_schema_extra={"example": {"job": "6b86b273ff34fce1", "labeled": []}}
    )


@router.get("/info/", include_in_schema=False)
@router.get("/info", responses=responses(401, 403, 429))
async def info(request: Request, _: Reader) -> Any:
    """What the server offers."""
    context = context_of(request)
    models = {
        name: {
            "type": "classification",
            "labels": {c: i for i, c in enumerate(served.predictor.classnames)},
            "dimension": 2,
            "description": f"{RESEARCH_ONLY} Model {served.model_id}",
            "version": served.model_id,
            "config": {},
        }
        for name, served in context.models.items()
    }
    return {
        "name": "CerviCLIP",
        "description": RESEARCH_ONLY,
        "version": __version__,
        "labels": list(context.served().predictor.classnames),
        "models": models,
        "trainers": {},
        "strategies": {name: {"description": text} for name, text in STRATEGIES.items()},
        "scoring": {},
        "train_stats": {},
        "datastore": {},
        "use": RESEARCH_ONLY,
    }


@router.post(
    "/infer/{model}",
    responses=responses(*REFUSED),
    openapi_extra=multipart("file", many=False, params={"type": "string"}, frame=FRAME),
)
async def infer(
    request: Request, who: Reader, model: Annotated[str, Path(max_length=200)], image: str = ""
) -> Any:
    """The answer for the picture that comes as ``file``."""
    context = context_of(request)
    served = context.served(model)
    if image:
        raise Problem(404, "there is no store of pictures here; send the picture as file")
    form = await read_form(request, 1, "file")
    uploads = await context.read(served, form.files, frame_of(form.fields))
    check_one_frame(uploads, "; choose one by frame")
    answers = await context.answer(served, uploads, who, "/infer")
    said = [describe(answer) for answer in answers]
    params = {**head(served), "label_names": list(served.predictor.classnames), "answers": said}
    return {"label": said[0]["predicted"], "params": params, "use": RESEARCH_ONLY}


@router.post("/activelearning/{strategy}", responses=responses(401, 403, 404, 413, 422, 429))
async def choose(
    request: Request, who: Reader, strategy: Literal["uncertainty", "random"], asked: Next
) -> Any:
    """The next picture to label, of those that batch jobs have answered."""
    done = set(asked.labeled)
    found = [
        one for one in _answered(context_of(request), who, asked.job) if one["sha256"] not in done
    ]
    if not found:
        raise Problem(404, "no picture is left: make a batch job with pictures to choose from")
    best = max(found, key=lambda one: one["entropy"])
    one = best if strategy == "uncertainty" else random.choice(found)
    return {"id": one["sha256"], "strategy": strategy, **one, "use": RESEARCH_ONLY}


def _answered(context: Context, who: Token, job: str) -> list[dict[str, Any]]:
    """Each answered picture of the client's jobs, with the entropy of its probabilities in nats."""
    found = []
    for one in context.jobs.all():
        if (job and one.id != job) or one.who != who.name:
            continue
        for number, result in sorted(dict(one.results).items()):
            for answer in result.get("answers", []):
                if answer["error"]:
                    continue
                probs = answer["probabilities"].values()
                entropy = -sum(p * math.log(p) for p in probs if p > 0)
                found.append(
                    {
                        "job": one.id,
                        "file": number + 1,
                        "frame": answer["frame"],
                        "sha256": answer["sha256"],
                        "predicted": answer["predicted"],
                        "entropy": entropy,
                    }
                )
    return found
