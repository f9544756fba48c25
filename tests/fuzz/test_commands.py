"""Command lines of every word: odd words, missing values, folders for files; one line to end."""

from __future__ import annotations

import json

import pytest
from fuzz.bounds import call, examples
from fuzz.mutations import ANY_WORD
from hypothesis import given
from hypothesis import strategies as st

from cerviclip.cli import COMMANDS

#: Of each word the arguments that keep it from training, rendering or serving for minutes, and its
#: flags, beside those that several words have.
WORDS: dict[str, tuple[list[str], str]] = {
    "train": (
        ["--no-train"],
        "trainer dataset backbone head shots seed weights transforms root split config-file "
        "output-dir variant plugin resume model-dir load-epoch source-domains adopt",
    ),
    "sweep": (
        ["--dry-run", "--sweep", "text.yaml"],
        "sweep trainers datasets shots seeds folds repeats external jobs split adopt",
    ),
    "chain": ([], "root weights output-dir"),
    "adopt": ([], ""),
    "predict": ([], "csv json weights plugin epoch device"),
    "serve": (["absent"], "host port tokens audit-log jobs batch weights device"),
    "audit-log": ([], ""),
    "export": ([], "weights plugin device"),
    "explain": ([], "out weights method"),
    "web": (["absent"], "port weights"),
    "list": ([], "plugin"),
    "errors": ([], "csv sheet most centers plugin"),
    "prompts": ([], "backbone root split csv"),
    "robustness": ([], "root weights csv"),
    "tables": ([], "format metric output baseline costs"),
    "curves": ([], "metric out format"),
    "compare": ([], "against others centers readers subgroups metric ranks post-hoc"),
    "choose": ([], "metric output output-dir plugin"),
    "ensemble": ([], "name output-dir"),
    "report": ([], "format out featured"),
    "split": ([], "ratio folds repeats by split-seed opts root out"),
    "attention": (["absent"], "output weights"),
    "augment": ([], "root out seed"),
    "check": ([], "root patients out json"),
    "pack": (["absent"], "root out trainer backbone weights jobs"),
    "describe": ([], "out csv aspects check root"),
    "data": ([], "root"),
    "tiles": ([], "grid points size out downsample tissue label"),
    "audit": ([], "root full json"),
    "store": ([], "older-than"),
    "segment": (["--data", "absent"], "arch folds epochs size lr seed"),
    "phantom": (["--centers", "absent"], "root sheet"),
}
#: These look at the whole machine, or have their own tests of what they are given.
LEFT_OUT = {
    *("doctor", "federate", "active", "hospital-index"),
}


def test_every_word_of_the_command_is_tried():
    assert set(WORDS) | LEFT_OUT == set(COMMANDS)


@pytest.fixture
def odd_words(tmp_path, monkeypatch) -> list[str]:
    """Paths that are there and are something else than is asked for, beside odd words."""
    for part in ("a", "b", "c"):  # .. and ../.. are ours too, and hold no other test's runs
        tmp_path /= part
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.json").touch()
    (tmp_path / "text.yaml").write_text("a: [1\n")
    (tmp_path / "some.csv").write_text("path,label\nx.png,a\n")
    (tmp_path / "results.json").write_text(json.dumps({"schema_version": 1}))
    (tmp_path / "no.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return [
        "folder",
        ".",
        "empty.json",
        "text.yaml",
        "some.csv",
        "results.json",
        "no.png",
        "absent",
    ]


@pytest.mark.parametrize("word", WORDS)
def test_odd_arguments_end_in_a_line(size, odd_words, word):
    start, flags = WORDS[word][0], WORDS[word][1].split()
    own = ANY_WORD.filter(lambda word: not word.startswith("/") or len(word) > 2)  # not all disks
    one = st.one_of(st.sampled_from(odd_words), own)
    pair = st.tuples(st.sampled_from([f"--{flag}" for flag in flags] or ["--debugx"]), one)
    alone = st.tuples(one)
    argv = st.lists(st.one_of(pair, alone), max_size=4).map(lambda parts: sum(map(list, parts), []))

    @examples(size, 2, 20)
    @given(argv)
    def check(arguments):
        call([word, *start, *arguments])

    check()


@pytest.mark.parametrize("word", WORDS)
def test_a_missing_value_an_unknown_flag_and_help_end_in_a_line(word):
    assert call([word, "--help"]).status == 0
    assert call([word, "--no-such-flag", "x"]).status == 2
    for flag in WORDS[word][1].split()[:3]:
        assert call([word, f"--{flag}"]).status == 2


@pytest.mark.parametrize("argv", [["tabels"], [""], ["--x"], ["\x1b[31m"], ["日本"], ["x" * 5000]])
def test_a_word_that_is_none_ends_in_a_line(argv):
    assert call(argv).status == 2
