"""``settings: FILE`` of a sweep: what a search has chosen for each trainer. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cerviclip.places import CHOSEN
from cerviclip.runs.settings.files.named_yaml import check_keys
from cerviclip.runs.settings.requests import flat_opts
from dassl.config.yaml_file import read_yaml
from dassl.errors import MissingFileError, UserError
from dassl.paths import at_home, is_file

_HEAD = {"search", "data", "shots", "seeds", "metric"}  # for the reader
_ENTRY = {"opts", "tries", "labels", "score", "edge"}


@dataclass(frozen=True)
class Chosen:
    """One trainer's settings, and what the search for them has cost."""

    opts: tuple[Any, ...]
    tries: int  # settings that were compared
    labels: int  # labelled images that any of their runs has used


def read_chosen(name: str, sweep: Path) -> dict[str, Chosen]:
    """The file that ``cerviclip choose`` has written.

    Args:
        name: a path, from the sweep's folder, from configs/chosen or as it is.
        sweep: the sweep's yaml.

    Returns:
        By trainer.

    Raises:
        UserError: it is not there, or not such a file.
    """
    places = (sweep.parent / name, CHOSEN / name, at_home(name))
    path = next((place for place in places if is_file(place)), None)
    if path is None:
        raise MissingFileError(
            f"sweep {sweep} names 'settings: {name}', and there is no such file beside it; "
            "cerviclip choose writes one"
        )
    tree = read_yaml(path, "file of chosen settings", "keys such as 'trainers:'")
    check_keys(tree, _HEAD | {"trainers"}, f"settings {path}")
    entries = tree.get("trainers")
    if not isinstance(entries, Mapping) or not entries:
        raise UserError(f"settings {path} have no 'trainers: {{NAME: {{opts: ...}}}}'")
    return {
        str(trainer): _read_entry(entry, str(trainer), path) for trainer, entry in entries.items()
    }


def _read_entry(entry: Any, trainer: str, path: Path) -> Chosen:
    if not isinstance(entry, Mapping):
        raise UserError(f"{trainer} in settings {path} has 'opts: {{KEY: VALUE}}', not {entry!r}")
    check_keys(entry, _ENTRY, f"{trainer} of settings {path}")
    counts = {key: entry.get(key, 0) for key in ("tries", "labels")}
    for key, value in counts.items():
        if type(value) is not int or value < 0:
            raise UserError(f"'{key}' of {trainer} in settings {path} is a count, not {value!r}")
    return Chosen(opts=flat_opts(entry.get("opts"), f"of {trainer} in settings {path}"), **counts)
