"""``--split``: a run's settings from a split in a file, and a published set of them for a sweep."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cerviclip import plugins
from cerviclip.data.split.repeated import read_record
from cerviclip.shapes import parse_json
from dassl.config import CfgNode
from dassl.errors import MissingFileError, UserError
from dassl.paths import at_home, is_dir, is_file

MANIFEST = "manifest.json"
DRAW_FILE = "DATASET.DRAW_FILE"
DRAW_ANEW = "draw shots of its split: DATASET.SPLIT_FILE FILE in place of --split FILE"


@dataclass(frozen=True)
class DrawFile:
    """A split and draw in a file; ``shots`` as DATASET.NUM_SHOTS."""

    path: str
    dataset: str
    shots: int
    seed: int
    fold: str


def follow_draw_file(cfg: CfgNode, asked_shots: bool, asked_seed: bool, run: str = "") -> None:
    """Take shots, seed and fold from ``DATASET.DRAW_FILE``, and refuse others.

    Args:
        cfg: not frozen.
        asked_shots: the user has named shots.
        asked_seed: the user has named a seed, which is then that of the training alone.
        run: folder of a run that is evaluated, whose own split.json stands in for a lost file.

    Raises:
        UserError: the file cannot be repeated, or the run asks for something else.
    """
    options = cfg.DATASET
    if not options.DRAW_FILE:
        return
    if run and not is_file(options.DRAW_FILE):
        options.DRAW_FILE = str(Path(run) / "split.json")
    kind = plugins.ensure_loaded("dataset", options.NAME)
    if not getattr(kind, "repeats_draws", False):
        raise UserError(f"{options.NAME} cannot repeat a split (--split); leave it out")
    record = read_record(options.DRAW_FILE)
    trains = getattr(plugins.ensure_loaded("trainer", cfg.TRAINER.NAME), "needs_training", True)
    shots, fold = int(record["shots"]), str(record.get("fold", ""))
    if asked_shots and trains and shots not in (options.NUM_SHOTS, 0):
        raise UserError(
            f"{options.DRAW_FILE} is a draw of {_shown(shots)} shots, and "
            f"{_shown(options.NUM_SHOTS)} are asked; leave --shots out, or {DRAW_ANEW}"
        )
    if options.FOLD and options.FOLD != fold:
        raise UserError(
            f"{options.DRAW_FILE} is of fold {fold or 'none'}, and DATASET.FOLD is {options.FOLD}; "
            "leave it out"
        )
    options.FOLD = fold
    options.SHOTS_BY = record.get("shots_by", "class")
    options.SHOTS_SCENARIO = record.get("scenario", "balanced")
    if trains:
        options.NUM_SHOTS = shots
        if not asked_seed:
            cfg.SEED = int(record["draw_seed"])


def find_draw_files(place: str) -> list[DrawFile]:
    """The splits of a file, or of a folder that ``cerviclip split --publish`` has written.

    Raises:
        UserError: there are none, or a file has changed since it was published.
    """
    path = at_home(place)
    if is_dir(path):
        path = path / MANIFEST
    if not is_file(path):
        raise MissingFileError(
            f"--split {place}: no file, and no folder with a {MANIFEST}; give a split.json or what "
            "cerviclip split --publish has written"
        )
    files = list(_published(path)) if path.name == MANIFEST else [path]
    return [_read(file) for file in files]


def _published(manifest: Path) -> Iterator[Path]:
    from dassl.utils.files import file_sha256

    try:
        entries: list[Any] = parse_json(manifest.read_text(encoding="utf-8"))["files"]
        named = [(manifest.parent / e["file"], e["sha256"], e["repeatable"]) for e in entries]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{manifest} is no set of splits ({error!r})") from error
    for file, digest, repeatable in named:
        if not is_file(file) or file_sha256(file) != digest:
            raise UserError(f"{file} is missing or has changed since it was published (sha256)")
        if repeatable:
            yield file


def _read(path: Path) -> DrawFile:
    record = read_record(path)
    return DrawFile(
        path=str(path),
        dataset=str(record["dataset"]),
        shots=int(record["shots"]),
        seed=int(record["draw_seed"]),
        fold=str(record.get("fold", "")),
    )


def _shown(shots: int) -> str:
    return "full" if shots < 0 else str(shots)
