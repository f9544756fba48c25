"""``cerviclip describe``: prompt sets that load, texts that do not leak, leaks that are found."""

from __future__ import annotations

import csv
import warnings

import pytest
import yaml
from data_fixtures import HERLEV_FOLDERS, write_herlev

from cerviclip.data.texts.describing import NAMES, Row, find_leaks, load_aspects
from cerviclip.data.texts.descriptions import load_descriptions
from cerviclip.places import ASPECTS
from cerviclip.runs.settings.opened import open_dataset
from cerviclip.tools.describe import main
from dassl.errors import UserError


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_herlev(folder / "herlev")
    return folder


def describe(root, *words):
    return main(["Herlev", "--root", str(root), *map(str, words)])


def test_prompt_sets_are_read_by_the_data_set(root, tmp_path):
    out = tmp_path / "aspects.yaml"
    assert describe(root, "--out", out) == 0
    opts = ["DATASET.DESCRIPTIONS", str(out), "DATASET.PROMPT_SET", "combined"]
    data = open_dataset("Herlev", str(root), opts=opts)
    assert set(data.descriptions) == {*NAMES, "combined"}
    phrases = load_aspects("herlev", data.classnames).phrases
    for name in data.classnames:
        whole = " ".join(data.descriptions["combined"][name])
        assert all(text in whole for aspect in NAMES for text in phrases[name][aspect])
    with pytest.raises(UserError, match="there already"):
        describe(root, "--out", out)


@pytest.mark.parametrize("file", sorted(ASPECTS.glob("*.yaml")), ids=lambda f: f.stem)
def test_every_file_of_phrases_is_whole_and_no_phrase_is_two_classes(file):
    names = list(yaml.safe_load(file.read_text())["classes"])
    phrases = load_aspects(file.stem, names).phrases
    sentences = {tuple(p for a in NAMES for p in phrases[name][a]) for name in names}
    assert len(sentences) == len(names) > 3


def test_val_and_test_get_one_neutral_text(root, tmp_path):
    file = tmp_path / "descriptions.csv"
    assert describe(root, "--csv", file) == 0
    rows = list(csv.DictReader(file.read_text().splitlines()))
    assert {r["description"] for r in rows if r["split"] != "train"} == {
        "a Pap smear photomicrograph."
    }
    train = [r for r in rows if r["split"] == "train"]
    assert len({r["description"] for r in train}) > 7
    assert len(rows) == 8 * len(HERLEV_FOLDERS) and all(r["patient"] for r in rows)
    assert main(["--check", str(file)]) == 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        listed = open_dataset("FolderDataset", str(root), opts=["DATASET.FILE", str(file)])
    assert len(listed.train_x) == len(train)


@pytest.mark.parametrize("part", ["val", "test"])
def test_texts_by_label_are_refused_outside_train(root, tmp_path, part):
    with pytest.raises(UserError, match="reads the answer"):
        describe(root, "--csv", tmp_path / "d.csv", "--by-label", "train", part)
    assert not (tmp_path / "d.csv").exists()


def rows(texts):
    """Ten images of each of two classes in train and in test."""
    return [
        Row(f"{part}{label}{n}", label, part, "", texts(part, label, n))
        for part in ("train", "test")
        for label in ("HSIL", "NILM")
        for n in range(10)
    ]


@pytest.mark.parametrize(
    ("texts", "sign"),
    [
        (
            lambda part, label, n: f"about {len(label) if label == 'HSIL' else 9}",
            "text alone tells",
        ),
        (lambda part, label, n: f"{label[::-1]} {n}", "of one class of train"),
        (lambda part, label, n: f"{part} {n}: {label.lower()} cell", "own class"),
    ],
)
def test_planted_leaks_are_found(texts, sign, tmp_path, capsys):
    assert any(sign in leak for leak in find_leaks(rows(texts)))
    file = tmp_path / "d.csv"
    lines = [f"{r.path},{r.label},{r.split},{r.text}" for r in rows(texts)]
    file.write_text("\n".join(["path,label,split,description", *lines]))
    assert main(["--check", str(file)]) == 1
    assert "leaks labels" in capsys.readouterr().out


def test_texts_that_know_nothing_are_no_leak():
    assert find_leaks(rows(lambda part, label, n: "a cell.")) == []
    assert find_leaks(rows(lambda part, label, n: f"seen at {n} o'clock")) == []
    assert find_leaks(rows(lambda part, label, n: f"image {part}{label[::2]}{n}xyz")) == []


def test_own_phrases_start_from_a_skeleton(root, tmp_path):
    mine = tmp_path / "mine.yaml"
    assert describe(root, "--skeleton", mine) == 0
    with pytest.raises(UserError, match="no morphology for class"):
        describe(root, "--aspects", mine, "--out", tmp_path / "p.yaml")
    mine.write_text(mine.read_text().replace('""', '"a cell"'))
    assert describe(root, "--aspects", mine, "--out", tmp_path / "p.yaml") == 0
    sets = load_descriptions(tmp_path / "p.yaml", ["severe_dysplastic"])
    assert sets["nucleus"]["severe_dysplastic"] == ["a microscope image: a cell."]
    with pytest.raises(UserError, match="there are bethesda"):
        describe(root, "--aspects", "nothing", "--out", tmp_path / "q.yaml")
