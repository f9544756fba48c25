"""What ``import cerviclip`` offers to Python: the commands as functions, for a notebook.

    import cerviclip

    run = cerviclip.train(
        dataset="PhantomOCT", trainer="LinearProbe", backbone="PhantomCLIP", shots=4
    )
    run.value("accuracy", "PhantomHuaxi")
    run.table()

Settings are merged as on the command line, and give the same numbers. For numbers that agree to
the last digit, use one of these functions before torch has computed anything: the first use fixes
the order of MKL's sums, as the commands do.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cerviclip import plugins as _plugins
from cerviclip.runs.many.tidy import long_table
from cerviclip.runs.many.tidy import read_results as read_results
from cerviclip.runs.run.process.summation_order import fix_summation_order
from cerviclip.runs.settings.folders import RESULTS
from cerviclip.runs.settings.requests import Opts, RunRequest, SweepRequest, flat_opts, several

fix_summation_order()  # before torch is imported

if TYPE_CHECKING:
    import pandas
    import torch

    from cerviclip.vlm import Backbone

Names = str | Path | Sequence[str | Path]


@dataclass(frozen=True)
class RunResult:
    """A run that is done.

    Attributes:
        folder: its folder: results.json, predictions.csv, checkpoints, figures, log.txt.
        results: the content of results.json.
    """

    folder: Path
    results: dict[str, Any] = field(repr=False)

    def value(self, metric: str = "accuracy", center: str = "test") -> float | None:
        """One number, such as ``value("binary.auc", "PhantomHuaxi")``; None if undefined."""
        from cerviclip.runs.report.groups import metric_value

        return metric_value(self.results["centers"].get(center), metric)

    def table(self) -> pandas.DataFrame:
        """All numbers, one row per centre and metric; see `read_results`."""
        return long_table([self.results | {"folder": str(self.folder)}])

    def predictions(self) -> pandas.DataFrame:
        """One row per image that was scored: centre, path, patient, label, probabilities."""
        import pandas

        return pandas.read_csv(self.folder / "predictions.csv", dtype={"patient_id": str})


@dataclass(frozen=True)
class SweepResult:
    """A sweep, as far as it came.

    Attributes:
        folder: its folder: results.md, summary.csv, summary.json and curves beside the runs.
        runs: the finished runs, in the order of the sweep.
        failed: the folders of those that failed; the same call tries them again.
    """

    folder: Path
    runs: list[RunResult] = field(repr=False)
    failed: list[Path] = field(default_factory=list)

    def table(self) -> pandas.DataFrame:
        """All numbers, one row per run, centre and metric; see `read_results`."""
        return long_table([run.results | {"folder": str(run.folder)} for run in self.runs])


def train(
    *,
    dataset: str,
    trainer: str,
    shots: int | str | None = None,
    seed: int | None = None,
    backbone: str = "",
    weights: str | Path = "",
    root: str | Path = "",
    output_dir: str | Path = "",
    variant: str = "default",
    opts: Opts | None = None,
    plugins: Names = (),
    head: str = "",
    source_domains: Names = (),
    target_domains: Names = (),
    transforms: Names = (),
    config_file: str | Path = "",
    dataset_config_file: str | Path = "",
    resume: str | Path = "",
    fresh: bool = False,
    echo: bool = True,
) -> RunResult:
    """Train and score one method on one data set: ``cerviclip train`` from Python.

    A finished run of the same settings is read, not made again.

    Args:
        dataset: a name of `list_datasets`.
        trainer: a name of `list_trainers`.
        shots: images per class from 1, or ``"full"``; None: as the yaml files say, else full.
        seed: of the draw and the training; None: as the yaml files say, else 1.
        backbone: a name of `list_backbones`; "": as the yaml files say.
        weights: the backbone's weights, a local file.
        root: folder of the data; "" for ``./data``.
        output_dir: the run's folder; "" for the usual one below ``./output``.
        variant: a name for these settings, part of the usual folder.
        opts: config keys: ``{"OPTIM.LR": 0.01}``, nested mappings, or a flat list.
        plugins: modules or files that register trainers and data sets.
        head: head of a plain CNN (Dassl's).
        source_domains: domains to train on.
        target_domains: domains to adapt to.
        transforms: training transforms, in order.
        config_file: the trainer's yaml; "" for the one found by name.
        dataset_config_file: the data set's yaml; "" for the one found by name.
        resume: folder of the run whose checkpoint is gone on from.
        fresh: run again; the old run is replaced when the new one is done.
        echo: print what goes to log.txt as well.

    Raises:
        UserError: something that was asked for cannot be; the message names the way out.
    """
    from cerviclip.runs.run.runner import run_one
    from cerviclip.runs.settings.configure import setup_cfg

    request = RunRequest(
        dataset=dataset,
        trainer=trainer,
        shots=shots,
        seed=seed,
        backbone=backbone,
        weights=str(weights),
        root=str(root),
        output_dir=str(output_dir),
        variant=variant,
        opts=flat_opts(opts),
        plugins=several(plugins),
        head=head,
        source_domains=several(source_domains),
        target_domains=several(target_domains),
        transforms=several(transforms),
        config_file=str(config_file),
        dataset_config_file=str(dataset_config_file),
        resume=str(resume),
        fresh=fresh,
    )
    cfg = setup_cfg(request)
    results = run_one(cfg, variant=request.variant, fresh=request.fresh, echo=echo)
    return RunResult(Path(cfg.OUTPUT_DIR), results)


def sweep(
    sweep: str | Path = "demo",
    *,
    datasets: Names = (),
    trainers: Names = (),
    shots: int | str | Sequence[int | str] = (),
    seeds: int | Sequence[int] = (),
    folds: int | None = None,
    repeats: int | None = None,
    external: Names | None = None,
    backbone: str = "",
    weights: str | Path = "",
    root: str | Path = "",
    output_dir: str | Path = "",
    variant: str = "",
    opts: Opts | None = None,
    plugins: Names = (),
    jobs: int = 1,
    fresh: bool = False,
    echo: bool = True,
) -> SweepResult:
    """Data sets x trainers x shots x seeds: ``cerviclip sweep`` from Python.

    Finished runs are read, the others are made. What is given overrides the sweep's yaml.

    Args:
        sweep: name of a yaml in configs/sweeps, or a path.
        datasets: names of `list_datasets`.
        trainers: names of `list_trainers`, or entries of the yaml by name.
        shots: images per class from 1, or ``"full"``.
        seeds: whole numbers from 0.
        folds: each run on so many folds by patient; 0 for a plain split, None as the yaml says.
        repeats: so many ways of dealing into folds; None as the yaml says.
        external: external centres to score; None leaves them to the yaml files.
        backbone: a name of `list_backbones`.
        weights: the backbone's weights, a local file.
        root: folder of the data; "" for ``./data``.
        output_dir: folder of the sweep; "" for ``./output``.
        variant: a name for these settings or data, part of every run's folder.
        opts: config keys of every run: ``{"OPTIM.LR": 0.01}``, nested mappings, or a flat list.
        plugins: modules or files that register trainers and data sets.
        jobs: processes at a time; above 1, a script needs ``if __name__ == "__main__":``.
        fresh: run finished runs again too.
        echo: print the progress and the tables.

    Raises:
        UserError: something that was asked for cannot be; no run was started.

    Warns:
        UserWarning: some runs failed.
    """
    from rich.console import Console

    from cerviclip.runs.results_json import read_results
    from cerviclip.runs.sweep.command import run_sweep

    request = SweepRequest(
        sweep=str(sweep),
        datasets=several(datasets),
        trainers=several(trainers),
        shots=several(shots),
        seeds=several(seeds),
        folds=folds,
        repeats=repeats,
        external=None if external is None else several(external),
        backbone=backbone,
        weights=str(weights),
        root=str(root),
        output_dir=str(output_dir),
        variant=variant,
        opts=flat_opts(opts),
        plugins=several(plugins),
        jobs=jobs,
        fresh=fresh,
    )
    with nullcontext() if echo else redirect_stdout(io.StringIO()):
        swept = run_sweep(request, Console(highlight=False, quiet=not echo))
    done, failed = [], []
    for folder in swept.folders:
        results = read_results(folder)
        if results is not None and results["status"] == "done":
            done.append(RunResult(folder, results))
        else:
            failed.append(folder)
    if failed:
        first = f"{failed[0] / RESULTS} says why"
        warnings.warn(f"{len(failed)} of {len(swept.folders)} runs failed; {first}", stacklevel=2)
    return SweepResult(swept.root, done, failed)


def load_backbone(
    name: str,
    weights: str | Path | None = None,
    precision: str = "fp32",
    device: str | torch.device = "cpu",
) -> Backbone:
    """A frozen backbone in evaluation mode, to encode images and texts with.

    Args:
        name: a name of `list_backbones`.
        weights: a local checkpoint instead of the download.
        precision: ``fp32``, ``amp``, ``fp16`` or ``bf16``.
        device: where to put it.

    Raises:
        UserError: no such backbone; weights that are missing, broken or of another architecture.
    """
    from cerviclip.vlm import load_backbone

    return load_backbone(name, weights, precision, device)


def list_trainers(plugins: Names = ()) -> dict[str, str]:
    """Every trainer with a line about it, those of the plug-ins too."""
    return _listed("trainer", plugins)


def list_datasets(plugins: Names = ()) -> dict[str, str]:
    """Every data set with a line about it, those of the plug-ins too."""
    return _listed("dataset", plugins)


def list_backbones() -> dict[str, str]:
    """Every backbone with a line about it."""
    return _listed("backbone")


def _listed(kind: str, plugins: Names = ()) -> dict[str, str]:
    _plugins.add_plugins(several(plugins))
    return {name: entry.summary for name, entry in _plugins.discover()[kind].items()}
