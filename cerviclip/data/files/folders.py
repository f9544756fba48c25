"""Finding image files below a folder, and keeping account of what was not taken."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from cerviclip.counted import counted, most_of
from cerviclip.data.files.masks import MASK_FOLDERS
from cerviclip.data.files.names import parts_of
from cerviclip.data.files.unread import UnreadFiles
from dassl.formats import FORMATS

IMAGE_SUFFIXES = tuple(dict.fromkeys(f".{end}" for ends in FORMATS.values() for end in ends))
# Folders and files of operating systems and network disks.
_SYSTEM = {
    *("@eadir", "#recycle", "@recycle", "@tmp", "#snapshot", "$recycle.bin", "recycler"),
    *("__macosx", "lost+found", "system volume information", "__pycache__"),
    *("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"),
}


@dataclass
class Skipped:
    """What a scan did not take.

    Attributes:
        unread: files that are no images to us, by top folder.
        empty: top folders that gave no image.
        system: folders of operating systems.
        links: linked folders that lead back to where the scan has been.
        no_files: pipes, sockets and devices with the name of an image.
        left_out: files that ``DATASET.LEAVE_OUT`` or ``CLASS_MAP`` leaves out, by which of them.
        folders: top folders that are no part of what is read.
        stray: images beside the class folders.
    """

    unread: dict[str, UnreadFiles] = field(default_factory=lambda: defaultdict(UnreadFiles))
    empty: list[str] = field(default_factory=list)
    system: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    no_files: list[str] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    folders: list[str] = field(default_factory=list)
    stray: list[str] = field(default_factory=list)

    def lost(self) -> list[str]:
        """Pictures that nobody reads and folders without images: ``SCC (6 .dcm)``."""
        names = sorted({*self.empty, *self.unread_pictures()})
        return [f"{name} ({self._why(name)})" for name in names]

    def unread_pictures(self) -> dict[str, dict[str, int]]:
        """Pictures of formats that nobody reads: top folder -> suffix -> files."""
        return {f: dict(files.pictures) for f, files in self.unread.items() if files.pictures}

    def is_class(self, folder: str, external: bool) -> bool:
        """Whether a folder without images was meant as a class: it is empty (which at an external
        centre is as good as absent), or what it holds are pictures."""
        if folder in self.unread:
            return bool(self.unread[folder].pictures)
        return not external

    def lines(self) -> list[str]:
        """What was skipped and why, each in one line."""
        others = Counter[str]()
        for found in self.unread.values():
            others.update(found.all - found.pictures)
        said = [f"left out: {', '.join(lost)}"] if (lost := self.lost()) else []
        for why, files in self.left_out.items():
            if not files:
                continue
            said.append(f"left out by {why}: {counted(len(files), 'image')} (such as {files[0]})")
        if others:
            said.append(f"other files: {most_of(others)}")
        for what, names in (
            ("folders of the system", self.system),
            ("folders that are no part of the split", self.folders),
            ("pipes, sockets or devices", self.no_files),
        ):
            if names:
                said.append(f"{what}, not read: {', '.join(list(dict.fromkeys(names))[:5])}")
        if stray := sorted(set(self.stray)):
            number = counted(len(stray), "image")
            said.append(f"{number} outside the class folders, not read (such as {stray[0]})")
        return said

    def _why(self, folder: str) -> str:
        return most_of(self.unread[folder].all) if folder in self.unread else "empty"


def is_system(name: str) -> bool:
    """Whether a file or folder is hidden or an operating system's own."""
    return name.startswith(".") or name.casefold() in _SYSTEM


def class_folders(folder: Path, skipped: Skipped | None = None) -> list[str]:
    """Sorted names of the folders in a folder, hidden ones and the system's left out.

    Args:
        folder: where to look.
        skipped: takes account of the system's folders, and of images beside the folders.
    """
    found = []
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if not _is_folder(entry):
                stray = entry.name.lower().endswith(IMAGE_SUFFIXES) and not is_system(entry.name)
                if stray and skipped is not None:
                    skipped.stray.append(entry.name)
                continue
            if not is_system(entry.name):
                found.append(entry.name)
            elif skipped is not None and not entry.name.startswith("."):
                skipped.system.append(entry.name)
    return found


def same_inner_folders(folder: Path, top: Sequence[str]) -> list[str]:
    """Names that folders share of what lies in them, as the parts of a split share the classes; []
    where most lies in some alone."""
    inner = [set(class_folders(folder / name)) for name in top]
    same = set.intersection(*inner) if len(inner) > 1 else set()
    alike = len(same) > 1 and all(2 * len(same) >= len(names) for names in inner)
    return sorted(same) if alike else []


def image_files(folder: Path, skipped: Skipped | None = None, name: str = "") -> list[str]:
    """Sorted paths, relative to ``folder``, of all image files below it.

    A linked folder is followed, but never back to where the scan comes from.

    Args:
        folder: where to look.
        skipped: takes account of what is not read.
        name: what the account calls the folder.
    """
    account = Skipped() if skipped is None else skipped
    entered: set[str] = set()
    found = []
    waiting = [""]
    while waiting:
        inner = waiting.pop()
        with os.scandir(folder / inner) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):  # of links the first stays
                path = f"{inner}{entry.name}"
                if is_system(entry.name):
                    if not entry.name.startswith(".") and _is_folder(entry):
                        account.system.append(f"{name}/{path}" if name else path)
                elif not _is_folder(entry):
                    if _is_no_file(entry):
                        account.no_files.append(f"{name}/{path}" if name else path)
                    elif entry.name.lower().endswith(IMAGE_SUFFIXES):
                        found.append(path)
                    elif skipped is not None:
                        account.unread[name].add(entry.path)
                elif entry.is_symlink() and _leads_back(entry.path, folder, entered):
                    account.links.append(f"{name}/{path}" if name else path)
                else:
                    waiting.append(f"{path}/")
    return sorted(found)


def inner_classes(folder: Path, leave_out: Iterable[str] = ()) -> list[str]:
    """The folders of images in a folder that looks like a data set of its own: two or more, and no
    image beside them. Folders that lie alone (``images``) and parts of a split are looked into.

    Args:
        folder: one that may be a class or a data set.
        leave_out: patterns of ``DATASET.LEAVE_OUT``; folders of masks do not count either.
    """
    found = [path.split("/") for path in image_files(folder)]
    paths = [
        path
        for path in found
        if not left_out("/".join([folder.name, *path]), leave_out)
        and MASK_FOLDERS.isdisjoint(part.casefold() for part in path[:-1])
    ]
    while paths and all(len(path) > 1 for path in paths):
        names = sorted({path[0] for path in paths})
        if len(names) > 1 and len(parts_of(names)) < len(names):
            return names
        paths = [path[1:] for path in paths]
    return []


def left_out(path: str, patterns: Iterable[str]) -> bool:
    """Whether a pattern of ``DATASET.LEAVE_OUT`` fits a path or its file name."""
    lower = path.casefold()
    name = lower.rpartition("/")[2]
    return any(fnmatch(lower, p.casefold()) or fnmatch(name, p.casefold()) for p in patterns)


def warn_of_two_formats(paths: Sequence[str]) -> str:
    """A sentence on files that differ in their suffix alone; "" if there are none."""
    stems: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        stems[path.rpartition(".")[0]].append(path)
    twice = [some for some in stems.values() if len(some) > 1]
    if not twice:
        return ""
    return (
        f"{counted(len(twice), 'image', 'are')} there in several formats (such as "
        f"{' and '.join(twice[0][:2])}), which count as several images; DATASET.LEAVE_OUT "
        f"\"('*.{twice[0][0].rpartition('.')[2]}',)\" leaves one format out"
    )


def warn_of_levels(paths: Sequence[str]) -> str:
    """A sentence on classes that hold images on two folder levels; "" if none does.

    Fields of view and the crops cut out of them are stored so.
    """
    levels: dict[str, dict[int, str]] = defaultdict(dict)
    for path in paths:
        levels[path.partition("/")[0]].setdefault(path.count("/"), path)
    mixed = {name: found for name, found in levels.items() if len(found) > 1}
    if not mixed:
        return ""
    name, found = next(iter(sorted(mixed.items())))
    shallow, deep = found[min(found)], found[max(found)]
    pattern = f"*/{deep.split('/')[-2]}/*"
    return (
        f"{len(mixed)} class folders hold images on two levels (such as {shallow} and {deep}); if "
        "one are crops cut out of the other, read one kind: DATASET.LEAVE_OUT "
        f"\"('{pattern}',)\""
    )


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder or a link to one; links in a circle lead to none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_no_file(entry: os.DirEntry[str]) -> bool:
    """Whether it is a pipe, a socket or a device: to open it may wait for ever. Not a link that
    leads nowhere, which whoever reads it names."""
    try:
        return not entry.is_file() and os.path.exists(entry.path)
    except OSError:  # links in a circle
        return False


def _leads_back(link: str, start: Path, entered: set[str]) -> bool:
    """Whether a linked folder holds the start, lies in it, or was entered before."""
    target, origin = os.path.realpath(link), os.path.realpath(start)
    if target in entered or _within(target, origin) or _within(origin, target):
        return True
    entered.add(target)
    return False


def _within(inner: str, outer: str) -> bool:
    return inner == outer or inner.startswith(outer.rstrip(os.sep) + os.sep)
