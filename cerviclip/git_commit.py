"""The commit of a checkout, read from ``.git`` without running git."""

from __future__ import annotations

import os
from pathlib import Path


def commit_of(folder: Path) -> str | None:
    """The commit that is checked out in ``folder`` itself; None where it is no checkout."""
    git = folder / ".git"
    try:
        if git.is_file():  # a worktree: the file points at the real folder
            git = Path(os.path.join(folder, git.read_text().split(":", 1)[1].strip()))
        head = (git / "HEAD").read_text().strip()
        if not head.startswith("ref:"):
            return head
        ref = head.split(None, 1)[1]
        common = git / "commondir"
        base = (git / common.read_text().strip()) if common.is_file() else git
        for place in (git, base):
            if (place / ref).is_file():
                return (place / ref).read_text().strip()
        for line in (base / "packed-refs").read_text().splitlines():
            if line.endswith(" " + ref):
                return line.split()[0]
    except OSError:
        pass
    return None
