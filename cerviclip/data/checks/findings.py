"""``Finding``, and the kinds of fault that `cerviclip check` knows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cerviclip.data.files.names import is_text
from cerviclip.severity import ERROR, NOTE, RANK, WARNING

#: Kind: how grave it is, and what it means. Notes do not change the exit status.
KINDS: dict[str, tuple[str, str]] = {
    "refused": (ERROR, "training refuses the data set"),
    "release": (WARNING, "the data set's reader warns: files missing, resized or unlike the list"),
    "empty_file": (ERROR, "files of 0 bytes"),
    "truncated": (ERROR, "images that are cut short"),
    "unreadable": (ERROR, "files that no decoder reads"),
    "not_finite": (ERROR, "images with NaN or infinite values"),
    "blank": (WARNING, "images of one color"),
    "lost_rows": (WARNING, "cut JPEG files whose lower part is the gray of lost data"),
    "saturated": (WARNING, "images with most pixels at white or black"),
    "tiny": (WARNING, "images below 32 px"),
    "thin": (WARNING, "images more than 8 times as long as wide"),
    "odd_size": (WARNING, "images with far more or fewer pixels than the others"),
    "modes": (WARNING, "a few images of another mode than the others"),
    "bit_depth": (WARNING, "images of unlike bit depth"),
    "profiles": (WARNING, "images of different color profiles"),
    "transparent": (WARNING, "images with transparent pixels"),
    "orientation": (WARNING, "images that EXIF turns"),
    "frames": (WARNING, "images of several pages or frames"),
    "suffix": (WARNING, "files whose suffix is not their format's"),
    "told_by_file": (WARNING, "size, mode or format tells the class"),
    "bytes_across_parts": (ERROR, "the same file in several parts"),
    "bytes_across_classes": (ERROR, "the same file in several classes"),
    "bytes": (WARNING, "the same file twice in one class and part"),
    "pixels_across_parts": (ERROR, "the same picture, saved anew, in several parts"),
    "pixels_across_classes": (ERROR, "the same picture, saved anew, in several classes"),
    "pixels": (WARNING, "the same picture, saved anew, in one class and part"),
    "alike_across_parts": (ERROR, "nearly the same picture in several parts"),
    "alike_across_classes": (WARNING, "nearly the same picture in several classes"),
    "alike": (WARNING, "nearly the same picture in one class and part"),
    "patient_leak": (ERROR, "a patient in several parts"),
    "patient_classes": (NOTE, "a patient with images of several classes"),
    "no_patient": (WARNING, "patients not found, nobody's, or spelled in two ways"),
    "imbalance": (WARNING, "one class has more than 10 times the images of another"),
    "few_images": (WARNING, "classes of fewer than 5 images"),
    "class_gap": (WARNING, "a class that a part lacks"),
    "one_class": (ERROR, "fewer than two classes"),
    "empty_class": (ERROR, "class folders without an image"),
    "class_names": (WARNING, "class names that are nearly equal, several others, or no classes"),
    "number_names": (WARNING, "class names that are numbers"),
    "blank_in_name": (WARNING, "class names with outer blanks, or in decomposed Unicode"),
    "file_names": (ERROR, "names that are not UTF-8"),
    "same_name": (WARNING, "files whose names differ in capitals or suffix alone"),
    "masks": (WARNING, "masks beside the images"),
    "mask_like": (WARNING, "images of 2 to 8 gray values, as masks have"),
    "levels": (WARNING, "images on two folder levels, as fields and their crops are"),
    "unread": (WARNING, "pictures in a format that is not read"),
    "system_files": (NOTE, "folders of operating systems"),
    "links": (WARNING, "links to a folder above them"),
    "stray": (WARNING, "images outside the class folders"),
    "part_folders": (ERROR, "folders of one part twice, or train or test missing"),
}


@dataclass(frozen=True)
class Finding:
    """One fault of a data set.

    Attributes:
        kind: a key of `KINDS`.
        text: what was found, in one line.
        paths: the files at fault, relative to the data set's folder.
        count: how many cases; 0 counts the paths.
    """

    kind: str
    text: str
    paths: Sequence[str] = ()
    count: int = 0

    @property
    def severity(self) -> str:
        return KINDS[self.kind][0]

    @property
    def number(self) -> int:
        return self.count or len(self.paths) or 1

    def record(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "kind": self.kind,
            "severity": self.severity,
            "count": self.number,
            "text": self.text,
            "paths": [shown(path) for path in self.paths],
        }


def ordered(findings: Sequence[Finding]) -> list[Finding]:
    """Errors first; within a grade in the order of `KINDS`."""
    place = {kind: n for n, kind in enumerate(KINDS)}
    return sorted(findings, key=lambda f: (RANK[f.severity], place[f.kind]))


def shown(path: str) -> str:
    """A path as it may be printed and written, whatever bytes its name has."""
    return path if is_text(path) else repr(os.fsencode(path))[2:-1]


def such_as(paths: Sequence[str], total: int = 0) -> str:
    """``3 of 90 images (such as a/b.png)``."""
    of = f" of {total}" if total else ""
    noun = "image" if len(paths) == 1 and not total else "images"
    return f"{len(paths)}{of} {noun} (such as {shown(paths[0])})"
