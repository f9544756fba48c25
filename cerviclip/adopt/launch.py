"""The process of an adopted trainer: started, watched, and asked what came of it. Needs no torch.

The child's first act is to import our ``dassl`` and ``cerviclip``; only then does the repository
come first on its ``sys.path``. A job goes to it, and an answer comes back, as a pickle in a folder
that only this process and its child know.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cerviclip.places import PACKAGE
from dassl.errors import UserError

CHILD = "cerviclip.adopted.child"


@dataclass
class Job:
    """What the child is to do.

    Attributes:
        what: ``describe`` (config keys, what would fail), ``run``, ``evaluate``, or ``list`` (the
            same as ``describe`` for every trainer of a repository).
        plugin: the adoption, as a plug-in; of ``list`` the repository's folder.
        request: of ``run`` and ``evaluate``, a RunRequest.
        descriptions: what earlier children said, by plug-in.
        fresh, train, keep_user_errors, wait: as of `run_one`.
        echo: print to this process's console.
    """

    what: str
    plugin: str
    request: Any = None
    descriptions: dict[str, Any] = field(default_factory=dict)
    fresh: bool = False
    train: bool = True
    keep_user_errors: bool = False
    wait: bool = False
    echo: bool = False


@dataclass
class Answer:
    """What came of it.

    Attributes:
        error: one line, "" where all went well.
        is_user_error: the error is the user's to mend.
        at_work: the error is that another process is at work on the run.
        trace: the traceback of an error that is not.
        value: the description, or the folder of an evaluation.
    """

    error: str = ""
    is_user_error: bool = False
    at_work: bool = False
    trace: str = ""
    value: Any = None


def ask_child(job: Job) -> Answer:
    """Do a job in a new process; its death is an answer too.

    Ctrl-C reaches the child as it reaches this process. A child whose parent is gone, by whatever
    signal, ends by itself: it sees its standard input closed.
    """
    with tempfile.TemporaryDirectory(prefix="cerviclip-adopt-") as folder:
        place, said = Path(folder), Path(folder, "said.txt")
        (place / "job.pkl").write_bytes(pickle.dumps(job))
        with open(said, "wb") as sink:
            output = None if job.echo else sink
            child = subprocess.Popen(
                [sys.executable, "-m", CHILD, folder],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=_environment(),
            )
            try:
                status = child.wait()
            finally:
                if child.poll() is None:
                    child.terminate()
                    child.wait()
                if child.stdin is not None:
                    child.stdin.close()
        try:
            return pickle.loads((place / "answer.pkl").read_bytes())
        except OSError:
            return Answer(_death(status, said.read_text(encoding="utf-8", errors="replace")))


def run_adopted(job: Job) -> Any:
    """Do a job in a new process.

    Raises:
        UserError: what the user can mend.
        RuntimeError: what failed in the adopted code.
    """
    answer = ask_child(job)
    if answer.error:
        raise (UserError if answer.is_user_error else RuntimeError)(answer.error)
    return answer.value


def _environment() -> dict[str, str]:
    """This process's, with our packages in reach and no files left in the repository."""
    path = [str(PACKAGE.parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(part for part in path if part),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _death(status: int, said: str) -> str:
    how = f"signal {-status}" if status < 0 else f"exit status {status}"
    last = next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "")
    return f"the process of the adopted trainer ended ({how}){': ' if last else ''}{last[:300]}"
