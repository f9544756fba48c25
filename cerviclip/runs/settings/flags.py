"""The flags of train.py and run_shell.py: CoOp's, and a few more. Imports nothing heavy."""

from __future__ import annotations

import argparse
from dataclasses import fields
from typing import Any, TypeVar

from cerviclip.adopt.spec import read_adoption
from cerviclip.adopt.transforms import transform_opts
from cerviclip.runs.settings.completion import config_keys, names_of, offer, sweeps
from cerviclip.runs.settings.parser import Parser, add_debug_flag, add_plugin_flag
from cerviclip.runs.settings.requests import RunRequest, SweepRequest
from dassl.errors import UserError

Request = TypeVar("Request", RunRequest, SweepRequest)
TRAIN, SWEEP = "python train.py", "python run_shell.py"


TRAIN_EPILOG = """\
examples:
  %(prog)s --trainer CoOp --dataset PhantomOCT --shots 16 --seed 1
  %(prog)s --trainer SAVLT --dataset MixedCenterOCT --root /data/oct --backbone ViT-B/16 \\
      --weights ViT-B-16.pt --shots 16 TEST.EXTERNAL "['HuaxiOCT', 'XiangyaOCT']"
  %(prog)s --trainer LinearProbe --backbone PhantomCLIP --shots 16 --root data \\
      --dataset FolderDataset DATASET.FOLDER my_images DATASET.PATIENT_PATTERN '(P[0-9]+)_' \\
      DATASET.POSITIVE "('HSIL','SCC')" DATASET.EXTERNAL_FOLDERS.HospitalB hospital_b
  %(prog)s --eval-only --model-dir output/PhantomOCT/CoOp/PhantomCLIP/default/shots_16/seed_1

The run's folder holds results.json (all numbers, with intervals), predictions.csv (one line per
test image), figures, history.csv, log.txt, split.json (who was drawn) and config.yaml.
Exit status: 0 done, 1 the run failed, 2 something to correct in the command, 130 Ctrl-C."""


def train_parser(prog: str = TRAIN) -> Parser:
    """Flags of one run."""
    parser = Parser(
        prog=prog,
        allow_abbrev=False,
        description="Train one method on one dataset, score its test set and the external centres.",
        epilog=TRAIN_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_argument_group("what to run (names: cerviclip list)")
    trainer = what.add_argument(
        "--trainer", default="", metavar="NAME", help="the method, such as CoOp"
    )
    dataset = what.add_argument("--dataset", default="", metavar="NAME", help="such as PhantomOCT")
    backbone = what.add_argument(
        "--backbone", default="", metavar="NAME", help="such as ViT-B/16, PhantomCLIP"
    )
    what.add_argument("--head", default="", metavar="NAME", help="head of a plain CNN (Dassl's)")
    what.add_argument("--shots", metavar="K", help="images per class, or 'full'")
    what.add_argument(
        "--seed", type=int, default=-1, metavar="S", help="draw and training; default 1"
    )
    what.add_argument("--weights", default="", metavar="FILE", help="the backbone's weights, local")
    what.add_argument(
        "--source-domains", nargs="+", default=[], metavar="D", help="domains to train on"
    )
    what.add_argument(
        "--target-domains", nargs="+", default=[], metavar="D", help="domains to adapt to"
    )
    what.add_argument(
        "--transforms", nargs="+", default=[], metavar="T", help="training transforms, in order"
    )
    what.add_argument(
        "--adopt", default="", metavar="NAME=REPOSITORY[:TRAINER[:YAML]]",
        help="the trainer of a published repository (cerviclip adopt REPOSITORY lists them)",
    )  # fmt: skip
    add_transforms_flag(what)
    where = parser.add_argument_group("where things are")
    where.add_argument("--root", default="", metavar="DIR", help="the data; default ./data")
    where.add_argument(
        "--split", default="", metavar="FILE", help="a split.json, to use its split and draw"
    )
    where.add_argument(
        "--output-dir", default="", metavar="DIR", help="this run's folder; default: under ./output"
    )
    where.add_argument("--config-file", default="", metavar="YAML", help="the trainer's settings")
    where.add_argument("--dataset-config-file", default="", metavar="YAML", help="the dataset's")
    where.add_argument(
        "--variant", default="default", metavar="NAME", help="names other settings' folder"
    )
    add_plugin_flag(where)
    how = parser.add_argument_group("how")
    how.add_argument("--resume", default="", metavar="DIR", help="go on from that run's checkpoint")
    how.add_argument("--eval-only", action="store_true", help="score the model in --model-dir")
    how.add_argument("--model-dir", default="", metavar="RUN", help="a finished run's folder")
    how.add_argument(
        "--load-epoch", type=int, metavar="N", help="that epoch's checkpoint, not the last"
    )
    how.add_argument("--no-train", action="store_true", help="build everything, train nothing")
    how.add_argument(
        "--fresh", action="store_true", help="run again; replaces the old run when done"
    )
    how.add_argument("--list", action="store_true", help="list trainers, datasets and backbones")
    add_debug_flag(how)
    opts = parser.add_argument(
        "opts",
        nargs=argparse.REMAINDER,
        metavar="KEY VALUE",
        help="config keys, last: OPTIM.LR 0.01",
    )
    offer(opts, config_keys)
    for action, kind in ((trainer, "trainer"), (dataset, "dataset"), (backbone, "backbone")):
        offer(action, names_of(kind))
    return parser


def add_transforms_flag(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--adopt-transforms", default="theirs", choices=("theirs", "ours"),
        help="transforms of adopted trainers: their yaml's, or those of our own prompt learners",
    )  # fmt: skip


def run_request(args: argparse.Namespace) -> RunRequest:
    """What the flags of `train_parser` ask for.

    Raises:
        UserError: a flag that argparse took for a trailing override, or ``--eval-only`` alone.
    """
    for word in args.opts[::2]:
        if word == "--":
            raise UserError("-- has no meaning here: leave it out, and put flags before KEY VALUE")
        if word.startswith("--"):
            raise UserError(f"flag {word} stands after KEY VALUE overrides; put it before them")
    if args.eval_only and not args.model_dir:
        raise UserError("--eval-only needs --model-dir RUN, the folder of a finished run")
    for flag, value in (("--model-dir", args.model_dir), ("--load-epoch", args.load_epoch)):
        if value and not args.eval_only:
            raise UserError(
                f"{flag} {value} says which model to score and needs --eval-only; to go on with a "
                "training, give --resume RUN"
            )
    evaluate = args.model_dir if args.eval_only else ""
    return _filled(
        RunRequest, args, evaluate=evaluate, train=not args.no_train, **_adopted_fields(args)
    )


def _adopted_fields(args: argparse.Namespace) -> dict[str, Any]:
    """What ``--adopt`` means for one run: a plug-in, a trainer, its yaml, transforms."""
    if not args.adopt:
        return {}
    adoption = read_adoption(args.adopt)
    if args.trainer not in ("", adoption.label):
        raise UserError(f"--adopt {args.adopt} and --trainer {args.trainer}: give one of them")
    return {
        "trainer": adoption.label,
        "plugins": (*args.plugins, adoption.plugin),
        "config_file": args.config_file or adoption.config_for(args.backbone),
        "opts": (*transform_opts(args.adopt_transforms), *args.opts),
    }


def sweep_request(args: argparse.Namespace) -> SweepRequest:
    """What the flags of `sweep_parser` ask for."""
    return _filled(SweepRequest, args)


def _filled(kind: type[Request], args: argparse.Namespace, **given: Any) -> Request:
    """A request whose fields have the values of the flags of the same names."""
    flags = {f.name: getattr(args, f.name) for f in fields(kind) if hasattr(args, f.name)}
    flags = {name: tuple(v) if isinstance(v, list) else v for name, v in flags.items()}
    return kind(**flags | given)


SWEEP_EPILOG = """\
examples:
  %(prog)s                                   the demo sweep (configs/sweeps/demo.yaml)
  %(prog)s --trainers CoOp SAVLT --shots 1 4 16 --seeds 1 2 3 --datasets PhantomOCT
  %(prog)s --datasets FolderDataset --trainers LinearProbe CoOp --shots 4 16 \\
      --seeds 1 2 3 --backbone PhantomCLIP --root data --output-dir results --opts \\
      DATASET.FOLDER my_images DATASET.PATIENT_PATTERN '(P[0-9]+)_' \\
      DATASET.EXTERNAL_FOLDERS.HospitalB hospital_b
  %(prog)s --sweep my_sweep.yaml --output-dir results --jobs 2     (docs/sweep_file.md)
  %(prog)s --sweep my_sweep.yaml --launcher slurm --partition gpu --gpus 1 --time 8:00:00

Finished runs are skipped, failed ones are tried again; so the same command goes on after a stop.
Beside the runs it leaves summary.csv, summary.json, results.md and figures; with --folds also
pooled.json, which scores all folds' test predictions together. They cover all runs of the sweep's
yaml that are there, so a sweep may be made in pieces (--trainers, --shots, --seeds).
Exit status: 0 done, 1 some run failed, 2 something to correct (nothing was run), 130 Ctrl-C."""


def sweep_parser(prog: str = SWEEP) -> Parser:
    """Flags of a sweep; those given override the sweep's yaml."""
    parser = Parser(
        prog=prog,
        allow_abbrev=False,
        description="Run datasets x trainers x shots x seeds, then print one table of all centres.",
        epilog=SWEEP_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_argument_group("what to run (names: cerviclip list)")
    sweep = what.add_argument(
        "--sweep",
        default="demo",
        metavar="NAME|YAML",
        help="in configs/sweeps or configs/recipes, or a path",
    )
    trainers = what.add_argument(
        "--trainers", nargs="+", default=[], metavar="NAME", help="trainers or entries by name"
    )
    datasets = what.add_argument(
        "--datasets",
        nargs="+",
        default=[],
        metavar="NAME",
        help="data sets; FolderDataset is a folder or list of your own",
    )
    what.add_argument(
        "--shots", nargs="+", default=[], metavar="K", help="whole numbers from 1, or 'full'"
    )
    what.add_argument(
        "--seeds", nargs="+", default=[], metavar="S", help="each a draw of the shots: 1 2 3"
    )
    what.add_argument(
        "--folds", metavar="N", help="each run on N folds by patient (cross-validation); 0: none"
    )
    what.add_argument(
        "--repeats", metavar="R", help="number of repetitions of the folds (repeated k-fold)"
    )
    external = what.add_argument(
        "--external", nargs="*", metavar="NAME", help="external centres to score"
    )
    backbone = what.add_argument(
        "--backbone", default="", metavar="NAME", help="of entries that name none: ViT-B/16 ..."
    )
    what.add_argument("--weights", default="", metavar="FILE", help="the backbone's weights, local")
    opts = what.add_argument(
        "--opts", nargs="+", default=[], metavar="KEY VALUE", help="config keys of every run"
    )
    what.add_argument(
        "--adopt", action="append", default=[], metavar="NAME=REPOSITORY[:TRAINER[:YAML]]",
        help="also the trainer of a published repository, as it is (may be repeated)",
    )  # fmt: skip
    add_transforms_flag(what)
    add_plugin_flag(what)
    where = parser.add_argument_group("where and how")
    where.add_argument("--root", default="", metavar="DIR", help="the data; default ./data")
    where.add_argument(
        "--split",
        default="",
        metavar="SET",
        help="published splits, to use their splits and draws",
    )
    where.add_argument("--output-dir", default="", metavar="DIR", help="default ./output")
    where.add_argument(
        "--variant", default="", metavar="NAME", help="names other settings' or data's folders"
    )
    where.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="processes; one per GPU; default: 1"
    )
    where.add_argument(
        "--retries",
        type=int,
        default=0,
        metavar="N",
        help="how often to repeat a failed run; default: 0",
    )
    where.add_argument("--dry-run", action="store_true", help="show what would be run")
    where.add_argument("--fresh", action="store_true", help="run finished runs again too")
    add_debug_flag(where)
    add_launcher_flags(parser)
    offer(sweep, sweeps)
    offer(opts, config_keys)
    offer(trainers, names_of("trainer"))
    offer(backbone, names_of("backbone"))
    for action in (datasets, external):
        offer(action, names_of("dataset"))
    return parser


def add_launcher_flags(parser: argparse.ArgumentParser) -> None:
    """Where a sweep's runs are jobs."""
    jobs = parser.add_argument_group("runs as jobs (docs/cluster.md)")
    jobs.add_argument(
        "--launcher", default="", choices=("local", "slurm"),
        help="each run in a job: of Slurm, or a process of this machine",
    )  # fmt: skip
    jobs.add_argument(
        "--array-parallelism", type=int, metavar="N",
        help="jobs at work at a time; default 64, on this machine --jobs",
    )  # fmt: skip
    jobs.add_argument("--partition", default="", metavar="NAME", help="Slurm's")
    jobs.add_argument(
        "--time", default="", metavar="T", help="limit of a job: minutes or H:MM:SS; default 4 h"
    )
    jobs.add_argument("--cpus", type=int, metavar="N", help="of a job; default 4")
    jobs.add_argument("--gpus", type=int, metavar="N", help="of a job; default none")
    jobs.add_argument("--mem", default="", metavar="GB", help="of a job; default: the cluster's")
    jobs.add_argument(
        "--pack", type=int, metavar="N",
        help="the most runs of seconds, of one data set and backbone, in one job; default 20",
    )  # fmt: skip
    jobs.add_argument(
        "--slurm", action="append", default=[], metavar="NAME=VALUE",
        help="another option of sbatch, such as qos=low (may be repeated)",
    )  # fmt: skip
    jobs.add_argument(
        "--no-wait", action="store_false", dest="wait",
        help="submit to Slurm and end; the same command later waits and makes the tables",
    )  # fmt: skip
