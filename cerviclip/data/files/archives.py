"""Unpacking what users downloaded: zip, tar (.gz, .bz2, .xz) and rar, with nothing taken on trust.

Refused are names that lead out of the folder, links and devices, and archives that grow beyond a
bound; the bytes are counted as they are written, whatever the archive says of itself. Each file
appears when it is whole, so the same call goes on where it was cut off.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

from cerviclip.data.files.folders import is_system
from cerviclip.places import install_hint
from dassl.errors import MissingFileError, UserError
from dassl.paths import exists, is_file
from dassl.utils.files import atomic_write

_TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_BLOCK = 1 << 20
_MOST_FILES = 2_000_000
_RATIO, _FREELY = 200, 2**30  # size of an archive's content to its own, beyond the first GiB


class Member(NamedTuple):
    """A file in an archive; ``open`` gives its bytes."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]


def is_archive(path: Path) -> bool:
    """Whether a file is unpacked here, by its name."""
    return path.name.lower().endswith((*_TARS, ".zip", ".rar"))


def check_hash(path: Path, known: str) -> None:
    """Compare a file with its published md5 or sha256.

    Raises:
        UserError: it differs: another release, or a download that was cut off.
    """
    digest = hashlib.new({32: "md5", 64: "sha256"}[len(known)], usedforsecurity=False)
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    if digest.hexdigest() != known:
        raise UserError(
            f"{path} has the hash {digest.hexdigest()}, published is {known}: it was cut off, or "
            "is of another release; download it again"
        )


def unpack(
    archive: Path, folder: Path, most: int, advance: Callable[[Any], object] = lambda name: None
) -> tuple[int, int]:
    """Write the files of an archive below a folder.

    Args:
        archive: zip, tar or rar.
        folder: made if absent.
        most: bytes that all files together may have.
        advance: called for each file.

    Returns:
        Numbers of files written, and of those that were there already with the same content.

    Raises:
        UserError: the archive is broken, unsafe or too large, or another file is there.
    """
    most = min(most, max(_FREELY, _RATIO * archive.stat().st_size))
    written = there = total = 0
    with _opened(archive) as members:
        for count, member in enumerate(members, start=1):
            if count > _MOST_FILES:
                raise UserError(f"{archive} holds more than {_MOST_FILES} files; unpack it by hand")
            target = folder / _safe_name(archive, member.name)
            if any(map(is_system, target.relative_to(folder).parts)):
                continue
            new, size = _write(archive, member, target, folder, most - total)
            written, there, total = written + new, there + (not new), total + size
            advance(member.name)
    return written, there


def _safe_name(archive: Path, name: str) -> str:
    """A member's path below the folder."""
    parts = [part for part in name.replace("\\", "/").split("/") if part != "."]
    outside = not parts or parts[0] == "" or ".." in parts or re.match(r"[A-Za-z]:", parts[0])
    if outside or "\0" in name:
        raise UserError(f"{archive} holds {name!r}, which leads out of the folder; nothing of it "
                        "is to be trusted")  # fmt: skip
    return "/".join(part for part in parts if part)


def _write(
    archive: Path, member: Member, target: Path, folder: Path, most: int
) -> tuple[bool, int]:
    """Write one file, or compare it with the one that is there; whether it is new, and its size."""
    if not Path(os.path.realpath(target)).is_relative_to(os.path.realpath(folder)):
        raise UserError(f"{target} lies behind a link out of {folder}; take the link away")
    too_large = UserError(
        f"{archive} grows beyond {most} bytes more at {member.name}; is it what it should be? "
        "--most-gb allows more"
    )
    if member.size > most:
        raise too_large
    size = 0
    with member.open() as source:
        if is_file(target):
            with open(target, "rb") as file:
                while block := source.read(_BLOCK):
                    size += len(block)
                    if size > most:
                        raise too_large
                    if file.read(len(block)) != block:
                        raise UserError(f"{target} is there with another content than in {archive}")
                if file.read(1):
                    raise UserError(f"{target} is there with another content than in {archive}")
            return False, size
        with atomic_write(target, "wb") as out:
            while block := source.read(_BLOCK):
                size += len(block)
                if size > most:
                    raise too_large
                out.write(block)
    return True, size


@contextmanager
def _opened(archive: Path) -> Iterator[Iterator[Member]]:
    """The members of an archive, with its faults told in one line."""
    if not is_file(archive):
        raise MissingFileError(f"there is no file {archive}")
    try:
        if archive.name.lower().endswith(_TARS):
            with tarfile.open(archive) as tar:
                yield _of_tar(archive, tar)
        elif archive.suffix.lower() == ".zip":
            with zipfile.ZipFile(archive) as file:
                yield _of_zip(archive, file)
        else:
            with _rar().RarFile(archive) as file:
                yield _of_zip(archive, file)
    except UserError:
        raise
    except Exception as error:  # of four decompressors, each with errors of its own
        if isinstance(error, OSError) and error.filename:
            raise
        text = str(error) or type(error).__name__
        raise UserError(
            f"{archive} cannot be unpacked ({text}); download it again"
            + (", or install unrar, unar or bsdtar" if archive.suffix.lower() == ".rar" else "")
        ) from error


def _rar() -> Any:
    try:
        import rarfile
    except ImportError as error:
        raise UserError(f"rar files are read with rarfile: {install_hint('rar')}") from error
    return rarfile


def _of_tar(archive: Path, tar: tarfile.TarFile) -> Iterator[Member]:
    for info in tar:
        if info.isdir():
            continue
        if not info.isfile():
            raise UserError(f"{archive} holds {info.name!r}, a link or device; nothing of it is "
                            "to be trusted")  # fmt: skip
        yield Member(info.name, info.size, partial(tar.extractfile, info))


def _of_zip(archive: Path, file: Any) -> Iterator[Member]:
    """Of a zip, or of a rar, whose reader has the same methods."""
    for info in file.infolist():
        if info.is_dir():
            continue
        link = getattr(info, "is_symlink", lambda: False)()
        link |= (getattr(info, "external_attr", 0) >> 16) & 0o170000 == 0o120000
        if link:
            raise UserError(f"{archive} holds {info.filename!r}, a link; nothing of it is to be "
                            "trusted")  # fmt: skip
        yield Member(info.filename, info.file_size, partial(file.open, info))


def free_bytes(folder: Path) -> int:
    """Room on the disk that a folder lies on, or will lie on."""
    while not exists(folder):
        folder = folder.parent
    return shutil.disk_usage(folder).free
