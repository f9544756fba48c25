"""How the probabilities of several runs become one, and the runs behind an ensemble's folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cerviclip.runs.results_json import read_results
from cerviclip.runs.settings.run_key import RunKey
from cerviclip.runs.stacking import stacked
from dassl.errors import MissingFileError


@dataclass(frozen=True)
class Joining:
    """Members' probabilities as those of one: their mean, or a stacking that was fitted on val.

    Args:
        weight: (C, M * C) of the stacking; () for the mean.
        bias: (C,); () likewise.
    """

    weight: tuple[tuple[float, ...], ...] = ()
    bias: tuple[float, ...] = ()

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Joining:
        """From ``ensemble`` of an ensemble's results.json, or from an export."""
        rows = tuple(tuple(map(float, row)) for row in values.get("weight") or ())
        return cls(rows, tuple(map(float, values.get("bias") or ())))

    def to_json(self) -> dict[str, Any]:
        return {"weight": self.weight, "bias": self.bias}

    def __call__(self, probs: Sequence[np.ndarray]) -> np.ndarray:
        """(B, C) of each member's (B, C)."""
        if self.weight:
            return stacked(np.stack(probs), np.array(self.weight), np.array(self.bias))
        return probs[0] if len(probs) == 1 else np.mean(probs, axis=0)

    def identity(self) -> str:
        """ "" for the mean; what tells one stacking from another."""
        return json.dumps(self.to_json()) if self.weight else ""


MEAN = Joining()


@dataclass(frozen=True)
class EnsembleFolder:
    """What ``cerviclip ensemble`` wrote: figures of its own, and no model.

    Attributes:
        folders: of its members.
        results: its results.json.
    """

    folders: tuple[Path, ...]
    joining: Joining
    results: Mapping[str, Any] = field(repr=False)


def ensemble_of(folder: Path) -> EnsembleFolder | None:
    """The runs behind an ensemble's folder; None for any other folder.

    Raises:
        UserError: a member is not where it was, or is another run now.
    """
    results = read_results(folder) if folder.is_dir() else None
    block = (results or {}).get("ensemble")
    if results is None or not block or (folder / "config.yaml").is_file():
        return None
    places = results["runtime"]["members"]
    folders = [
        _member(folder, results, place, record)
        for place, record in zip(places, block["members"], strict=True)
    ]
    return EnsembleFolder(tuple(folders), Joining.from_json(block), results)


def _member(
    folder: Path, results: Mapping[str, Any], place: str, record: Mapping[str, Any]
) -> Path:
    """A member's folder: where it was, or at its usual place beside the ensemble."""
    for candidate in _candidates(folder, results, place, record):
        found = read_results(candidate) if candidate.is_dir() else None
        if found is not None and found["config_hash"] == record["config_hash"]:
            return candidate
    raise MissingFileError(
        f"the ensemble {folder} needs its member {place} "
        f"({record['trainer']}, seed {record['seed']}), which is not there or is another run now; "
        "put it back, or join the runs anew with cerviclip ensemble"
    )


def _candidates(
    folder: Path, results: Mapping[str, Any], place: str, record: Mapping[str, Any]
) -> Iterator[Path]:
    yield Path(place)
    own = RunKey.of_results(results).folder("").parts
    whole = folder.resolve().parts
    if whole[-len(own) :] == own:
        root = Path(*whole[: -len(own)])
        key = RunKey.of_results({**record, "dataset": results["dataset"]})
        yield key.folder(root)
