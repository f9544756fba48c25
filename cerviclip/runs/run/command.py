"""What ``train.py`` and ``cerviclip train`` do."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from cerviclip.adopt import stand_in
from cerviclip.adopt.launch import Job, run_adopted
from cerviclip.adopt.spec import is_adopted
from cerviclip.environment import refuse_torchrun
from cerviclip.runs.run.summation_order import fix_summation_order
from cerviclip.runs.settings.flags import TRAIN, run_request, train_parser
from cerviclip.runs.settings.requests import RunRequest
from dassl.errors import UserError


def main(argv: Sequence[str] | None = None, prog: str = TRAIN) -> int:
    """One run, the evaluation of one, or the list of names; returns the exit status."""
    args = train_parser(prog).parse_args(argv)
    request = run_request(args)
    if args.list:
        from cerviclip import plugins
        from cerviclip.runs.settings.listing import listing

        plugins.add_plugins(request.plugins)
        print(listing())
        return 0
    refuse_torchrun("start it without torchrun; run_shell.py --jobs N makes N runs at a time")
    fix_summation_order()  # before torch is imported
    return train_command(request)


def train_command(request: RunRequest) -> int:
    """One run, or the evaluation of one; returns the exit status."""
    from cerviclip.runs.run.outside import outside_cause
    from cerviclip.runs.run.runner import run_one
    from cerviclip.runs.settings.configure import setup_cfg

    cfg = setup_cfg(request)
    if is_adopted(cfg.TRAINER.NAME):
        return _adopted_command(request, cfg)
    if request.evaluate:
        from cerviclip.runs.run.evaluate import evaluate_run

        folder = evaluate_run(cfg, request.evaluate, request.output_dir, request.load_epoch)
        print(f"results: {folder / 'results.json'}")
        return 0
    try:
        run_one(cfg, variant=request.variant, fresh=request.fresh, train=request.train)
    except UserError:
        raise
    except Exception as error:  # the traceback is in log.txt, and was printed as it went there
        text = outside_cause(error, cfg.OUTPUT_DIR) or str(error)
        print(f"error: the run failed: {text} (log: {cfg.OUTPUT_DIR}/log.txt)", file=sys.stderr)
        return 1
    if request.train:
        print(f"results: {cfg.OUTPUT_DIR}/results.json")
    return 0


def _adopted_command(request: RunRequest, cfg: Any) -> int:
    """The same in a process of its own, for a trainer of a published repository."""
    from cerviclip.plugins import discover

    plugin = discover()["trainer"][cfg.TRAINER.NAME].plugin
    job = Job(
        "evaluate" if request.evaluate else "run",
        plugin,
        request=request,
        descriptions=stand_in.descriptions(),
        fresh=request.fresh,
        train=request.train,
        echo=True,
    )
    try:
        folder = run_adopted(job) or cfg.OUTPUT_DIR
    except UserError:
        raise
    except RuntimeError as error:
        print(f"error: the run failed: {error} (log: {cfg.OUTPUT_DIR}/log.txt)", file=sys.stderr)
        return 1
    if request.train:
        print(f"results: {folder}/results.json")
    return 0
