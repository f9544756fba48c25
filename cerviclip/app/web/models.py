"""Trained runs in the memory of the page's process; one at a time predicts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from cerviclip.app.export.record import known_results
from cerviclip.app.predictor import Prediction, Predictor
from cerviclip.app.review.training import Origin
from cerviclip.app.web.answers import predict_bytes
from cerviclip.app.web.settings import WebSettings
from cerviclip.plugins import add_plugins, is_phantom
from cerviclip.runs.settings.run_key import shots_words
from cerviclip.runs.study_title import shown_name


@dataclass
class Model:
    """A run, what its results.json says, and what a new training takes over from it."""

    folder: Path
    predictor: Predictor
    results: dict[str, Any]
    phantom: bool
    origin: Origin = field(default_factory=Origin)
    _lock: Any = field(default_factory=threading.Lock, repr=False)

    @classmethod
    def load(cls, folder: str, settings: WebSettings) -> Model:
        """Raises UserError as `Predictor.from_run`."""
        add_plugins(settings.plugins)
        predictor = Predictor.from_run(folder, settings.weights, settings.device, settings.plugins)
        results = known_results(folder) or {}
        trainer = predictor.members[0].trainer
        origin = Origin.of(trainer, settings.weights, settings.plugins)
        phantom = is_phantom(results.get("dataset", ""))
        return cls(Path(folder), predictor, results, phantom, origin)

    @cached_property
    def model_id(self) -> str:
        return self.predictor.model_id

    @property
    def dataset(self) -> str:
        return str(self.results.get("dataset", ""))

    @property
    def shown_dataset(self) -> str:
        return shown_name(self.dataset, [self.results])

    @property
    def pattern(self) -> str:
        return self.predictor.reading.patient_pattern

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """The model for one reader's page alone, such as for the heat maps of a PDF."""
        with self._lock:
            yield

    def answers(
        self,
        files: Iterable[tuple[str, bytes]],
        on_read: Callable[[Prediction | None], None] | None = None,
    ) -> list[Prediction]:
        """As `predict_bytes`; pages of several readers wait for each other."""
        with self._lock:
            return predict_bytes(self.predictor, files, on_read)

    def answers_of_files(
        self, folder: Path, inner: Iterable[str], on_read: Callable[..., None] | None = None
    ) -> list[Prediction]:
        """Answers for pictures of a folder by their paths below it."""
        with self._lock:
            return list(self.predictor.predict_iter((folder / i for i in inner), on_read))


def title_of(folder: str) -> str:
    """A run in a line: ``PhantomOCT, LinearProbe, PhantomCLIP, 16 shots, seed 1``."""
    results = known_results(folder) or {}
    if not results:
        return str(folder)
    name = shown_name(results["dataset"], [results])
    parts = [name, *(results[key] for key in ("trainer", "backbone"))]
    shots = shots_words(results["shots"])
    return f"{', '.join(parts)}, {shots}, seed {results['seed']}"
