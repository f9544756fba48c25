"""What a sweep shows as it goes: one bar with the time left; lines where there is no terminal."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Any

from cerviclip.runs.settings.plan import RunSpec


class SweepProgress:
    """Context manager; ``started`` and ``ended`` are called for every run.

    Args:
        pending: the runs to make.
        done: how many of the sweep's runs were finished before.
        jobs: processes at work at once.
        console: rich's.
    """

    def __init__(self, pending: list[RunSpec], done: int, jobs: int, console: Any) -> None:
        self.left = list(pending)
        self.total, self.count = len(pending) + done, done
        self.failed = 0
        self.jobs, self.console = max(1, jobs), console
        self.took: dict[str, list[float]] = defaultdict(list)
        self.running: dict[RunSpec, float] = {}
        self.bar: Any = None

    def __enter__(self) -> SweepProgress:
        if self.console.is_terminal:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
            from rich.progress import TimeElapsedColumn as Elapsed

            self.bar = Progress(
                BarColumn(24), MofNCompleteColumn(), Elapsed(),
                TextColumn("{task.description}", markup=False),
                console=self.console, redirect_stdout=False, redirect_stderr=False,
            )  # fmt: skip
            self.task = self.bar.add_task("", total=self.total, completed=self.count)
            self.bar.start()
        return self

    def __exit__(self, *_: Any) -> None:
        if self.bar is not None:
            self.bar.update(self.task, description="")
            self.bar.stop()

    def started(self, spec: RunSpec) -> None:
        self.running[spec] = time.monotonic()
        self._show()

    def ended(self, spec: RunSpec, error: str | None, detail: str = "") -> None:
        seconds = time.monotonic() - self.running.pop(spec, time.monotonic())
        self.left.remove(spec)
        self.count += 1
        if error is None:
            self.took[spec.trainer].append(seconds)
        if error is not None:
            self.failed += 1
            self.console.print("failed ", style="red", end="")
            self.console.print(f"{spec.title}: ", markup=False, end="")
            self.console.print(error, markup=False, highlight=False, soft_wrap=True)
        elif self.bar is None:
            left = self.time_left()
            self.console.print(
                f"[{self.count}/{self.total}] {spec.title}: {detail} ({seconds:.1f} s; {left})",
                markup=False, highlight=False, soft_wrap=True,
            )  # fmt: skip
        if self.bar is not None:
            self.bar.update(self.task, completed=self.count)
        self._show()

    def finished(self) -> str:
        """``12 of 30 runs are finished and stay``."""
        return f"{self.count - self.failed} of {self.total} runs are finished and stay"

    def _show(self) -> None:
        if self.bar is None:
            return
        names = ", ".join(spec.title for spec in list(self.running)[:2])
        more = len(self.running) - 2
        names += f" and {more} more" if more > 0 else ""
        self.bar.update(self.task, description=f"{self.time_left()}  {names}")

    def time_left(self) -> str:
        """Each trainer's own mean time for the runs left; the mean of all where it has none yet."""
        known = [s for times in self.took.values() for s in times]
        if not known:
            return "time left unknown" if self.left else "done"
        mean = sum(known) / len(known)
        seconds = 0.0
        for spec in self.left:
            times = self.took.get(spec.trainer)
            seconds += sum(times) / len(times) if times else mean
        return f"{format_seconds(seconds / self.jobs)} left" if self.left else "done"


def format_seconds(seconds: float) -> str:
    """``45 s``, ``3:20 min``, ``2:05 h``."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60}:{seconds % 60:02d} min"
    return f"{seconds // 3600}:{seconds % 3600 // 60:02d} h"
