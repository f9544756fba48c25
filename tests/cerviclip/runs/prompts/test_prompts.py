"""The report on prompts: each number is that of ZeroShotCLIP with that prompt."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from cerviclip.runs.prompts import command
from cerviclip.runs.prompts.output import figure, page
from cerviclip.runs.prompts.sensitivity import (
    SET,
    SET_TEXT,
    TEMPLATE,
    TEMPLATES,
    Spread,
    prompts_of,
    score_one,
    spreads,
)
from dassl.errors import UserError, cli_main
from helpers import tiny_clip_state_dict, write_images

CLASSES = ("red", "green")


class Item:
    def __init__(self, label: int) -> None:
        self.label, self.patient_id = label, f"p{label}"


def test_all_prompts_are_found_one_by_one_and_together():
    sets = {"long": {"red": ["red cells", "a red stain"], "green": ["green", "leaf", "grass"]}}
    found = list(prompts_of(CLASSES, ["a {}.", "the {}"], sets))
    assert [(p.kind, p.name) for p in found] == [
        (TEMPLATE, "a {}."), (TEMPLATE, "the {}"), (TEMPLATES, TEMPLATES),
        (SET_TEXT, "long 1"), (SET_TEXT, "long 2"), (SET, "long"),
    ]  # fmt: skip
    assert found[1].texts == [["the red"], ["the green"]]
    assert found[4].texts == [["a red stain"], ["leaf"]] and len(found[5].texts[1]) == 3
    alone = list(prompts_of(CLASSES, ["a {}"], {"s": {"red": ["r"], "green": ["g"]}}))
    assert [p.kind for p in alone] == [TEMPLATE, SET]  # a set of one text is that text


def test_scores_and_spreads_by_hand():
    prompts = list(prompts_of(CLASSES, ["a {}", "the {}"], {}))
    items = [Item(0), Item(0), Item(1), Item(1)]
    right = np.eye(2)[[0, 0, 1, 1]]
    half = np.eye(2)[[0, 0, 0, 1]]
    scored = [
        score_one(p, probs, items, CLASSES)
        for p, probs in zip(prompts, (right, half, right), strict=True)
    ]
    assert [s.accuracy for s in scored] == [100, 75, 100]
    assert scored[1].recall == {"red": 100, "green": 50}
    spread = spreads(scored)  # of the two singles; the average is no part of it
    assert spread["all classes"] == Spread(75, 87.5, 100, pytest.approx(17.6777, abs=1e-3))
    assert spread["green"].least == 50 and spread["red"].sd == 0
    text = page(scored, "Title", "note")
    assert "| green | 50.0 | 75.0 | 100.0 | 35.4 | 100.0 |" in text
    lacking = score_one(prompts[0], right[:2], items[:2], CLASSES)
    assert lacking.recall["green"] is None and "green" not in spreads([lacking, lacking])
    assert figure(scored, "t").axes[0].get_legend() is not None


@pytest.fixture
def words(tmp_path):
    """``words(*opts)``: arguments on images of three colours and a tiny CLIP."""
    from safetensors.torch import save_file

    write_images(tmp_path / "cells", {"red": 12, "green": 12, "blue": 12}, patients=6)
    save_file(tiny_clip_state_dict(), tmp_path / "clip.safetensors")
    common = ["--dataset", "FolderDataset", "--root", str(tmp_path), "--backbone", "CLIP"]
    common += ["--weights", str(tmp_path / "clip.safetensors")]
    keys = ["DATASET.FOLDER", "cells", "DATASET.PATIENT_PATTERN", r"(P\d{7})"]
    keys += ["DATASET.TEMPLATES", "['a photo of a {}.', 'dark {} layers']"]
    return lambda *flags, opts=(): [*common, *flags, *keys, *map(str, opts)]


def test_each_row_is_zero_shots_accuracy_with_that_prompt(words, tmp_path, capsys):
    import train

    out = tmp_path / "report"
    title = ("DATASET.TITLE", "Hospital A")
    assert command.main(words("--split", "test", "--output-dir", str(out), opts=title)) == 0
    pages = [page.read_text() for page in out.glob("*.md")]
    assert any(page.startswith("# Prompts of Hospital A, CLIP") for page in pages)
    printed = capsys.readouterr().out
    rows = list(csv.DictReader((out / "prompts.csv").read_text().splitlines()))
    assert [row["kind"] for row in rows] == [TEMPLATE, TEMPLATE, TEMPLATES]
    for number, row in ((1, rows[0]), (2, rows[1]), (0, rows[2])):
        folder = tmp_path / f"run{number}"
        flags = ["--trainer", "ZeroShotCLIP", "--output-dir", str(folder)]
        opts = ("TRAINER.ZEROSHOTCLIP.TEMPLATE", number)
        assert train.main(words(*flags, opts=opts)) == 0
        test = json.loads((folder / "results.json").read_text())["centers"]["test"]
        assert float(row["accuracy"]) == pytest.approx(test["accuracy"]["value"], abs=1e-3)
        assert float(row["low"]) == pytest.approx(test["accuracy"]["low"], abs=1e-3)
    assert "2 prompts on" in printed and "all templates" in printed
    assert "test images: a prompt that is chosen by them" in (out / "prompts.md").read_text()
    assert (out / "prompts.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("opts", "said"),
    [
        (("DATASET.TEMPLATES", "['a {}']"), "one prompt alone .'a {}'."),
        (("DATASET.SPLIT_RATIO", "(0.5, 0.0, 0.5)"), "has no val images"),
        (("TRAINER.ZEROSHOTCLIP.TEMPLATE", 1), "leave it out"),
    ],
)
def test_what_cannot_be_compared_is_one_line(opts, said, words, tmp_path):
    with pytest.raises(UserError, match=said):
        command.main(words("--output-dir", str(tmp_path / "out"), opts=opts))


def test_a_backbone_without_texts_is_refused(words, capsys):
    flags = words("--backbone", "timm:resnet18")
    assert cli_main(command.main, flags) == 2
    assert "needs a text encoder" in capsys.readouterr().err


def test_averages_with_equal_numbers_do_not_hide_each_other():
    texts = {name: {c: [f"{name} {c}", f"a {name} {c}"] for c in CLASSES} for name in ("s", "t")}
    items = [Item(0), Item(1)]
    right = np.eye(2)
    scored = [score_one(p, right, items, CLASSES) for p in prompts_of(CLASSES, ["a {}"], texts)]
    points = {
        marks.get_label(): marks.get_offsets() for marks in figure(scored, "t").axes[0].collections
    }
    averages = [points[f"set {name}"] for name in ("s", "t")]
    assert (averages[0][:, 0] == averages[1][:, 0]).all()
    assert (averages[0][:, 1] != averages[1][:, 1]).all()
