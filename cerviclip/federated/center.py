"""One centre's side: an ordinary run whose training stops at the end of each round.

The run trains in a thread of its own and Flower's client in the main thread; they take turns.
"""

from __future__ import annotations

import queue
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from cerviclip.federated.plan import Plan
from cerviclip.federated.preflight import check_trainer
from cerviclip.federated.record import folder_of
from cerviclip.federated.weights import (
    add_proximal_gradient,
    anchors_of,
    read_weights,
    set_weights,
    size_of,
)
from cerviclip.runs.run.runner import Run, run_one
from cerviclip.runs.settings.configure import setup_cfg
from cerviclip.runs.settings.folders import WAYS, variant_of_center
from dassl.errors import UserError

Arrays = list[np.ndarray]


class Turns:
    """The run and its client, each waiting for the other."""

    def __init__(self) -> None:
        self._to_client: queue.Queue[Any] = queue.Queue()
        self._to_run: queue.Queue[Arrays | BaseException] = queue.Queue()

    # The run's side.

    def give(self, weights: Arrays, images: int, loss: float, classes: str) -> Arrays:
        """End a round: hand over this centre's weights; returns those of the federation.

        Raises:
            BaseException: what ended the federation.
        """
        self._to_client.put((weights, images, loss, classes))
        common = self._to_run.get()
        if isinstance(common, BaseException):
            raise common
        return common

    def fail(self, error: BaseException) -> None:
        self._to_client.put(error)

    # The client's side.

    def take(self) -> tuple[Arrays, int, float, str]:
        """Wait for the end of a round.

        Raises:
            BaseException: what ended the run.
        """
        found = self._to_client.get()
        if isinstance(found, BaseException):
            raise found
        return found

    def failure(self) -> BaseException | None:
        """What ended the run after its last round, once it has ended: its scoring, say."""
        with suppress(queue.Empty):
            found = self._to_client.get_nowait()
            return found if isinstance(found, BaseException) else None
        return None

    def set(self, weights: Arrays) -> None:
        self._to_run.put(weights)

    def end(self, error: BaseException) -> None:
        """No more weights will come: the run that waits for them ends with this error."""
        self._to_run.put(error)


class CenterRun(Run):
    """A run that averages its weights with the other centres at the end of each round."""

    turns: Turns

    def build(self) -> None:
        super().build()
        trainer, self.rounds = self.trainer, self.cfg.TRAIN.FEDERATED_ROUNDS
        self.mu = self.cfg.TRAIN.FEDERATED_MU
        check_trainer(trainer, self.rounds, self.mu)
        self.anchors: list[Any] = []
        self.rounds_done, self.bytes_up, self.bytes_down = 0, 0, 0
        before_epoch, after_epoch = trainer.before_epoch, trainer.after_epoch

        def begin() -> None:
            if trainer.epoch == 0:
                self._exchange()  # all centres start from the first one's weights
            before_epoch()

        def end() -> None:
            # Round r of R ends with the epoch that completes r/R of them.
            if (trainer.epoch + 1) * self.rounds // trainer.max_epoch > self.rounds_done - 1:
                self._exchange()
            after_epoch()

        trainer.before_epoch, trainer.after_epoch = begin, end
        if self.mu > 0:
            self._hold_to_the_federation()

    def _exchange(self) -> None:
        trainer = self.trainer
        weights = read_weights(trainer)
        row = trainer.history[-1] if trainer.history else {}
        loss, images = float(row.get("loss", float("nan"))), len(trainer.dm.dataset.train_x)
        classes = "\n".join(trainer.dm.dataset.classnames)
        common = self.turns.give(weights, images, loss, classes)
        set_weights(trainer, common)
        self.anchors = anchors_of(trainer)
        self.bytes_up, self.bytes_down = (
            self.bytes_up + size_of(weights),
            self.bytes_down + size_of(common),
        )
        self.rounds_done += 1
        record = {"rounds": self.rounds_done - 1, "mu": self.mu}
        extra = getattr(trainer, "extra_results", None)
        trainer.extra_results = {
            **(extra or {}),
            "federated": {**record, "bytes_up": self.bytes_up, "bytes_down": self.bytes_down},
        }

    def _hold_to_the_federation(self) -> None:
        trainer = self.trainer
        update = trainer.model_update

        def held(names: Any = None) -> None:
            add_proximal_gradient(self.anchors, self.mu)
            update(names)

        trainer.model_update = held


def check_training(plan: Plan, out: Path) -> None:
    """Build every centre's training and leave nothing of it.

    Args:
        plan: a federation's.
        out: its folder.

    Raises:
        UserError: one of them cannot be part of it.
    """
    for site in plan.centers:
        folder = folder_of(out, WAYS[1], site.name)
        cfg = setup_cfg(plan.request(site, folder, federated=True))
        variant = variant_of_center(folder)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its runs show them
            run_one(cfg, variant=variant, fresh=True, echo=False, train=False, make=CenterRun)


def start_run(plan: Plan, center: str, out: Path, root: str = "") -> tuple[Turns, threading.Thread]:
    """Start one centre's run in a thread; it waits for the federation's first weights."""
    turns = Turns()
    cfg = setup_cfg(plan.request(plan.center(center), out, root, federated=True))

    def make(*args: Any) -> Run:
        run = CenterRun(*args)
        run.turns = turns
        return run

    def work() -> None:
        try:
            run_one(cfg, variant=variant_of_center(out), fresh=True, make=make)
        except BaseException as error:  # noqa: B036 - the client's thread raises it
            turns.fail(error)

    thread = threading.Thread(target=work, name=f"run of {center}", daemon=True)
    thread.start()
    return turns, thread


def join_federation(
    plan: Plan,
    center: str,
    out: Path,
    address: str,
    ca: Path | None,
    root: str = "",
    start_client: Callable[..., None] | None = None,
) -> None:
    """Train this centre in the federation that is served at ``address``, to its end.

    Args:
        plan: the federation's.
        center: this centre's name in it.
        out: folder of this centre's run.
        address: HOST:PORT of the server.
        ca: certificate that the server's is signed by; None for no encryption.
        root: of the data, where the plan names none.
        start_client: Flower's; for tests.

    Raises:
        UserError: what ended the run, or that the server was not reached.
    """
    from cerviclip.federated.flower import center_client, import_flower

    flower = import_flower()
    turns, thread = start_run(plan, center, out, root)
    client = center_client(flower, turns, center)
    start = start_client or flower.start_client
    certificate = ca.read_bytes() if ca else None
    early = UserError(
        f"the federation at {address} ended before its last round; its server's log says why"
    )
    try:
        start(
            server_address=address,
            client=client.to_client(),
            root_certificates=certificate,
            insecure=ca is None,
            max_wait_time=120.0,
        )
    except BaseException:
        turns.end(early)
        thread.join(10)
        raise
    if not client.finished:  # the run waits for weights, and would wait for ever
        turns.end(early)
    thread.join()
    if client.error is not None:
        raise client.error
    if not client.finished:
        raise early
    if (late := turns.failure()) is not None:
        raise late
