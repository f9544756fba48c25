"""The command ``cerviclip``: one word for each task.

Each word is the ``main(argv, prog)`` of one module, so ``cerviclip train`` is ``train.py`` and
``cerviclip tables`` is ``tools/make_tables.py``; ``prog`` is the name that its help shows. Nothing
heavy is imported before a word is known.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence

from dassl._version import __version__
from dassl.errors import UserError, cli_main, did_you_mean

#: heading of the help -> word -> (module that has ``main(argv, prog)``, what it does in a line)
GROUPS: dict[str, dict[str, tuple[str, str]]] = {
    "first steps": {
        "doctor": (
            "cerviclip.app.doctor.command",
            "what this machine lacks, and what to do about it",
        ),
        "list": ("cerviclip.runs.settings.listing", "every trainer, data set and backbone"),
        "data": ("cerviclip.tools.data", "where to get a data set; unpack, verify and count it"),
        "check": ("cerviclip.tools.check", "what is wrong with the images of a data set or folder"),
    },
    "train": {
        "train": ("cerviclip.runs.run.command", "train and score one method on one data set"),
        "sweep": (
            "cerviclip.runs.sweep.command",
            "data sets x trainers x shots x seeds, and the tables",
        ),
        "choose": (
            "cerviclip.tools.choose",
            "one setting for each method, from the runs of a search",
        ),
        "chain": (
            "cerviclip.runs.chain",
            "a CNN from data set to data set, with a new head for each",
        ),
        "federate": (
            "cerviclip.federated.command",
            "one model across centres; images stay where they are",
        ),
        "adopt": ("cerviclip.adopted.command", "trainers of a published repository that run here"),
        "ensemble": (
            "cerviclip.tools.ensemble",
            "join finished runs: their mean, or stacked on val",
        ),
    },
    "results": {
        "tables": ("cerviclip.tools.make_tables", "tables for a paper from any folder of runs"),
        "curves": ("cerviclip.tools.plot_curves", "figures for a paper from any folder of runs"),
        "compare": ("cerviclip.tools.compare", "one method minus each other, with intervals"),
        "report": ("cerviclip.report.command", "a methods-and-results draft as md, docx or pdf"),
        "audit": ("cerviclip.tools.audit", "check a folder of finished runs from its files"),
    },
    "what a run does": {
        "errors": ("cerviclip.tools.errors", "a run's most confident errors by centre, as a sheet"),
        "robustness": (
            "cerviclip.tools.robustness",
            "a run's scores under blur, JPEG, stain, gain and noise",
        ),
        "hospital-index": (
            "cerviclip.tools.hospital_index",
            "how well features identify the hospital",
        ),
        "prompts": (
            "cerviclip.runs.prompts.command",
            "zero-shot accuracy under every template and prompt set",
        ),
        "attention": ("cerviclip.tools.attention", "where a SAVLT model looks in an image"),
    },
    "use a run": {
        "predict": (
            "cerviclip.app.predict_command",
            "predict new images with a trained run, without its data",
        ),
        "explain": (
            "cerviclip.app.explain_command",
            "where a trained run looks, and how faithful the map is",
        ),
        "web": ("cerviclip.app.web.command", "the page: predict, explain, review, results, guide"),
        "serve": ("cerviclip.app.server.command", "an HTTP API of trained runs, with an audit log"),
        "audit-log": ("cerviclip.app.audit_log", "check that a server's audit log is whole"),
        "export": (
            "cerviclip.app.export_command",
            "a run as a folder that needs no trainer or data",
        ),
    },
    "data and labels": {
        "active": (
            "cerviclip.runs.active.command",
            "which images to label next, and what the labels gain",
        ),
        "split": ("cerviclip.tools.split", "splits as files or folders; publish those of a sweep"),
        "augment": (
            "cerviclip.tools.augment",
            "a data set with fourteen variants of training images",
        ),
        "describe": ("cerviclip.tools.describe", "classes and training images in words"),
        "pack": ("cerviclip.tools.pack", "images decoded and resized once, for training to read"),
        "tiles": ("cerviclip.tools.tiles", "tiles or cells of whole slides, as a data set"),
        "segment": ("cerviclip.tools.train_segmenter", "train the tissue segmenter"),
        "phantom": ("cerviclip.tools.make_phantom", "render the phantom data sets"),
        "store": ("cerviclip.tools.store", "show, prune and check the feature store"),
    },
}
COMMANDS = {word: told for words in GROUPS.values() for word, told in words.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the console script; returns the exit status."""
    return cli_main(_dispatch, argv)


def run_as_script(word: str) -> int:
    """What ``train.py`` and ``run_shell.py`` do: one word of the command, with its arguments."""
    return cli_main(load_command(word))


def load_command(word: str) -> Callable[..., int | None]:
    """The ``main(argv, prog)`` behind a word.

    Raises:
        UserError: there is no such word.
    """
    if word not in COMMANDS:
        raise UserError(
            f"unknown command {word!r}{did_you_mean(word, COMMANDS)}; cerviclip --help lists them"
        )
    return importlib.import_module(COMMANDS[word][0]).main


def _dispatch(argv: Sequence[str] | None) -> int:
    if "_ARGCOMPLETE" in os.environ:
        return _complete()
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        print(help_text())
        return 0
    if words[0] in ("-V", "--version"):
        print(f"cerviclip {__version__}")
        return 0
    return _run(words[0], words[1:])


def _run(word: str, argv: Sequence[str]) -> int:
    return load_command(word)(argv, prog=f"cerviclip {word}") or 0


def help_text() -> str:
    """The list of words."""
    width = max(map(len, COMMANDS)) + 2
    lines = [
        "usage: cerviclip COMMAND [arguments]",
        "",
        "Few-shot adaptation of vision-language models for cervical imaging. Research use only.",
        "",
        *(
            line
            for title, words in GROUPS.items()
            for line in (
                f"{title}:",
                *(f"  {word:<{width}}{text}" for word, (_, text) in words.items()),
                "",
            )
        ),
        "cerviclip COMMAND --help explains one of them; cerviclip --version prints the version.",
        'Completion in bash and zsh: eval "$(register-python-argcomplete cerviclip)"',
    ]
    return "\n".join(lines)


def _complete() -> int:
    """Answer the shell's request for completions (argcomplete's protocol).

    The first word is completed from the list of commands; behind it, the command's own parser
    answers as it is asked to parse (`parser.Parser`).
    """
    import argparse

    import argcomplete

    line = os.environ.get("COMP_LINE", "")
    words = line.split()
    if len(words) > 2 or (len(words) == 2 and line.endswith(" ")):
        if words[1] not in COMMANDS:
            return 0
        # argcomplete drops the words before this number: the command plays the program's part.
        os.environ["_ARGCOMPLETE"] = "2"
        return _run(words[1], [])
    parser = argparse.ArgumentParser(prog="cerviclip")
    parser.add_argument("--version", action="store_true")
    parser.add_argument("command", choices=list(COMMANDS))
    argcomplete.autocomplete(parser)
    return 0


if __name__ == "__main__":
    sys.exit(main())
