"""What Prometheus reads at ``/metrics``: latency, queue, batches, classes. No client, no file."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from cerviclip.app.predictor import Prediction

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The counts of one server, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.latency = Histogram(
            "cerviclip_request_seconds",
            "From a request's first byte to the end of its answer",
            ("route", "status"),
            registry=registry,
        )
        self.waiting = Gauge(
            "cerviclip_queue_pictures", "Pictures that wait", ("model",), registry=registry
        )
        self.batches = Histogram(
            *("cerviclip_batch_pictures", "Pictures in a forward pass", ("model",)),
            buckets=_SIZES,
            registry=registry,
        )
        self.answers = Counter(
            "cerviclip_answers", "Answers by class", ("model", "class_name"), registry=registry
        )
        self.share = Gauge(
            "cerviclip_class_share",
            "Share of a class in all answers since the start",
            ("model", "class_name"),
            registry=registry,
        )
        self.outside = Counter(
            "cerviclip_out_of_distribution",
            "Answers by what the model says of its training's likeness; unknown: it has no score",
            ("model", "said"),
            registry=registry,
        )
        self._counts: dict[str, dict[str, int]] = {}

    def watch_queue(self, model: str, length: Callable[[], int]) -> None:
        self.waiting.labels(model).set_function(length)

    def answered(self, model: str, answers: Iterable[Prediction]) -> None:
        """Count answers; called by the one thread of the model."""
        counts = self._counts.setdefault(model, {})
        for answer in answers:
            counts.update({name: counts.get(name, 0) for name in answer.classnames})
            if answer.error:
                continue
            counts[answer.predicted] += 1
            self.answers.labels(model, answer.predicted).inc()
            outside = getattr(answer, "out_of_distribution", None)
            said = "unknown" if outside is None else "yes" if outside else "no"
            self.outside.labels(model, said).inc()
        total = sum(counts.values())
        for name, count in counts.items():
            self.share.labels(model, name).set(count / total if total else 0.0)

    def text(self) -> bytes:
        return generate_latest(self.registry)
