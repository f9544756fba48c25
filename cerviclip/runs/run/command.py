"""What ``train.py`` and ``cerviclip train`` do."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from cerviclip.runs.run.summation_order import fix_summation_order
from cerviclip.runs.settings.flags import parse_args, train_parser
from dassl.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """One run, the evaluation of one, or the list of names; returns the exit status."""
    args = parse_args(train_parser(), argv)
    fix_summation_order()  # before torch is imported
    if args.list:
        from cerviclip import plugins
        from cerviclip.runs.settings.listing import listing

        plugins.add_plugins(args.plugin)
        print(listing())
        return 0
    return train_command(args)


def train_command(args: argparse.Namespace) -> int:
    """One run, or the evaluation of one; returns the exit status."""
    from cerviclip.runs.run.runner import run_one
    from cerviclip.runs.settings.configure import setup_cfg, variant_of

    cfg = setup_cfg(args)
    if args.eval_only:
        from cerviclip.runs.run.evaluate import evaluate_run

        folder = evaluate_run(cfg, args.model_dir, args.output_dir, args.load_epoch)
        print(f"results: {folder / 'results.json'}")
        return 0
    try:
        run_one(cfg, variant=variant_of(args), fresh=args.fresh, train=not args.no_train)
    except UserError:
        raise
    except Exception as error:  # the traceback is in log.txt, and was printed as it went there
        print(f"error: the run failed: {error} (log: {cfg.OUTPUT_DIR}/log.txt)", file=sys.stderr)
        return 1
    if args.no_train:
        return 0
    print(f"results: {cfg.OUTPUT_DIR}/results.json")
    return 0
