"""Where a sweep's runs are made: in processes of this machine, or as a cluster's jobs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cerviclip.runs.cluster.settings import cluster_settings
from cerviclip.runs.jobs.executors import Executor, choose_executor
from cerviclip.runs.jobs.job import Retries
from cerviclip.runs.settings.requests import SweepRequest


def executor_for(
    request: SweepRequest, root: Path, n_jobs: int, say: Callable[[str], None]
) -> Executor:
    """The executor that a sweep asks for.

    Args:
        request: its ``launcher`` and what goes with it, else its ``jobs``.
        root: the sweep's folder.
        n_jobs: how many runs there are.
        say: is called with a line for what somebody at the terminal should know.

    Raises:
        UserError: settings that cannot be.
    """
    settings, retries = cluster_settings(request), Retries(request.retries, say)
    if settings is None:
        return choose_executor(request.jobs, n_jobs, retries)
    from cerviclip.runs.cluster.executor import ClusterExecutor

    return ClusterExecutor(settings, root, retries, say, request.wait)
