"""What a check of the machine found, and how grave that is. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

OK, NOTE, FAULT = "ok", "note", "fault"


@dataclass(frozen=True)
class Check:
    """One line of the table.

    Attributes:
        name: what was looked at.
        state: ``ok``; ``note`` for what some uses lack; ``fault`` for what stops the project.
        found: in words.
        remedy: what to do; "" where nothing is to be done.
    """

    name: str
    state: str
    found: str
    remedy: str = ""
