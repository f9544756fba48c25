"""A machine-learning backend of Label Studio: ``/predict /setup /webhook``, for image choices.

Pictures come inside the task as ``data:`` addresses, or are fetched from the one Label Studio that
the server was started for. No other address is ever asked, so that a task cannot make the server
read from its own network.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit
from xml.etree import ElementTree

import httpx
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from cerviclip.app.audit_log import Answered
from cerviclip.app.predictor import RESEARCH_ONLY
from cerviclip.app.server.access import Token
from cerviclip.app.server.batching import Answer, Served
from cerviclip.app.server.context import Context, context_of
from cerviclip.app.server.problems import Problem, responses
from cerviclip.app.server.routes.inference import from_base64
from cerviclip.app.server.routes.v1 import REFUSED, Annotator, Reader, check_one_frame

router = APIRouter(tags=["Label Studio backend"])
_CONFIG = (
    '<View><Image name="image" value="$image"/><Choices name="class" toName="image">'
    '<Choice value="HSIL"/><Choice value="NILM"/></Choices></View>'
)
_DATA = re.compile(r"data:image/[a-z+.-]+;base64,(.*)", re.S)
_ENTRY = re.compile(r"[0-9]{1,18}-[0-9a-f]{12}")
_SAVED = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED")


class Task(BaseModel):
    id: int | str | None = None
    data: dict[str, Any]


class PredictRequest(BaseModel):
    tasks: list[Task]
    label_config: str = Field(max_length=100_000)
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "tasks": [{"id": 1, "data": {"image": "data:image/png;base64,iVBORw0KGgo="}}],
                "label_config": _CONFIG,
            }
        }
    )


class SetupRequest(BaseModel):
    project: str | int | None = None
    label_config: str = Field("", alias="schema", max_length=100_000)
    model_config = ConfigDict(json_schema_extra={"example": {"project": "1.2", "schema": _CONFIG}})


class WebhookRequest(BaseModel):
    action: str = Field(max_length=100)
    annotation: dict[str, Any] | None = None
    task: dict[str, Any] | None = None
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "action": "ANNOTATION_CREATED",
                "annotation": {
                    "result": [
                        {
                            "id": "17-5d41402abc4b",
                            "type": "choices",
                            "value": {"choices": ["NILM"]},
                        }
                    ]
                },
                "task": {"id": 1},
            }
        }
    )


@dataclass(frozen=True)
class Labeling:
    """What of a labelling interface matters: one picture and one list of choices."""

    choices: str
    image: str
    key: str  # of the picture in a task's data
    names: tuple[str, ...]


@router.post("/setup", responses=responses(400, 401, 403, 422, 429))
async def setup(request: Request, _: Reader, asked: SetupRequest) -> Any:
    """Check a project's labelling interface against the model's classes."""
    served = context_of(request).served()
    if asked.label_config:
        _check_names(parse_config(asked.label_config), served)
    return {"model_version": _version(served), "use": RESEARCH_ONLY}


@router.post("/predict", responses=responses(*REFUSED))
async def predict(request: Request, who: Reader, asked: PredictRequest) -> Any:
    """A choice for each task; a picture that cannot be read gives an empty one, with the reason."""
    context = context_of(request)
    served, labeling = context.served(), parse_config(asked.label_config)
    _check_names(labeling, served)
    if len(asked.tasks) > context.settings.limits.files:
        raise Problem(413, f"at most {context.settings.limits.files} tasks are taken")
    found = [await _result(context, served, labeling, task, who) for task in asked.tasks]
    failures = [one for one in found if isinstance(one, Problem)]
    if failures and len(failures) == len(found):
        raise failures[0]
    results = [_refused(served, one) if isinstance(one, Problem) else one for one in found]
    return {"results": results, "model_version": _version(served), "use": RESEARCH_ONLY}


@router.post("/webhook", responses=responses(400, 401, 403, 404, 413, 422, 429, 507))
async def webhook(request: Request, who: Annotator, event: WebhookRequest) -> Any:
    """Record a saved annotation in the audit log as a correction, all its choices or none; other
    events do nothing. A choice that the annotator has made anew corrects no answer (``of`` is
    null). Its model is that of the prediction which the event names, or the only one that is
    served; else ``model`` is null, and the choice is a class of any model."""
    context = context_of(request)
    if event.action not in _SAVED:
        return {"status": "ignored", "use": RESEARCH_ONLY}
    own = _model_of(context, event)
    found = [
        (of, name, context.answered(of) if of else own)
        for of, name in _chosen((event.annotation or {}).get("result"))
    ]
    for _, name, answered in found or [(None, "", own)]:
        if name not in answered.classes:
            raise Problem(422, f"the annotation has no choice of {', '.join(answered.classes)}")
    task = (event.task or {}).get("id")
    entries = [
        {
            "kind": "correction",
            "who": who.name,
            "route": "/webhook",
            "model": answered.model or None,
            "of": of,
            "task": task if isinstance(task, int) and abs(task) < 2**53 else None,
            "output": {"predicted": name},
        }
        for of, name, answered in found
    ]
    ids = await context.record(entries)
    return {"status": "recorded", "entries": ids, "use": RESEARCH_ONLY}


def _model_of(context: Context, event: WebhookRequest) -> Answered:
    """The model that an annotation is beside where no audit entry tells it; ``model`` is empty
    where nobody knows: several are served and none is named, or another one is named."""
    every = list(context.models.values())
    versions = set(_versions(event))
    meant = [one for one in every if _version(one) in versions] if versions else every
    if len(meant) == 1 and len(versions) < 2:
        return Answered(meant[0].model_id, meant[0].predictor.classnames)
    return Answered("", tuple(dict.fromkeys(c for m in every for c in m.predictor.classnames)))


def _versions(event: WebhookRequest) -> Iterator[str]:
    """``model_version`` of the prediction that the annotation began with, else of the task's."""
    started = (event.annotation or {}).get("prediction")
    of_task = (event.task or {}).get("predictions")
    own = [one["model_version"] for one in _mappings([started]) if one.get("model_version")]
    task = [one["model_version"] for one in _mappings(of_task) if one.get("model_version")]
    yield from (str(version) for version in own or task)


def _mappings(values: Any) -> list[dict[str, Any]]:
    listed = values if isinstance(values, list) else []
    return [one for one in listed if isinstance(one, dict)]


def parse_config(text: str) -> Labeling:
    """The choices and the picture of a labelling interface.

    Raises:
        Problem: 422, it is no XML, or has none of them.
    """
    if "<!" in text.replace("<!--", ""):  # entities could blow it up
        raise Problem(422, "the labelling interface has a document type; take it out")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise Problem(422, f"the labelling interface is no XML ({error})") from None
    images = {tag.get("name"): tag.get("value", "") for tag in root.iter("Image")}
    for choices in root.iter("Choices"):
        image, name = choices.get("toName"), choices.get("name")
        value = images.get(image, "")
        if name and image and value.startswith("$"):
            names = tuple(tag.get("value", "") for tag in choices.iter("Choice"))
            return Labeling(name, image, value[1:], names)
    raise Problem(422, "the labelling interface needs an Image and Choices whose toName is it")


def _check_names(labeling: Labeling, served: Served) -> None:
    absent = [name for name in served.predictor.classnames if name not in labeling.names]
    if absent:
        raise Problem(422, f"the Choices lack the model's classes {', '.join(absent)}")


def _version(served: Served) -> str:
    return f"{served.name}@{served.model_id}"


async def _result(
    context: Context, served: Served, labeling: Labeling, task: Task, who: Token
) -> dict[str, Any] | Problem:
    """A task's prediction; the problem where the model has failed on its picture."""
    try:
        data = await _picture_of(context, task.data.get(labeling.key))
        uploads = await context.read(served, [("", data)])
        check_one_frame(uploads, ", and a task is one picture; save the frame as a picture")
        (answer,) = await context.answer(served, uploads, who, "/predict")
    except Problem as error:
        if error.status_code > 500:
            raise
        return error if error.status_code == 500 else _refused(served, error)
    if answer.prediction.error:
        return _refused(served, Problem(422, answer.prediction.error))
    return {
        "result": [_region(labeling, answer)],
        "score": answer.prediction.probability,
        "model_version": _version(served),
    }


def _refused(served: Served, problem: Problem) -> dict[str, Any]:
    """What a task without a prediction gets."""
    empty = {"result": [], "score": 0.0, "model_version": _version(served)}
    return {**empty, "error": str(problem.detail)}


def _region(labeling: Labeling, answer: Answer) -> dict[str, Any]:
    return {
        "id": answer.entry,  # so that an annotation made of it tells which answer it corrects
        "from_name": labeling.choices,
        "to_name": labeling.image,
        "type": "choices",
        "value": {"choices": [answer.prediction.predicted]},
    }


async def _picture_of(context: Context, address: Any) -> bytes:
    """The bytes of a task's picture.

    Raises:
        Problem: 422, it is elsewhere or cannot be had; 413, it is too large.
    """
    if not isinstance(address, str):
        raise Problem(422, "the task has no picture")
    inside = _DATA.fullmatch(address)
    if inside:
        return from_base64(inside[1])
    home = context.settings.label_studio
    if not home:
        raise Problem(422, "pictures are not fetched; start the server with --label-studio ADDRESS")
    whole = urljoin(home.rstrip("/") + "/", address)
    if urlsplit(whole)[:2] != urlsplit(home)[:2] or "@" in urlsplit(whole).netloc:
        raise Problem(422, f"pictures are fetched from {home} alone")
    return await _fetch(context, whole)


async def _fetch(context: Context, address: str) -> bytes:
    most, parts, size = context.settings.limits.file_bytes, [], 0
    key = context.settings.label_studio_key
    headers = {"Authorization": f"Token {key}"} if key else {}
    try:
        async with context.client.stream("GET", address, headers=headers) as answer:
            if answer.status_code != 200:
                raise Problem(422, f"Label Studio answers {answer.status_code} for the picture")
            async for part in answer.aiter_bytes():
                size += len(part)
                if size > most:
                    raise Problem(413, f"the picture has more than {most} bytes")
                parts.append(part)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise Problem(422, f"the picture cannot be fetched ({type(error).__name__})") from None
    return b"".join(parts)


def _chosen(result: Any) -> list[tuple[str | None, str]]:
    """Audit entry (None where the region is the annotator's own) and class of each choice."""
    found: list[tuple[str | None, str]] = []
    for region in result if isinstance(result, list) else ():
        value = region.get("value") if isinstance(region, dict) else None
        names = value.get("choices") if isinstance(value, dict) else None
        id = str(region.get("id", "")) if isinstance(region, dict) else ""
        of = id if _ENTRY.fullmatch(id) else None
        found += [(of, name) for name in names or () if isinstance(name, str)]
    return found
