"""What runs leave where they were stopped or refused, and how it is cleared."""

from __future__ import annotations

import errno
import glob
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cerviclip.locks import AtWorkError, claim_of, claimed
from dassl.errors import UserError
from dassl.paths import exists, is_dir, is_file

RUN_FILES = {
    "config.yaml", "task.json", "reading.json", "split.json", "history.csv", "history.png",
    "predictions.csv", "val_predictions.csv", "predictions_new.csv", "confusion.png",
    "results.json", "cmat.pt", "train_features.safetensors", "rescued.json",
}  # fmt: skip


@contextmanager
def undo_on_user_error(folder: Path) -> Iterator[None]:
    """Make ``folder``; if the block ends in a UserError all is as it was before.

    What the block added to the folder goes, and so do the folder and those above it where they were
    not there; ``config.yaml`` is put back. Where training has left a checkpoint all stays, for the
    run to go on from.
    """
    absent = [path for path in (folder, *folder.parents) if not exists(path)]
    create_writable(folder)
    before = {path.name for path in folder.iterdir()}
    config = folder / "config.yaml"
    old = config.read_bytes() if is_file(config) else None
    try:
        yield
    except UserError:
        if any(folder.glob("*/model*.pth.tar*")):
            raise
        for path in folder.iterdir():
            if path.name not in before:
                remove(path)
        if old is not None:
            config.write_bytes(old)
        remove_empty(absent)
        raise


def create_writable(folder: Path) -> None:
    """Make a folder for results, with those above it.

    Raises:
        UserError: it cannot be made or written to.
    """
    why = ""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            why = os.strerror(errno.EROFS if _is_read_only(folder) else errno.EACCES)
    except OSError as error:
        why = error.strerror
    if why:
        raise UserError(f"cannot write results to {folder} ({why}); choose another --output-dir")


@contextmanager
def folder_beside(folder: Path, keep: bool = True) -> Iterator[Path]:
    """A name beside ``folder`` to work under; an error leaves nothing of it.

    Args:
        keep: False removes it in any case, with the folders above it that were not there.
    """
    path = folder.with_name(f".{folder.name}.new-{os.getpid()}")
    absent = [parent for parent in path.parents if not exists(parent)]
    try:
        yield path
    except BaseException:
        keep = False
        raise
    finally:
        if not keep:
            remove(path)
            remove_empty(absent)


def check_only_run_files(folder: Path) -> None:
    """Refuse to replace a folder that holds anything a run does not write.

    Raises:
        UserError: there is such a file or folder.
    """
    foreign = sorted(path.name for path in folder.iterdir() if not _is_run_file(path))
    if foreign:
        raise UserError(
            f"{folder} also holds {', '.join(foreign[:3])}{' ...' if len(foreign) > 3 else ''}, "
            "which no run wrote; move that away, or choose another --output-dir"
        )


def remove_run_files(folder: Path) -> None:
    """Remove a run's files; what later evaluations of it wrote stays."""
    for path in folder.iterdir():
        if path.name != "eval":
            remove(path)


def _is_run_file(path: Path) -> bool:
    if is_dir(path) and not path.is_symlink():
        if path.name in ("eval", "tensorboard", "attention", "explain"):
            return True
        names = [inner.name for inner in path.iterdir()]
        return all(name == "checkpoint" or name.startswith("model") for name in names)
    from dassl.utils.files import is_temporary

    name = path.name
    return name.startswith(("log.txt", ".tmp")) or name in RUN_FILES or is_temporary(name)


def replace_folder(folder: Path, new: Path) -> None:
    """Put ``new`` in the place of ``folder``; the old content is gone only when that is done."""
    aside = folder.with_name(f".{folder.name}.old-{os.getpid()}")
    if exists(folder):
        os.replace(folder, aside)
    os.replace(new, folder)
    _keep_evaluations_remove_rest(aside, folder)


def _keep_evaluations_remove_rest(aside: Path, folder: Path) -> None:
    """Remove an old run; its evaluations go along to the one in ``folder``, before anything goes,
    so that a kill at any point leaves them in one of the two places."""
    for evaluation in sorted((aside / "eval").glob("*")):
        place = folder / "eval" / evaluation.name
        if not exists(place):
            place.parent.mkdir(exist_ok=True)
            os.replace(evaluation, place)
    remove(aside)


def tidy_up(folder: Path) -> None:
    """Finish and clear what killed processes left in a run's folder and beside it.

    An old run that was being replaced is put back where the new one is not in place yet, and
    removed where it is. Call it with the folder claimed: then whoever left something is dead.
    """
    from dassl.utils.files import remove_temporaries

    for aside in _left_beside(folder, "old"):
        if exists(folder):
            _keep_evaluations_remove_rest(aside, folder)
        else:
            os.replace(aside, folder)
    for new in _left_beside(folder, "new"):
        remove(new)
    if is_dir(folder):
        for place in (folder, *(path for path in folder.iterdir() if is_dir(path))):
            remove_temporaries(place)


def is_tidy(folder: Path) -> bool:
    """Whether no replacement of the folder is under way or was killed."""
    return not any(_left_beside(folder, kind) for kind in ("old", "new"))


def tidy_up_if_idle(folder: Path) -> None:
    """Finish a replacement that was killed, and remove a dead process's claim, unless another
    process is at work on the folder."""
    if exists(claim_of(folder)) or not is_tidy(folder):
        with suppress(AtWorkError), claimed(folder):
            tidy_up(folder)


def _left_beside(folder: Path, kind: str) -> list[Path]:
    start = glob.escape(str(folder.parent / f".{folder.name}.{kind}-"))
    return [Path(name) for name in sorted(glob.glob(start + "*"))]


def _is_read_only(folder: Path) -> bool:
    if not hasattr(os, "statvfs"):
        return False
    return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


def remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it, if it is there."""
    if is_dir(path) and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def remove_empty(folders: list[Path]) -> None:
    """Remove folders, the innermost first, as far as they are empty."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()
