"""``--resume``: that the folder is a run's, and of the same settings, before anything starts."""

from __future__ import annotations

import os
from pathlib import Path

from cerviclip.runs.results_json import read_results
from cerviclip.runs.run.inputs import check_names_and_values
from cerviclip.runs.settings.config_hash import config_hash, differing_keys
from cerviclip.runs.settings.folders import runs_below
from dassl.config import CfgNode, read_yaml
from dassl.errors import MissingFileError, UserError
from dassl.paths import is_dir, is_file


def resumes_from(cfg: CfgNode, folder: Path) -> bool:
    """Whether the run resumes from ``folder`` or from something in it."""
    if not cfg.RESUME:
        return False
    wanted = Path(os.path.realpath(cfg.RESUME))
    return wanted.is_relative_to(os.path.realpath(folder))


def check_resume(cfg: CfgNode, folder: Path, fresh: bool = False) -> None:
    """Refuse a ``--resume`` that cannot be followed.

    Resuming from the run's own folder goes on from whatever is there, nothing included.

    Args:
        cfg: the run's configuration.
        folder: where the run is to be.
        fresh: whether the run is to be made again from the start.

    Raises:
        MissingFileError: no such folder, or no checkpoint in it.
        UserError: a run of other settings, or one that ``--fresh`` is to replace.
    """
    if not cfg.RESUME:
        return
    source = Path(cfg.RESUME)
    own = resumes_from(cfg, folder)
    if own and fresh:
        raise UserError(f"--fresh replaces {folder}, which --resume goes on from; give one of them")
    if not own and not is_dir(source):
        raise MissingFileError(f"--resume {source}: there is no such folder; name a run's folder")
    if not own and not any(source.glob("*/model*.pth.tar*")):
        raise MissingFileError(
            f"--resume {source}: no checkpoint is in there{runs_below(source)}; name a run's "
            "folder, or leave --resume out to train from the start"
        )
    keys = _differences(source, cfg)
    if keys:
        check_names_and_values(cfg)
        raise UserError(
            f"--resume {source}: a run of another configuration ({'; '.join(keys)}); resume it "
            "with its own settings, or leave --resume out"
        )


def _differences(folder: Path, cfg: CfgNode) -> list[str]:
    """What differs from the run in ``folder``; nothing where it does not say what it was."""
    results, saved = read_results(folder), folder / "config.yaml"
    if results is not None and results.get("config_hash") == config_hash(cfg):
        return []
    if is_file(saved):
        return differing_keys(read_yaml(saved, "config file"), cfg)
    return ["config_hash"] if results is not None else []
