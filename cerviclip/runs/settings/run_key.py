"""What a run is: the one place that knows which seven facts tell two runs apart.

`RunKey` names a run in folders, titles, plans and results. A `Cell` is what the runs of one number
in a table share; a `Repeat` tells these runs from each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from cerviclip.counted import counted
from cerviclip.data.split.folds import parse_fold
from cerviclip.runs.settings.folders import backbone_label, file_in, safe_part
from dassl.config import CfgNode

Shots = int | str  # 0 where nothing is trained, a number from 1, or "full"


class Repeat(NamedTuple):
    """Which of the runs of a cell: its fold, "" where there are none, and its seed."""

    fold: str
    seed: int

    def __str__(self) -> str:
        return f"fold {self.fold} seed {self.seed}" if self.fold else str(self.seed)

    @property
    def order(self) -> tuple[int, int, int]:
        """Sorts by the repetition, the fold's number, then the seed."""
        fold = parse_fold(self.fold)
        return (fold.repeat, fold.number, self.seed) if fold else (0, 0, self.seed)


@dataclass(frozen=True)
class Cell:
    """What the runs behind one number of a table share: all but the fold and the seed.

    Runs on ten folds, on five and on one plain split are three cells: they had different amounts of
    training data.
    """

    dataset: str
    trainer: str
    backbone: str
    variant: str
    shots: Shots
    folds: int  # 0: one plain split

    @property
    def row(self) -> tuple[str, str, str, int]:
        """What a row of a table stands for: the cell without its data set and its column."""
        return (self.trainer, self.variant, self.backbone, self.folds)


@dataclass(frozen=True)
class RunKey:
    """A run's identity."""

    dataset: str
    trainer: str
    backbone: str  # as tables name it, local weights with the start of their hash; "" for none
    variant: str  # name of the sweep's entry; "default" where it has none
    shots: Shots
    fold: str  # "3/10", or "" for a plain split
    seed: int

    @classmethod
    def of(cls, cfg: CfgNode, variant: str = "default") -> RunKey:
        """The key of the run that a configuration describes."""
        return cls(
            dataset=cfg.DATASET.NAME,
            trainer=cfg.TRAINER.NAME,
            backbone=_backbone_of(cfg),
            variant=variant,
            shots=shots_of(cfg.DATASET.NUM_SHOTS),
            fold=cfg.DATASET.FOLD,
            seed=cfg.SEED,
        )

    @classmethod
    def of_results(cls, results: Mapping[str, Any]) -> RunKey:
        """The key of the run that wrote a results.json.

        Args:
            results: as `results_json.read_results` returns them.
        """
        return cls(**{name: results[name] for name in cls.__dataclass_fields__})

    @property
    def cell(self) -> Cell:
        fold = parse_fold(self.fold)
        folds = fold.folds if fold else 0
        return Cell(self.dataset, self.trainer, self.backbone, self.variant, self.shots, folds)

    @property
    def repeat(self) -> Repeat:
        return Repeat(self.fold, self.seed)

    @property
    def title(self) -> str:
        """``CoOp (lr1) on Herlev, shots 16, fold 3/10, seed 1``, without what says nothing."""
        return self.title_with("")

    def title_with(self, dataset: str) -> str:
        """The title with another name for the data set; "" for the registered one."""
        variant = "" if self.variant == "default" else f" ({self.variant})"
        shots = f"shots {self.shots}" if self.shots else ""
        fold = f"fold {self.fold}" if self.fold else ""
        seed = f"seed {self.seed}" if self.shots else ""
        where = f"{self.trainer}{variant} on {dataset or self.dataset}"
        return ", ".join(part for part in (where, shots, fold, seed) if part)

    def folder(self, root: str | Path) -> Path:
        """``<root>/<dataset>/<trainer>/<backbone>/<variant>/shots_<k|full>/seed_<s>``.

        The part of the variant ends in ``-fold3of10`` for fold 3/10, ``-fold3of10repeat2`` for
        3/10@2.
        """
        fold = parse_fold(self.fold)
        again = f"repeat{fold.repeat}" if fold and fold.repeat > 1 else ""
        suffix = f"-fold{fold.number}of{fold.folds}{again}" if fold else ""
        variant = f"{self.variant}{suffix}"
        names = (self.dataset, self.trainer, self.backbone or "none", variant)
        parts = [safe_part(name) for name in names]
        return Path(root, *parts, f"shots_{self.shots}", f"seed_{self.seed}")


def shots_of(num_shots: int) -> Shots:
    """Shots as they are named, of DATASET.NUM_SHOTS: ``full`` for -1."""
    return "full" if num_shots < 0 else num_shots


def shots_words(shots: Shots) -> str:
    """Shots in a sentence: ``1 shot``, ``16 shots``, ``all images``."""
    return "all images" if shots == "full" else counted(int(shots), "shot")


def shots_order(shots: Shots) -> float:
    """Sorts shots by their number, ``full`` last."""
    return float("inf") if shots == "full" else float(shots)


def _backbone_of(cfg: CfgNode) -> str:
    name = cfg.MODEL.BACKBONE.NAME
    weights = cfg.MODEL.INIT_WEIGHTS or file_in(name)
    if not weights:
        return backbone_label(name)
    from dassl.utils.files import file_sha256  # not needed for reading results, and brings torch

    return backbone_label(name, file_sha256(weights))
