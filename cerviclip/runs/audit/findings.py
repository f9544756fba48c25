"""``Finding``, and the kinds of fault that `cerviclip audit` knows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cerviclip.severity import ERROR, NOTE, RANK, WARNING

#: Kind: how grave it is, and what it means. Notes do not change the exit status.
KINDS: dict[str, tuple[str, str]] = {
    "unreadable": (ERROR, "a file of a run cannot be read"),
    "altered": (ERROR, "results.json was changed, but its size and time were not"),
    "missing_file": (ERROR, "a finished run lacks a file"),
    "config_hash": (ERROR, "config.yaml is not the configuration of config_hash"),
    "identity": (ERROR, "results.json, config.yaml, split.json and task.json differ"),
    "misplaced": (ERROR, "a run lies in the folder of another"),
    "split_edited": (ERROR, "split.json is not the split or draw of its hash"),
    "split_differs": (ERROR, "runs of one data set have different splits or test images"),
    "patient_leak": (ERROR, "a patient is in several parts of a split"),
    "image_leak": (ERROR, "an image is in several parts, or in a centre and in the training"),
    "copy_leak": (ERROR, "copies of one image are in several parts"),
    "test_list": (ERROR, "predictions are not of the images of the split's test part"),
    "val_list": (ERROR, "val predictions are not of the images of the split's val part"),
    "flow": (ERROR, "flow counts other images or patients than the other files"),
    "scores": (ERROR, "results.json has values that its predictions do not give"),
    "intervals": (ERROR, "results.json has intervals that its predictions do not give"),
    "blocks": (ERROR, "results.json has measures that its predictions do not give"),
    "thresholds": (ERROR, "thresholds are not those of val_predictions.csv"),
    "table": (ERROR, "a table is stale or edited by hand"),
    "failed_in_table": (ERROR, "a table shows a failed run"),
    "unlike": (
        ERROR,
        "runs of one table differ in what is positive, in method or settings",
    ),
    "weights": (ERROR, "runs of one cell start from different weights"),
    "same_run": (ERROR, "two runs that one table takes for the same, or that are copies"),
    "read_early": (WARNING, "the test set was read before the training had ended"),
    "missing_seed": (WARNING, "a cell lacks seeds or folds that others have"),
    "title": (WARNING, "a table calls its data otherwise than the runs do"),
    "left_out": (WARNING, "a table leaves out finished runs of one of its cells"),
    "versions": (WARNING, "runs of one table come from different versions"),
    "machines": (NOTE, "runs of one table had other devices or numbers of threads"),
    "failed": (NOTE, "a run has failed"),
    "unshown": (NOTE, "finished runs stand in no table of their folder"),
    "other_data": (NOTE, "runs of one table ask for other data, splits or positive groups"),
    "declared_leak": (NOTE, "DATASET.SPLIT_BY image: a patient may be in several parts"),
    "not_checked": (NOTE, "something could not be checked here"),
}


@dataclass(frozen=True)
class Finding:
    """One fault.

    Attributes:
        kind: a key of `KINDS`.
        where: the run's folder or the file, relative to the audited folder.
        text: what was found, in one line.
    """

    kind: str
    where: str
    text: str

    @property
    def severity(self) -> str:
        return KINDS[self.kind][0]

    def record(self) -> dict[str, str]:
        """For JSON."""
        return {
            "kind": self.kind,
            "severity": self.severity,
            "where": self.where,
            "text": self.text,
        }


def ordered(findings: list[Finding]) -> list[Finding]:
    """Errors first; within a grade in the order of `KINDS`, then by place."""
    place = {kind: n for n, kind in enumerate(KINDS)}
    return sorted(findings, key=lambda f: (RANK[f.severity], place[f.kind], f.where))


def relative(path: str | Path, root: Path) -> str:
    """A path as it is shown: seen from the audited folder."""
    path = Path(path)
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
