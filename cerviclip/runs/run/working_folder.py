"""What runs leave where they were stopped or refused, and how it is cleared."""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dassl.errors import UserError

RUN_FILES = {
    "config.yaml", "task.json", "reading.json", "split.json", "history.csv", "history.png",
    "predictions.csv", "val_predictions.csv", "predictions_new.csv", "confusion.png",
    "results.json", "cmat.pt", "train_features.safetensors", "rescued.json",
}  # fmt: skip


@contextmanager
def undo_on_user_error(folder: Path) -> Iterator[None]:
    """Make ``folder``; if the block ends in a UserError all is as it was before.

    What the block added to the folder goes, and so do the folder and those above it where they were
    not there; ``config.yaml`` is put back.
    """
    absent = [path for path in (folder, *folder.parents) if not path.exists()]
    create_writable(folder)
    before = {path.name for path in folder.iterdir()}
    config = folder / "config.yaml"
    old = config.read_bytes() if config.is_file() else None
    try:
        yield
    except UserError:
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
    why = "" if not folder.is_dir() or os.access(folder, os.W_OK) else "no permission"
    try:
        folder.mkdir(parents=True, exist_ok=True)
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
    absent = [parent for parent in path.parents if not parent.exists()]
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
    if path.is_dir() and not path.is_symlink():
        if path.name in ("eval", "tensorboard", "attention", "explain"):
            return True
        names = [inner.name for inner in path.iterdir()]
        return all(name == "checkpoint" or name.startswith("model") for name in names)
    return path.name.startswith(("log.txt", ".tmp")) or path.name in RUN_FILES


def replace_folder(folder: Path, new: Path) -> None:
    """Put ``new`` in the place of ``folder``; the old content is gone only when that is done."""
    aside = folder.with_name(f".{folder.name}.old-{os.getpid()}")
    if folder.exists():
        os.replace(folder, aside)
    os.replace(new, folder)
    _keep_evaluations_remove_rest(aside, folder)


def _keep_evaluations_remove_rest(aside: Path, folder: Path) -> None:
    """Remove an old run; its evaluations go along to the one in ``folder``, before anything goes,
    so that a kill at any point leaves them in one of the two places."""
    for evaluation in sorted((aside / "eval").glob("*")):
        place = folder / "eval" / evaluation.name
        if not place.exists():
            place.parent.mkdir(exist_ok=True)
            os.replace(evaluation, place)
    remove(aside)


def finish_replacement(folder: Path) -> None:
    """Finish what a process began that was killed while it replaced the folder.

    The old run is put back where the new one is not in place yet, and removed where it is. What
    belongs to another process that is still at work stays.
    """
    for aside in _left_by_dead_processes(folder, "old"):
        if folder.exists():
            _keep_evaluations_remove_rest(aside, folder)
        else:
            os.replace(aside, folder)
    for new in _left_by_dead_processes(folder, "new"):
        remove(new)


def _left_by_dead_processes(folder: Path, kind: str) -> list[Path]:
    start = f".{folder.name}.{kind}-"
    found = []
    for name in sorted(glob.glob(glob.escape(str(folder.parent / start)) + "*")):
        from dassl.utils.files import process_alive  # brings torch; there is seldom anything

        pid = os.path.basename(name).removeprefix(start)
        if not pid.isdigit() or int(pid) == os.getpid() or not process_alive(int(pid)):
            found.append(Path(name))
    return found


def remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def remove_empty(folders: list[Path]) -> None:
    """Remove folders, the innermost first, as far as they are empty."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()
