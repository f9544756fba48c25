"""Requests that come together go through the model together; answers stand in the audit log first.

One thread per model takes what waits, up to a batch. While it computes, the next batch gathers, so
a busy server batches without anybody's waiting.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from cerviclip.app.append_file import DiskFullError
from cerviclip.app.audit_log import AuditLog, answer_entry
from cerviclip.app.predictor import Prediction, Predictor
from cerviclip.app.server.metrics import Metrics
from cerviclip.app.server.problems import Problem, log_unexpected
from cerviclip.app.server.settings import Settings
from cerviclip.app.server.uploads import Upload

FULL = "the audit log cannot be written, so no answer is given; make room on the server's disk"
FAILED = "the model failed on the request's pictures"
FAILED_ALONE = "the model failed on this picture"


@dataclass(frozen=True)
class Answer:
    """A prediction and its entry in the audit log.

    Attributes:
        entry: the entry's id; "" where the picture got no prediction.
    """

    upload: Upload
    prediction: Prediction
    entry: str


@dataclass
class _Work:
    uploads: Sequence[Upload]
    who: str
    route: str
    future: Future[list[Answer]] = field(default_factory=Future)

    @property
    def pixels(self) -> int:
        return sum(one.pixels.size // 3 for one in self.uploads)


class Served:
    """One model behind the server.

    Args:
        name: in addresses.
        predictor: the only code that makes answers.
        audit: every answer is in it before it is given.
        metrics: of the server.
        settings: batch, linger and the limit of what may wait.

    Attributes:
        lock: for whoever uses the model.
    """

    def __init__(
        self, name: str, predictor: Predictor, audit: AuditLog, metrics: Metrics, settings: Settings
    ) -> None:
        self.name, self.predictor, self.model_id = name, predictor, predictor.model_id
        self._audit, self._metrics, self._settings = audit, metrics, settings
        self._queue: deque[_Work] = deque()
        self._pixels = 0  # of what waits
        self._changed = threading.Condition()
        self._open = True
        self.lock = threading.Lock()
        metrics.watch_queue(name, self.waiting)
        self._thread = threading.Thread(target=self._run, name=f"model {name}", daemon=True)
        self._thread.start()

    def waiting(self) -> int:
        """Pictures that wait."""
        with self._changed:
            return sum(len(work.uploads) for work in self._queue)

    def submit(self, uploads: Sequence[Upload], who: str, route: str) -> Future[list[Answer]]:
        """Ask for answers; the future has them, or a `Problem`.

        Raises:
            Problem: 503, too much waits, or the server shuts down.
        """
        work = _Work(uploads, who, route)
        with self._changed:
            if not self._open:
                raise Problem(503, "the server shuts down", {"Retry-After": "5"})
            limit = self._settings.limits.waiting_pixels
            if self._queue and self._pixels + work.pixels > limit:
                raise Problem(503, "too many pictures wait; try again", {"Retry-After": "1"})
            self._queue.append(work)
            self._pixels += work.pixels
            self._changed.notify()
        return work.future

    def close(self) -> None:
        """Answer what waits, then stop."""
        with self._changed:
            self._open = False
            self._changed.notify()
        self._thread.join()

    @property
    def alive(self) -> bool:
        return self._open and self._thread.is_alive()

    def _run(self) -> None:
        while batch := self._next_batch():
            self._answer(batch)

    def _next_batch(self) -> list[_Work]:
        """What is to go through the model now; [] at the end. A request is never cut in two."""
        with self._changed:
            while not self._queue:
                if not self._open:
                    return []
                self._changed.wait()
            end = time.monotonic() + self._settings.linger
            size = self._settings.batch
            while self._open and sum(len(w.uploads) for w in self._queue) < size:
                left = end - time.monotonic()
                if left <= 0 or size == 1:
                    break
                self._changed.wait(left)
            batch = [self._queue.popleft()]
            while (
                self._queue
                and sum(len(w.uploads) for w in batch) + len(self._queue[0].uploads) <= size
            ):
                batch.append(self._queue.popleft())
            self._pixels -= sum(work.pixels for work in batch)
        return [work for work in batch if work.future.set_running_or_notify_cancel()] or (
            self._next_batch()
        )

    def _answer(self, batch: list[_Work]) -> None:
        """Answer all requests. Where the model fails on them together, each goes through it alone,
        and where it fails on one, its pictures do: no picture takes down another's answer."""
        uploads = [upload for work in batch for upload in work.uploads]
        try:
            predictions = self._predict(uploads)
        except BaseException as error:
            problem = _problem_of(error)
            if len(batch) > 1:
                for work in batch:
                    self._answer([work])
                return
            predictions = self._one_by_one(uploads)
            if all(one.error == FAILED_ALONE for one in predictions):
                batch[0].future.set_exception(problem)
                return
        try:
            self._give(batch, uploads, predictions)
        except BaseException as error:
            problem = _problem_of(error)
            for work in batch:
                work.future.set_exception(problem)

    def _predict(self, uploads: Sequence[Upload]) -> list[Prediction]:
        with self.lock:
            return self.predictor.predict([upload.pixels for upload in uploads])

    def _one_by_one(self, uploads: Sequence[Upload]) -> list[Prediction]:
        """An answer for each picture of a request that the model has failed on; of those that it
        fails on alone the answer is an error."""
        task, found = self.predictor.task, []
        for upload in uploads if len(uploads) > 1 else ():
            try:
                found += self._predict([upload])
            except Exception as error:
                log_unexpected(error)
                found.append(Prediction(task.classnames, (), task.positive, "", FAILED_ALONE))
        return found

    def _give(
        self, batch: list[_Work], uploads: list[Upload], predictions: list[Prediction]
    ) -> None:
        """Write the answers into the audit log, then give them."""
        self._metrics.batches.labels(self.name).observe(len(uploads))
        asked = [work for work in batch for _ in work.uploads]
        entries = [
            answer_entry(
                *(prediction, work.who, work.route, self.model_id), upload.sha256, upload.frame
            )
            for work, upload, prediction in zip(asked, uploads, predictions, strict=True)
        ]
        ids = iter(self._audit.append(entries))
        self._metrics.answered(self.name, predictions)
        rows = iter(zip(uploads, predictions, strict=True))
        given = [[Answer(*next(rows), next(ids)) for _ in work.uploads] for work in batch]
        for work, answers in zip(batch, given, strict=True):
            work.future.set_result(answers)


def _problem_of(error: BaseException) -> Problem:
    if isinstance(error, DiskFullError):
        return Problem(507, FULL)
    log_unexpected(error)
    return Problem(500, f"{FAILED}; the server's log has the place")
