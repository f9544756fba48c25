"""One run in the processes that torchrun has started: the first one writes and prints.

All others do the same work on their parts and leave nothing behind. Whichever process fails, the
run ends with its error in one line, printed once, and an exit status that is not 0.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from cerviclip import plugins
from cerviclip.adopt.spec import is_adopted
from cerviclip.parallel.agreement import check_can_be_shared
from cerviclip.runs.run.process.log import Silence
from dassl.config import CfgNode
from dassl.errors import UserError
from dassl.utils import distributed
from dassl.utils.distributed import LostProcessError, is_main

TIMEOUT = "CERVICLIP_TIMEOUT_S"  # how long a process waits for another within a step, in seconds


def in_group(work: Callable[[], int], debug: bool = False) -> int:
    """Do ``work`` as one of the processes of torchrun; returns the exit status.

    Args:
        work: calls `join_group` once it knows its configuration.
        debug: show the traceback of an error as well.
    """
    try:
        several = distributed.join(timeout_s())
    except RuntimeError as error:
        raise UserError(
            f"the processes of torchrun do not find each other ({str(error).splitlines()[0]})"
        ) from error
    with _heard_once(), _stopped_together():
        try:
            status = work()
        except (Exception, KeyboardInterrupt) as error:
            if debug:
                traceback.print_exc()
            status = _end(error)
        else:
            if several and status == 0:
                distributed.wait_for_all()
    distributed.shut_down()
    return status


def join_group(cfg: CfgNode) -> None:
    """Open the exchange between the processes, for a trainer that they can share.

    Raises:
        UserError: it cannot be shared, or there are fewer GPUs than processes.
    """
    name = cfg.TRAINER.NAME
    if is_adopted(name):
        raise UserError(f"{name} is adopted and works in one process; start it without torchrun")
    check_can_be_shared(plugins.ensure_loaded("trainer", name), name)
    distributed.init_from_env(cfg.USE_CUDA, timeout_s())


def timeout_s() -> float:
    """``$CERVICLIP_TIMEOUT_S``, or ten minutes.

    Raises:
        UserError: it is no number above 0.
    """
    text = os.environ.get(TIMEOUT) or str(distributed.TIMEOUT_S)
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise UserError(f"{TIMEOUT} is {text!r}; give a number of seconds above 0")
    return seconds


def _end(error: BaseException) -> int:
    """Tell the others, and print the error unless the first process does; the exit status."""
    lost = isinstance(error, LostProcessError) or isinstance(error.__cause__, LostProcessError)
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, KeyboardInterrupt):
        text, status = "interrupted", 130
    else:
        status = 2 if isinstance(error, UserError) else 1
    if not (lost and not is_main()):
        distributed.say_failure(text)
    if is_main():
        print(f"error: {text}", file=sys.stderr, flush=True)
    distributed.leave()  # those who wait for this process are told
    if not distributed.settle_failure(is_main()):
        number, count = distributed.rank() + 1, distributed.world_size()
        print(f"error: process {number} of {count}: {text}", file=sys.stderr, flush=True)
    return status


@contextmanager
def _heard_once() -> Iterator[None]:
    """Of what all processes print and warn of, the first one's is seen."""
    if is_main():
        yield
        return
    with redirect_stdout(Silence()), warnings.catch_warnings():  # type: ignore[type-var]
        warnings.showwarning = lambda *_, **__: None
        yield


@contextmanager
def _stopped_together() -> Iterator[None]:
    """torchrun stops all processes when one has ended. The first one then still writes down why, if
    the other has said so; any other stop is what it always was."""

    def stop(number: int, _: Any) -> None:
        signal.signal(number, signal.SIG_DFL)
        if failed := distributed.failure_of_another():
            raise LostProcessError(failed)
        os.kill(os.getpid(), number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
