"""What is asked of a run or a sweep, by keyword: one form for the flags, for a sweep's plan and for
Python. Needs no torch."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cerviclip.data.split.folds import MOST_FOLDS
from cerviclip.runs.settings.config_hash import flatten
from dassl.errors import UserError

#: Overrides as Python gives them: ``{"OPTIM.LR": 0.1}``, ``{"OPTIM": {"LR": 0.1}}`` or a flat list.
Opts = Mapping[str, Any] | Sequence[Any]


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """One run, or the evaluation of one. What is not given is left to the yaml files.

    Attributes:
        trainer: registered name of the method.
        dataset: registered name of the data set.
        backbone: such as ``ViT-B/16`` or ``PhantomCLIP``.
        head: head of a plain CNN (Dassl's).
        shots: images per class from 1, ``"full"``, or None.
        seed: of the draw and the training; None or -1 leaves it to the yaml files, else 1.
        weights: the backbone's weights, a local file.
        source_domains: domains to train on.
        target_domains: domains to adapt to.
        transforms: training transforms, in order.
        root: folder of the data.
        split: a run's split.json or a published one, whose split and draw are repeated.
        output_dir: the run's folder; "" for the usual one below ``output_root``.
        output_root: "" for ``./output``.
        config_file: the trainer's yaml instead of the one found by name.
        dataset_config_file: the data set's yaml instead of the one found by name.
        variant: names the folder of other settings.
        plugins: modules or files that register trainers and data sets.
        opts: flat (KEY, VALUE, ...) overrides, the last word.
        resume: folder of the run whose checkpoint is gone on from.
        evaluate: folder of a finished run to score instead of training one.
        load_epoch: score that epoch's checkpoint; None for the final model.
        train: False builds everything, as a check, and trains nothing.
        fresh: run again, and replace the old run when the new one is done.
    """

    trainer: str = ""
    dataset: str = ""
    backbone: str = ""
    head: str = ""
    shots: int | str | None = None
    seed: int | None = None
    weights: str = ""
    source_domains: tuple[str, ...] = ()
    target_domains: tuple[str, ...] = ()
    transforms: tuple[str, ...] = ()
    root: str = ""
    split: str = ""
    output_dir: str = ""
    output_root: str = ""
    config_file: str = ""
    dataset_config_file: str = ""
    variant: str = "default"
    plugins: tuple[str, ...] = ()
    opts: tuple[Any, ...] = ()
    resume: str = ""
    evaluate: str = ""
    load_epoch: int | None = None
    train: bool = True
    fresh: bool = False


@dataclass(frozen=True, kw_only=True)
class SweepRequest:
    """A sweep. What is given overrides the sweep's yaml.

    Attributes:
        sweep: name of a yaml in configs/sweeps, or a path.
        datasets: registered names.
        trainers: trainers, or entries of the yaml by name.
        shots: images per class from 1, or ``"full"``.
        seeds: whole numbers from 0.
        folds: every run on each of so many folds, from 2; 0 for one plain split, None leaves it to
            the yaml.
        repeats: so many ways of dealing into folds, from 1; None leaves it to the yaml.
        external: external centres to score; None leaves them to the yaml files.
        backbone: for entries without one of their own.
        weights: the backbone's weights, a local file.
        adopt: trainers of published repositories, each ``NAME=path[:Trainer[:yaml]]``.
        adopt_transforms: whose transforms they have, ``theirs`` or ``ours``.
        plugins: modules or files that register trainers and data sets.
        opts: flat (KEY, VALUE, ...) overrides of every run.
        root: folder of the data.
        split: a split.json, or a published set of them, which then says shots, seeds and folds.
        output_dir: folder of the sweep; "" for ``./output``.
        variant: a name for this sweep's settings or data, part of every run's folder.
        jobs: processes at a time; one per GPU.
        launcher: ``slurm`` or ``local``: each run is in a job; "" for ``jobs`` processes.
        array_parallelism: jobs at work at a time; None for 64 on Slurm, ``jobs`` locally.
        partition: Slurm's; "" for its default.
        time: limit of a job as Slurm writes it; "" for four hours.
        cpus: of a job; None for 4.
        gpus: of a job; None for none.
        mem: of a job in GB; "" leaves it to the cluster.
        slurm: more options of sbatch, each ``NAME=VALUE``.
        pack: the most cheap runs of one backbone in one job; None for 20.
        retries: how many times a failed run is tried again.
        wait: False submits to Slurm and ends; the same sweep later waits.
        dry_run: show what would be run.
        fresh: run finished runs again too.
        debug: show the traceback of every error.
    """

    sweep: str = "demo"
    datasets: tuple[str, ...] = ()
    trainers: tuple[str, ...] = ()
    shots: tuple[int | str, ...] = ()
    seeds: tuple[int | str, ...] = ()
    folds: int | str | None = None
    repeats: int | str | None = None
    external: tuple[str, ...] | None = None
    backbone: str = ""
    weights: str = ""
    adopt: tuple[str, ...] = ()
    adopt_transforms: str = "theirs"
    plugins: tuple[str, ...] = ()
    opts: tuple[Any, ...] = ()
    root: str = ""
    split: str = ""
    output_dir: str = ""
    variant: str = ""
    jobs: int = 1
    launcher: str = ""
    array_parallelism: int | None = None
    partition: str = ""
    time: str = ""
    cpus: int | None = None
    gpus: int | None = None
    mem: str = ""
    slurm: tuple[str, ...] = ()
    pack: int | None = None
    retries: int = 0
    wait: bool = True
    dry_run: bool = False
    fresh: bool = False
    debug: bool = False


_DIGITS = 18  # Python refuses to read thousands of digits, and nothing here counts so far


def flat_opts(value: Opts | None, where: str = "") -> tuple[Any, ...]:
    """Overrides as a flat (KEY, VALUE, ...) tuple that can be hashed.

    Args:
        value: a mapping, nested or with dotted keys, or a flat list of keys and values.
        where: named in the error, such as "in sweep my.yaml".

    Raises:
        UserError: neither of them.
    """
    if not value:
        return ()
    if isinstance(value, Mapping):
        pairs = list(flatten(value).items())
    elif isinstance(value, (list, tuple)) and len(value) % 2 == 0:
        pairs = list(zip(value[::2], value[1::2], strict=True))
    else:
        raise UserError(f"'opts'{where and ' ' + where} is a mapping KEY: VALUE, not {value!r}")
    named = f"'opts'{where and ' ' + where}"
    return tuple(x for key, v in pairs for x in (str(key), _hashable(v, f"{named}: {key}")))


def parse_shots(text: str | int) -> int:
    """DATASET.NUM_SHOTS of what a user wrote: a whole number from 0, or -1 for ``full``."""
    word = str(text).strip()
    if word.lower() == "full":
        return -1
    shots = number_in(word)
    if shots is None:
        raise UserError(f"shots are a whole number from 1, or 'full', not {word!r}")
    return shots


def parse_folds(text: str | int | None) -> int:
    """Number of folds of what a user wrote: a whole number from 2, or 0 for one plain split."""
    word = str(0 if text is None else text).strip()
    folds = number_in(word)
    if folds is None or folds == 1 or folds > MOST_FOLDS:
        raise UserError(
            f"folds are a whole number from 2 to {MOST_FOLDS}, or 0 for a plain split, not {word!r}"
        )
    return folds


def parse_count(text: Any, what: str) -> int:
    """A whole number from 1 of what a user wrote.

    Args:
        text: as it was written.
        what: it is, for the error.
    """
    word = str(text).strip()
    count = None if isinstance(text, bool) else number_in(word)
    if count is None or not 1 <= count <= MOST_FOLDS:
        raise UserError(f"{what} are a whole number from 1 to {MOST_FOLDS}, not {word!r}")
    return count


def number_in(word: str) -> int | None:
    """The whole number from 0 that a word is; None for another word, or one of too many digits."""
    fits = word.isascii() and word.isdigit() and len(word) <= _DIGITS
    return int(word) if fits else None


def several(value: Any) -> tuple[Any, ...]:
    """Several values, of which a caller in Python may give one alone; paths as text."""
    values = (value,) if isinstance(value, (str, Path, int)) else tuple(value)
    return tuple(str(v) if isinstance(v, Path) else v for v in values)


def _hashable(value: Any, named: str) -> Any:
    """The value with tuples for lists.

    Raises:
        UserError: a mapping or set is within a list.
    """
    if isinstance(value, (list, tuple)):
        return tuple(_hashable(v, named) for v in value)
    if isinstance(value, Hashable):
        return value
    raise UserError(f"{named} has {value!r} within a list; give plain values, or a key for each")
