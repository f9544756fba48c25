"""Goal: transfer along a chain of data sets: train, swap the head for the next classes, go on.

Usage:
    cerviclip chain CHAIN.yaml --root $DATA --weights resnet50.pth
    cerviclip chain deep_cervical_cancer --root $DATA --output-dir output/triple
    for S in 1 2 3; do cerviclip chain deep_cervical_cancer --root $DATA --seed $S; done

The same command goes on where it was cut off, between stages or within one. OUT/1-SIPaKMeD is an
ordinary run of CNNBaseline, OUT/weights/1-SIPaKMeD.safetensors what the next stage starts from.
Exit status: 0 done, 2 something to correct.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cerviclip.counted import counted
from cerviclip.places import CHAINS
from cerviclip.runs.run.process.summation_order import fix_summation_order
from cerviclip.runs.settings.files.named_yaml import check_keys, find_yaml
from cerviclip.runs.settings.folders import DEFAULT_ROOT, safe_part
from cerviclip.runs.settings.parser import Parser, add_debug_flag, add_plugin_flag
from cerviclip.runs.settings.requests import RunRequest, flat_opts
from cerviclip.runs.study_title import check_titles
from dassl.config.yaml_file import read_yaml
from dassl.errors import UserError, cli_main, says_what_stays
from dassl.utils.files import atomic_write

if TYPE_CHECKING:
    from yacs.config import CfgNode

TRAINER = "CNNBaseline"
KEYS = {"backbone", "shots", "seed", "opts", "stages"}
STAGE_KEYS = {"dataset", "root", "config", "opts"}
#: Keys of DATASET that decide which images are test images.
SPLIT_KEYS = (
    *("SPLIT_FILE", "SPLIT_RATIO", "SPLIT_BY", "PATIENT_PATTERN", "FOLD", "FILE", "FOLDER"),
    *("CLASS_MAP", "SUBSAMPLE_CLASSES", "SPLIT_SEED", "PATIENT_PER_CLASS", "CLASSES", "LEAVE_OUT"),
)


@dataclass(frozen=True)
class Stage:
    """One data set of a chain."""

    dataset: str
    root: str = ""  # of its data, where it is not --root
    config: str = ""  # the trainer's yaml
    opts: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Chain:
    """A chain's yaml."""

    name: str
    backbone: str
    shots: int | str
    seed: int
    stages: tuple[Stage, ...]


def find_chain(chain: str) -> Path:
    """A yaml by its name in configs/chains, or by its path."""
    return find_yaml(chain, CHAINS, "chain")


def read_chain(path: Path) -> Chain:
    """The yaml's content, its keys checked; ``opts`` of a stage come after the chain's."""
    tree = read_yaml(path, "chain", "keys such as 'stages:'")
    check_keys(tree, KEYS, f"chain {path}")
    stages = tree.get("stages")
    if not isinstance(stages, list) or len(stages) < 2:
        raise UserError(f"'stages' in chain {path} is a list of two data sets or more")
    if not tree.get("backbone"):
        raise UserError(f"chain {path} has no 'backbone', such as torchvision:resnet50")
    shared = flat_opts(tree.get("opts"), f"in chain {path}")
    read = tuple(_read_stage(item, shared, path) for item in stages)
    seed = tree.get("seed", 1)
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise UserError(f"'seed' in chain {path} is {seed!r}; it is a whole number")
    return Chain(path.stem, str(tree["backbone"]), tree.get("shots", "full"), seed, read)


def _read_stage(item: Any, shared: tuple[Any, ...], path: Path) -> Stage:
    item = {"dataset": item} if isinstance(item, str) else item
    if not isinstance(item, Mapping) or "dataset" not in item:
        raise UserError(f"a stage of chain {path} is a name or has 'dataset: NAME', not {item!r}")
    check_keys(item, STAGE_KEYS, f"stage {item['dataset']} of chain {path}")
    own = flat_opts(item.get("opts"), f"in chain {path}")
    text = {key: str(item.get(key) or "") for key in ("dataset", "root", "config")}
    return Stage(**text, opts=(*shared, *own))


def run_chain(
    chain: Chain,
    out: Path,
    *,
    root: str = "",
    weights: str = "",
    plugins: Sequence[str] = (),
    opts: Sequence[Any] = (),
    fresh: bool = False,
) -> list[Path]:
    """Every stage in its turn; finished ones are read, one that was stopped goes on.

    Args:
        chain: what to train on.
        out: folder of the chain.
        root: of the data, for stages that name none.
        weights: a file that the first stage starts from; "" leaves it to the yaml files.
        plugins: modules or files that register data sets.
        opts: flat (KEY, VALUE, ...) overrides of every stage, the last word.
        fresh: train every stage again.

    Returns:
        The stages' folders.

    Raises:
        UserError: a stage cannot be run, or its folder holds one of other settings.
    """
    from cerviclip.runs.run.runner import run_one
    from cerviclip.runs.settings.configure import setup_cfg

    names = [f"{n}-{safe_part(stage.dataset)}" for n, stage in enumerate(chain.stages, 1)]

    def configured(at: int, weights: str) -> CfgNode:
        stage = chain.stages[at]
        return setup_cfg(
            RunRequest(
                trainer=TRAINER,
                dataset=stage.dataset,
                backbone=chain.backbone,
                shots=chain.shots,
                seed=chain.seed,
                weights=weights,
                root=stage.root or root,
                output_dir=str(out / names[at]),
                config_file=stage.config,
                variant=_variant(chain, at),
                plugins=tuple(plugins),
                # Every epoch, so that little is lost with a stage that is cut off.
                opts=("TRAIN.CHECKPOINT_FREQ", 1, *stage.opts, *opts),
            )
        )

    planned = [configured(at, weights) for at in range(len(names))]
    check_returns(chain, planned)
    check_centers(chain, planned)
    check_titles((cfg.DATASET.NAME, cfg.DATASET.TITLE) for cfg in planned)
    done = 0
    with says_what_stays(lambda: f"{done} of {counted(len(names), 'stage')} finished and stay"):
        for at, (stage, name) in enumerate(zip(chain.stages, names, strict=True)):
            print(f"stage {at + 1} of {len(names)}: {stage.dataset}")
            run_one(configured(at, weights), variant=_variant(chain, at), fresh=fresh)
            if at + 1 < len(names):
                weights = str(write_weights(out / name, out / "weights" / f"{name}.safetensors"))
            done += 1
    return [out / name for name in names]


def _variant(chain: Chain, at: int) -> str:
    return f"{chain.name}-{at + 1}"


def check_returns(chain: Chain, cfgs: Sequence[CfgNode]) -> None:
    """A stage that comes back to a data set must split it as the earlier stage did.

    Otherwise the earlier stage trained on images of the later one's test.

    Raises:
        UserError: two stages of one data set differ in a key that decides the split.
    """
    for later, cfg in enumerate(cfgs):
        for earlier, other in enumerate(cfgs[:later]):
            if (cfg.DATASET.NAME, cfg.DATASET.ROOT) != (other.DATASET.NAME, other.DATASET.ROOT):
                continue
            own = cfg.DATASET.NAME.upper()  # a data set's keys of its own
            keys = [key for key in (*SPLIT_KEYS, own) if key in cfg.DATASET]
            differing = [key for key in keys if cfg.DATASET[key] != other.DATASET[key]]
            if differing:
                named = ", ".join(f"DATASET.{key}" for key in differing)
                raise UserError(
                    f"chain {chain.name}: stages {earlier + 1} and {later + 1} split "
                    f"{cfg.DATASET.NAME} differently ({named}), so the first would train on images "
                    "of the last one's test; give both stages the same values"
                )


def check_centers(chain: Chain, cfgs: Sequence[CfgNode]) -> None:
    """An external centre of a stage must not be what an earlier stage has trained on.

    A registered centre is tested on the test part of its own split, which is the earlier stage's
    where that states nothing else; a folder is tested on as a whole.

    Raises:
        UserError: a stage's centre may hold training images of an earlier stage.
    """
    from dassl.config.defaults import DATASET as DEFAULTS

    for later, cfg in enumerate(cfgs):
        for earlier, other in enumerate(cfgs[:later]):
            name, data = other.DATASET.NAME, other.DATASET
            where = f"chain {chain.name}: stage {later + 1} is tested on {name}, which stage"
            stated = [key for key in SPLIT_KEYS if data[key] != DEFAULTS[key]]
            if name in cfg.TEST.EXTERNAL and stated:
                named = ", ".join(f"DATASET.{key}" for key in stated)
                raise UserError(
                    f"{where} {earlier + 1} splits in its own way ({named}), so that it trains on "
                    "images of the centre; leave these keys out there, or leave the centre out"
                )
            trained = os.path.realpath(Path(data.ROOT) / data.FOLDER)
            for center, folder in cfg.DATASET.EXTERNAL_FOLDERS.items():
                tested = os.path.realpath(Path(cfg.DATASET.ROOT) / folder)
                if data.FOLDER and os.path.commonpath([trained, tested]) in (trained, tested):
                    raise UserError(
                        f"chain {chain.name}: the centre {center} of stage {later + 1} lies where "
                        f"stage {earlier + 1} trains ({trained}); name another folder"
                    )


def write_weights(run: Path, file: Path) -> Path:
    """The network of a finished run, as it was tested, under its library's own tensor names.

    The old head is in the file too: the next stage takes everything but that.
    """
    from safetensors.torch import save

    from cerviclip.runs.run.load import load_run

    state = load_run(run, device="cpu").trainer.model.state_dict()
    with atomic_write(file, "wb") as handle:
        handle.write(save({key: value.contiguous() for key, value in state.items()}))
    return file


def build_parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("chain", metavar="NAME|YAML", help="in configs/chains, or a path")
    parser.add_argument("--root", default="", metavar="DIR", help="the data; default ./data")
    parser.add_argument("--weights", default="", metavar="FILE", help="of the first stage, local")
    parser.add_argument(
        "--output-dir",
        default="",
        metavar="DIR",
        help="default ./output/chains/NAME, with --seed NAME/seed_S",
    )
    parser.add_argument("--seed", type=int, metavar="S", help="in place of the yaml's")
    parser.add_argument(
        "--opts", nargs="+", default=[], metavar="KEY VALUE", help="config keys of every stage"
    )
    parser.add_argument("--fresh", action="store_true", help="train every stage again")
    add_plugin_flag(parser)
    add_debug_flag(parser)
    return parser


def main(argv: Sequence[str] | None = None, prog: str = "cerviclip chain") -> int:
    args = build_parser(prog).parse_args(argv)
    chain = read_chain(find_chain(args.chain))
    fix_summation_order()  # before torch is imported
    out = Path(args.output_dir or Path(DEFAULT_ROOT) / "chains" / safe_part(chain.name))
    if args.seed is not None:
        chain = replace(chain, seed=args.seed)
        out = out if args.output_dir else out / f"seed_{args.seed}"
    folders = run_chain(
        chain,
        out,
        root=args.root,
        weights=args.weights,
        plugins=args.plugins,
        opts=args.opts,
        fresh=args.fresh,
    )
    for folder in folders:
        print(f"results: {folder / 'results.json'}")
    return 0


if __name__ == "__main__":
    sys.exit(cli_main(main))
