"""What has been submitted, as a folder below the sweep's, so that a later command finds it.

``.sweeps/jobs/<tag>/`` holds one submission: ``submission.json``, a journal for each of its jobs,
submitit's files and the logs of the jobs. The file is written before anything is submitted and
again when the ids are known: a kill in between loses no job, for their name has the tag. Needs no
torch.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cerviclip.runs.cluster.journal import ENDED, Event, Journal
from cerviclip.shapes import plain_json

FOLDER = Path(".sweeps", "jobs")
_NOTE = "submission.json"
NAME = "cerviclip"


@dataclass
class Submission:
    """One call of the scheduler: a single job, or an array of them.

    Attributes:
        folder: its own.
        launcher: ``slurm`` or ``local``.
        packs: the folders of the runs of each job.
        jobs: the scheduler's ids, one for each pack; empty while they are not known.
        over: all of its jobs have ended, and what they left was seen to.
    """

    folder: Path
    launcher: str
    packs: list[list[str]]
    jobs: list[str] = field(default_factory=list)
    over: bool = False

    @classmethod
    def new(cls, root: Path, launcher: str, packs: list[list[str]]) -> Submission:
        now = time.time_ns()  # tags sort by time, also within a second
        begun = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now // 10**9))
        tag = f"{begun}-{now % 10**9 // 1000:06d}-{secrets.token_hex(2)}"
        return cls((root / FOLDER / tag).absolute(), launcher, packs)

    @property
    def name(self) -> str:
        """Of its jobs in the scheduler's lists."""
        return f"{NAME}-{self.folder.name}"

    def journal(self, number: int) -> Journal:
        """That of one of its jobs, counted from 0."""
        return Journal(self.folder / f"job-{number}.jsonl")

    def write(self) -> None:
        """Note it; whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        content = {
            "launcher": self.launcher, "jobs": self.jobs, "over": self.over, "packs": self.packs,
        }  # fmt: skip
        path = self.folder / _NOTE
        temporary = path.with_name(f".{_NOTE}.{os.getpid()}.tmp")
        temporary.write_text(json.dumps(content), encoding="utf-8")
        os.replace(temporary, path)


def read_submissions(root: Path) -> Iterator[Submission]:
    """All submissions of a sweep's folder, the oldest first; a file that is no note is skipped."""
    for path in sorted((root / FOLDER).glob(f"*/{_NOTE}")):
        try:
            facts: dict[str, Any] = plain_json(path.read_text(encoding="utf-8"))
            yield Submission(
                path.parent.absolute(),
                str(facts["launcher"]),
                [[str(folder) for folder in pack] for pack in facts["packs"]],
                [str(job) for job in facts["jobs"]],
                bool(facts["over"]),
            )
        except (OSError, ValueError, KeyError, TypeError):
            continue


@dataclass(frozen=True)
class LastJob:
    """The newest that journals say of a run: its last event, and how many jobs began it."""

    event: Event
    starts: int


def last_jobs(root: Path) -> dict[str, LastJob]:
    """Run's folder -> what the journals say of it last."""
    found: dict[str, LastJob] = {}
    for submission in read_submissions(root):
        for number in range(len(submission.packs)):
            for event in submission.journal(number).events():
                starts = found[event.folder].starts if event.folder in found else 0
                found[event.folder] = LastJob(event, starts + (event.what == "started"))
    return found


def ended_in(journal: Journal) -> set[str]:
    """The folders of the runs that a job has finished, well or badly."""
    return {event.folder for event in journal.events() if event.what == ENDED}


def left_in(submission: Submission, number: int) -> Sequence[str]:
    """The folders of the runs that a job has still to make."""
    ended = ended_in(submission.journal(number))
    return [folder for folder in submission.packs[number] if folder not in ended]
