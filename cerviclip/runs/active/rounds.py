"""Rounds of labelling: choose, label, train, score; each round an ordinary run with its own draw.

The draw of a round is a split file (``DATASET.DRAW_FILE``): the split's train images that have been
labelled so far, and the val draw of the data set. Its test part is never looked at by a choice: the
choice sees training images without labels, the frozen features, and the last round's model.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cerviclip.data.split.repeated import draw_hash_of
from cerviclip.runs.active.strategies import (
    COLD,
    NEEDS_FEATURES,
    NEEDS_MODEL,
    Pool,
    check_strategy,
    choose,
)
from cerviclip.runs.active.units import Candidates, Unit
from cerviclip.runs.settings.folders import safe_part
from cerviclip.runs.settings.requests import RunRequest
from cerviclip.shapes import (
    Misshapen,
    Shape,
    anything,
    listed,
    mapping,
    number,
    read_own_json,
    text,
)
from dassl.errors import UserError, says_what_stays
from dassl.utils.files import atomic_write

PLAN = "plan.json"
DRAWS, RUNS = "draws", "runs"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is asked of a study of labelling in rounds.

    Attributes:
        dataset, trainer, backbone, weights, root, opts, plugins: as those of a run.
        strategies: of ``strategies.STRATEGIES``.
        budgets: labelled units after each round, growing.
        seeds: of the first units, of ties and of the training.
        by: ``image`` or ``patient``: what a unit is.
    """

    dataset: str
    trainer: str
    backbone: str
    budgets: tuple[int, ...]
    strategies: tuple[str, ...]
    seeds: tuple[int, ...]
    by: str = "image"
    weights: str = ""
    root: str = ""
    opts: tuple[Any, ...] = ()
    plugins: tuple[str, ...] = ()

    def check(self) -> None:
        for name in self.strategies:
            check_strategy(name)
        grows = all(a < b for a, b in zip(self.budgets, self.budgets[1:], strict=False))
        if not self.budgets or self.budgets[0] < 1 or not grows:
            shown = ", ".join(map(str, self.budgets))
            raise UserError(f"--budgets {shown}: give numbers from 1, each above the last")

    def request(self, seed: int, **more: Any) -> RunRequest:
        """The run that all rounds of a seed have in common."""
        return RunRequest(
            trainer=self.trainer, dataset=self.dataset, backbone=self.backbone,
            weights=self.weights, root=self.root, plugins=self.plugins, seed=seed,
            **{"opts": self.opts, **more},
        )  # fmt: skip


@dataclass(frozen=True)
class Round:
    """A finished round.

    Args:
        strategy, seed, budget: which.
        units: that were labelled in it, in the order of the choice: name, score.
        labelled: images that have a label by now.
        results: content of the run's results.json.
    """

    strategy: str
    seed: int
    budget: int
    units: Sequence[tuple[str, float]]
    labelled: int
    results: Mapping[str, Any]


def run_rounds(plan: Plan, out: Path, say: Callable[[str], None] = print) -> list[Round]:
    """All rounds of all strategies and seeds; what is finished is only read.

    Args:
        out: folder of the study: ``draws/``, ``runs/``, ``plan.json``.
        say: takes a line for each round.

    Raises:
        UserError: the plan cannot be, or ``out`` holds another one's rounds.
    """
    plan.check()
    keep_plan(plan, out)
    done: list[Round] = []
    all_of_them = len(plan.seeds) * len(plan.strategies) * len(plan.budgets)
    with says_what_stays(lambda: f"{len(done)} of {all_of_them} rounds finished and stay"):
        for seed in plan.seeds:
            study = _Study(plan, seed, out)
            for strategy in plan.strategies:
                for one in study.rounds(strategy, say):
                    done.append(one)
    return done


def keep_plan(plan: Plan, out: Path) -> None:
    """Write the plan, or refuse a folder of another. Strategies and seeds may be added later."""
    own = json.loads(json.dumps(asdict(plan), default=str))
    path = out / PLAN
    if path.is_file():
        old = read_own_json(
            path, mapping(anything), "delete it if the rounds beside it are of this plan"
        )
        free = ("strategies", "seeds", "root", "weights", "plugins")  # paths are hashed by the runs
        differ = [k for k in own if k not in free and own[k] != old.get(k)]
        if differ:
            told = ", ".join(f"{k} {old.get(k)} -> {own[k]}" for k in differ)
            raise UserError(
                f"{out} holds rounds of another plan ({told}); give another --output-dir"
            )
    with atomic_write(path) as handle:
        json.dump(own, handle, indent=1)


def _choice_of(draw: Path) -> Path:
    """What a round has chosen, beside its split file: ``[name, score]`` of each unit in order."""
    return draw.with_suffix(".chosen.json")


def _chosen_of(names: Container[str]) -> Shape:
    """The shape of ``[name, score]`` of one of these units."""

    def check(value: Any, where: str) -> None:
        if not (isinstance(value, list) and len(value) == 2):
            raise Misshapen(f"{where} is no pair of a name and its score")
        text(value[0], where)
        number(value[1], where)
        if value[0] not in names:
            raise Misshapen(f"{where} names {value[0]}, which the data set does not have")

    return check


class _Study:
    """The rounds of one seed: the data set, built once, and the features that all share."""

    def __init__(self, plan: Plan, seed: int, out: Path) -> None:
        from cerviclip.runs.settings.configure import setup_cfg
        from dassl.engine import build_trainer
        from dassl.utils import set_random_seed

        self.plan, self.seed, self.out = plan, seed, out
        cfg = setup_cfg(plan.request(seed, shots=1, output_dir=str(out / RUNS)))
        set_random_seed(cfg.SEED)
        trainer: Any = build_trainer(cfg)
        self.trainer, self.dataset = trainer, trainer.dm.dataset
        self.candidates = Candidates(self.dataset, plan.by)
        self.features: np.ndarray | None = None
        count = len(self.candidates.units)
        if plan.budgets[-1] > count:
            raise UserError(
                f"--budgets asks for {plan.budgets[-1]} {plan.by}s, and {plan.dataset} has {count} "
                "to train on; give fewer"
            )
        wanted = [s for s in plan.strategies if s in NEEDS_FEATURES]
        if wanted and not hasattr(self.trainer, "frozen_features"):
            raise UserError(
                f"{', '.join(wanted)} compare frozen features, and {plan.trainer} has none; "
                "choose random, entropy or margin"
            )

    def rounds(self, strategy: str, say: Callable[[str], None]) -> Iterator[Round]:
        labelled: list[Unit] = []
        by_name = {unit.name: unit for unit in self.candidates.units}
        last: Path | None = None
        for budget in self.plan.budgets:
            path = self.out / DRAWS / strategy / f"seed_{self.seed}" / f"{budget}.json"
            if not path.is_file():
                chosen = self._choose(strategy, labelled, budget - len(labelled), last)
                self._write_draw(path, [*labelled, *(u for u, _ in chosen)], chosen)
            way_out = f"delete it and {path.name} beside it to choose this round again"
            pairs = read_own_json(_choice_of(path), listed(_chosen_of(by_name)), way_out)
            new = [(str(name), float(score)) for name, score in pairs]
            labelled += [by_name[name] for name, _ in new]
            results, last = self._train(strategy, budget, path)
            images = len(self.candidates.images_of(labelled))
            accuracy = results["centers"]["test"]["accuracy"]["value"]
            say(
                f"{strategy}, seed {self.seed}, {budget} {self.plan.by}s ({images} images): "
                f"accuracy {accuracy:.1f} %"
            )
            yield Round(strategy, self.seed, budget, new, images, results)

    # -- choosing --------------------------------------------------------------------------------

    def _choose(
        self, strategy: str, labelled: Sequence[Unit], count: int, last: Path | None
    ) -> list[tuple[Unit, float]]:
        known = {unit.name for unit in labelled}
        pool = [unit for unit in self.candidates.units if unit.name not in known]
        if last is None and strategy not in COLD:
            strategy = "random"  # the first units are the same for all that cannot know better
        features = probs = own = None
        if strategy in NEEDS_FEATURES:
            rows = self._frozen_features()
            features = self.candidates.mean_of(rows, pool, unit_length=True)
            own = self.candidates.mean_of(rows, labelled, True) if labelled else None
        if strategy in NEEDS_MODEL:
            assert last is not None
            probs = self.candidates.mean_of(self._probabilities(last), pool, unit_length=False)
        names = [unit.name for unit in pool]
        choice = choose(strategy, Pool(names, self.seed, features, probs, own), count)
        pairs = zip(choice.places, choice.scores, strict=True)
        return [(pool[place], float(score)) for place, score in pairs]

    def _frozen_features(self) -> np.ndarray:
        """(N, D) of all training images."""
        if self.features is None:
            paths = [item.impath for item in self.candidates.blind]
            self.features = self.trainer.frozen_features(paths)[:, 0].cpu().numpy()
        return self.features

    def _probabilities(self, run: Path) -> np.ndarray:
        """(N, C) of all training images by a finished round's model."""
        from cerviclip.runs.run.load import load_run
        from cerviclip.runs.run.testing.predict import predict_items

        trainer = load_run(run, weights=self.plan.weights).trainer
        if not hasattr(trainer, "make_loader"):
            return trainer.predict_images([item.impath for item in self.candidates.blind])
        return predict_items(trainer, self.candidates.blind, "pool").probs

    # -- labelling and training --------------------------------------------------------------------

    def _write_draw(
        self, path: Path, labelled: Sequence[Unit], chosen: Sequence[tuple[Unit, float]]
    ) -> None:
        """The split file of a round: the labels of these units are known from here on."""
        places = self.candidates.images_of(labelled)
        items = [self.candidates.items[place] for place in places]
        record = dict(self.dataset.split_record)
        every = self.dataset.full_split["val"]
        rows = self.dataset.record_rows(every)
        by_path = {row["path"]: item for row, item in zip(rows, every, strict=True)}
        drawn = {"train": items, "val": [by_path[r["path"]] for r in record["val"]], "test": []}
        record |= {
            "train": [self.candidates.rows[place] for place in places],
            "shots": max(1, math.ceil(len(items) / self.dataset.num_classes)),
            "draw_seed": self.seed,
            "draw_hash": draw_hash_of(record["hash"], drawn),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(_choice_of(path)) as handle:
            json.dump([[unit.name, score] for unit, score in chosen], handle, indent=1)
        with atomic_write(path) as handle:  # last: a round that has it has been chosen
            json.dump(record, handle, indent=1)

    def _train(self, strategy: str, budget: int, draw: Path) -> tuple[dict[str, Any], Path]:
        from cerviclip.runs.run.runner import run_one
        from cerviclip.runs.settings.configure import setup_cfg

        variant = f"{strategy}-{budget}"
        folder = self.out / RUNS / safe_part(variant) / f"seed_{self.seed}"
        request = self.plan.request(
            self.seed, split=str(draw), output_dir=str(folder), variant=variant
        )
        return run_one(setup_cfg(request), variant=variant, echo=False), folder
