"""``cerviclip adopt REPOSITORY``: its trainers, their config keys, and which would run here."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from cerviclip.adopt.launch import Job, run_adopted
from cerviclip.adopt.repository import (
    ForeignTrainer,
    Repository,
    find_repositories,
    unreadable_trainers,
)
from cerviclip.adopt.scripts import keys_of_scripts
from cerviclip.adopt.spec import no_trainer
from cerviclip.runs.settings.parser import Parser, add_debug_flag
from dassl.errors import MissingFileError, UserError
from dassl.paths import at_home

EPILOG = """\
Each repository in the folder is looked at in a process of its own: every file that registers a
trainer is imported, with the repository first on the path and without a change to it. A trainer
that "runs here" can be imported; what its model misses shows when it is built:
  cerviclip train --adopt NAME=REPOSITORY:TRAINER --dataset PhantomOCT --weights FILE --no-train
Exit status: 0 some trainer runs here, 1 none does, 2 something to correct."""


def main(argv: Sequence[str] | None = None, prog: str = "cerviclip adopt") -> int:
    """Print what a folder's repositories have; returns the exit status."""
    from argparse import RawDescriptionHelpFormatter

    parser = Parser(
        prog=prog,
        description="List the trainers of a repository that was written for Dassl.",
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("repository", help="its folder, or one that holds several")
    parser.add_argument("--json", action="store_true", help="as JSON")
    add_debug_flag(parser)
    args = parser.parse_args(argv)
    folder = at_home(args.repository).resolve()
    if not folder.is_dir():
        raise MissingFileError(f"there is no folder {args.repository}")
    repositories = find_repositories(folder)
    if not repositories:
        raise UserError(no_trainer(folder))
    reports = []
    for repository in repositories:
        reports.append(report(repository))
        if not args.json:
            print(as_text(repository, reports[-1]), flush=True)
    if args.json:
        print(json.dumps(reports, indent=1, default=str))
    runs = any(entry["runs"] for one in reports for entry in one["trainers"])
    return 0 if runs else 1


def report(repository: Repository) -> dict[str, Any]:
    """What there is to say of one repository."""
    tried = run_adopted(Job("list", str(repository.root)))
    return {
        "repository": str(repository.root),
        "commit": repository.commit,
        "files_sha256": repository.files_sha256(),
        "trainers": [
            _trainer(repository, trainer, tried) for trainer in repository.trainers.values()
        ],
        "notes": [*tried["notes"], *unreadable_trainers(repository.root)],
    }


def as_text(repository: Repository, found: Mapping[str, Any]) -> str:
    """The same for people."""
    commit = f"commit {found['commit'][:12]}, " if found["commit"] else "no git commit, "
    lines = [f"{repository.root} ({commit}files {found['files_sha256'][:12]})", ""]
    for entry in found["trainers"]:
        kind = "" if entry["learns"] else ", trains nothing"
        lines.append(f"  {entry['name']}  ({entry['file']}{kind})")
        lines.append(f"    {'runs here' if entry['runs'] else 'does not run: ' + entry['error']}")
        if entry["keys"]:
            pairs = (f"{key} {value!r}" for key, value in entry["keys"].items())
            lines.append(f"    keys: {', '.join(pairs)}")
        if entry["scripts"]:
            pairs = (f"{key} {value}" for key, value in entry["scripts"].items())
            lines.append(f"    its scripts set: {' '.join(pairs)}")
        if entry["configs"]:
            more = len(entry["configs"]) - 3
            names = ", ".join(entry["configs"][:3]) + (f" and {more} more" if more > 0 else "")
            lines.append(f"    yaml: {names}")
    lines += ["", *(f"  note: {note}" for note in found["notes"])]
    first = next((e["name"] for e in found["trainers"] if e["runs"]), "")
    if first:
        lines += ["", f"  cerviclip sweep --adopt {first}={repository.root}:{first} ...", ""]
    return "\n".join(lines)


def _trainer(
    repository: Repository, trainer: ForeignTrainer, tried: Mapping[str, Any]
) -> dict[str, Any]:
    error = tried["failures"].get(trainer.name, "it was not reached")
    text = trainer.file.read_text(encoding="utf-8", errors="replace")
    read = set(re.findall(r"TRAINER\.\w+\.\w+(?:\.\w+)*", text))
    keys = tried["keys"].get(trainer.name, {})
    return {
        "name": trainer.name,
        "file": str(trainer.file.relative_to(repository.root)),
        "learns": trainer.learns,
        "runs": not error,
        "error": error,
        "keys": {key: value for key, value in keys.items() if key in read},
        "scripts": keys_of_scripts(repository.root, trainer.name),
        "configs": [
            str(path.relative_to(repository.root)) for path in repository.configs_of(trainer.name)
        ],
    }
