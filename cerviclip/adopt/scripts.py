"""What the shell scripts of a repository set for a trainer beside its yaml. Needs no torch."""

from __future__ import annotations

import re
from pathlib import Path

from cerviclip.adopt.repository import walk

_PAIR = re.compile(r"(?<![\w./$-])((?:[A-Z][\w-]*\.)+[A-Z][A-Z0-9_]*)[ \t]+([^\s\\]+)")
_ASSIGNED = re.compile(r"^\s*(?:export\s+)?(\w+)=[\"']?([^\s\"'#]*)", re.MULTILINE)
#: What a run of ours sets, and what belongs to base-to-new experiments.
_OURS = ("DATASET.", "OUTPUT_DIR", "TEST.", "DATALOADER.NUM_WORKERS")


def keys_of_scripts(root: Path, trainer: str) -> dict[str, str]:
    """Key -> value that scripts which name the trainer give behind their command.

    A value that the script takes from its own arguments is left out; of several scripts the first
    one counts.
    """
    found: dict[str, str] = {}
    named = re.compile(rf"(?<![\w-]){re.escape(trainer)}(?![\w-])")
    for path in sorted(p for p in walk(root) if p.suffix in (".sh", ".bash")):
        text = path.read_text(encoding="utf-8", errors="replace")
        text = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
        if not named.search(text):
            continue
        values = dict(_ASSIGNED.findall(text))
        for key, value in _PAIR.findall(text):
            value = _filled_in(value.strip("\"'"), values)
            if value and not key.startswith(_OURS):
                found.setdefault(key, value)
    return found


def _filled_in(value: str, values: dict[str, str]) -> str:
    """A value with the script's variables in it; "" where one of them is not known."""
    for _ in range(3):  # a variable may be made of others
        value = re.sub(r"\$\{?(\w+)\}?", lambda m: values.get(m[1], "$"), value)
    return "" if "$" in value else value
