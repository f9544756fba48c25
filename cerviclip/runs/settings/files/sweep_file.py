"""A sweep's yaml: found, read, and its keys checked. Needs no torch."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cerviclip.places import HOME, RECIPES, SWEEPS
from cerviclip.runs.settings.files.named_yaml import check_keys
from cerviclip.runs.settings.requests import flat_opts
from dassl.config.values import decode
from dassl.config.yaml_file import odd_number, read_typed
from dassl.errors import MissingFileError, UserError, did_you_mean
from dassl.paths import at_home, is_file

KEYS = {
    *("datasets", "trainers", "shots", "seeds", "draws", "backbone", "external", "opts"),
    *("folds", "repeats", "leave_one_center_out", "base_to_new", "adopt", "settings"),
}
_NUMBERS = {"shots", "seeds", "draws", "folds", "repeats"}
MOST_SETTINGS = 10_000  # of one grid
ENTRY_KEYS = {"trainer", "name", "config", "backbone", "weights", "opts", "grid"}


@dataclass(frozen=True)
class TrainerEntry:
    """One line of a sweep's ``trainers``."""

    trainer: str
    name: str = "default"  # the variant
    config: str = ""
    backbone: str = ""
    weights: str = ""
    opts: tuple[Any, ...] = ()


def find_sweep(sweep: str) -> Path:
    """A yaml by its name in configs/sweeps or configs/recipes, or by its path.

    ``recipes/NAME`` is a recipe in any case; of a bare name that both folders have, the sweep.
    """
    direct = at_home(sweep)
    recipe = RECIPES / f"{sweep.removeprefix('recipes/')}.yaml"
    for path in (SWEEPS / f"{sweep}.yaml", recipe, direct, HOME / sweep):
        if is_file(path):
            return path
    names = sweep_names()
    hint = did_you_mean(sweep, names)
    raise MissingFileError(
        f"no sweep {sweep!r}{hint} (in configs/sweeps and configs/recipes: {', '.join(names)})"
    )


def sweep_names() -> list[str]:
    """Every name that ``find_sweep`` knows, sorted; recipes as ``recipes/NAME``."""
    recipes = [f"recipes/{path.stem}" for path in RECIPES.glob("*.yaml")]
    return sorted([*(path.stem for path in SWEEPS.glob("*.yaml")), *recipes])


def read_sweep(path: Path) -> dict[str, Any]:
    """The yaml's tree, its keys checked."""
    file = read_typed(path, "sweep", "keys such as 'trainers:'")
    check_keys(file.tree, KEYS, f"sweep {path}")
    for key in sorted(_NUMBERS & {key for key, value in file.tree.items() if value is not None}):
        for value, text in zip(listed(file.tree, key), listed(file.typed, key), strict=True):
            if odd := odd_number(value, text):
                raise UserError(f"'{key}' in sweep {path} has {odd}")
    return file.tree


def read_entries(item: Any, path: Path) -> list[TrainerEntry]:
    """What an entry of ``trainers`` asks for: a name, or a mapping that has ``trainer: NAME``.

    Returns:
        One entry, or with ``grid: {KEY: [VALUE, ...]}`` one for each combination of its values,
        whose variant names them.
    """
    if isinstance(item, str):
        return [TrainerEntry(item)]
    entry = _read_entry(item, path)
    if item.get("grid") is None:
        return [entry]
    return [
        replace(entry, name=name, opts=(*entry.opts, *opts))
        for name, opts in _grid_points(item["grid"], entry, path)
    ]


def _grid_points(
    grid: Any, entry: TrainerEntry, path: Path
) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Name and overrides of each combination of a grid's values; the last key runs fastest."""
    where = f"'grid' of trainer {entry.trainer} in sweep {path}"
    lists = grid.values() if isinstance(grid, Mapping) else ()
    if not lists or not all(isinstance(values, list) and values for values in lists):
        raise UserError(f"{where} is {{KEY: [VALUE, ...]}} such as {{OPTIM.LR: [0.01, 0.1]}}")
    if (number := math.prod(map(len, lists))) > MOST_SETTINGS:
        raise UserError(f"{where} has {number:,} combinations, more than {MOST_SETTINGS:,}")
    for key, values in grid.items():
        meant = [repr(decode(value)) for value in values]
        for value, text in zip(values, meant, strict=True):
            if meant.count(text) > 1:
                raise UserError(f"{where} has {key} {value} twice; it would count as two tries")
    first = [] if entry.name == "default" else [entry.name]
    for values in itertools.product(*grid.values()):
        said = [f"{str(k).rsplit('.', 1)[-1]}{v}" for k, v in zip(grid, values, strict=True)]
        yield "-".join(first + said), flat_opts(dict(zip(grid, values, strict=True)), f"in {where}")


def _read_entry(item: Any, path: Path) -> TrainerEntry:
    if not isinstance(item, Mapping) or "trainer" not in item:
        raise UserError(
            f"in sweep {path} an entry of 'trainers' is a name or has 'trainer: NAME', not {item!r}"
        )
    check_keys(item, ENTRY_KEYS, f"trainer {item['trainer']} of sweep {path}")
    return TrainerEntry(
        trainer=str(item["trainer"]),
        name=str(item.get("name") or "default"),
        config=str(item.get("config") or ""),
        backbone=str(item.get("backbone") or ""),
        weights=str(item.get("weights") or ""),
        opts=read_opts(item.get("opts"), path),
    )


def read_opts(value: Any, path: Path) -> tuple[Any, ...]:
    """Overrides as a flat (KEY, VALUE, ...) tuple; yaml may give a mapping or that list."""
    return flat_opts(value, f"in sweep {path}")


def listed(tree: Mapping[str, Any], key: str) -> list[Any]:
    """A key's values; yaml may give one value or a list of them."""
    value = tree.get(key)
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def switched_on(tree: Mapping[str, Any], key: str, path: Path) -> bool:
    """A key that takes true or false."""
    value = tree.get(key, False)
    if not isinstance(value, bool):
        raise UserError(f"'{key}' in sweep {path} is true or false, not {value!r}")
    return value
