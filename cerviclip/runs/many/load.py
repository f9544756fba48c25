"""Very many runs for a table, with no more of each in memory than it shows. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cerviclip.runs.many.index import Index
from cerviclip.runs.report.groups import metric_value
from cerviclip.runs.study_title import title_of
from dassl.errors import MissingFileError

#: Of a run, for its place in a table and what notes say of it; strings are shared between runs.
_OF_RUN = (
    *("status", "error", "dataset", "trainer", "backbone", "variant", "shots", "fold", "seed"),
    *("split_hash", "left_out_center", "base_to_new", "search", "transductive", "ensemble"),
    *("positive_classes", "test_read_early"),
)
_OWN = ("config_hash", "draw_hash", "folder")  # no two runs have it in common
_OF_CENTER = ("n_images", "n_patients", "counts", "note")


def table_runs(
    folder: str | Path,
    metrics: Iterable[str],
    advance: Callable[[Any], object] = lambda _: None,
) -> list[dict[str, Any]]:
    """The runs below a folder, done and failed, sorted by path, as `groups.load_runs` has them, but
    with the values of some metrics alone.

    Args:
        folder: of runs.
        metrics: such as ``accuracy`` or ``binary.auc``.
        advance: called after each run.

    Raises:
        MissingFileError: there is no folder, or no run in it.
        UserError: a results.json cannot be read.
    """
    narrow = Narrow(metrics)
    return [narrow.run(run) for run in every_run(folder, advance)]


def every_run(
    folder: str | Path, advance: Callable[[Any], object] = lambda _: None
) -> Iterator[dict[str, Any]]:
    """The runs below a folder one after the other, as `slim_results` gives them, with ``folder``.

    Args:
        folder: of runs.
        advance: called after each run.

    Raises:
        MissingFileError: there is no folder, or no run in it.
        UserError: a results.json cannot be read.
    """
    if not Path(folder).exists():
        raise MissingFileError(f"{folder} does not exist; give a folder of runs, such as output/")
    count = 0
    with Index(folder) as index:
        for found in index.read(advance):
            if found.error is not None:
                raise found.error
            if found.results is not None:
                count += 1
                yield found.results | {"folder": str(found.path.parent)}
    if not count:
        raise MissingFileError(
            f"no results.json below {folder}; run train.py or run_shell.py first"
        )


class Narrow:
    """Makes runs small: some metrics' values, and equal parts of different runs only once.

    Args:
        metrics: that are kept.
    """

    def __init__(self, metrics: Iterable[str]) -> None:
        self.metrics = list(dict.fromkeys(metrics))
        self.known: dict[Any, Any] = {}

    def run(self, results: Mapping[str, Any], more: Iterable[str] = ()) -> dict[str, Any]:
        """A run's results with these metrics alone.

        Args:
            results: as `slim_results` gives them.
            more: further keys to keep.
        """
        out = {k: self._shared(results[k]) for k in (*_OF_RUN, *more) if k in results}
        out |= {k: results[k] for k in _OWN if k in results}
        if title := title_of(results):
            out["runtime"] = {**out.get("runtime", {}), "title": self._shared(title)}
        out["centers"] = {
            self._shared(name): self._center(center) for name, center in results["centers"].items()
        }
        return out

    def _center(self, center: Mapping[str, Any]) -> dict[str, Any]:
        out = {k: self._shared(center[k]) for k in _OF_CENTER if k in center}
        for metric in self.metrics:
            value = metric_value(center, metric)
            if value is None:
                continue
            head, _, rest = metric.partition(".")
            node = out
            names = [head] if not rest else [head, *_parts(head, rest)]
            for name in names[:-1]:
                node = node.setdefault(name, {})
            node[names[-1]] = self._shared({"value": value})
        return out

    def _shared(self, value: Any) -> Any:
        """The first of all values equal to this one: most runs have most of them in common."""
        key = value if isinstance(value, str) else repr(value)
        return self.known.setdefault((type(value), key), value)


def _parts(head: str, rest: str) -> list[str]:
    """As `groups.metric_value` parts a name: class names may hold dots."""
    return rest.rsplit(".", 1) if head == "per_class" else [rest]
