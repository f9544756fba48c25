"""Files that a repository names and that are not there: what is meant is found or made.

- a path on the authors' machine (``/home/me/repo/templates/x.json``) whose end is in the repository
- a file of the backbone's weights in a fixed place (``./clip/ViT-B-16.pt``): ``--weights``
- a text file named after our data set: its text is made in the form of its neighbours

A file that it writes under the name of one of our own (``results.json``) is called ``their_...``.
"""

from __future__ import annotations

import builtins
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from cerviclip.adopt.repository import letters
from cerviclip.runs.run.working_folder import RUN_FILES


class Paths:
    """Stands between the repository's code and the files that it opens.

    Args:
        root: the repository's folder.
        backbone: the run's, as ``ViT-B/16``.
        weights: its file, as `readable_by_clip` gives it; "" for none.

    Attributes:
        text_of: what is asked for the text of a file to read that is not there.
        notes: what was found elsewhere, one line each.
    """

    def __init__(self, root: Path, backbone: str, weights: str) -> None:
        self.root, self.backbone, self.weights = root, backbone, weights
        self.text_of: Callable[[Path], str | None] = lambda path: None
        self.notes: list[str] = []

    def install(self) -> None:
        """For ``open``, ``torch.load``, ``torch.jit.load``, ``os.listdir`` and ``exists``."""
        opened = self._opening(builtins.open)
        builtins.open = opened
        io.open = opened  # type: ignore[assignment]  # pathlib's
        for module, name in (
            (torch, "load"), (torch.jit, "load"), (os, "listdir"), (os.path, "exists"),
            (os.path, "isfile"), (os.path, "isdir"),
        ):  # fmt: skip
            setattr(module, name, self._finding(getattr(module, name)))

    def find(self, path: Any) -> Any:
        """Where a path that is not there is meant to lead; else the path itself."""
        if not isinstance(path, (str, Path)) or not str(path) or os.path.lexists(path):
            return path
        given = Path(path)
        if self.weights and given.suffix in (".pt", ".pth") and self._is_backbone(given):
            self._note(f"{path}: the run's weights")
            return self.weights
        if given.is_absolute() and not os.path.lexists(Path(*given.parts[:3])):  # /home/somebody
            for start in range(2, len(given.parts) - 1):
                here = self.root.joinpath(*given.parts[start:])
                if here.exists() or here.parent.is_dir():
                    self._note(f"{path}: {here.relative_to(self.root)} is taken")
                    return here if isinstance(path, Path) else str(here)
        return path

    def _is_theirs(self, frame: Any) -> bool:
        """Whether code of the repository, of itself, opens the file."""
        return Path(frame.f_code.co_filename).is_relative_to(self.root)

    def _renamed(self, file: Path, reads: bool) -> Path:
        other = file.with_name(f"their_{file.name}")
        if file.resolve().is_relative_to(self.root) or (reads and not other.exists()):
            return file
        self._note(f"{file.name}, which its code writes, is called {other.name}")
        return other

    def _is_backbone(self, path: Path) -> bool:
        return letters(path.stem) == letters(self.backbone)

    def _note(self, line: str) -> None:
        if line not in self.notes:
            self.notes.append(line)

    def _finding(self, plain: Callable[..., Any]) -> Callable[..., Any]:
        def at_the_place(*args: Any, **kwargs: Any) -> Any:
            if args:
                args = (self.find(args[0]), *args[1:])
            return plain(*args, **kwargs)

        return at_the_place

    def _opening(self, plain: Any) -> Any:
        def opened(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            if isinstance(file, (str, Path)) and Path(file).name in RUN_FILES:
                if self._is_theirs(sys._getframe(1)):
                    file = self._renamed(Path(file), "r" in mode)
            if "r" not in mode or not isinstance(file, (str, Path)):
                return plain(file, mode, *args, **kwargs)
            file = self.find(file)
            try:
                return plain(file, mode, *args, **kwargs)
            except FileNotFoundError:
                text = self.text_of(Path(file))
                if text is None:
                    raise
                return io.BytesIO(text.encode()) if "b" in mode else io.StringIO(text)

        return opened
