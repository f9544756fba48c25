"""What train.py does once its flags are read."""

from __future__ import annotations

import argparse
import sys

from dassl.errors import UserError
from dassl.runs.runner import run_one
from dassl.runs.setup import setup_cfg, variant_of


def train_command(args: argparse.Namespace) -> int:
    """One run, or the evaluation of one; returns the exit status."""
    cfg = setup_cfg(args)
    if args.eval_only:
        from dassl.runs.evaluate import evaluate_run

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
