"""What ``train.py`` and ``cerviclip train`` do."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from cerviclip.adopt import stand_in
from cerviclip.adopt.launch import Job, run_adopted
from cerviclip.adopt.spec import is_adopted
from cerviclip.environment import processes
from cerviclip.runs.run.process.summation_order import fix_summation_order
from cerviclip.runs.settings.flags import TRAIN, run_request, train_parser
from cerviclip.runs.settings.requests import RunRequest
from dassl.errors import UserError


class RunFailedError(RuntimeError):
    """A run broke on its way; the message is one line."""


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
    fix_summation_order()  # before torch is imported
    if processes() > 1:
        # A lost process is said in one line; torch would add pages of its own addresses.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        from cerviclip.runs.run.process.in_group import in_group

        return in_group(lambda: train_command(request, args.debug), debug=args.debug)
    try:
        return train_command(request, args.debug)
    except RunFailedError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def train_command(request: RunRequest, debug: bool = False) -> int:
    """One run, or the evaluation of one; returns the exit status.

    Args:
        debug: let the error of a failed run through, with its traceback.

    Raises:
        RunFailedError: the run broke; its traceback is in log.txt.
    """
    from cerviclip.runs.run.process.outside import outside_cause
    from cerviclip.runs.run.runner import run_one
    from cerviclip.runs.settings.configure import setup_cfg

    cfg = setup_cfg(request)
    if processes() > 1:
        from cerviclip.runs.run.process.in_group import join_group

        join_group(cfg)
    if is_adopted(cfg.TRAINER.NAME):
        return _adopted_command(request, cfg)
    if request.evaluate:
        return _evaluate_command(request, cfg, debug)
    try:
        results = run_one(cfg, variant=request.variant, fresh=request.fresh, train=request.train)
    except UserError:
        raise
    except Exception as error:  # the traceback is in log.txt, and was printed as it went there
        if debug:
            raise
        text = outside_cause(error, cfg.OUTPUT_DIR) or str(error)
        log = f"(log: {cfg.OUTPUT_DIR}/log.txt)"
        raise RunFailedError(f"the run failed: {text} {log}") from error
    if request.train:
        if results and not results["transductive"]:  # such a run has no answer for one image
            print(f"to predict new images: {predict_line(cfg.OUTPUT_DIR, request.plugins)}")
        print(f"results: {cfg.OUTPUT_DIR}/results.json")
    return 0


def predict_line(folder: str, plugins_given: Sequence[str] = ()) -> str:
    """A command that predicts the images of a folder by a run, ready to be copied."""
    flags = [word for plugin in plugins_given for word in ("--plugin", plugin)]
    return f"{shlex.join(['cerviclip', 'predict', folder])} IMAGES {shlex.join(flags)}".rstrip()


def _evaluate_command(request: RunRequest, cfg: Any, debug: bool) -> int:
    from cerviclip.runs.run.testing.evaluate import evaluate_run

    try:
        folder = evaluate_run(cfg, request.evaluate, request.output_dir, request.load_epoch)
    except UserError:
        raise
    except Exception as error:
        if debug:
            raise
        print(f"error: the evaluation failed: {error} (--debug shows where)", file=sys.stderr)
        return 1
    print(f"results: {folder / 'results.json'}")
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
        log = f"(log: {cfg.OUTPUT_DIR}/log.txt)"
        raise RunFailedError(f"the run failed: {error} {log}") from error
    if request.train:
        print(f"results: {folder}/results.json")
    return 0
