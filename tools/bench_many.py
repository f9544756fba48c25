"""Goal: how long tables, `read_results` and the quick audit take over very many runs.

Usage:
    python tools/bench_many.py FOLDER --runs 100000            small files, of 4 kB
    python tools/bench_many.py FOLDER --runs 4000 --like RUN   files like that of a run
    python tools/bench_many.py FOLDER --keep                   leave the files for the next time

FOLDER is made and must not be there yet, unless it is kept from before. Each step runs in a process
of its own; its time, the processor's time in it, and its largest memory are printed. The index of
the folder is removed first, so that "first" has none.

Example output:
    100000 runs, 4.0 kB each (0.40 GB)
    tables, first           31.2 s   30.1 s cpu    402 MiB
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from cerviclip.runs.many.index import Index
from cerviclip.runs.results_json import read_results
from cerviclip.runs.settings.run_key import RunKey
from dassl.errors import MissingFileError, UserError, cli_main

TRAINERS, SHOTS, SEEDS = 20, (1, 2, 4, 8, 16), 20
STEPS = {
    "tables, first": ("tables",),
    "tables, again": ("tables",),
    "tables --format csv": ("tables", "--format", "csv", "--output", os.devnull),
    "read_results": (),
    "audit --quick": ("audit", "--quick"),
}


def main(argv: Sequence[str] | None = None, prog: str = "python tools/bench_many.py") -> int:
    parser = argparse.ArgumentParser(prog=prog, description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="for the files")
    parser.add_argument("--runs", type=int, default=100_000, metavar="N")
    parser.add_argument("--like", type=Path, metavar="RUN", help="a run whose results.json to vary")
    parser.add_argument("--keep", action="store_true", help="leave the files")
    args = parser.parse_args(argv)
    if args.folder.exists() and not (args.folder / MARK).is_file():
        raise UserError(f"{args.folder} exists and is not of this tool; name another folder")
    if not args.folder.exists():
        began = time.perf_counter()
        generate(args.folder, args.runs, template(args.like))
        print(f"generated in {time.perf_counter() - began:.0f} s", file=sys.stderr)
    print_sizes(args.folder)
    Index(args.folder).file.unlink(missing_ok=True)
    for name, words in STEPS.items():
        seconds, cpu, memory, status = measured(words, args.folder)
        end = "" if status else "   failed"
        print(f"{name:22}{seconds:7.1f} s {cpu:7.1f} s cpu {memory:6.0f} MiB{end}", flush=True)
    if not args.keep:
        shutil.rmtree(args.folder)
    return 0


MARK = "bench_many"
VARIED = ("dataset", "trainer", "shots", "seed", "config_hash", "draw_hash")


def template(like: Path | None) -> dict[str, Any]:
    """The results that every generated file varies: of a run, or of a small test set of two classes
    without the measures beside the scores."""
    if like is not None:
        found = read_results(like)
        if found is None or found["status"] != "done":
            raise MissingFileError(f"{like} has no finished run")
        return found
    import numpy as np

    from cerviclip.evaluation.report import score
    from cerviclip.runs.run.run_files import results_record
    from dassl.config import get_cfg_default

    rng = np.random.default_rng(0)
    labels = [n % 2 for n in range(120)]
    scores = np.clip(rng.normal(0.35 + 0.3 * np.array(labels), 0.2), 0.01, 0.99)
    patients = [f"P{n // 4}" for n in range(120)]
    center = score(labels, np.stack([1 - scores, scores], 1), patients, ["normal", "lesion"],
                   ["lesion"], "few_patients")  # fmt: skip
    cfg = get_cfg_default()
    cfg.DATASET.NAME, cfg.TRAINER.NAME, cfg.DATASET.NUM_SHOTS = "Bench", "Method", 1
    record = results_record(RunKey.of(cfg), cfg, status="done", centers={"test": center})
    return record | {"split_hash": "0" * 64, "positive_classes": ["lesion"]}


def generate(folder: Path, count: int, base: dict[str, Any]) -> None:
    """Write so many runs of different keys, whose values are of fifty kinds."""
    folder.mkdir(parents=True)
    (folder / MARK).touch()
    random, made = Random(0), ""
    texts = [text_of(base, random.uniform(-5, 5)) for _ in range(50)]
    for number in range(count):
        key = key_of(number, base)
        facts = {**vars(key), "config_hash": f"{number:064x}", "draw_hash": f"{number:x}"}
        text = texts[random.randrange(len(texts))]
        for name in VARIED:
            text = text.replace(f'"@{name}"', json.dumps(facts[name]), 1)
        place = str(key.folder(folder))
        if os.path.dirname(place) != made:
            made = os.path.dirname(place)
            os.makedirs(made)
        os.mkdir(place)
        # Not `atomic_write`: these files need not survive a power cut.
        with open(f"{place}/results.json", "w", encoding="utf-8") as handle:
            handle.write(text)


def text_of(base: dict[str, Any], by: float) -> str:
    """A results.json with moved values, and marks where runs differ."""
    # Moved values no longer follow from the matrix beside them, and a reader would refuse them.
    centers = {
        name: {**moved(center, by), "confusion_matrix": None}
        for name, center in base["centers"].items()
    }
    marks = {name: f"@{name}" for name in VARIED}
    return json.dumps({**base, **marks, "centers": centers}, indent=1) + "\n"


def key_of(number: int, base: dict[str, Any]) -> RunKey:
    """The key of a run: seeds fastest, then shots, trainers and data sets."""
    rest, seed = divmod(number, SEEDS)
    rest, shots = divmod(rest, len(SHOTS))
    dataset, trainer = divmod(rest, TRAINERS)
    name, backbone = f"{base['dataset']}{dataset}", base["backbone"]
    return RunKey(name, f"Method{trainer}", backbone, "default", SHOTS[shots], "", seed + 1)


def moved(node: Any, by: float) -> Any:
    """The same with every ``value`` moved, where it lies between 10 and 90."""
    if not isinstance(node, dict):
        return node
    out = {key: moved(item, by) for key, item in node.items()}
    value = out.get("value")
    if isinstance(value, float) and 10 < value < 90:
        out["value"] = value + by
    return out


def print_sizes(folder: Path) -> None:
    count = size = 0
    for place, _, files in os.walk(folder):
        if "results.json" in files:
            count += 1
            size += os.stat(os.path.join(place, "results.json")).st_size
    print(f"{count} runs, {size / count / 1000:.1f} kB each ({size / 1e9:.2f} GB)")


CODE = """
import resource, sys
words = sys.argv[2:]
if words:
    from cerviclip.cli import main
    status = main([words[0], sys.argv[1], *words[1:]])
else:
    import cerviclip
    status = 0 if len(cerviclip.read_results(sys.argv[1])) else 1
used = resource.getrusage(resource.RUSAGE_SELF)
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(used.ru_utime + used.ru_stime, int(peak.split()[1]) / 1024, file=sys.stderr)
sys.exit(status)
"""


def measured(words: Sequence[str], folder: Path) -> tuple[float, float, float, bool]:
    """Seconds, processor's seconds and MiB of a command in a new process; whether it went well."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(folder), *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    seconds = time.perf_counter() - began
    try:
        cpu, memory = map(float, done.stderr.strip().splitlines()[-1].split())
        return seconds, cpu, memory, done.returncode == 0
    except (ValueError, IndexError):
        print(done.stderr[-1000:], file=sys.stderr)
        return seconds, 0.0, 0.0, False


if __name__ == "__main__":
    sys.exit(cli_main(main))
