"""Prompt sets from YAML and JSON, and every file that ships."""

from __future__ import annotations

import json

import pytest
import yaml

from cerviclip.data.texts.descriptions import load_descriptions
from cerviclip.places import PROMPTS
from dassl.errors import MissingFileError, UserError

CLASSES = ["a", "b"]


def test_nothing_asked_nothing_given():
    assert load_descriptions("", CLASSES) == {}


@pytest.mark.parametrize("dump", [json.dumps, yaml.safe_dump], ids=["json", "yaml"])
def test_sets_of_one_or_more_texts(tmp_path, dump):
    path = tmp_path / "words"
    path.write_text(dump({"short": {"a": "one\n text", "b": ["two", "three"], "unused": "x"}}))
    assert load_descriptions(path, CLASSES) == {"short": {"a": ["one text"], "b": ["two", "three"]}}


def test_a_single_set_needs_no_name(tmp_path):
    path = tmp_path / "words.json"
    path.write_text(json.dumps({"a": "one", "b": "two"}))
    assert load_descriptions(path, CLASSES) == {"descriptions": {"a": ["one"], "b": ["two"]}}


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("[1, 2]", "must hold prompt sets"),
        ("{a: [", "valid yaml"),
        ("", "empty"),
        ("short: {a: one, b: ~}", "class b"),
        ("a: one\nb: two\na: three\n", "'a' twice, in lines 1 and 3"),
        ("short: [x]", '"short"'),
        ("short: {a: one}", "class b"),
        ("short: {a: one, b: []}", "class b"),
        ("short: {a: one, b: ['  ']}", "class b"),
    ],
)
def test_what_is_wrong(tmp_path, content, word):
    path = tmp_path / "words.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=word) as error:
        load_descriptions(path, CLASSES)
    assert "words.yaml" in str(error.value) and "\n" not in str(error.value)


def test_classes_named_by_numbers_and_words_that_yaml_knows(tmp_path):
    path = tmp_path / "words.yaml"
    path.write_text("short: {07: seven, no: negative, 1: one}\n")
    assert load_descriptions(path, ["07", "no", "1"]) == {
        "short": {"07": ["seven"], "no": ["negative"], "1": ["one"]}
    }


def test_missing_file():
    with pytest.raises(MissingFileError, match="DESCRIPTIONS"):
        load_descriptions("none/such", CLASSES)


SHIPPED = sorted(PROMPTS.glob("*.yaml"))


def test_some_are_shipped():
    assert {"cervix_oct", "herlev"} <= {path.stem for path in SHIPPED}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_sets_describe_the_same_classes_without_doubles(path):
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    classes = list(next(iter(content.values())))
    sets = load_descriptions(path, classes)
    for texts in sets.values():
        assert list(texts) == classes
        every = [text for lines in texts.values() for text in lines]
        assert len(set(every)) == len(every)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (
            "hsil: a\nnilm: b\n",
            "must map class names to texts; the class is spelled HSIL, not hsil",
        ),
        ("s: {hsil: a, NILM: b}\n", "for class HSIL; the class is spelled HSIL, not hsil"),
        ("s: {HSIL: 1, NILM: b}\n", "for class HSIL; 1 is no text: quote it"),
        ("s: {other: a, NILM: b}\n", "for class HSIL$"),
    ],
)
def test_a_class_in_another_spelling_is_named(tmp_path, text, hint):
    (tmp_path / "words.yaml").write_text(text)
    with pytest.raises(UserError, match=hint):
        load_descriptions(tmp_path / "words.yaml", ["HSIL", "NILM"])
