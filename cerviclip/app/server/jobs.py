"""Batch jobs: many pictures, answered in the background, whose results outlive the server.

A job's state is a file of lines that only grows: a line when it is taken, one for each file with
its answers or its error, one at its end. A client sees a result only when its line is on disk.
Pictures wait in memory and never reach the disk. So a server that was killed still has all
results, and a job that it had not finished asks for the files that have none (``interrupted``).
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cerviclip.app.append_file import AppendFile, DiskFullError
from cerviclip.app.server.batching import FAILED_ALONE, Answer, Served
from cerviclip.app.server.problems import Problem, log, log_unexpected
from cerviclip.app.server.settings import Settings
from cerviclip.app.server.uploads import Upload, read_upload
from cerviclip.shapes import parse_json
from dassl.errors import UserError

QUEUED, RUNNING, DONE = "queued", "running", "done"
CANCELLED, INTERRUPTED = "cancelled", "interrupted"
_PAUSE = 0.2  # seconds before a job asks again where too many pictures wait


@dataclass
class Job:
    """A batch job.

    Attributes:
        inputs: sha256 of each file, in the client's order; names are not kept.
        results: file's number (from 0) -> its answers, or its error.
        waiting: file's number -> its bytes.
    """

    id: str
    who: str
    model: str
    model_id: str
    inputs: tuple[str, ...]
    state: str = QUEUED
    results: dict[int, dict[str, Any]] = field(default_factory=dict)
    waiting: dict[int, bytes] = field(default_factory=dict, repr=False)

    @property
    def missing(self) -> list[int]:
        """Numbers of the files without a result."""
        return [n for n in range(len(self.inputs)) if n not in self.results]


class Jobs:
    """All jobs of a server, and the thread that works on them one after another.

    Args:
        path: of the file of states.
        models: by name.
        settings: limits, and the size of a batch.
        describe: an answer as the API states it.

    Raises:
        UserError: the file cannot be written, or is something else.
    """

    def __init__(
        self,
        path: Path,
        models: dict[str, Served],
        settings: Settings,
        describe: Callable[[Any], dict[str, Any]],
    ) -> None:
        self._models, self._settings, self._describe = models, settings, describe
        self._file = AppendFile(path, "file of jobs")
        self._jobs = read_jobs(self._file.lines, path)
        self._file.lines = []
        self._file.cut_half_line()
        self._queue: deque[Job] = deque()
        self._changed = threading.Condition()
        self._open, self._stop = True, False
        self._thread = threading.Thread(target=self._run, name="batch jobs", daemon=True)
        self._thread.start()

    def make(self, who: str, served: Served, files: Sequence[tuple[str, bytes]]) -> Job:
        """Take a job; it is on disk when this returns.

        Args:
            who: asks.
            served: the model.
            files: sha256 and bytes of each.

        Raises:
            Problem: 503, too many jobs wait; 507, the disk is full.
        """
        hashes = tuple(sha256 for sha256, _ in files)
        job = Job(secrets.token_hex(8), who, served.name, served.model_id, hashes)
        job.waiting = {number: data for number, (_, data) in enumerate(files)}
        with self._changed:
            self._check_room()
            facts = {"who": who, "model": job.model, "model_id": job.model_id, "inputs": hashes}
            self._write(job, "taken", **facts)
            self._jobs[job.id] = job
            self._enqueue(job)
        return job

    def send_again(self, job: Job, files: Sequence[tuple[str, bytes]]) -> Job:
        """Go on with an interrupted job, by files that have no result yet.

        Raises:
            Problem: 409, the job is in another state or its model has changed; 422, no such file.
        """
        with self._changed:
            served = self._models.get(job.model)
            if job.state != INTERRUPTED:
                raise Problem(409, f"the job is {job.state}; only an interrupted one takes files")
            if served is None or served.model_id != job.model_id:
                raise Problem(409, "the job's model is not served any more; make a new job")
            self._check_room()
            places: dict[str, list[int]] = {}
            for place in job.missing:
                places.setdefault(job.inputs[place], []).append(place)
            for number, (sha256, _) in enumerate(files, start=1):
                if sha256 not in places:
                    raise Problem(422, f"file {number} is none that the job waits for")
            job.waiting = {place: data for sha256, data in files for place in places[sha256]}
            self._enqueue(job)
        return job

    def cancel(self, job: Job) -> Job:
        """Stop a job; results that it has stay.

        Raises:
            Problem: 409, it has ended; 507, the disk is full.
        """
        with self._changed:
            if job.state in (DONE, CANCELLED):
                raise Problem(409, f"the job is {job.state} already")
            self._write(job, CANCELLED)
            job.state = CANCELLED
            job.waiting.clear()
        return job

    def find(self, id: str) -> Job | None:
        return self._jobs.get(id)

    def all(self) -> list[Job]:
        with self._changed:
            return list(self._jobs.values())

    def close(self, grace: float) -> None:
        """Finish what runs, for so many seconds; what is left is interrupted."""
        with self._changed:
            self._open = False
            self._changed.notify_all()
        self._thread.join(grace)
        self._stop = True
        self._thread.join()
        self._file.close()

    def _check_room(self) -> None:
        if not self._open:
            raise Problem(503, "the server shuts down", {"Retry-After": "5"})
        at_work = sum(job.state in (QUEUED, RUNNING) for job in self._jobs.values())
        if at_work >= self._settings.limits.waiting_jobs:
            raise Problem(503, f"{at_work} jobs wait; try again later", {"Retry-After": "30"})

    def _enqueue(self, job: Job) -> None:
        job.state = QUEUED
        self._queue.append(job)
        self._changed.notify_all()

    def _write(self, job: Job, event: str, **facts: Any) -> None:
        line = json.dumps({"job": job.id, "event": event, **facts}, separators=(",", ":"))
        try:
            self._file.append(line.encode() + b"\n")
        except DiskFullError as error:
            raise Problem(507, "the server's disk is full; make room there") from error

    def _finish(self, job: Job) -> None:
        """End a job whose results are all on disk. They say so themselves: where the disk is full,
        the next start of the server ends it again without this line."""
        job.state = DONE
        try:
            self._write(job, DONE)
        except Problem:
            log.error("job %s is done, and its last line met a full disk", job.id)

    def _run(self) -> None:
        while job := self._next():
            try:
                while job.state == RUNNING and job.waiting and not self._stop:
                    self._work(job)
                with self._changed:
                    if job.state == RUNNING and not job.missing:
                        self._finish(job)
            except Exception as error:
                log.error("job %s stopped", job.id)
                log_unexpected(error)
            with self._changed:
                job.waiting.clear()
                if job.state == RUNNING:
                    job.state = INTERRUPTED

    def _next(self) -> Job | None:
        with self._changed:
            while True:
                while self._queue and not self._stop:
                    job = self._queue.popleft()
                    if job.state == QUEUED:
                        job.state = RUNNING
                        return job
                if not self._open:
                    return None
                self._changed.wait()

    def _work(self, job: Job) -> None:
        """Answer some files of a job: as many as a batch, and no more pixels than a request may
        have but for the last file."""
        served = self._models[job.model]
        limits, windows = self._settings.limits, served.predictor.reading.windows
        uploads, owners, errors, pixels = [], [], {}, 0
        for number, data in list(job.waiting.items())[: self._settings.batch]:
            try:
                frames = read_upload("", data, limits, windows)
            except Problem as error:
                errors[number] = {"error": f"the file {error.detail}"}
                continue
            uploads += frames
            owners += [number] * len(frames)
            pixels += sum(one.pixels.size // 3 for one in frames)
            if pixels > limits.pixels:
                break
        found = {**self._found(served, job, uploads, owners), **errors}
        with self._changed:
            for number, result in found.items():
                if job.state == RUNNING:
                    self._write(job, "file", number=number, **result)
                    job.results[number] = result
                    del job.waiting[number]

    def _found(
        self, served: Served, job: Job, uploads: Sequence[Upload], owners: Sequence[int]
    ) -> dict[int, dict[str, Any]]:
        """File's number -> its result. Of a file on none of whose pictures the model has an
        answer, the result is an error.

        Args:
            owners: number of each picture's file.
        """
        found: dict[int, dict[str, Any]] = {number: {"answers": []} for number in owners}
        if not found:
            return found
        failed = {"error": "the model failed on the file"}
        try:
            answers = self._ask(served, job, uploads)
        except Problem as error:
            if error.status_code != 500:
                raise
            return dict.fromkeys(found, failed)
        for number, answer in zip(owners, answers, strict=True):
            found[number]["answers"].append(self._describe(answer))
        for number, result in found.items():
            if all(one["error"] == FAILED_ALONE for one in result["answers"]):
                found[number] = failed
        return found

    def _ask(self, served: Served, job: Job, uploads: Sequence[Upload]) -> list[Answer]:
        while True:
            try:
                return served.submit(uploads, job.who, "/v1/jobs").result()
            except Problem as error:
                if error.status_code != 503 or self._stop or not served.alive:
                    raise
            time.sleep(_PAUSE)


def read_jobs(lines: Sequence[str], path: Path) -> dict[str, Job]:
    """Jobs by the lines of their file; those without an end are interrupted.

    Raises:
        UserError: a line is something else.
    """
    jobs: dict[str, Job] = {}
    for number, line in enumerate(lines, start=1):
        try:
            facts = parse_json(line, any_text=True)
            id, event = facts.pop("job"), facts.pop("event")
            if event == "taken":
                facts["inputs"] = tuple(facts["inputs"])
                jobs[id] = Job(id, **facts, state=INTERRUPTED)
            elif event == "file":
                jobs[id].results[facts.pop("number")] = facts
            else:
                jobs[id].state = event
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{path}, line {number}, is no state of a job; move the file away, or give another "
                "--jobs"
            ) from error
    for job in jobs.values():
        if job.state == INTERRUPTED and not job.missing:  # killed before its last line
            job.state = DONE
    return jobs
