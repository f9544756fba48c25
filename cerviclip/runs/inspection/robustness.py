"""What corrupted images do to a trained run: its metrics at five severities of each corruption."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

from PIL import Image

from cerviclip.data.variants.corruptions import LEVELS, SEVERITIES, corrupt
from cerviclip.evaluation.measures import Home
from cerviclip.evaluation.measures.thresholds import operating_points
from cerviclip.evaluation.names import BINARY, FEW, OVERALL
from cerviclip.runs.inspection.pictures import picture_files
from cerviclip.runs.measured import sample_of
from cerviclip.runs.predictions import Predictions
from cerviclip.runs.run.testing.scoring import score_predictions
from dassl.utils.images import decode_image

SCHEMA = 1
CLEAN = "clean"  # stands where a corruption's name does


class CorruptedImages(Sequence[Image.Image]):
    """The images of a centre, each corrupted when it is asked for.

    Args:
        files: of the images.
        names: what random numbers hang on: their paths below the data's root.
        kind: of corruption, see ``corruptions.LEVELS``.
        severity: 0 (none) to 5.
    """

    def __init__(
        self, files: Sequence[Path], names: Sequence[str], kind: str, severity: int
    ) -> None:
        self.files, self.names, self.kind, self.severity = files, names, kind, severity

    def __len__(self) -> int:
        return len(self.files)

    @overload
    def __getitem__(self, index: int) -> Image.Image: ...
    @overload
    def __getitem__(self, index: slice) -> list[Image.Image]: ...
    def __getitem__(self, index: int | slice) -> Image.Image | list[Image.Image]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        image = decode_image(str(self.files[index]))
        return corrupt(image, self.kind, self.severity, self.names[index])


def measure_robustness(
    trainer: Any,
    centers: Sequence[Predictions],
    results: Mapping[str, Any],
    root: str,
    kinds: Sequence[str] = tuple(LEVELS),
    on_done: Callable[[Any], None] = lambda _: None,
) -> dict[str, Any]:
    """Metrics of each centre at each severity, with intervals by patient.

    Args:
        trainer: with the run's weights, as ``load_run`` gives it.
        centers: the run's own predictions: which images, patients and labels.
        results: the run's results.json.
        root: what the images' paths are relative to.
        kinds: of corruption.
        on_done: called after each severity of each centre.

    Returns:
        ``levels`` (what each severity is) and ``centers``: centre -> corruption -> metric -> six
        numbers, severity 0 first. Severity 0 is predicted anew, by the same way as the others.
    """
    files = dict(zip((p.center for p in centers), picture_files(centers, root), strict=True))
    found: dict[str, dict[str, dict[str, list[Any]]]] = {}
    for p in centers:
        found[p.center] = {}
        clean = _entry(trainer, p, results, CorruptedImages(files[p.center], p.paths, "", 0))
        on_done(None)
        for kind in kinds:
            entries = [clean]
            for severity in SEVERITIES:
                images = CorruptedImages(files[p.center], p.paths, kind, severity)
                entries.append(_entry(trainer, p, results, images))
                on_done(None)
            found[p.center][kind] = {name: [e[name] for e in entries] for name in clean}
    levels = {kind: {"unit": LEVELS[kind][0], "levels": list(LEVELS[kind][1])} for kind in kinds}
    names = ("dataset", "trainer", "backbone", "variant", "shots", "fold", "seed", "config_hash")
    return {
        "schema_version": SCHEMA,
        "run": {name: results.get(name) for name in names},
        "severities": [0, *SEVERITIES],
        "corruptions": levels,
        "centers": found,
    }


def _entry(
    trainer: Any, center: Predictions, results: Mapping[str, Any], images: CorruptedImages
) -> dict[str, Any]:
    """Metric -> number of one centre's corrupted images."""
    changed = replace(center, probs=trainer.predict_images(images))
    positive = results["positive_classes"]
    scored = score_predictions([changed], center.classnames, positive, FEW)[center.center]
    entry = {name: scored[name] for name in OVERALL}
    entry |= {f"binary.{name}": scored["binary"][name] for name in BINARY}
    home = Home.from_results(results, center.classnames)
    applied = operating_points.apply(sample_of(changed, positive), home.thresholds)
    for point, rates in applied.items():
        entry |= {f"{point}.{r}": rates[r] for r in ("sensitivity", "specificity") if r in rates}
    return entry
