"""What the API says: the shapes of its answers, with examples for the OpenAPI description."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from cerviclip.app.answer import Prediction
from cerviclip.app.predictor import RESEARCH_ONLY
from cerviclip.app.server.batching import Answer, Served
from cerviclip.app.server.jobs import Job

_SHA = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_ANSWER = {
    "file": 1,
    "name": "frame_01.png",
    "frame": None,
    "sha256": _SHA,
    "predicted": "HSIL",
    "probability": 0.931,
    "probabilities": {"HSIL": 0.931, "NILM": 0.069},
    "positive_probability": 0.931,
    "calibrated_probabilities": {"HSIL": 0.88, "NILM": 0.12},
    "calibrated_positive_probability": 0.9,
    "operating_points": [
        {
            "name": "sensitivity_95",
            "threshold": 0.21,
            "called_positive": True,
            "chosen_on": "val",
        }
    ],
    "conformal_set": ["HSIL"],
    "coverage": 0.9,
    "ood_score": 0.11,
    "ood_threshold": 0.3,
    "out_of_distribution": False,
    "neighbours": [{"label": "HSIL", "distance": 0.08}],
    "reasons": {},
    "note": "",
    "error": "",
    "entry": "17-5d41402abc4b",
}
_NAMES = {  # attribute of an answer -> field
    "calibrated": "calibrated_probabilities",
    "calibrated_positive": "calibrated_positive_probability",
    "conformal_sets": "conformal_set",
}
_OF_POINT = ("name", "threshold", "called_positive", "chosen_on")
_HEAD = {"use": RESEARCH_ONLY, "model": "seed_1", "model_id": "0f3a9c1d2b4e"}


def _example(example: dict[str, Any]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"example": example}, protected_namespaces=())


class PointModel(BaseModel):
    """A threshold that was chosen at home."""

    name: str
    threshold: float = Field(description="least positive_probability that is called positive")
    called_positive: bool
    chosen_on: str = Field(description="the images that it was chosen on")


class NeighbourModel(BaseModel):
    """A training image that the model sees much like the picture. Its path might tell a patient."""

    label: str
    distance: float = Field(description="1 - cosine similarity")


class AnswerModel(BaseModel):
    """One picture's answer; its numbers are those of ``cerviclip predict``.

    What the model cannot tell is null, and ``reasons`` says why. Answers of jobs that an earlier
    version of the server has worked on lack the later fields.
    """

    file: int = Field(description="number of the file in the request, from 1")
    name: str = Field(description="as the request named it; neither logged nor kept")
    frame: int | None = Field(description="of a file with several, from 0")
    sha256: str = Field(description="of the file")
    predicted: str
    probability: float | None
    probabilities: dict[str, float]
    positive_probability: float | None = Field(description="sum over the positive classes")
    calibrated_probabilities: dict[str, float] | None = None
    calibrated_positive_probability: float | None = None
    operating_points: list[PointModel] | None = None
    conformal_set: list[str] | None = Field(None, description="classes that it may be of")
    coverage: float | None = Field(
        None,
        description="share of home images for which the set was made to contain the true class",
    )
    ood_score: float | None = Field(None, description="distance to the nearest training images")
    ood_threshold: float | None = Field(None, description="what 95 % of val do not exceed")
    out_of_distribution: bool | None = Field(description="null: the model has no such score")
    neighbours: list[NeighbourModel] | None = None
    reasons: dict[str, str] = Field({}, description="field -> why it is null")
    note: str = Field(description="what of the file was not used")
    error: str = Field(description="why the model could not take the picture")
    entry: str = Field(description="id in the audit log")
    model_config = _example(_ANSWER)


class PredictModel(BaseModel):
    use: str
    model: str
    model_id: str
    answers: list[AnswerModel]
    model_config = _example({**_HEAD, "answers": [_ANSWER]})


class ExplainModel(BaseModel):
    use: str
    model: str
    model_id: str
    answer: AnswerModel
    class_name: str
    method: str
    width: int
    height: int
    map_png: str = Field(description="base64 of an 8-bit grey PNG as large as the picture")
    model_config = _example(
        {
            **_HEAD,
            "answer": _ANSWER,
            "class_name": "HSIL",
            "method": "gradcam",
            "width": 640,
            "height": 480,
            "map_png": "iVBORw0KGgo=",
        }
    )


class ModelModel(BaseModel):
    name: str
    model_id: str
    classes: list[str]
    positive: list[str]
    runs: int = Field(description="above 1: an ensemble")
    waiting: int = Field(description="pictures in the queue")


class ModelsModel(BaseModel):
    use: str
    models: list[ModelModel]
    model_config = _example(
        {
            "use": RESEARCH_ONLY,
            "models": [
                {
                    "name": "seed_1",
                    "model_id": "0f3a9c1d2b4e",
                    "classes": ["HSIL", "NILM"],
                    "positive": ["HSIL"],
                    "runs": 1,
                    "waiting": 0,
                }
            ],
        }
    )


class Correction(BaseModel):
    """What a reader says instead of the model."""

    entry: str = Field(pattern=r"^[0-9]{1,18}-[0-9a-f]{12}$", description="id of the answer")
    class_name: str = Field(max_length=200, description="a class of the model")
    model: str = Field(
        "", max_length=200, description="its name, as a check; the entry says which model it is"
    )
    model_config = _example({"entry": "17-5d41402abc4b", "class_name": "NILM"})


class EntryModel(BaseModel):
    use: str
    entry: str
    model_config = _example({"use": RESEARCH_ONLY, "entry": "18-7d793037a076"})


class FileResult(BaseModel):
    file: int
    sha256: str
    answers: list[AnswerModel]
    error: str
    model_config = _example({"file": 1, "sha256": _SHA, "answers": [_ANSWER], "error": ""})


class JobModel(BaseModel):
    use: str
    job: str
    state: str = Field(description="queued, running, done, cancelled or interrupted")
    model: str
    model_id: str
    files: int
    finished: int
    failed: int
    missing: list[int] = Field(description="numbers of files that an interrupted job waits for")
    results: list[FileResult]
    model_config = _example(
        {
            **{"use": RESEARCH_ONLY, "job": "6b86b273ff34fce1", "state": "running"},
            **{"model": "seed_1", "model_id": "0f3a9c1d2b4e"},
            **{"files": 200, "finished": 1, "failed": 0, "missing": []},
            "results": [{"file": 1, "sha256": _SHA, "answers": [_ANSWER], "error": ""}],
        }
    )


class JobsModel(BaseModel):
    use: str
    jobs: list[JobModel]


def head(served: Served) -> dict[str, str]:
    """What every answer of a model begins with."""
    use = served.predictor.notice
    return {"use": use, "model": served.name, "model_id": served.model_id}


def describe(answer: Answer) -> dict[str, Any]:
    """An answer as `AnswerModel` states it."""
    upload, said = answer.upload, answer.prediction
    return {
        "file": upload.file,
        "name": upload.name,
        "frame": upload.frame,
        "sha256": upload.sha256,
        "predicted": said.predicted,
        "probability": said.probability,
        "probabilities": said.by_class,
        "positive_probability": said.positive_probability,
        **_more(said),
        "note": upload.note,
        "error": said.error,
        "entry": answer.entry,
    }


def _more(said: Prediction) -> dict[str, Any]:
    """What an answer says beside its probabilities."""
    points, near = said.operating_points, said.neighbours
    calibrated = None if said.calibrated is None else said.best_by_class
    return {
        "calibrated_probabilities": calibrated,
        "calibrated_positive_probability": said.calibrated_positive,
        "operating_points": None
        if points is None
        else [{key: getattr(one, key) for key in _OF_POINT} for one in points.values()],
        "conformal_set": None if said.conformal_set is None else list(said.conformal_set),
        "coverage": said.coverage,
        "ood_score": said.ood_score,
        "ood_threshold": said.ood_threshold,
        "out_of_distribution": said.out_of_distribution,
        "neighbours": None
        if near is None
        else [{"label": one.label, "distance": one.distance} for one in near],
        "reasons": {_NAMES.get(key, key): why for key, why in said.reasons.items()},
    }


def describe_model(served: Served) -> dict[str, Any]:
    """A model as `ModelModel` states it."""
    task = served.predictor.task
    return {
        "name": served.name,
        "model_id": served.model_id,
        "classes": list(task.classnames),
        "positive": list(task.positive),
        "runs": len(served.predictor.members),
        "waiting": served.waiting(),
    }


def describe_job(job: Job, first: int = 0, count: int = 0) -> dict[str, Any]:
    """A job as `JobModel` states it.

    Args:
        first: file, from 0, whose result is stated first.
        count: most results that are stated.
    """
    results = dict(job.results)  # another thread adds to it
    stated = [n for n in sorted(results) if n >= first][:count]
    return {
        "use": RESEARCH_ONLY,
        "job": job.id,
        "state": job.state,
        "model": job.model,
        "model_id": job.model_id,
        "files": len(job.inputs),
        "finished": len(results),
        "failed": sum("error" in result for result in results.values()),
        "missing": [n + 1 for n in job.missing] if job.state == "interrupted" else [],
        "results": [_describe_file(job, n, results[n]) for n in stated],
    }


def _describe_file(job: Job, number: int, result: dict[str, Any]) -> dict[str, Any]:
    answers = [{**answer, "file": number + 1} for answer in result.get("answers", [])]
    error = result.get("error", "")
    return {"file": number + 1, "sha256": job.inputs[number], "answers": answers, "error": error}
