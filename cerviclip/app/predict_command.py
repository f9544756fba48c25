"""Goal: predict new images with a trained run, without the run's data.

Usage:
    cerviclip predict RUN new_images/ --csv answers.csv
    cerviclip predict RUN a.png b.tif
    cerviclip predict RUN a.png --pdf report.pdf
    cerviclip predict demo a.png           # a model of phantoms, trained at the first start

Images are files and folders, which are searched to any depth. slide.svs#x,y,width,height[,level]
is a tile of a slide, and scan.dcm#3 a frame of a DICOM file. With --csv each image becomes a row;
the same command goes on where it was stopped, and tries unreadable files again. Where file names
tell patients (the run's DATASET.PATIENT_PATTERN), each patient gets a prediction: the mean of the
probabilities of the patient's images. With --pdf a report has a table of all images and a page for
each of the first 50. It names an image by its number and the SHA-256 of its file, as the CSV does;
--pdf-names adds file names. --plugin is needed again where the training needed it.

Exit status: 0 done, 1 some file could not be read, 2 something to correct, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cerviclip.app.demo import check_run, run_folder
from cerviclip.app.parts.names import DICOM_SUFFIXES, is_there
from cerviclip.app.web.basis import coinciding, rests_on
from cerviclip.app.web.texts import Texts, likeness
from cerviclip.counted import counted, most_of
from cerviclip.data.files.folders import Skipped, image_files
from cerviclip.data.files.names import is_text
from cerviclip.places import install_hint
from cerviclip.runs.settings.parser import Parser, add_debug_flag, add_device_flag, add_plugin_flag
from dassl.errors import MissingFileError, UserError, cli_main, says_what_stays

if TYPE_CHECKING:
    from cerviclip.app.answer import Prediction
    from cerviclip.app.predictor import Predictor
    from cerviclip.app.table.verdicts import Answered, Verdicts

_SHOWN = 20  # lines of a list on the screen
_ROWS = 64  # answers that are written at a time


def build_parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", metavar="RUN", help="a finished run's folder, or demo")
    parser.add_argument("paths", metavar="PATH", nargs="+", help="images and folders of images")
    parser.add_argument("--csv", type=Path, metavar="OUT", help="write the answers there; resumes")
    parser.add_argument(
        "--pdf", type=Path, metavar="OUT", help="write a report of the answers there"
    )
    parser.add_argument(
        "--pdf-names", action="store_true", help="with file names; may tell patients"
    )
    parser.add_argument("--pdf-language", default="en", choices=["en", "zh"], help="default: en")
    parser.add_argument("--weights", default="", metavar="FILE", help="the backbone's, if moved")
    add_device_flag(parser)
    add_plugin_flag(parser)
    add_debug_flag(parser)
    return parser


def find_pictures(words: Sequence[str], skipped: Skipped) -> dict[str, str]:
    """Path -> path below the folder that was named, of every picture once.

    Raises:
        UserError: a path is not there, or there is no picture at all.
    """
    found: dict[str, str] = {}
    if "" in words:
        raise UserError("a PATH is empty, such as of a shell variable that is not set; name a file")
    for path in map(Path, words):
        if path.is_dir():
            found |= {(path / i).as_posix(): i for i in image_files(path, skipped, path.name)}
        elif is_there(str(path)):  # also a part of a file: slide.svs#x,y,width,height
            found.setdefault(path.as_posix(), path.name)
        else:
            raise MissingFileError(f"no image or folder {path}")
    if not found:
        raise UserError(f"no images in {', '.join(words)}{_not_looked_for(skipped)}")
    return found


def _not_looked_for(skipped: Skipped) -> str:
    """What else the folders hold; DICOM files are read where each is named."""
    others = Counter[str]()
    for files in skipped.unread.values():
        others.update(files.all)
    if not others:
        return ""
    said = most_of(others)
    named = [suffix for suffix in sorted(others) if suffix.lower() in DICOM_SUFFIXES]
    way_out = f"; name the files themselves: FOLDER/*{named[0]}" if named else ""
    return f" (they hold {said}){way_out}"


@contextmanager
def progress(total: int, done: int) -> Iterator[Callable[[Any], None]]:
    """A bar with the time left on a terminal; a function to call for each picture that was read."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    columns = (BarColumn(24), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, redirect_stdout=False) as bar:
        task = bar.add_task("", total=total, completed=done)
        yield lambda _: bar.advance(task)


def main(argv: Sequence[str] | None = None, prog: str = "cerviclip predict") -> int:
    args = build_parser(prog).parse_args(argv)
    skipped = Skipped()
    pictures = find_pictures(args.paths, skipped)
    from cerviclip.app.predictor import RESEARCH_ONLY, Predictor

    check_run(args.run)
    if args.pdf is not None:
        _check_pdf(args.pdf)
        if args.csv is not None and Path(args.csv).resolve() == Path(args.pdf).resolve():
            raise UserError(f"--csv and --pdf are both {args.pdf}; name two files")
    print(RESEARCH_ONLY)
    for line in skipped.lines():
        print(line)
    predictor = Predictor.from_run(run_folder(args.run), args.weights, args.device, args.plugins)
    failed = {path: "its name is not UTF-8; rename it" for path in pictures if not is_text(path)}
    pictures = {path: inner for path, inner in pictures.items() if path not in failed}
    work = _to_screen if args.csv is None else _to_file
    seen: dict[str, Prediction] | None = None if args.pdf is None else {}
    found = work(predictor, pictures, failed, args.csv, seen)
    _print_verdicts(found, args.csv)
    _print_failed(failed, args.csv)
    if seen is not None:
        _to_pdf(predictor, pictures, seen, args)
    for line in _basis(predictor, args):
        print(line)
    print(predictor.notice)
    return 1 if failed else 0


def _basis(predictor: Predictor, args: argparse.Namespace) -> list[str]:
    """What the values that stand in the CSV or the PDF alone rest on: thresholds and more."""
    t, home = Texts("en"), predictor.knowledge.home
    if args.csv is None and args.pdf is None:
        return []
    same = coinciding(t, home.thresholds, home.chosen_on)
    return [line for line in [*same, rests_on(t, home)] if line]


def _check_pdf(path: Path) -> None:
    """Refuse before the work what would be refused behind it.

    Raises:
        UserError: fpdf2 is not installed, or a folder is named.
    """
    if importlib.util.find_spec("fpdf") is None:
        raise UserError(f"--pdf needs fpdf2: {install_hint('app')}")
    if path.is_dir():
        raise UserError(f"--pdf {path} is a folder; name a file")


def _to_pdf(
    predictor: Predictor,
    pictures: dict[str, str],
    seen: dict[str, Prediction],
    args: argparse.Namespace,
) -> None:
    """Write the report; what a CSV held already is predicted again, since a row says less."""
    from cerviclip.app.class_info import class_info
    from cerviclip.app.pdf.report import MOST_PAGES, write_pdf

    def title(name: str) -> str:
        info = class_info(predictor.task.dataset, name, args.pdf_language)
        return info.name if info else name.replace("_", " ")

    left = [path for path in pictures if path not in seen]
    seen |= {one.path: one for one in predictor.predict_iter(left)}
    answers = [seen[path] for path in pictures]
    if not answers:
        raise UserError("no image is left for the report")
    with progress(min(len(answers), MOST_PAGES), 0) as on_page:
        write_pdf(
            *(answers, args.pdf),
            predictor=predictor,
            names=args.pdf_names,
            language=args.pdf_language,
            class_title=title,
            on_page=on_page,
        )
    unread = sum(bool(one.error) for one in answers)
    note = f" ({unread} could not be read)" if unread else ""
    print(f"report on {counted(len(answers), 'image')}{note}: {args.pdf}")


def _to_screen(
    predictor: Predictor,
    pictures: dict[str, str],
    failed: dict[str, str],
    _: None,
    seen: dict[str, Prediction] | None,
) -> Verdicts:
    """Print a line per picture as answers come; the verdicts."""
    from cerviclip.app.table.verdicts import PatientFinder, verdicts

    patient_of = PatientFinder(predictor.reading.patient_pattern)
    task = predictor.task

    def answers() -> Iterator[Answered]:
        with progress(len(pictures), 0) as on_read:
            for answer in predictor.predict_iter(pictures, on_read):
                if seen is not None:
                    seen[answer.path] = answer
                if answer.error:
                    failed[answer.path] = answer.error
                    continue
                print(f"{answer.path}: {in_words(answer)}")
                patient = patient_of(pictures[answer.path])
                yield patient, answer.probabilities, answer.out_of_distribution

    return verdicts(answers(), task.classnames, task.positive)


def _to_file(
    predictor: Predictor,
    pictures: dict[str, str],
    failed: dict[str, str],
    path: Path,
    seen: dict[str, Prediction] | None,
) -> Verdicts:
    """Append a row per picture that has none yet; the verdicts over all rows.

    Args:
        predictor: of the run.
        pictures: path -> path below the folder that was named.
        failed: takes path -> why it could not be read.
        path: of the CSV.
        seen: takes path -> answer; None if nobody asks for them.
    """
    from cerviclip.app.table.columns import Columns
    from cerviclip.app.table.file import AnswerFile
    from cerviclip.app.table.verdicts import PatientFinder, verdicts, write_verdicts

    patient_of = PatientFinder(predictor.reading.patient_pattern)
    task, partly, unread, unlike = predictor.task, 0, 0, 0
    with AnswerFile(path, Columns.of(predictor), predictor.model_id, pictures) as file:
        left = [one for one in pictures if one not in file.done]
        done = len(pictures) - len(left)
        if done:
            print(f"{done} of {counted(len(pictures), 'image')} are in {path} already")
        many = counted(len(pictures), "image")
        with (
            says_what_stays(lambda: f"{done} of {many} have a row in {path} and stay"),
            progress(len(pictures), done) as on_read,
        ):
            answers = predictor.predict_iter(left, on_read)
            while some := list(islice(answers, _ROWS)):
                if seen is not None:
                    seen |= {one.path: one for one in some}
                file.append((one, patient_of(pictures[one.path])) for one in some)
                done += len(some)
                failed.update({one.path: one.error for one in some if one.error})
                unread += sum(bool(one.error) for one in some)
                unlike += sum(bool(one.out_of_distribution) for one in some)
                partly += sum(bool(one.note) and not one.error for one in some)
        found = verdicts(file.answers(), task.classnames, task.positive)
    of_all = f"{len(left) - unread:,} of " if unread else ""
    print(f"{of_all}{counted(len(left), 'image')} predicted: {path}")
    if unlike:
        are = "is" if unlike == 1 else "are"
        print(
            f"{unlike} of them {are} unlike the training images: do not rely on these answers "
            "(column out_of_distribution)"
        )
    if partly:
        print(f"{partly} of them have several pages or frames; the first of each was read (note)")
    if found.patients:
        by_patient = path.with_name(f"{path.stem}_patients.csv")
        write_verdicts(by_patient, found.patients, task.classnames)
        print(f"{counted(len(found.patients), 'patient')}: {by_patient}")
        known = {verdict.patient for verdict in found.patients} | {""}
        of_failed = dict.fromkeys(patient_of(pictures[one]) for one in failed)
        if lost := [patient for patient in of_failed if patient not in known]:
            print(f"without a row, as no image of theirs could be read: {', '.join(lost)}")
    return found


def in_words(answer: Prediction) -> str:
    """``HSIL 93.1 %, positive 97.0 %``, what of the file was read, and a caution where the image is
    unlike the training images."""
    text = f"{answer.predicted} {100 * (answer.probability or 0):.1f} %"
    positive = answer.positive_probability
    if positive is not None:
        text += f", positive {100 * positive:.1f} %"
    text += f" ({answer.note})" if answer.note else ""
    told = likeness(Texts("en"), answer)
    return f"{text}. {told[0]}" if told and told[1] else text


def _print_verdicts(found: Verdicts, csv: Path | None) -> None:
    from cerviclip.app.table.verdicts import RULE, caution

    patients = found.patients
    if patients:
        print(f"patients ({RULE}):")
    for verdict in patients[:_SHOWN]:
        number = counted(verdict.pictures, "image")
        told = caution(Texts("en"), verdict)
        print(f"  {verdict.patient} ({number}): {in_words(verdict.answer)}{told and f'. {told}'}")
    if len(patients) > _SHOWN:
        print(f"  and {len(patients) - _SHOWN} more")
    if line := found.left_out_line(csv):
        print(f"  {line}")


def _print_failed(failed: dict[str, str], csv: Path | None) -> None:
    if failed:
        print(f"{counted(len(failed), 'image')} could not be read:")
    for path, why in list(failed.items())[:_SHOWN]:
        print(f"  {path if is_text(path) else ascii(path)}: {why}")
    if len(failed) > _SHOWN:
        where = f" (column error of {csv})" if csv else ""
        print(f"  and {len(failed) - _SHOWN} more{where}")


if __name__ == "__main__":
    sys.exit(cli_main(main))
