"""Runs of a federation: how one model was trained across centres, and its scores at each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cerviclip.counted import counted
from cerviclip.federated.compare import METRICS, scores_of
from cerviclip.federated.record import RECORD, read_record
from cerviclip.report.document import Document, blank
from cerviclip.report.numbers import cell, interval_note, size_of
from cerviclip.report.sentences.partitions import chosen_on_val
from cerviclip.report.study import Study
from cerviclip.runs.report.few import WANTED, few_patients
from cerviclip.runs.settings.folders import WAYS
from dassl.errors import UserError
from dassl.paths import is_file

LOCAL, FEDERATED, POOLED = WAYS
_WAY_OUT = "take the file away, and the draft leaves blanks for what it says"
_STRATEGIES = {
    "fedavg": "averaged the weights of all centres, each by its number of training images (FedAvg; "
    "McMahan et al., AISTATS 2017)",
    "fedprox": "averaged the weights of all centres, each by its number of training images, and "
    "each centre's loss had mu/2 times the squared distance to the common weights added, with mu "
    "{mu:g} (FedProx; Li et al., MLSys 2020)",
}
Run = Mapping[str, Any]


@dataclass
class Federation:
    """The runs of one federation and of those that it is compared with.

    Args:
        folder: holds federation.json and a folder for each way of training.
        record: what federation.json says; {} where it is not there, as at a single centre.
        runs: way of training -> centre -> its run; the run of ``pooled`` is called ``all``.
    """

    folder: Path
    record: Mapping[str, Any]
    runs: dict[str, dict[str, Run]] = field(default_factory=lambda: {way: {} for way in WAYS})

    @property
    def centers(self) -> list[str]:
        return list(self.record.get("centers") or self.runs[FEDERATED])

    @property
    def rounds(self) -> int:
        return len(self.record.get("rounds") or ()) or max(
            int(_federated(run).get("rounds", 0)) for run in self.runs[FEDERATED].values()
        )

    @property
    def mu(self) -> float:
        told = (float(_federated(run).get("mu", 0)) for run in self.runs[FEDERATED].values())
        return float(self.record["mu"]) if "mu" in self.record else max(told)

    @property
    def images(self) -> dict[str, int]:
        """Training images of each centre, as far as its run or the record says."""
        rounds = self.record.get("rounds") or ()
        return dict(rounds[-1]["images"]) if rounds else {}


def _federated(run: Run) -> Mapping[str, Any]:
    """What a run of a federation says of it; {} of any other run."""
    return ((run.get("runtime") or {}).get("trainer") or {}).get("federated") or {}


def find_federations(study: Study) -> list[Federation]:
    """The federations whose runs are among the study's.

    Raises:
        UserError: a federation.json is damaged.
    """
    found: dict[Path, Federation] = {}
    for run in study.done:
        if _federated(run):
            root = Path(run["folder"]).parent.parent
            if root not in found:
                record = read_record(root, _WAY_OUT) if is_file(root / RECORD) else {}
                found[root] = Federation(root, record)
            found[root].runs[FEDERATED][Path(run["folder"]).name] = run
    for run in study.done:
        folder = Path(run["folder"])
        of = found.get(folder.parent.parent)
        if of and folder.parent.name in (LOCAL, POOLED):
            of.runs[folder.parent.name][folder.name] = run
    return list(found.values())


# -- methods --------------------------------------------------------------------------------------


def federations(document: Document, study: Study) -> None:
    """A section for each federation; none without one."""
    for of in find_federations(study):
        document.heading("Training across centres (federation)", "training", level=2)
        document.text(_training(of), "training", "model", "partition")
        document.text(f"{_sent(of)} {_beside(of)}".rstrip(), "training", "partition")


def _training(of: Federation) -> str:
    run = next(iter(of.runs[FEDERATED].values()))
    if of.record:
        images = of.images
        told = [f"{c} ({counted(images[c], 'image')})" if c in images else c for c in of.centers]
        who = f"{len(of.centers)} centres, each on training images of its own: {', '.join(told)}"
    else:
        others = blank("the other centres, and the training images of each")
        who = f"centres. Of these the files name {', '.join(of.centers)}; {others}"
    strategy = str(of.record.get("strategy") or ("fedprox" if of.mu else "fedavg"))
    how = _STRATEGIES[strategy] if strategy in _STRATEGIES else f"joined the weights ({strategy})"
    return (
        f"{run['trainer']} on {run['backbone']} was trained as one model across {who}. All centres "
        f"began with the same weights. In each of {counted(of.rounds, 'round')} every centre "
        f"trained on its own images, {_epochs(of)}; then a server {how.format(mu=of.mu)}, and the "
        "centres went on from the mean. Optimiser and learning rate's schedule stayed at each "
        "centre and continued over the rounds. All weights that the method learns were averaged; "
        "no centre kept a part of the model of its own."
    )


def _epochs(of: Federation) -> str:
    """``for 5 epochs``: the local epochs of a round."""
    told = {}
    for center, run in of.runs[FEDERATED].items():
        epochs = ((run.get("setup") or {}).get("training") or {}).get("epochs")
        told[center] = _of_a_round(epochs, of.rounds) if epochs else ""
    if not all(told.values()):
        return f"for {blank('local epochs of a round')}"
    if len(set(told.values())) == 1:
        return f"for {next(iter(told.values()))}"
    return "for " + ", ".join(f"{text} at {center}" for center, text in told.items())


def _of_a_round(epochs: int, rounds: int) -> str:
    each, rest = divmod(epochs, rounds)
    if rest:
        return f"{each} or {each + 1} epochs ({epochs} in all)"
    return f"{counted(each, 'epoch')} ({epochs} in all)"


def _sent(of: Federation) -> str:
    """What travelled, as the record or a centre's run says."""
    told = (
        "Each centre sent the names of its classes once, and in each round its weights, the number "
        "of its training images and its mean loss. It received the mean weights. No image and no "
        "patient's name was sent. Features of images were sent only as far as weights are made of "
        "them, such as means of classes."
    )
    if of.record:
        mib = (of.record["bytes_up"] + of.record["bytes_down"]) / 2**20
        how = "encrypted (TLS)" if of.record["encrypted"] else "not encrypted"
        told += f" The weights of all rounds were {mib:.2f} MiB, both ways together, {how}."
    hosts = {run["runtime"].get("host") for run in of.runs[FEDERATED].values()}
    if len(of.runs[FEDERATED]) > 1 and len(hosts) == 1 and hosts != {None}:
        told += (
            " The runs of all centres name the same machine. Unless several machines have this "
            "name, this is a simulation of a federation, in which no image had to stay anywhere."
        )
    return told


def _beside(of: Federation) -> str:
    """What the federation is compared with, and what each centre chose for itself."""
    told = []
    if of.runs[LOCAL]:
        told.append(
            f"To compare, the method was also trained at {', '.join(of.runs[LOCAL])} on the images "
            "of that centre alone (local)."
        )
    if of.runs[POOLED]:
        told.append("One model was trained on the images of all centres in one place (pooled).")
    if any(chosen_on_val(run) for run in of.runs[FEDERATED].values()):
        told.append(
            "Thresholds and calibration maps are of each centre's own val images, so they differ "
            "between centres that share the weights."
        )
    if lacking := [name for name in of.centers if name not in of.runs[FEDERATED]]:
        told.append(f"Runs of {', '.join(lacking)} are not among these.")
    return " ".join(told)


# -- results --------------------------------------------------------------------------------------


def federation_results(document: Document, study: Study) -> None:
    """Ways of training beside each other, on each centre's own test images."""
    for of in find_federations(study):
        whole = [name for name in of.centers if name in of.runs[LOCAL]]
        both = [name for name in whole if name in of.runs[FEDERATED]]
        if not both:
            continue
        document.heading("Federated training beside others", "accuracy", level=2)
        try:
            scores = scores_of(both, of.folder, bool(of.runs[POOLED]))
        except (UserError, OSError, StopIteration) as error:
            why = str(error).replace(f"{of.folder.as_posix()}/", "") or "predictions are not there"
            document.text(f"The ways of training are not put side by side: {why}.", "accuracy")
            continue
        entries = {name: scores[LOCAL][name] for name in both}
        note = (
            f"{interval_note(entries)} All ways are scored on the very same images of a centre. "
            f"{_sizes(entries)}"
        )
        for key, (title, unit) in METRICS.items():
            digits = 1 if unit else 3
            rows = [
                (way, *(cell(of_center[name][key], digits) for name in both))
                for way, of_center in scores.items()
            ]
            document.table(
                f"{title[:1].upper()}{title[1:]}{f' ({unit})' if unit else ''} of each way of "
                "training on each centre's own test images.",
                ("training", *both),
                rows,
                "accuracy",
                "heterogeneity",
                note=note,
            )


def _sizes(entries: Mapping[str, Mapping[str, Any]]) -> str:
    """How much each centre's test is, and which of them are too small to tell the ways apart."""
    sizes = ", ".join(f"{name} {size_of(entry)}" for name, entry in entries.items())
    told = f"Test images / patients: {sizes}."
    few = {name: few_patients(entry) for name, entry in entries.items()}
    if said := "; ".join(f"{name} {text}" for name, text in few.items() if text):
        told += f" {WANTED[:1].upper()}{WANTED[1:]}: {said}. Such a centre hardly tells the ways "
        told += "apart, and a mean over centres counts it like a large one."
    return told
