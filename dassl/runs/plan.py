"""A sweep's plan: which runs a yaml file and the flags ask for. Needs no torch."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from dassl import plugins
from dassl.errors import MissingFileError, UnknownNameError, UserError
from dassl.runs.flags import parse_shots
from dassl.runs.folders import DEFAULT_ROOT, safe_part
from dassl.runs.results import flatten

SWEEPS = plugins.PROJECT_ROOT / "configs" / "sweeps"
KEYS = {"datasets", "trainers", "shots", "seeds", "backbone", "external", "opts"}
ENTRY_KEYS = {"trainer", "name", "config", "backbone", "weights", "opts"}


@dataclass(frozen=True)
class TrainerEntry:
    """One line of a sweep's ``trainers``."""

    trainer: str
    name: str = "default"  # the variant
    config: str = ""
    backbone: str = ""
    weights: str = ""
    opts: tuple[Any, ...] = ()


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
        return "full" if self.num_shots < 0 else str(self.num_shots)

    @property
    def title(self) -> str:
        name = self.trainer if self.variant == "default" else f"{self.trainer} ({self.variant})"
        if self.num_shots == 0:
            return f"{name} on {self.dataset}"
        return f"{name} on {self.dataset}, shots {self.shots}, seed {self.seed}"

    def namespace(self, output_root: str | Path = DEFAULT_ROOT) -> argparse.Namespace:
        """The flags with which train.py alone would make the same run, below ``output_root``."""
        return argparse.Namespace(
            trainer=self.trainer,
            dataset=self.dataset,
            backbone=self.backbone,
            weights=self.weights,
            shots=self.shots,
            seed=self.seed,
            config_file=self.config,
            root=self.root,
            variant=self.variant,
            plugin=list(self.plugins),
            output_root=output_root,
            opts=list(self.opts),
        )


@dataclass
class Plan:
    """A sweep: its runs in order, and how its results are laid out."""

    name: str
    runs: list[RunSpec]
    output_root: Path
    order: list[tuple[str, str]] = field(default_factory=list)  # (trainer, variant), as listed


def make_plan(args: argparse.Namespace) -> Plan:
    """Read the sweep's yaml, let the flags override it, and list the runs.

    Raises:
        UserError: a key, name, shot count or seed that cannot be.
    """
    plugins.add_plugins(args.plugin)
    path = find_sweep(args.sweep)
    tree = read_sweep(path)
    own_datasets = [str(d) for d in _listed(tree, "datasets", path)]
    datasets = [_known("dataset", d, path) for d in (args.datasets or own_datasets)]
    listed = [_entry(item, path) for item in _listed(tree, "trainers", path)]
    entries = chosen_entries(listed, args.trainers) if args.trainers else listed
    shots = [parse_shots(k) for k in (args.shots or _listed(tree, "shots", path))]
    seeds = [_seed(s) for s in (args.seeds or _listed(tree, "seeds", path))]
    for kind, values in (("dataset", datasets), ("trainer", entries), ("shots", shots)):
        if not values:
            raise UserError(f"sweep {path} names no {kind}; add one, or give it by a flag")
    if not seeds:
        raise UserError(f"sweep {path} names no seeds; add 'seeds: [1, 2, 3]', or give --seeds")
    if args.jobs < 1:
        raise UserError(f"--jobs is {args.jobs}; give the number of processes, from 1")
    common = _opts(tree.get("opts"), path)
    runs: dict[RunSpec, None] = {}
    for dataset in datasets:
        external = _external(tree, dataset, own_datasets, args, path)
        for entry in entries:
            spec = RunSpec(
                dataset=dataset,
                trainer=_known("trainer", entry.trainer, path),
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
            for run in _cells(spec, shots, seeds):
                runs[run] = None
    _check_folders_differ(list(runs))
    order = [(entry.trainer, entry.name) for entry in entries]
    return Plan(path.stem, list(runs), Path(args.output_dir or DEFAULT_ROOT), order)


def find_sweep(sweep: str) -> Path:
    """A yaml by its name in configs/sweeps, or by its path."""
    direct = Path(sweep).expanduser()
    for path in (SWEEPS / f"{sweep}.yaml", direct, plugins.PROJECT_ROOT / sweep):
        if path.is_file():
            return path
    names = sorted(path.stem for path in SWEEPS.glob("*.yaml"))
    hint = plugins.did_you_mean(sweep, names)
    raise MissingFileError(f"no sweep {sweep!r}{hint} (in configs/sweeps: {', '.join(names)})")


def read_sweep(path: Path) -> dict[str, Any]:
    """The yaml's tree, its keys checked."""
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(
            f"sweep {path} is not valid yaml: {' '.join(str(error).split())}"
        ) from error
    if not isinstance(tree, dict):
        raise UserError(f"sweep {path} must hold keys such as 'trainers:', not a list")
    for key in tree:
        if key not in KEYS:
            hint = plugins.did_you_mean(str(key), KEYS)
            raise UserError(f"unknown key {key!r} in sweep {path}{hint} (keys: {_join(KEYS)})")
    return tree


def chosen_entries(listed: Sequence[TrainerEntry], names: Sequence[str]) -> list[TrainerEntry]:
    """The entries that ``--trainers`` picks: by trainer or variant; others with plain settings."""
    chosen: list[TrainerEntry] = []
    for name in names:
        found = [entry for entry in listed if name in (entry.trainer, entry.name)]
        chosen += found or [TrainerEntry(name)]
    return list(dict.fromkeys(chosen))


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


def _known(kind: str, name: str, path: Path) -> str:
    if name not in plugins.discover()[kind]:
        try:
            plugins.ensure_loaded(kind, name)  # a plug-in may register what its source hides
        except UnknownNameError as error:
            raise UnknownNameError(str(error)) from None
    return name


def _entry(item: Any, path: Path) -> TrainerEntry:
    if isinstance(item, str):
        return TrainerEntry(item)
    if not isinstance(item, Mapping) or "trainer" not in item:
        raise UserError(
            f"in sweep {path} an entry of 'trainers' is a name or has 'trainer: NAME', not {item!r}"
        )
    for key in item:
        if key not in ENTRY_KEYS:
            hint = plugins.did_you_mean(str(key), ENTRY_KEYS)
            raise UserError(
                f"unknown key {key!r} of trainer {item['trainer']} in sweep {path}{hint} "
                f"(keys: {_join(ENTRY_KEYS)})"
            )
    return TrainerEntry(
        trainer=str(item["trainer"]),
        name=str(item.get("name") or "default"),
        config=str(item.get("config") or ""),
        backbone=str(item.get("backbone") or ""),
        weights=str(item.get("weights") or ""),
        opts=_opts(item.get("opts"), path),
    )


def _opts(value: Any, path: Path) -> tuple[Any, ...]:
    """Overrides as a flat (KEY, VALUE, ...) tuple; yaml may give a mapping or that list."""
    if not value:
        return ()
    if isinstance(value, Mapping):
        pairs = list(flatten(value).items())
    elif isinstance(value, list) and len(value) % 2 == 0:
        pairs = list(zip(value[::2], value[1::2], strict=True))
    else:
        raise UserError(f"'opts' in sweep {path} is a mapping KEY: VALUE, not {value!r}")
    return tuple(x for key, v in pairs for x in (str(key), _hashable(v)))


def _hashable(value: Any) -> Any:
    return tuple(_hashable(v) for v in value) if isinstance(value, (list, tuple)) else value


def _external(
    tree: Mapping[str, Any],
    dataset: str,
    own_datasets: Sequence[str],
    args: argparse.Namespace,
    path: Path,
) -> tuple[Any, ...]:
    """``TEST.EXTERNAL`` by the flag, by the sweep for its own datasets, else left to the yaml."""
    value = tree.get("external")
    if args.external is not None:
        names = args.external
    elif isinstance(value, Mapping):
        names = value.get(dataset)
    else:
        names = value if dataset in own_datasets else None
    if names is None:
        return ()
    if not isinstance(names, list):
        raise UserError(f"'external' in sweep {path} is a list of dataset names, not {names!r}")
    return ("TEST.EXTERNAL", tuple(_known("dataset", str(name), path) for name in names))


def _listed(tree: Mapping[str, Any], key: str, path: Path) -> list[Any]:
    value = tree.get(key)
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _seed(text: Any) -> int:
    word = str(text).strip()
    if not word.isascii() or not word.isdigit():
        raise UserError(f"seeds are whole numbers from 0, not {word!r}")
    return int(word)


def _check_folders_differ(runs: Sequence[RunSpec]) -> None:
    """Two entries of one trainer and name would write to one folder."""
    seen: dict[tuple, RunSpec] = {}
    for run in runs:
        key = (
            run.dataset, run.trainer, safe_part(run.variant), safe_part(run.backbone), run.weights,
            run.num_shots, run.seed,
        )  # fmt: skip
        if key in seen:
            raise UserError(
                f"the sweep has two entries of {run.trainer} named {run.variant!r}; give each "
                "another 'name:'"
            )
        seen[key] = run


def _join(names: set[str]) -> str:
    return ", ".join(sorted(names))
