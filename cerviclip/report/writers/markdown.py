"""The report in Markdown; figures are linked by paths relative to the file."""

from __future__ import annotations

import os
from pathlib import Path

from cerviclip.report.document import Block, Bullets, Document, Figure, Heading, Table, Text, pieces


def write(document: Document, path: Path) -> None:
    """Write the file, whole or not at all."""
    from dassl.utils.files import atomic_write

    lines = [f"# {document.title}", "", document.subtitle, ""]
    for block in document.blocks:
        lines += [*_lines(block, path.parent), ""]
    with atomic_write(path) as handle:
        handle.write("\n".join(lines))


def _lines(block: Block, folder: Path) -> list[str]:
    if isinstance(block, Heading):
        return [f"{'#' * (block.level + 1)} {block.number} {block.text}"]
    if isinstance(block, Text):
        return [_marked(block.text)]
    if isinstance(block, Bullets):
        return [f"- {_marked(item)}" for item in block.items]
    if isinstance(block, Figure):
        relative = Path(os.path.relpath(block.path, folder)).as_posix()
        caption = f"Figure {block.number}. {block.caption}"
        return [f"![Figure {block.number}](<{relative}>)", "", f"*{_marked(caption)}*"]
    assert isinstance(block, Table)
    lines = [f"**Table {block.number}.** {_marked(block.caption)}", "", _row(block.head)]
    rules = ("---|" if block.is_text(i) else "---:|" for i in range(len(block.head)))
    lines.append("|" + "".join(rules))
    lines += [_row([_marked(cell) for cell in row]) for row in block.rows]
    return lines + (["", f"*{_marked(block.note)}*"] if block.note else [])


def _row(cells: tuple[str, ...] | list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _marked(text: str) -> str:
    return "".join(f"**{piece}**" if is_blank else piece for piece, is_blank in pieces(text))
