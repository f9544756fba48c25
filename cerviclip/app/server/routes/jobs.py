"""Batch jobs over HTTP: made, watched, gone on with, cancelled."""

from __future__ import annotations

from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Path, Query, Request

from cerviclip.app.predictor import RESEARCH_ONLY
from cerviclip.app.server.access import Token
from cerviclip.app.server.answers import JobModel, JobsModel, describe_job
from cerviclip.app.server.context import context_of, hashed, multipart, read_form
from cerviclip.app.server.jobs import Job
from cerviclip.app.server.problems import Problem, responses
from cerviclip.app.server.routes.v1 import REFUSED, Model, Reader

router = APIRouter(prefix="/v1/jobs", tags=["Batch jobs"])
Id = Annotated[str, Path(max_length=64, description="a job's id", examples=["6b86b273ff34fce1"])]
First = Annotated[int, Query(ge=1, le=10**9, description="file whose result is stated first")]
Count = Annotated[int, Query(ge=0, le=1000, description="most results that are stated")]


@router.post(
    "",
    status_code=202,
    response_model=JobModel,
    responses=responses(*REFUSED),
    openapi_extra=multipart("files", many=True),
)
async def make(request: Request, who: Reader, model: Model = "") -> Any:
    """Take many files, and answer them in the background. A file that cannot be read gets an error
    and stops no other."""
    context = context_of(request)
    served = context.served(model)
    form = await read_form(request, context.settings.limits.job_files)
    files = await to_thread.run_sync(hashed, form.files)
    job = await to_thread.run_sync(context.jobs.make, who.name, served, files)
    return describe_job(job)


@router.get("", response_model=JobsModel, responses=responses(401, 403, 429))
async def jobs(request: Request, who: Reader) -> Any:
    """The client's jobs without their results; an admin sees all."""
    own = [job for job in context_of(request).jobs.all() if _may_see(who, job)]
    return {"use": RESEARCH_ONLY, "jobs": [describe_job(job) for job in own]}


@router.get("/{id}", response_model=JobModel, responses=responses(401, 403, 404, 422, 429))
async def job(request: Request, who: Reader, id: Id, first: First = 1, count: Count = 100) -> Any:
    """Progress, and results as far as there are."""
    return describe_job(find_job(request, who, id), first - 1, count)


@router.post(
    "/{id}/files",
    status_code=202,
    response_model=JobModel,
    responses=responses(*REFUSED, 409),
    openapi_extra=multipart("files", many=True),
)
async def send_again(request: Request, who: Reader, id: Id) -> Any:
    """Send the files that an interrupted job still misses; they are known by their bytes."""
    context = context_of(request)
    found = find_job(request, who, id)
    form = await read_form(request, context.settings.limits.job_files)
    files = await to_thread.run_sync(hashed, form.files)
    return describe_job(await to_thread.run_sync(context.jobs.send_again, found, files))


@router.delete(
    "/{id}", response_model=JobModel, responses=responses(401, 403, 404, 409, 422, 429, 507)
)
async def cancel(request: Request, who: Reader, id: Id) -> Any:
    """Stop a job; results that it has stay."""
    found = find_job(request, who, id)
    return describe_job(await to_thread.run_sync(context_of(request).jobs.cancel, found))


def find_job(request: Request, who: Token, id: str) -> Job:
    """A job that the client may see.

    Raises:
        Problem: 404, also for another client's job.
    """
    found = context_of(request).jobs.find(id)
    if found is None or not _may_see(who, found):
        raise Problem(404, "no such job")
    return found


def _may_see(who: Token, job: Job) -> bool:
    return who.role == "admin" or who.name == job.who
