"""``Faults``: what was found in a results.md."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Faults:
    """What is wrong with a results.md.

    Attributes:
        tables: one line for each table or line that the runs do not give.
        titles: tables or lines under an earlier name of their data.
        strange: lines in other words than this version's.
        absent: lines that this version writes, and that an earlier one did not.
    """

    tables: list[str] = field(default_factory=list)
    titles: list[str] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
