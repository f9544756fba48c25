"""``cerviclip report``: a methods-and-results draft of the runs below a folder."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cerviclip.places import install_hint
from cerviclip.runs.settings.flags import Parser, add_plugin_flag
from dassl.errors import MissingFileError, UserError
from dassl.paths import is_dir

# Format -> module that writes it, library that it needs, and what that is called on PyPI.
WRITERS = {
    "md": ("cerviclip.report.writers.markdown", "", ""),
    "docx": ("cerviclip.report.writers.word", "docx", "python-docx"),
    "pdf": ("cerviclip.report.writers.pdf", "fpdf", "fpdf2"),
}
EPILOG = """\
examples:
  %(prog)s output --format docx
  %(prog)s output --format pdf --out paper/draft.pdf --featured "SAVLT"

Beside the draft stand its figures and a checklist, which says where each item of STARD-AI (2025),
TRIPOD+AI (2024) and CLAIM (2024) is reported and which are left to the authors."""


def main(argv: Sequence[str] | None = None, prog: str = "cerviclip report") -> int:
    """Write the draft, its figures and its checklist."""
    import argparse

    raw = argparse.RawDescriptionHelpFormatter
    what = "A methods-and-results draft of the runs below a folder."
    parser = Parser(prog=prog, description=what, epilog=EPILOG, formatter_class=raw)
    parser.add_argument("folder", help="of runs, such as output")
    parser.add_argument("--format", choices=list(WRITERS), default="md")
    parser.add_argument("--out", default="", metavar="FILE", help="default: FOLDER/report.<format>")
    parser.add_argument(
        "--featured",
        default="",
        metavar="METHOD",
        help="the method to show in detail, as the tables call it (default: the best on val)",
    )
    add_plugin_flag(parser)
    parser.add_argument("--debug", action="store_true", help="show the traceback of every error")
    args = parser.parse_args(argv)
    out = Path(args.out) if args.out else Path(args.folder) / f"report.{args.format}"
    if args.out and out.suffix != f".{args.format}":
        raise UserError(
            f"--out {args.out} does not end in .{args.format}; name it so, or give --format"
        )
    from cerviclip import plugins

    plugins.add_plugins(args.plugins)
    written = write_report(args.folder, out, args.format, args.featured)
    print("wrote " + ", ".join(str(path) for path in written))
    return 0


def load_writer(form: str) -> Any:
    """The module that writes a format.

    Raises:
        UserError: its library is not installed.
    """
    module, library, package = WRITERS[form]
    if library and importlib.util.find_spec(library) is None:
        raise UserError(
            f"a report as {form} needs {package}: {install_hint('report')}, or --format md"
        )
    return importlib.import_module(module)


def write_report(folder: str | Path, out: Path, form: str, featured: str = "") -> list[Path]:
    """Write the draft of a folder of runs.

    Args:
        folder: of runs.
        out: the draft; ``<stem>_figures/``, ``<stem>_checklist.md`` and ``<stem>_runs.csv`` come
            beside it.
        form: of ``WRITERS``.
        featured: the row that is shown in detail; "" leaves the choice to val.

    Returns:
        The draft, the checklist, the list of runs and the folder of figures.

    Raises:
        UserError: no finished run, no such method, or the format's library is not installed.
    """
    if not is_dir(folder):
        raise MissingFileError(f"there is no folder {folder}")
    writer = load_writer(form)  # before the work: its library may be missing
    from cerviclip.report.checklist import write_checklist
    from cerviclip.report.content import build_document
    from cerviclip.report.runs import write_runs
    from cerviclip.report.study import Study

    figures = out.with_name(f"{out.stem}_figures")
    study, runs = Study.read(folder, featured), out.with_name(f"{out.stem}_runs.csv")
    document = build_document(study, figures, runs.name)
    write_runs(study, runs)
    writer.write(document, out)
    checklist = out.with_name(f"{out.stem}_checklist.md")
    write_checklist(document, checklist, out.name)
    return [out, checklist, runs, figures]
