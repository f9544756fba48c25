"""``Predictor``: a trained run on new images, without its data.

    from cerviclip import Predictor

    predictor = Predictor.from_run("output/.../seed_1")
    answer = predictor.predict("new/frame.png")
    print(answer.predicted, answer.probability, answer.positive_probability)
    print(answer.best_by_class, answer.conformal_set, answer.out_of_distribution)

``probabilities`` are those of the run's predictions.csv for the same files; what else an answer
says stands at `cerviclip.app.answer.Prediction`. Research use only: not a medical device.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, overload

from cerviclip.runs.run.process.summation_order import fix_summation_order

fix_summation_order()  # before torch is imported

import numpy as np  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402

from cerviclip.app.answer import Prediction  # noqa: E402
from cerviclip.app.knowledge import Knowledge, ensemble_blocks  # noqa: E402
from cerviclip.app.members.joining import MEAN, Joining, ensemble_of  # noqa: E402
from cerviclip.app.members.member import Member  # noqa: E402
from cerviclip.app.pictures import (  # noqa: E402
    Picture,
    UnreadableError,
    check_named,
    is_one,
    listed,
    open_with_note,
    path_of,
)
from cerviclip.engine.inference import batch_builder  # noqa: E402
from cerviclip.evaluation.measures import Settings  # noqa: E402
from cerviclip.features.pixels import decode_threads  # noqa: E402
from cerviclip.features.training import TrainFeatures  # noqa: E402
from cerviclip.plugins import is_phantom  # noqa: E402
from dassl.errors import UserError  # noqa: E402

RESEARCH_ONLY = "Research use only. Not a medical device."
_PHANTOM = "Phantom model: trained on rendered images; its answers mean nothing for a real image."
NOT_FINITE = "the model's probabilities for it are no finite numbers; PREC fp32 may help"
_AHEAD = 2  # images per thread that are decoded before they are needed
_MOST_AHEAD = 64  # and as many as the model takes at a time, so that threads work while it runs


class Predictor:
    """Trained runs, ready for new pictures. Build it by `from_run` or `from_runs`.

    Pictures are files, PIL images of any mode, and numpy arrays (H, W) or (H, W, 3): uint8 in
    0-255, uint16 in the range of the run's training images or 0-65535, floats in that range or 0-1.
    A file that cannot be read has an ``error`` in its answer. So has a file of a list that is not
    there, and a picture whose probabilities are not finite. One path alone that is not there and an
    array of another kind are mistakes of the caller and raise `UserError`.

    Attributes:
        task: class names and positive classes.
        reading: how image files are read.
        knowledge: thresholds, calibration and training features.
        joining: how the members' probabilities become one.
    """

    def __init__(
        self,
        members: Sequence[Member],
        knowledge: Knowledge | None = None,
        joining: Joining = MEAN,
    ) -> None:
        if not members:
            raise UserError("no run is given; name the folder of one")
        self.members, self.joining = tuple(members), joining
        first = self.members[0]
        for other in self.members[1:]:
            _check_alike(first, other)
        self.task, self.reading = first.task, first.reading
        self.knowledge = self._known() if knowledge is None else knowledge

    @classmethod
    def from_run(
        cls,
        folder: str | Path | Sequence[str | Path],
        weights: str | Path = "",
        device: str = "",
        plugin: Sequence[str] = (),
    ) -> Predictor:
        """The predictor of one run, of an export, or of an ensemble.

        Args:
            folder: of the run; what ``cerviclip export`` or ``cerviclip ensemble`` wrote; or a list
                of runs as for `from_runs`.
            weights: the backbone's file, where the one that the run names is elsewhere.
            device: ``cpu`` or ``cuda``; a GPU is taken by default where there is one.
            plugin: modules or files that register the run's trainer.

        Raises:
            UserError: no finished run, other weights, or an unknown trainer.
        """
        if not isinstance(folder, (str, os.PathLike)):
            return cls.from_runs(list(folder), weights, device, plugin)
        from cerviclip.app.export.record import is_export

        if is_export(folder):
            return cls.from_export(folder, device)
        ensemble = ensemble_of(Path(folder))
        if ensemble is None:
            return cls.from_runs([folder], weights, device, plugin)
        members = [Member.load(one, weights, device, plugin) for one in ensemble.folders]
        kept = [TrainFeatures.load(one.folder) for one in members]
        task = members[0].task
        known = Knowledge.of(ensemble.results, task.classnames, task.positive, kept)
        return cls(members, known, ensemble.joining)

    @classmethod
    def from_runs(
        cls,
        folders: Sequence[str | Path],
        weights: str | Path = "",
        device: str = "",
        plugin: Sequence[str] = (),
    ) -> Predictor:
        """An ensemble: the mean of several runs' probabilities.

        Its operating points and calibration are chosen anew, on the mean of the probabilities of
        the images that are val in every run.

        Args:
            folders: of runs with the same classes in the same order.
            weights: as of `from_run`, for all of them.
            device: as of `from_run`.
            plugin: as of `from_run`.

        Raises:
            UserError: as `from_run`; or the runs differ in what they tell apart or how they read.
        """
        return cls([Member.load(folder, weights, device, plugin) for folder in folders])

    @classmethod
    def from_export(cls, path: str | Path, device: str = "") -> Predictor:
        """The predictor of what ``cerviclip export`` wrote; runs on a CPU.

        Args:
            path: the folder, or a file in it.
            device: ``cpu`` or nothing.

        Raises:
            UserError: no export, or a file of it was changed.
        """
        from cerviclip.app.export.folder import read_members

        members, results, joining = read_members(path, device)
        kept, task = [TrainFeatures.load(one.folder) for one in members], members[0].task
        return cls(members, Knowledge.of(results, task.classnames, task.positive, kept), joining)

    @property
    def classnames(self) -> tuple[str, ...]:
        return self.task.classnames

    @property
    def notice(self) -> str:
        """What is said beside every answer: research only, and whether the model is of phantoms."""
        return f"{RESEARCH_ONLY} {_PHANTOM}" if is_phantom(self.task.dataset) else RESEARCH_ONLY

    @property
    def model_id(self) -> str:
        """12 hexadecimal digits that differ where the answers may."""
        every = [member.identity() for member in self.members]
        every += [repr(self.reading), self.joining.identity(), self.knowledge.identity()]
        return hashlib.sha256(json.dumps(every).encode()).hexdigest()[:12]

    @overload
    def predict(self, source: Image.Image | np.ndarray) -> Prediction: ...
    @overload
    def predict(self, source: str | os.PathLike[str]) -> Prediction | list[Prediction]: ...
    @overload
    def predict(self, source: list[Any] | tuple[Any, ...]) -> list[Prediction]: ...
    def predict(self, source: Any) -> Prediction | list[Prediction]:
        """The answer for one picture; a list of answers for a list or a folder.

        Args:
            source: a file, an image, an array; or a list or a folder of them.

        Raises:
            UserError: no picture, an array that is not taken, a folder without images, or one path
                that is not there.
        """
        answers = list(self.predict_iter(source))
        if is_one(source):
            return answers[0]
        if not answers and isinstance(source, (str, os.PathLike)):
            raise UserError(f"no images in {os.fspath(source)}")
        return answers

    def predict_iter(
        self,
        source: Iterable[Picture] | Picture,
        on_read: Callable[[Prediction | None], None] | None = None,
    ) -> Iterator[Prediction]:
        """Answers in the order of the pictures, a batch of which is in memory at a time.

        Args:
            source: as of `predict`; any iterable will do, and is read as answers are asked for.
            on_read: called once for every picture that was read or found unreadable.
        """
        check_named(source)
        builders = [batch_builder(member.trainer) for member in self.members]
        size = max(member.batch_size for member in self.members)
        waiting: list[Prediction] = []
        count = 0
        prepared = self._prepared(listed(source), builders)
        for number, (picture, samples, note) in enumerate(prepared, 1):
            path, error = path_of(picture), ""
            if isinstance(samples, UnreadableError):
                error = str(samples)
            elif isinstance(samples, UserError):
                raise UserError(f"picture {number}: {samples}") from samples
            else:
                for builder, sample in zip(builders, samples, strict=True):
                    builder.add_sample(sample, path)
                count += 1
            waiting.append(self._answer(path, error, note=note))
            if on_read is not None:
                on_read(waiting[-1])
            if count == size or len(waiting) >= 4 * size:
                yield from self._finish(waiting, builders, count)
                waiting, count = [], 0
        yield from self._finish(waiting, builders, count)

    def _known(self) -> Knowledge:
        folders = [member.folder for member in self.members]
        kept = [TrainFeatures.load(folder) for folder in folders]
        results, why_not = self.members[0].results, ""
        if len(folders) > 1:
            settings = Settings.from_json(results.get("measured_with") or {})
            results, why_not = ensemble_blocks(folders, self.task.positive, settings)
        return Knowledge.of(results, self.classnames, self.task.positive, kept, why_not)

    def _answer(
        self, path: str, error: str = "", probs: Iterable[float] = (), **more: Any
    ) -> Prediction:
        values = tuple(map(float, probs))
        return Prediction(self.classnames, values, self.task.positive, path, error, **more)

    def _finish(
        self, waiting: Sequence[Prediction], builders: Sequence[Any], count: int
    ) -> Iterator[Prediction]:
        """The answers of a batch: probabilities and more for those without an error."""
        rows: Iterator[tuple[np.ndarray, dict[str, Any]] | None] = iter(())
        if count:
            wanted = self.knowledge.wants_features
            every = [
                member.answers(builder.batch(), wanted)
                for member, builder in zip(self.members, builders, strict=True)
            ]
            rows = self._rows([p for p, _ in every], [f for _, f in every])
        for answer in waiting:
            if answer.error:
                yield answer
            elif (found := next(rows)) is None:
                yield self._answer(answer.path, NOT_FINITE, note=answer.note)
            else:
                yield self._answer(answer.path, probs=found[0], note=answer.note, **found[1])

    def _rows(
        self, probs: Sequence[np.ndarray], features: Sequence[np.ndarray | None]
    ) -> Iterator[tuple[np.ndarray, dict[str, Any]] | None]:
        """Joined probabilities of each picture and what belongs to them; None where a member's
        numbers are not finite.

        Args:
            probs: (B, C) of each member.
            features: (B, D) of each member.
        """
        finite = np.all([np.isfinite(p).all(axis=1) for p in probs], axis=0)
        if not finite.any():
            yield from [None] * len(finite)
            return
        seen = [None if f is None else f[finite] for f in features]
        joined = self.joining([p[finite] for p in probs])
        found = zip(joined, self.knowledge.of_batch(joined, seen), strict=True)
        for good in finite:
            yield next(found) if good else None

    def _prepared(
        self, pictures: Iterator[Picture], builders: Sequence[Any]
    ) -> Iterator[tuple[Picture, list[dict[str, torch.Tensor]] | UserError, str]]:
        """Each picture with what the batch of every member holds of it, or the error, and its note.

        Threads decode and resize pictures ahead, so that they have work while the model runs.
        """
        threads = decode_threads(torch.device(getattr(self.members[0].trainer, "device", "cpu")))
        ahead = _AHEAD * threads + min(_MOST_AHEAD, max(m.batch_size for m in self.members))
        windows = self.reading.windows

        def prepare(picture: Picture) -> tuple[list[dict[str, torch.Tensor]] | UserError, str]:
            try:
                image, note = open_with_note(picture, windows)
            except UserError as error:
                return error, ""
            try:
                return [builder.sample_of(image, path_of(picture)) for builder in builders], note
            except UserError as error:  # no fault of the call: the others go on
                return UnreadableError(str(error)), note

        with ThreadPoolExecutor(threads) as pool:
            waiting: deque[tuple[Picture, Future]] = deque()
            for picture in pictures:
                waiting.append((picture, pool.submit(prepare, picture)))
                if len(waiting) > ahead:
                    first, samples = waiting.popleft()
                    yield first, *samples.result()
            while waiting:  # a sample that was handed on is not kept
                first, samples = waiting.popleft()
                yield first, *samples.result()


def _check_alike(first: Member, other: Member) -> None:
    """Refuse to average answers that do not mean the same.

    Raises:
        UserError: other classes, another order, another positive group or another reading.
    """
    pairs = {
        "classes": (first.task.classnames, other.task.classnames),
        "positive classes": (first.task.positive, other.task.positive),
        "ranges of values of deep images": (first.reading.windows, other.reading.windows),
    }
    for what, (ours, theirs) in pairs.items():
        if ours != theirs:
            raise UserError(
                f"{first.folder} and {other.folder} differ in their {what}: {_said(ours)} against "
                f"{_said(theirs)}; an ensemble needs runs that agree, in the same order"
            )


def _said(values: Any) -> str:
    return ", ".join(map(str, values)) if values else "none"
