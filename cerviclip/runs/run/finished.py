"""A finished run that is asked for again is not made again; it takes a new title and variant."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cerviclip.locks import claimed
from cerviclip.runs.results_json import read_results
from cerviclip.runs.settings.folders import RESULTS
from cerviclip.runs.settings.run_key import RunKey
from cerviclip.runs.study_title import KEY, title_of
from cerviclip.shapes import plain_json
from dassl.errors import UserError
from dassl.utils.distributed import broadcast_object

if TYPE_CHECKING:
    from yacs.config import CfgNode


def finished_before(
    folder: Path, cfg: CfgNode, variant: str, echo: bool, held: bool = False
) -> dict[str, Any]:
    """Say that the run need not be made, and give it the configuration's title and its variant.

    Args:
        folder: the run's.
        cfg: that the run is asked for with.
        variant: likewise.
        echo: say it.
        held: the caller has claimed the folder.

    Returns:
        The content of its results.json.
    """
    renamed = retitle(folder, cfg.DATASET.TITLE, held)
    relabelled = relabel(folder, variant, held)
    results = read_results(folder) or {}
    if echo:
        print(f"finished before: {folder} (--fresh runs it again)")
        if renamed:
            print(f"its title is now {cfg.DATASET.TITLE!r}")
        if relabelled:
            print(f"its variant is now {variant!r}")
        elif variant not in ("default", own := results.get("variant")):
            print(f"its variant stays {own!r}, by which its folder is called")
    broadcast_object("")  # nothing to help with
    return results


def retitle(folder: Path, title: str, held: bool = False) -> bool:
    """Write a title into the results.json of a finished run; all else in it stays as it is.

    Args:
        folder: the run's.
        title: "" leaves the run as it is, whatever title it has.
        held: the caller has claimed the folder.

    Returns:
        Whether the run had another title, or none.

    Raises:
        UserError: the file cannot be written, or another process is at work on the run.
    """
    if not title:
        return False
    results = read_results(folder)
    if results is None or title_of(results) == title:
        return False

    def change(content: dict[str, Any]) -> None:
        content["runtime"] = {**(content.get("runtime") or {}), "title": title}

    _rewrite(folder, change, held, f"the title {title!r}", f"leave {KEY} out")
    return True


def relabel(folder: Path, variant: str, held: bool = False) -> bool:
    """Write a variant into the results.json of a finished run, as `retitle` does with a title: the
    configuration does not tell variants apart, and tables do.

    Args:
        folder: the run's.
        variant: "default" leaves the run as it is, whatever variant it has; so does a folder that
            is called by the run's own variant, as those of a sweep are.
        held: the caller has claimed the folder.

    Returns:
        Whether the run had another variant.

    Raises:
        UserError: the file cannot be written, or another process is at work on the run.
    """
    results = read_results(folder)
    if results is None or variant in ("default", results["variant"]):
        return False
    own = RunKey.of_results(results).folder("").parts
    if folder.absolute().parts[-len(own) :] == own:
        return False
    _rewrite(
        folder,
        lambda content: content.update(variant=variant),
        held,
        f"the variant {variant!r}",
        "leave --variant out",
    )
    return True


def _rewrite(
    folder: Path, change: Callable[[dict[str, Any]], object], held: bool, what: str, way_out: str
) -> None:
    from dassl.utils.files import atomic_write

    path = folder / RESULTS
    try:
        with nullcontext() if held else claimed(folder):
            content = plain_json(path.read_text(encoding="utf-8"))
            change(content)
            with atomic_write(path) as handle:
                handle.write(json.dumps(content, indent=1, allow_nan=False) + "\n")
    except OSError as error:
        raise UserError(f"{path} cannot be given {what} ({error}); {way_out}") from error
