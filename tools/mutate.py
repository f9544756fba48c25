"""Goal: which changes of the code do the tests not notice? (mutation testing, with mutmut 3)

Each mutant is one small change of a function: ``<`` becomes ``<=``, 1 becomes 2, an argument falls
away. The tests of that module alone run against it. A mutant that they pass is a survivor: it
shows a hole in the tests, or it changes nothing that anyone could see. The second kind stands with
its reason in ``tests/answered_mutants.yaml`` and is not shown again.

Usage (pip install -e ".[test,mutants]" first):
    python tools/mutate.py                            a seeded sample of every group
    python tools/mutate.py splits optim               of these groups
    python tools/mutate.py splits --sample 0          all mutants of a group
    python tools/mutate.py splits --again             only last time's survivors, after new tests

Example output:
    group        mutants     tried    killed   no test  survived  answered      open
    optim            514       514       502         0        12        12         0
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from dassl.errors import UserError, cli_main

REPO = Path(__file__).resolve().parents[1]
ANSWERS = REPO / "tests" / "answered_mutants.yaml"
SCRATCH = REPO / "output" / "mutants"
#: What the mutated copy of the project needs besides the two packages.
BESIDES = ("trainers", "datasets", "configs", "tools", "train.py", "run_shell.py", "README.md")
#: Lines whose mutants differ in wording alone. What raises and when is decided in other lines.
WORDING = (r"^\s*raise ", r"warnings?\.warn\(", r"\blog(ger)?\.\w+\(", r"^\s*f?\"[^\"]*\"$")
STATS = "mutants/mutmut-stats.json"  # which tests run which functions
#: Exit codes of a mutant's tests, as mutmut notes them.
SURVIVED, NO_TEST = (0,), (5, 33)


@dataclass(frozen=True)
class Group:
    """Files that are mutated and the tests that are to notice it, as patterns below the root."""

    code: tuple[str, ...]
    tests: tuple[str, ...]


_RUNS, _TESTED_RUNS = "cerviclip/runs", "tests/cerviclip/runs"
_EVALUATION, _TESTED_EVALUATION = "cerviclip/evaluation", "tests/cerviclip/evaluation"
GROUPS = {
    "config": Group(("dassl/config/*.py",), ("tests/dassl/config",)),
    "optim": Group(("dassl/optim/*.py",), ("tests/dassl/optim",)),
    "metrics": Group(
        ("dassl/metrics/*.py", "dassl/evaluation/*.py"),
        ("tests/dassl/metrics", "tests/dassl/evaluation"),
    ),
    "splits": Group(
        ("cerviclip/data/split/*.py",),
        (
            "tests/cerviclip/data/split",
            "tests/cerviclip/data/test_imaging.py",
            "tests/tools/test_split.py",
        ),
    ),
    "measures": Group(
        (f"{_EVALUATION}/measures/*.py",),
        (f"{_TESTED_EVALUATION}/measures", "tests/cerviclip/data/centers/test_coarse.py"),
    ),
    "intervals": Group(
        (
            f"{_EVALUATION}/intervals/*.py",
            f"{_EVALUATION}/comparing/*.py",
            f"{_EVALUATION}/bootstrap.py",
            f"{_EVALUATION}/bounds.py",
        ),
        (
            f"{_TESTED_EVALUATION}/intervals",
            f"{_TESTED_EVALUATION}/comparing",
            f"{_TESTED_EVALUATION}/test_bootstrap.py",
            f"{_TESTED_EVALUATION}/test_bounds.py",
            f"{_TESTED_EVALUATION}/test_report.py",
        ),
    ),
    "results": Group(
        (
            f"{_RUNS}/results_*.py",
            f"{_RUNS}/measured.py",
            f"{_RUNS}/predictions.py",
            f"{_RUNS}/settings/run_key.py",
            f"{_RUNS}/settings/config_hash.py",
            f"{_RUNS}/settings/folders.py",
        ),
        (
            f"{_TESTED_RUNS}/test_results_json.py",
            f"{_TESTED_RUNS}/test_results_check.py",
            f"{_TESTED_RUNS}/test_measured.py",
            f"{_TESTED_RUNS}/test_predictions.py",
            f"{_TESTED_RUNS}/settings/test_run_key.py",
            f"{_TESTED_RUNS}/settings/test_config_hash.py",
            f"{_TESTED_RUNS}/settings/test_folders.py",
        ),
    ),
    "tables": Group(
        (f"{_RUNS}/report/pooled.py", f"{_RUNS}/report/groups.py", f"{_RUNS}/report/tables.py"),
        (
            f"{_TESTED_RUNS}/report/test_few.py",
            f"{_TESTED_RUNS}/report/test_groups.py",
            f"{_TESTED_RUNS}/report/test_modes.py",
            f"{_TESTED_RUNS}/report/test_pooled.py",
            f"{_TESTED_RUNS}/report/test_protocol_tables.py",
            f"{_TESTED_RUNS}/report/test_tables.py",
            "tests/tools/test_make_tables.py",
        ),
    ),
}


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Try mutants of the groups that are named; 1 if a survivor has no answer."""
    parser = argparse.ArgumentParser(prog=prog, description=(__doc__ or "").split("\n")[0])
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=", ".join(GROUPS))
    parser.add_argument(
        "--sample", type=int, default=300, help="mutants of a group to try; 0: all (default: 300)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default: 0)")
    parser.add_argument("--again", action="store_true", help="only last time's survivors")
    args = parser.parse_args(argv)
    if unknown := sorted(set(args.groups) - set(GROUPS)):
        raise UserError(f"no group {unknown[0]}: {', '.join(GROUPS)}")
    if args.sample < 0:
        raise UserError(f"--sample is {args.sample}; give a number from 0, which means all")
    if find_spec("mutmut") is None:
        raise UserError('mutmut is not installed: pip install -e ".[test,mutants]"')
    counts = {}
    for name in args.groups or GROUPS:
        counts[name] = run_group(name, args.sample, args.seed, args.again)
    print(table(counts))
    return 1 if any(count["open"] for count in counts.values()) else 0


def run_group(name: str, sample: int, seed: int, again: bool) -> dict[str, int]:
    """Try a group's mutants, print survivors without an answer, and count."""
    group, folder = GROUPS[name], SCRATCH / name
    before = results(folder) if again else {}
    prepare(folder, group)
    _mutmut(folder, "run", "--max-children", "1", "none of them")  # writes the mutants alone
    if not (folder / STATS).is_file():
        raise UserError(f"the tests of {name} fail without any mutant; see {folder / 'mutmut.log'}")
    widen(folder)
    known = sorted(results(folder))
    if again:
        chosen = [mutant for mutant in known if before.get(mutant) in (*SURVIVED, *NO_TEST)]
    else:
        random.Random(seed).shuffle(known)  # so a small sample is part of a larger one
        chosen = known[: sample or None]
    if chosen:
        _mutmut(folder, "run", "--max-children", "1", *chosen)
    found = {mutant: code for mutant, code in results(folder).items() if mutant in chosen}
    if untried := [mutant for mutant, code in found.items() if code is None]:
        raise UserError(f"{untried[0]} was not tried; see {folder / 'mutmut.log'}")
    return {"mutants": len(known), **judge(folder, found)}


def prepare(folder: Path, group: Group) -> None:
    """A folder in which mutmut finds the project by links, and the settings of this group alone:
    it knows one choice of tests for all modules."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in ("cerviclip", "dassl", "tests", *BESIDES):
        (folder / name).symlink_to(REPO / name)
    settings = {
        "source_paths": ["cerviclip", "dassl"],
        "only_mutate": list(group.code),
        "do_not_mutate_patterns": list(WORDING),
        "also_copy": list(BESIDES),
        "pytest_add_cli_args": ["-n0", "-pno:cacheprovider"],
        "pytest_add_cli_args_test_selection": list(group.tests),
        "timeout_constant": 5.0,
        "timeout_multiplier": 5.0,
        "track_dependencies": False,
        "use_git_change_detection": False,
    }
    # A string or a list of strings is written alike in JSON and in TOML; so is a number.
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    project = (REPO / "pyproject.toml").read_text(encoding="utf-8")
    text = "\n".join([project, "[tool.mutmut]", *lines, ""])
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")


def widen(folder: Path) -> None:
    """Give a mutant all tests of a file that shares fixtures among tests: mutmut notes what runs in
    such a fixture for the first test alone, and the others are those that look at the result."""
    path = folder / STATS
    stats = json.loads(path.read_text(encoding="utf-8"))
    of_file: dict[str, list[str]] = {}
    for test in stats["duration_by_test"]:
        of_file.setdefault(test.partition("::")[0], []).append(test)
    sharing = {
        f for f in of_file if re.search(r"scope=.(module|session)", (folder / f).read_text())
    }
    chosen = stats["tests_by_mangled_function_name"]
    for name, tests in chosen.items():
        files = {test.partition("::")[0] for test in tests} & sharing
        chosen[name] = sorted({*tests, *(test for file in files for test in of_file[file])})
    path.write_text(json.dumps(stats), encoding="utf-8")


def _mutmut(folder: Path, *words: str) -> str:
    """What mutmut prints; its runs go to ``mutmut.log``. It leaves its own status for failures
    of its own, so the notes about each mutant say how a run ended."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    env.pop("PYTHONPATH", None)  # the mutated copy is what is to be imported
    command = [sys.executable, "-m", "mutmut", *words]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    with (folder / "mutmut.log").open("a", encoding="utf-8") as log:
        log.write(done.stdout + done.stderr)
    return done.stdout


def results(folder: Path) -> dict[str, int | None]:
    """Mutant -> exit code of its tests; None if it was not tried."""
    found: dict[str, int | None] = {}
    for path in sorted((folder / "mutants").rglob("*.meta")):
        found |= json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]
    return found


def judge(folder: Path, found: Mapping[str, int | None]) -> dict[str, int]:
    """Counts of a group; survivors without an answer are printed as the lines that changed."""
    alive = [mutant for mutant, code in found.items() if code in (*SURVIVED, *NO_TEST)]
    is_answered = read_answers()
    unanswered = 0
    for mutant, diff in diffs(folder, alive).items():
        change = changed_lines(diff)
        if is_answered(mutant.rpartition(".")[0], *change):
            continue
        unanswered += 1
        mark = "no test" if found[mutant] in NO_TEST else "survived"
        print(f"{mutant}: {mark}\n  - {change[0]}\n  + {change[1]}", flush=True)
    no_test = sum(code in NO_TEST for code in found.values())
    return {
        "tried": len(found),
        "killed": len(found) - len(alive),
        "no test": no_test,
        "survived": len(alive) - no_test,
        "answered": len(alive) - unanswered,
        "open": unanswered,
    }


def diffs(folder: Path, mutants: Sequence[str]) -> dict[str, str]:
    """What each mutant changes. ``mutmut show`` says the same, but takes a second for each."""
    code = (
        "import json, sys\nfrom mutmut.mutation.diff_apply import get_diff_for_mutant\n"
        "print(json.dumps({name: get_diff_for_mutant(name) for name in sys.argv[1:]}))"
    )
    command = [sys.executable, "-c", code, *mutants]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def changed_lines(diff: str) -> tuple[str, str]:
    """The lines that a mutant takes away and those it puts in their place, without indents."""
    lines = [line for line in diff.splitlines() if not line.startswith(("---", "+++"))]
    taken = " ".join(line[1:].strip() for line in lines if line.startswith("-"))
    put = " ".join(line[1:].strip() for line in lines if line.startswith("+"))
    return taken, put


def read_answers(path: Path = ANSWERS) -> Callable[[str, str, str], bool]:
    """Whether a module's mutant, given as the line as it is and as the mutant has it, is answered.

    An answer is for ``changes`` of one module, or for all lines that differ in what ``everywhere``
    matches alone.
    """
    entries: list[dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8")) or []
    known = {(e["module"], *pair) for e in entries for pair in e.get("changes", ())}
    patterns = [re.compile(e["everywhere"]) for e in entries if "everywhere" in e]

    def is_answered(module: str, was: str, now: str) -> bool:
        alike = any(p.sub("", was) == p.sub("", now) for p in patterns)
        return alike or (module, was, now) in known

    return is_answered


def table(counts: Mapping[str, Mapping[str, int]]) -> str:
    """A line for each group and one for their sum."""
    columns = ["mutants", "tried", "killed", "no test", "survived", "answered", "open"]
    rows = [[name, *(count[column] for column in columns)] for name, count in counts.items()]
    rows.append(["all", *(sum(count[column] for count in counts.values()) for column in columns)])
    head = f"{'group':<10}" + "".join(f"{column:>10}" for column in columns)
    return "\n".join([head, *(f"{r[0]:<10}" + "".join(f"{v:>10}" for v in r[1:]) for r in rows)])


if __name__ == "__main__":
    sys.exit(cli_main(main))
