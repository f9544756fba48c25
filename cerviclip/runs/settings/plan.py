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
from cerviclip.runs.settings.folders import DEFAULT_ROOT
from cerviclip.runs.settings.requests import (
    RunRequest,
    SweepRequest,
    parse_folds,
    parse_shots,
)
from cerviclip.runs.settings.run_key import RunKey, shots_of
from cerviclip.runs.settings.sweep_file import (
    TrainerEntry,
    find_sweep,
    listed,
    read_entry,
    read_opts,
    read_sweep,
)
from dassl.errors import UnknownNameError, UserError

FOLD = "DATASET.FOLD"


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
    maker = _RunMaker(path, tree, [str(d) for d in listed(tree, "datasets")], args)
    datasets = [_known("dataset", d) for d in (args.datasets or maker.own_datasets)]
    own = [read_entry(item, path) for item in listed(tree, "trainers")]
    own += [_adopted_entry(adoption, args, tree) for adoption in of_yaml]
    entries = chosen_entries(own, args.trainers) if args.trainers else own
    entries = [*entries, *(_adopted_entry(adoption, args, tree) for adoption in of_flags)]
    shots = [parse_shots(k) for k in (args.shots or listed(tree, "shots"))]
    seeds = [_seed(s) for s in (args.seeds or listed(tree, "seeds"))]
    folds = parse_folds(tree.get("folds") if args.folds is None else args.folds)
    for kind, values in (("dataset", datasets), ("trainer", entries), ("shots", shots)):
        if not values:
            raise UserError(f"sweep {path} names no {kind}; add one, or give it by a flag")
    if not seeds:
        raise UserError(f"sweep {path} names no seeds; add 'seeds: [1, 2, 3]', or give --seeds")
    if args.jobs < 1:
        raise UserError(f"--jobs is {args.jobs}; give the number of processes, from 1")
    runs = list(
        dict.fromkeys(
            run
            for d in datasets
            for entry in entries
            for run in maker.runs(d, entry, shots, seeds, folds)
        )
    )
    _check_folders_differ(runs)
    order = list(dict.fromkeys((entry.trainer, entry.name) for entry in (*own, *entries)))
    root = Path(args.output_dir or DEFAULT_ROOT)
    return Plan(path.stem, runs, root, order, maker.unchosen(own, set(runs)))


@dataclass
class _RunMaker:
    """Makes runs out of what the yaml and the flags say of all of them."""

    path: Path
    tree: Mapping[str, Any]
    own_datasets: list[str]
    args: SweepRequest

    def runs(
        self,
        dataset: str,
        entry: TrainerEntry,
        shots: Sequence[int],
        seeds: Sequence[int],
        folds: int,
    ) -> Iterator[RunSpec]:
        """One trainer's runs on one dataset, on each of its folds; 0 folds: on a plain split."""
        args, tree = self.args, self.tree
        external = _external(tree, dataset, self.own_datasets, args, self.path)
        common = read_opts(tree.get("opts"), self.path)
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
            opts=(*external, *common, *entry.opts, *args.opts),
        )
        return (cell for one in _on_folds(spec, folds) for cell in _cells(one, shots, seeds))

    def unchosen(self, entries: Sequence[TrainerEntry], chosen: set[RunSpec]) -> list[RunSpec]:
        """The yaml's own runs without the chosen ones. Nobody asks for them now, so what cannot be
        (a trainer of a plug-in that is not given) is left out."""
        found: dict[RunSpec, None] = {}
        for dataset in self.own_datasets:
            for entry in entries:
                with suppress(UserError):
                    shots = [parse_shots(k) for k in listed(self.tree, "shots")]
                    seeds = [_seed(s) for s in listed(self.tree, "seeds")]
                    folds = parse_folds(self.tree.get("folds"))
                    _known("dataset", dataset)
                    found |= dict.fromkeys(self.runs(dataset, entry, shots, seeds, folds))
        return [run for run in found if run not in chosen]


def chosen_entries(own: Sequence[TrainerEntry], names: Sequence[str]) -> list[TrainerEntry]:
    """The entries that ``--trainers`` picks: by trainer or variant; others with plain settings."""
    chosen: list[TrainerEntry] = []
    for name in names:
        found = [entry for entry in own if name in (entry.trainer, entry.name)]
        chosen += found or [TrainerEntry(name)]
    return list(dict.fromkeys(chosen))


def _adopted_entry(adoption: Adoption, args: SweepRequest, tree: Mapping[str, Any]) -> TrainerEntry:
    """The entry of an adopted trainer, with the yaml of its repository for the sweep's backbone."""
    backbone = args.backbone or str(tree.get("backbone") or "")
    return TrainerEntry(
        adoption.label,
        config=adoption.config_for(backbone),
        opts=transform_opts(args.adopt_transforms),
    )


def _on_folds(spec: RunSpec, folds: int) -> list[RunSpec]:
    """The run on each fold, as an override says it: train.py alone makes the same run."""
    if not folds:
        return [spec]
    if FOLD in spec.opts[::2]:
        raise UserError(
            f"the sweep asks for {folds} folds, and an override sets {FOLD}; leave one of them out"
        )
    numbers = range(1, folds + 1)
    return [replace(spec, opts=(*spec.opts, FOLD, f"{n}/{folds}")) for n in numbers]


def _cells(spec: RunSpec, shots: Sequence[int], seeds: Sequence[int]) -> Iterator[RunSpec]:
    """A method that learns runs once per shots and seed, another once per dataset."""
    entry = plugins.discover()["trainer"].get(spec.trainer)
    needs_training = entry.needs_training if entry is not None else True
    if entry is None:
        needs_training = getattr(
            plugins.ensure_loaded("trainer", spec.trainer), "needs_training", True
        )
    if not needs_training:
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
    if not word.isascii() or not word.isdigit():
        raise UserError(f"seeds are whole numbers from 0, not {word!r}")
    return int(word)


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
