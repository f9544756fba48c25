"""A sweep's plan: which runs a yaml file and the flags ask for. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cerviclip import plugins
from cerviclip.adopt.spec import Adoption, read_adoption
from cerviclip.adopt.transforms import transform_opts
from cerviclip.data.split.folds import Fold
from cerviclip.runs.settings.files.chosen_file import Chosen, read_chosen
from cerviclip.runs.settings.files.draw_files import DRAW_ANEW, DRAW_FILE, DrawFile, find_draw_files
from cerviclip.runs.settings.files.sweep_file import (
    TrainerEntry,
    find_sweep,
    listed,
    read_entries,
    read_opts,
    read_sweep,
    switched_on,
)
from cerviclip.runs.settings.folders import DEFAULT_ROOT
from cerviclip.runs.settings.requests import (
    RunRequest,
    SweepRequest,
    number_in,
    parse_count,
    parse_folds,
    parse_shots,
)
from cerviclip.runs.settings.run_key import RunKey, shots_of
from cerviclip.runs.study_title import KEY as TITLE
from cerviclip.runs.study_title import named
from dassl.config.values import Written, names
from dassl.errors import UnknownNameError, UserError
from dassl.paths import at_home

FOLD, SUBSAMPLE, CENTERS = "DATASET.FOLD", "DATASET.SUBSAMPLE_CLASSES", "DATASET.CENTERS"
BASE_TO_NEW = "base_to_new"

# Draws of a sweep that names neither seeds nor draws: as many as show the chance of the draw where
# a run takes seconds, few where it takes minutes.
DRAWS_OF_SECONDS, DRAWS = 20, 3
MOST_RUNS = 1_000_000


@dataclass(frozen=True)
class RunSpec:
    """One run of a sweep, as flags of train.py."""

    dataset: str
    trainer: str
    variant: str
    num_shots: int
    seed: int
    backbone: str = ""
    weights: str = ""
    config: str = ""
    root: str = ""
    plugins: tuple[str, ...] = ()
    opts: tuple[Any, ...] = ()

    @property
    def shots(self) -> str:
        return str(shots_of(self.num_shots))

    @property
    def key(self) -> RunKey:
        """The run's identity as far as the plan knows it: the backbone is named as the sweep names
        it, and files that the plan does not read may say a fold."""
        return RunKey(
            dataset=self.dataset,
            trainer=self.trainer,
            backbone=self.backbone,
            variant=self.variant,
            shots=shots_of(self.num_shots),
            fold=self._override(FOLD),
            seed=self.seed,
        )

    @property
    def title(self) -> str:
        return self.key.title

    @property
    def shown_dataset(self) -> str:
        """The data set as people are told of it, as far as the sweep itself says a title."""
        return named(self.dataset, self._override(TITLE))

    def _override(self, key: str) -> str:
        """What the overrides say of a config key, the last of them; "" where they say nothing."""
        pairs = dict(zip(self.opts[::2], self.opts[1::2], strict=False))
        return str(pairs.get(key, ""))

    def request(self, output_root: str | Path = DEFAULT_ROOT) -> RunRequest:
        """What train.py alone would be asked for to make the same run, below ``output_root``."""
        return RunRequest(
            trainer=self.trainer,
            dataset=self.dataset,
            backbone=self.backbone,
            weights=self.weights,
            shots=self.shots,
            seed=self.seed,
            config_file=self.config,
            root=self.root,
            variant=self.variant,
            plugins=self.plugins,
            output_root=str(output_root),
            opts=self.opts,
        )


@dataclass
class Plan:
    """A sweep: its runs in order, and how its results are laid out."""

    name: str
    runs: list[RunSpec]
    output_root: Path
    order: list[tuple[str, str]] = field(default_factory=list)  # (trainer, variant), as listed
    # The yaml's runs that the flags leave out: not made now, in the table if they are there.
    unchosen: list[RunSpec] = field(default_factory=list)
    chosen_by: str = ""  # those flags
    # Of the sweep's ``settings``: what a search before it has chosen, by trainer.
    searched: Mapping[str, Chosen] = field(default_factory=dict)
    goes_beyond: bool = False  # the flags ask for runs that the yaml does not have


def make_plan(args: SweepRequest) -> Plan:
    """Read the sweep's yaml, let the flags override it, and list the runs.

    Raises:
        UserError: a key, name, shot count or seed that cannot be.
    """
    path = find_sweep(args.sweep)
    tree = read_sweep(path)
    of_yaml = [read_adoption(str(text)) for text in listed(tree, "adopt")]
    of_flags = [read_adoption(text) for text in args.adopt]
    plugins.add_plugins([*args.plugins, *(a.plugin for a in (*of_yaml, *of_flags))])
    draw_files = find_draw_files(args.split) if args.split else []
    searched = read_chosen(str(tree["settings"]), path) if tree.get("settings") else {}
    own_datasets = [str(d) for d in listed(tree, "datasets")]
    maker = _RunMaker(path, tree, own_datasets, args, draw_files, searched)
    datasets = [_known("dataset", d) for d in (args.datasets or maker.own_datasets)]
    own = [entry for item in listed(tree, "trainers") for entry in read_entries(item, path)]
    own += [_adopted_entry(adoption, args, tree) for adoption in of_yaml]
    entries = chosen_entries(own, args.trainers) if args.trainers else own
    entries = [*entries, *(_adopted_entry(adoption, args, tree) for adoption in of_flags)]
    own, entries = ([named_entry(e, args.variant) for e in some] for some in (own, entries))
    grid = _grid_of(tree, path, args)
    for kind, values in (("dataset", datasets), ("trainer", entries), ("shots", grid.shots)):
        if not values:
            raise UserError(f"sweep {path} names no {kind}; add one, or give it by a flag")
    if args.jobs < 1:
        raise UserError(f"--jobs is {args.jobs}; give the number of processes, from 1")
    _check_number_of_runs(len(datasets) * len(entries), grid)
    runs = list(
        dict.fromkeys(
            run for d in datasets for entry in entries for run in maker.runs(d, entry, grid)
        )
    )
    _check_folders_differ(runs)
    order = list(dict.fromkeys((entry.trainer, entry.name) for entry in (*own, *entries)))
    root = at_home(args.output_dir or DEFAULT_ROOT)
    own_runs, asked = maker.own_runs(own), set(runs)
    return Plan(
        name=path.stem,
        runs=runs,
        output_root=root,
        order=order,
        unchosen=[run for run in own_runs if run not in asked],
        chosen_by=_choosing_flags(args),
        searched=searched,
        goes_beyond=bool(asked - set(own_runs)) and not args.split,
    )


def _choosing_flags(args: SweepRequest) -> str:
    """The flags that pick runs of a sweep's yaml, as they may be typed."""
    given = {name: getattr(args, name) for name in ("datasets", "trainers", "shots", "seeds")}
    given |= {"folds": (args.folds,), "repeats": (args.repeats,)}
    told = {name: [str(v) for v in values if v is not None] for name, values in given.items()}
    return " ".join(f"--{name} {' '.join(values)}" for name, values in told.items() if values)


@dataclass(frozen=True)
class _Grid:
    """What each trainer is run over on each data set."""

    shots: tuple[int, ...]
    seeds: tuple[int, ...]  # (): as many as suit the trainer
    folds: int  # 0: one plain split
    repeats: int
    by_center: bool  # each centre of the data set is left out once
    base_to_new: bool

    def seeds_for(self, trainer: str) -> tuple[int, ...]:
        """The sweep's seeds, else 20 for a trainer that takes seconds and 3 for others."""
        if self.seeds:
            return self.seeds
        quick = _of_class(trainer, "trains_in_seconds", False)
        return tuple(range(1, (DRAWS_OF_SECONDS if quick else DRAWS) + 1))


def _grid_of(tree: Mapping[str, Any], path: Path, args: SweepRequest | None = None) -> _Grid:
    """The grid of a sweep's yaml, with what the flags say instead.

    Raises:
        UserError: keys that cannot be together, or a value that cannot be.
    """
    args = args or SweepRequest()
    seeds = [_seed(s) for s in (args.seeds or listed(tree, "seeds"))]
    if "draws" in tree and "seeds" in tree:
        raise UserError(f"sweep {path} has both 'draws' and 'seeds'; draws: 3 means seeds 1, 2, 3")
    if "draws" in tree and not seeds:
        seeds = list(range(1, parse_count(tree["draws"], "draws") + 1))
    folds = parse_folds(tree.get("folds") if args.folds is None else args.folds)
    again = tree.get("repeats") if args.repeats is None else args.repeats
    repeats = parse_count(1 if again is None else again, "repeats")
    by_center = switched_on(tree, "leave_one_center_out", path) and args.folds is None
    if repeats > 1 and not folds:
        if args.repeats is not None or args.folds is None:
            raise UserError(f"{repeats} repeats (sweep {path}) need folds; add 'folds: 5'")
    if by_center and (folds or repeats > 1):
        raise UserError(
            f"sweep {path} has 'leave_one_center_out' and folds or repeats; the centres are the "
            "folds, leave the others out"
        )
    return _Grid(
        shots=tuple(parse_shots(k) for k in (args.shots or listed(tree, "shots"))),
        seeds=tuple(seeds),
        folds=folds,
        repeats=repeats if folds else 1,
        by_center=by_center,
        base_to_new=switched_on(tree, BASE_TO_NEW, path),
    )


def _check_number_of_runs(cells: int, grid: _Grid) -> None:
    """Refuse a plan that nobody could list, let alone make: a slip in a number of it.

    Args:
        cells: data sets times trainers.
        grid: what each is run over.
    """
    seeds = len(grid.seeds) or 1
    runs = cells * len(grid.shots) * seeds * max(1, grid.folds) * grid.repeats
    if runs > MOST_RUNS:
        raise UserError(
            f"the sweep is of {runs:,} runs ({cells} trainers on data sets, {len(grid.shots)} "
            f"shots, {seeds} seeds, {grid.folds} folds, {grid.repeats} repeats), more than "
            f"{MOST_RUNS:,}; make it in parts"
        )


@dataclass
class _RunMaker:
    """Makes runs out of what the yaml and the flags say of all of them."""

    path: Path
    tree: Mapping[str, Any]
    own_datasets: list[str]
    args: SweepRequest
    draw_files: Sequence[DrawFile] = ()
    searched: Mapping[str, Chosen] = field(default_factory=dict)

    def runs(self, dataset: str, entry: TrainerEntry, grid: _Grid) -> Iterator[RunSpec]:
        """One trainer's runs on one dataset, on each of its folds; 0 folds: on a plain split."""
        args, tree = self.args, self.tree
        external = _external(tree, dataset, self.own_datasets, args, self.path)
        common = read_opts(tree.get("opts"), self.path)
        by_flag = args.external is not None  # and then over the sweep's own 'opts'
        spec = RunSpec(
            dataset=dataset,
            trainer=_known("trainer", entry.trainer),
            variant=entry.name,
            num_shots=0,
            seed=0,
            backbone=entry.backbone or args.backbone or str(tree.get("backbone") or ""),
            weights=entry.weights or ("" if entry.backbone else args.weights),
            config=entry.config,
            root=args.root,
            plugins=tuple(plugins.plugin_specs()),
            opts=(
                *(() if by_flag else external),
                *common,
                *(searched.opts if (searched := self.searched.get(entry.trainer)) else ()),
                *entry.opts,
                *(external if by_flag else ()),
                *args.opts,
            ),
        )
        if grid.base_to_new:
            spec = _base_to_new(spec)
        folds = _number_of_centers(spec) if grid.by_center else grid.folds
        seeds = grid.seeds_for(spec.trainer)
        if args.split:
            return _on_draw_files(spec, self.draw_files, grid)
        return (
            cell
            for one in _on_folds(spec, folds, grid.repeats)
            for cell in _cells(one, grid.shots, seeds)
        )

    def own_runs(self, entries: Sequence[TrainerEntry]) -> list[RunSpec]:
        """The yaml's own runs. Not all of them are asked for now, so what cannot be (a trainer of a
        plug-in that is not given) is left out."""
        found: dict[RunSpec, None] = {}
        if self.args.split:  # its runs are those of the set that it names
            return []
        for dataset in self.own_datasets:
            for entry in entries:
                with suppress(UserError):
                    grid = _grid_of(self.tree, self.path)
                    _known("dataset", dataset)
                    found |= dict.fromkeys(self.runs(dataset, entry, grid))
        return list(found)


def chosen_entries(own: Sequence[TrainerEntry], names: Sequence[str]) -> list[TrainerEntry]:
    """The entries that ``--trainers`` picks: by trainer or variant; others with plain settings."""
    chosen: list[TrainerEntry] = []
    for name in names:
        found = [entry for entry in own if name in (entry.trainer, entry.name)]
        chosen += found or [TrainerEntry(name)]
    return list(dict.fromkeys(chosen))


def named_entry(entry: TrainerEntry, variant: str) -> TrainerEntry:
    """An entry under the sweep's ``--variant``: before its own name, where it has one."""
    if variant in ("", "default"):
        return entry
    return replace(entry, name=variant if entry.name == "default" else f"{variant}-{entry.name}")


def _adopted_entry(adoption: Adoption, args: SweepRequest, tree: Mapping[str, Any]) -> TrainerEntry:
    """The entry of an adopted trainer, with the yaml of its repository for the sweep's backbone."""
    backbone = args.backbone or str(tree.get("backbone") or "")
    return TrainerEntry(
        adoption.label,
        config=adoption.config_for(backbone),
        opts=transform_opts(args.adopt_transforms),
    )


def _on_draw_files(spec: RunSpec, files: Sequence[DrawFile], grid: _Grid) -> Iterator[RunSpec]:
    """The run on each published draw of its data set, which says its shots, seed and fold.

    Shots and seeds of the sweep that the set does not have are left out, and the reverse.

    Raises:
        UserError: the set has no draw of the data set that the sweep asks for.
    """
    own = [file for file in files if file.dataset == spec.dataset]
    trains = _of_class(spec.trainer, "needs_training", True)
    fitting = [f for f in own if not trains or f.shots in grid.shots]
    fitting = [f for f in fitting if not (trains and grid.seeds) or f.seed in grid.seeds]
    if not fitting:
        there = sorted({(f.dataset, f.shots, f.seed) for f in files})
        raise UserError(
            f"--split has no draw of {spec.dataset} with the sweep's shots "
            f"{', '.join(str(shots_of(k)) for k in grid.shots)} and seeds; it has "
            f"{'; '.join(f'{d}, {shots_of(k)} shots, seed {s}' for d, k, s in there[:5])}. Ask for "
            f"these, or {DRAW_ANEW}"
        )
    if not trains:  # one for each fold: they share their test parts
        fitting = list({file.fold: file for file in reversed(fitting)}.values())[::-1]
    for file in fitting:
        opts = (*spec.opts, DRAW_FILE, file.path)
        if file.fold:
            opts = (*opts, FOLD, file.fold)
        shots, seed = (file.shots, file.seed) if trains else (0, 0)
        yield replace(spec, num_shots=shots, seed=seed, opts=opts)


def _base_to_new(spec: RunSpec) -> RunSpec:
    """The run on the base half of the classes, under a variant of its own."""
    variant = BASE_TO_NEW if spec.variant == "default" else f"{spec.variant}-{BASE_TO_NEW}"
    return replace(spec, variant=variant, opts=(*spec.opts, SUBSAMPLE, BASE_TO_NEW))


def _number_of_centers(spec: RunSpec) -> int:
    """How many centres a data set has, each of which is left out once.

    Raises:
        UserError: it is not made of centres, or of one only.
    """
    centers = getattr(plugins.ensure_loaded("dataset", spec.dataset), "centers", None)
    said = dict(zip(spec.opts[::2], spec.opts[1::2], strict=False)).get(CENTERS)
    # A word of the command line is a text, whose letters are no centres.
    named = names(Written(said, said, CENTERS, "the sweep")) if said else centers
    named = list(dict.fromkeys(named or ()))
    if centers is None or not named or len(named) < 2:
        raise UserError(
            f"'leave_one_center_out' needs a data set of two centres or more, which {spec.dataset} "
            f"is not; take PhantomDomains, CervixOCTDomains, or Centers with {CENTERS}: [A, B]"
        )
    return len(named)


def _on_folds(spec: RunSpec, folds: int, repeats: int = 1) -> list[RunSpec]:
    """The run on each fold, as an override says it: train.py alone makes the same run."""
    if not folds:
        return [spec]
    if FOLD in spec.opts[::2]:
        raise UserError(
            f"the sweep asks for {folds} folds, and an override sets {FOLD}; leave one of them out"
        )
    names = [str(Fold(n + 1, folds, r + 1)) for r in range(repeats) for n in range(folds)]
    return [replace(spec, opts=(*spec.opts, FOLD, name)) for name in names]


def _cells(spec: RunSpec, shots: Sequence[int], seeds: Sequence[int]) -> Iterator[RunSpec]:
    """A method that learns runs once per shots and seed, another once per dataset."""
    if not _of_class(spec.trainer, "needs_training", True):
        yield spec
        return
    if 0 in shots:
        raise UserError(
            f"0 shots make no sense for {spec.trainer}, which learns from images; give whole "
            "numbers from 1, or 'full'"
        )
    for k in shots:
        for seed in seeds:
            yield replace(spec, num_shots=k, seed=seed)


def _of_class(trainer: str, attribute: str, usual: bool) -> bool:
    """What a trainer's class says of itself; read from its source where that is known."""
    entry = plugins.discover()["trainer"].get(trainer)
    if entry is not None:
        return bool(getattr(entry, attribute))
    return bool(getattr(plugins.ensure_loaded("trainer", trainer), attribute, usual))


def _known(kind: str, name: str) -> str:
    if name not in plugins.discover()[kind]:
        try:
            plugins.ensure_loaded(kind, name)  # a plug-in may register what its source hides
        except UnknownNameError as error:
            raise UnknownNameError(str(error)) from None
    return name


def _external(
    tree: Mapping[str, Any],
    dataset: str,
    own_datasets: Sequence[str],
    args: SweepRequest,
    path: Path,
) -> tuple[Any, ...]:
    """``TEST.EXTERNAL`` by the flag, by the sweep for its own datasets, else left to the yaml."""
    value = tree.get("external")
    if args.external is not None:
        names = list(args.external)
    elif isinstance(value, Mapping):
        names = value.get(dataset)
    else:
        names = value if dataset in own_datasets else None
    if names is None:
        return ()
    if not isinstance(names, list):
        raise UserError(f"'external' in sweep {path} is a list of dataset names, not {names!r}")
    return ("TEST.EXTERNAL", tuple(_known("dataset", str(name)) for name in names))


def _seed(text: Any) -> int:
    word = str(text).strip()
    seed = number_in(word)
    if seed is None:
        raise UserError(f"seeds are whole numbers from 0, not {word!r}")
    return seed


def _check_folders_differ(runs: Sequence[RunSpec]) -> None:
    """Two entries of one trainer and name would write to one folder."""
    seen: set[tuple[Path, str]] = set()
    for run in runs:
        place = (run.key.folder(""), run.weights)
        if place in seen:
            raise UserError(
                f"the sweep has two entries of {run.trainer} named {run.variant!r}; give each "
                "another 'name:'"
            )
        seen.add(place)
