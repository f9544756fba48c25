#!/usr/bin/env python
"""Goal: how well a linear probe tells the hospital from each tower's frozen features.

Usage:
    cerviclip hospital-index PhantomOCT PhantomHuaxi PhantomXiangya --backbones PhantomCLIP
    cerviclip hospital-index MixedCenterOCT HuaxiOCT XiangyaOCT --root $DATA \\
        --backbones ViT-B/16=ViT-B-16.pt torchvision:resnet50=resnet50.pth --out hospital/
    cerviclip hospital-index Herlev SIPaKMeD --root $DATA --backbones PhantomCLIP \\
        --opts DATASET.CLASS_MAP_FILE normal_abnormal

Example output:
    | tower | images | patients | balanced accuracy (%) | chance (%) | index |
    |---|---:|---:|---:|---:|---:|
    | PhantomCLIP | 303 | 90 | 86.1 [80.3, 90.5] | 33.3 | 0.79 [0.70, 0.86] |

Each class has as many images from each hospital, so its share tells nothing; no patient is in two
folds. --out also writes hospital_index.json, .md and .png. An index of 0 is chance, 1 is certainty.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cerviclip.evaluation.names import patients_known
from cerviclip.runs.settings.parser import Parser, add_debug_flag, add_plugin_flag
from dassl.errors import cli_main
from dassl.utils.files import atomic_write


def build_parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("datasets", nargs="+", metavar="DATASET", help="a hospital each")
    parser.add_argument(
        "--backbones", nargs="+", default=["PhantomCLIP"], metavar="NAME[=FILE]",
        help="towers, each with its weights where they are a file (default: PhantomCLIP)",
    )  # fmt: skip
    parser.add_argument("--root", default="", metavar="DIR", help="of the data; default ./data")
    parser.add_argument("--folds", type=int, default=5, metavar="K", help="of the probe")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="of draw and folds")
    parser.add_argument("--out", type=Path, metavar="DIR", help="JSON, table and figure")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"], help="default: cpu")
    add_plugin_flag(parser)
    add_debug_flag(parser)
    parser.add_argument(
        "--opts", nargs="+", default=[], metavar="KEY VALUE", help="config keys of all data sets"
    )
    return parser


def features_of(tower: str, paths: Sequence[str], dataset: str, device: str) -> Any:
    """(N, D) float64 features of images by a tower ``NAME[=FILE]``, from the feature store."""
    import torch

    from cerviclip.environment import store_dtype
    from cerviclip.features.encode import FrozenEncoder
    from cerviclip.features.source import FeatureSource
    from cerviclip.runs.settings.configure import dataset_cfg
    from cerviclip.vlm.loading import load_backbone
    from dassl.data.transforms import build_transform

    name, _, weights = tower.partition("=")
    backbone = load_backbone(name, weights or None, device=device)
    cfg = dataset_cfg(dataset)
    transform = build_transform(cfg, is_train=False, preprocess=backbone.preprocess)
    encoder = FrozenEncoder(backbone, "pooled", cfg.INPUT.STORE_DTYPE or store_dtype())
    table = FeatureSource(encoder, transform).table(paths)
    return table.gather(torch.arange(len(paths))).double().cpu().numpy()


def table_of(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The towers' indices as a Markdown table."""
    lines = ["| tower | images | patients | balanced accuracy (%) | chance (%) | index |",
             "|---|---:|---:|---:|---:|---:|"]  # fmt: skip
    for tower, entry in found.items():
        cells = [_cell(entry["balanced_accuracy"], 1), f"{entry['chance']:.1f}"]
        cells.append(_cell(entry["index"], 2))
        patients = entry["n_patients"] if patients_known(entry) else "not known"
        lines.append(f"| {tower} | {entry['n_images']} | {patients} | {' | '.join(cells)} |")
    notes = dict.fromkeys(e["note"] for e in found.values() if "note" in e)
    return "\n".join([*lines, *(f"\n{note}" for note in notes), ""])


def _cell(cell: Mapping[str, Any], digits: int) -> str:
    text = f"{cell['value']:.{digits}f}"
    if cell["low"] is None:
        return text
    return f"{text} [{cell['low']:.{digits}f}, {cell['high']:.{digits}f}]"


def main(argv: Sequence[str] | None = None, prog: str = "python tools/hospital_index.py") -> int:
    args = build_parser(prog).parse_args(argv)
    from cerviclip import plugins
    from cerviclip.runs.inspection import hospital_index as index
    from cerviclip.runs.inspection.hospital_figure import hospital_figure
    from cerviclip.runs.results_json import finite_or_none
    from cerviclip.runs.settings.opened import open_dataset

    plugins.add_plugins(args.plugins)
    hospitals = {name: open_dataset(name, args.root, "", args.opts) for name in args.datasets}
    images = index.gather(hospitals)
    found = {}
    for tower in args.backbones:
        features = features_of(tower, images.paths, args.datasets[0], args.device)
        name = tower.partition("=")[0]
        found[name] = index.hospital_index(features, images, args.folds, args.seed)
    text = table_of(found)
    print(text, end="")
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        settings = {"folds": args.folds, "seed": args.seed, "C": index.STRENGTH}
        record = {
            "schema_version": index.SCHEMA,
            "hospitals": list(images.hospitals),
            "classes": list(images.classes),
            "settings": settings,
            "towers": found,
        }
        with atomic_write(args.out / "hospital_index.json") as handle:
            handle.write(json.dumps(finite_or_none(record), indent=1, allow_nan=False) + "\n")
        with atomic_write(args.out / "hospital_index.md") as handle:
            handle.write(text)
        hospital_figure(found, images.hospitals, args.out / "hospital_index.png")
        print(f"{args.out}: hospital_index.json, .md and .png")
    return 0


if __name__ == "__main__":
    sys.exit(cli_main(main))
