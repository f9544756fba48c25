"""The methods that are compared, and the settings of those that are shown in detail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cerviclip.plugins import discover
from cerviclip.report.document import Document, blank
from cerviclip.report.runs import HASH_DIGITS
from cerviclip.report.sentences.classes import plain_name
from cerviclip.report.sentences.ensembles import ensemble_sentence, members_of, what_it_is
from cerviclip.report.sentences.partitions import knows_patients
from cerviclip.report.sentences.settings import GENERAL, words_of
from cerviclip.report.setup import searched, texts_sentence, training_rows, unused
from cerviclip.report.study import Part, Study
from cerviclip.runs.report.tables import row_labels
from cerviclip.runs.settings.config_hash import flatten
from dassl.config import read_yaml
from dassl.paths import is_file

_BY = "DATASET.SPLIT_BY"
#: Values at which a key says nothing.
_OFF = {
    "DATASET.SUBSAMPLE_CLASSES": "all",
    "TEST.SPLIT": "test",
    "TRAIN.FEDERATED_ROUNDS": 0,
    "TRAIN.FEDERATED_MU": 0,
}


def models(document: Document, study: Study) -> None:
    """Methods, settings and outputs."""
    document.heading("Models and training", "model", level=2)
    _methods(document, study)
    for part in study.parts:
        file = "; config.yaml of the run has the keys of all methods"
        has_file = is_file(Path(part.run["folder"]) / "config.yaml")
        document.table(
            f"Settings that {part.label} used on {part.name}{file * has_file}.",
            ("setting", "value", "key in config.yaml"),
            setting_rows(part),
            "training",
            "specification",
            labels=3,
        )
    for part in study.parts:
        document.text(texts_sentence(part), "specification")
    document.text(
        f"Output: a probability for each class. {_positive_sentence(study)}"
        + ensemble_sentence([group for part in study.parts for group in part.groups]),
        "output",
        "ensemble",
    )
    own = any(group.trainer == "SAVLT" for part in study.parts for group in part.groups)
    maps = "attention maps of SAVLT" if own else "heat maps of class activation"
    document.text(
        "Explanations: " + blank("whether and how outputs were explained, such as " + maps),
        "explain",
    )


def _positive_sentence(study: Study) -> str:
    if not study.binary:
        return ""
    group = f"the positive group{study.where_binary}"
    return f"The probability of {group} is the sum over its classes. "


def _methods(document: Document, study: Study) -> None:
    trainers = discover()["trainer"]
    rows = []
    for part in study.parts:
        labels = row_labels(part.groups)
        for group in {g.row: g for g in part.groups}.values():
            entry, run = trainers.get(group.trainer), group.runs[0]
            shots = ", ".join(str(g.shots) for g in part.groups if g.row == group.row)
            row = (
                labels[group.row],
                what_it_is(group) or (entry.summary if entry else ""),
                group.backbone,
                _weights(run),
            )
            rows.append((*row, shots) if len(study.parts) == 1 else (*row, f"{part.name}: {shots}"))
    head = ("method", "what it is", "backbone", "weights (sha256)", "shots")
    document.table("Methods compared.", head, rows, "model", "init", labels=5)
    hashed = any(row[3] not in ("-", _OF_MEMBERS, _RANDOM) for row in rows)
    unknown = any(row[3] == "-" for row in rows)
    told = [
        "A method starts from the pre-trained weights whose hash is in the table." * hashed,
        "Of a method without a hash the files do not say which weights it started from." * unknown,
        "New parameters start from the run's seed.",
        blank("what the backbone was pre-trained on, and whether test patients can be among it"),
    ]
    document.text(" ".join(filter(None, told)), "init", "training")


_OF_MEMBERS, _RANDOM = "of its members", "random"


def _weights(run: Mapping[str, Any]) -> str:
    """The start of the hash of the weights, or what there was in their place."""
    known = str(run["weights_sha256"] or "")[:HASH_DIGITS]
    if members_of(run):
        return known or _OF_MEMBERS
    return known or (_RANDOM if _from_random_weights(run) else "-")


def _from_random_weights(run: Mapping[str, Any]) -> bool:
    """Whether a run's network had no weights from anywhere, as far as its config.yaml says."""
    path = Path(run["folder"]) / "config.yaml"
    model = (read_yaml(path, "config file") if is_file(path) else {}).get("MODEL") or {}
    pretrained = (model.get("BACKBONE") or {}).get("PRETRAINED", True)
    return not pretrained and not model.get("INIT_WEIGHTS")


def setting_rows(part: Part) -> list[tuple[str, str, str]]:
    """What each setting is in words, its value, and the key that makes the run again."""
    config, flat = part.config, flatten(part.config)
    section = f"TRAINER.{part.run['trainer'].upper()}."
    own = {key: flat[key] for key in flat if key.startswith(section)}
    found = {key: _at(config, key) for key in GENERAL} | own
    left_out = unused(part)
    of_images = "" if knows_patients(part.run) else " (no patient is known, so each image is one)"
    rows = [(name, value, "-") for name, value in training_rows(part.run)]
    rows += [(words_of(key), value, key) for key, value in searched(part.run)]
    rows += [
        (words_of(key), _shown(key, value) + of_images * (key == _BY and value == "patient"), key)
        for key, value in found.items()
        if key not in left_out and value not in ("", [], {}, None) and _OFF.get(key) != value
    ]
    return rows


def _at(config: Mapping[str, Any], key: str) -> Any:
    section, _, name = key.partition(".")
    return (config.get(section) or {}).get(name)


def _shown(key: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{theirs}: {ours}" for theirs, ours in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        named = plain_name if key == "DATASET.POSITIVE" else str
        return ", ".join(named(str(one)) for one in value)
    return str(value)
