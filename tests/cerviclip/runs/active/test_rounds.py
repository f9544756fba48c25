"""Rounds of labelling: what is drawn, what a choice cannot see, and going on after a stop."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from cerviclip.runs.active import command, rounds
from cerviclip.runs.active.output import figure, page, points
from cerviclip.runs.active.rounds import Plan, Round, run_rounds
from cerviclip.runs.active.units import NO_LABEL
from dassl.errors import UserError
from helpers import tiny_clip_state_dict, write_images

# The first few images may lack a class, as they may in a clinic; a run says so.
pytestmark = pytest.mark.filterwarnings("ignore:FolderDataset. no images of")


@pytest.fixture
def plan(tmp_path):
    """``plan(**changes)``: images of three colours and a tiny CLIP."""
    from safetensors.torch import save_file

    write_images(tmp_path / "cells", {"red": 16, "green": 16, "blue": 16}, patients=8)
    save_file(tiny_clip_state_dict(), tmp_path / "clip.safetensors")
    opts = ("DATASET.FOLDER", "cells", "DATASET.PATIENT_PATTERN", r"(P\d{7})")
    opts += ("INPUT.FEATURE_VIEWS", "1", "DATASET.NUM_SHOTS_VAL", "1")
    given = dict(
        dataset="FolderDataset", trainer="LinearProbe", backbone="CLIP", root=str(tmp_path),
        weights=str(tmp_path / "clip.safetensors"), budgets=(4, 7), strategies=("margin",),
        seeds=(1,), opts=opts,
    )  # fmt: skip
    return lambda **changes: Plan(**{**given, **changes})


def drawn(out: Path, strategy: str, budget: int) -> list[str]:
    record = json.loads((out / "draws" / strategy / "seed_1" / f"{budget}.json").read_text())
    return [row["path"] for row in record["train"]]


def test_each_round_trains_on_what_is_labelled_and_scores_the_same_test_set(plan, tmp_path):
    out = tmp_path / "study"
    said: list[str] = []
    first, second = run_rounds(plan(strategies=("coreset",)), out, said.append)
    assert len(first.units) == 4 and len(second.units) == 3 and len(said) == 2
    before, after = drawn(out, "coreset", 4), drawn(out, "coreset", 7)
    assert set(before) < set(after) and len(after) == 7
    assert {name for name, _ in first.units} == {p.removeprefix("cells/") for p in before}
    for one, budget in ((first, 4), (second, 7)):
        folder = out / "runs" / f"coreset-{budget}" / "seed_1"
        split = json.loads((folder / "split.json").read_text())
        assert [row["path"] for row in split["train"]] == drawn(out, "coreset", budget)
        assert one.results["status"] == "done" and not one.results["test_read_early"]
        assert not {r["path"] for r in split["train"]} & {r["path"] for r in split["test"]}
    tests = [one.results["centers"]["test"]["n_images"] for one in (first, second)]
    assert tests[0] == tests[1] > 0


def test_a_study_goes_on_where_it_stopped_and_refuses_another_plan(plan, tmp_path, monkeypatch):
    out = tmp_path / "study"
    whole = run_rounds(plan(), out, lambda line: None)
    (out / "draws" / "margin" / "seed_1" / "7.json").unlink()
    import shutil

    shutil.rmtree(out / "runs" / "margin-7")
    again = run_rounds(plan(), out, lambda line: None)
    assert [one.units for one in again] == [one.units for one in whole]
    assert again[0].results == whole[0].results  # read, not trained again
    assert again[1].results["centers"] == whole[1].results["centers"]

    def fails(*args, **kwargs):
        raise AssertionError("a finished study chooses nothing")

    monkeypatch.setattr(rounds, "choose", fails)
    assert [one.units for one in run_rounds(plan(), out, lambda line: None)] == [
        one.units for one in whole
    ]
    with pytest.raises(UserError, match=r"another plan .budgets \[4, 7\] -> \[4, 8\]"):
        run_rounds(plan(budgets=(4, 8)), out)
    chosen = next(out.rglob("*.chosen.json"))
    right = chosen.read_text()
    for damaged, words in (
        (right[:-3], "delimiter|Expecting"),
        ("[[1]]", "no pair"),
        ('[[["a"], 1.0]]', "not a text"),
        ('[["no", 1.0]]', "does not have"),
    ):
        chosen.write_text(damaged)
        with pytest.raises(UserError, match=words):
            run_rounds(plan(), out)
    chosen.write_text(right)
    (out / "plan.json").write_text("{")
    with pytest.raises(UserError, match="plan.json cannot be used"):
        run_rounds(plan(), out)


def test_ctrl_c_says_how_many_rounds_stay(plan, tmp_path):
    def stop(line):
        if " 7 images" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"1 of 2 rounds finished and stay; the same comm"):
        run_rounds(plan(), tmp_path / "study", stop)


def test_no_choice_sees_a_label_or_a_test_image(plan, tmp_path, monkeypatch):
    """All that a round's model is asked about, and all that reaches a strategy."""
    from cerviclip.runs.run.testing import predict

    seen: list = []
    plain = predict.predict_items

    def watched(trainer, items, center, roots=()):
        if center == "pool":
            seen.extend(items)
        return plain(trainer, items, center, roots)

    pools: list = []
    monkeypatch.setattr(predict, "predict_items", watched)
    chosen = rounds.choose
    monkeypatch.setattr(
        rounds, "choose", lambda name, pool, count: pools.append(pool) or chosen(name, pool, count)
    )
    done = run_rounds(plan(), tmp_path / "study", lambda line: None)
    assert seen and {(item.label, item.classname) for item in seen} == {(NO_LABEL, "")}
    split = json.loads((tmp_path / "study/runs/margin-7/seed_1/split.json").read_text())
    held = {Path(row["path"]).name for part in ("val", "test") for row in split[part]}
    assert not held & {Path(item.impath).name for item in seen}
    assert not held & {Path(name).name for pool in pools for name in pool.names}
    assert pools[0].probs is None and pools[1].probs.shape == (len(pools[1].names), 3)
    assert [one.budget for one in done] == [4, 7]


def test_patients_are_labelled_with_all_their_images(plan, tmp_path):
    out = tmp_path / "study"
    (one,) = run_rounds(
        plan(by="patient", budgets=(3,), strategies=("typiclust",)), out, lambda line: None
    )
    assert len(one.units) == 3 and one.labelled == 3 * 2  # 16 images of 8 patients in each class
    record = json.loads((out / "draws/typiclust/seed_1/3.json").read_text())
    assert {row["patient"] for row in record["train"]} == {name for name, _ in one.units}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"budgets": (8, 4)}, "each above the last"),
        ({"budgets": (4, 1000)}, "asks for 1000 images"),
        ({"strategies": ("margn",)}, "did you mean 'margin'"),
    ],
)
def test_what_cannot_be_is_one_line(changes, said, plan, tmp_path):
    with pytest.raises(UserError, match=said):
        run_rounds(plan(**changes), tmp_path / "study")


def test_the_command_writes_choices_curves_page_and_figure(plan, tmp_path, capsys):
    given = plan()
    words = [
        "--dataset", given.dataset, "--trainer", given.trainer, "--backbone", given.backbone,
        "--weights", given.weights, "--root", given.root, "--strategies", "random", "entropy",
        "--budgets", "4", "6", "--output-dir", str(tmp_path / "out"), "--opts", *given.opts,
        "DATASET.TITLE", "Hospital A",
    ]  # fmt: skip
    assert command.main(words) == 0
    rows = list(csv.DictReader((tmp_path / "out" / "chosen.csv").read_text().splitlines()))
    assert len(rows) == 2 * 6 and {row["round"] for row in rows} == {"1", "2"}
    firsts = [[r["image"] for r in rows if r["strategy"] == s and r["round"] == "1"]
              for s in ("random", "entropy")]  # fmt: skip
    assert firsts[0] == firsts[1]  # entropy cannot know better before there is a model
    curves = list(csv.DictReader((tmp_path / "out" / "curves.csv").read_text().splitlines()))
    assert [row["images"] for row in curves] == ["4", "6", "4", "6"]
    assert "entropy, seed 1, 6 images" in capsys.readouterr().out
    head = f"# Labelling in rounds: {given.trainer} on Hospital A, {given.backbone}\n"
    assert any(page.read_text().startswith(head) for page in (tmp_path / "out").glob("*.md"))
    assert (tmp_path / "out" / "active.png").read_bytes()[:4] == b"\x89PNG"


def test_points_are_means_over_seeds_and_of_their_limits():
    def one(seed, value, low, high):
        score = {"value": value, "low": low, "high": high}
        return Round("margin", seed, 10, [], 10, {"centers": {"test": {"accuracy": score}}})

    (point,) = points([one(1, 50.0, 40.0, 60.0), one(2, 60.0, 46.0, 70.0)])
    assert (point.mean, point.low, point.high, point.seeds) == (55, 43, 65, 2)
    assert point.sd == pytest.approx(7.0711, abs=1e-3)
    assert "| margin | 55.0 ± 7.1 [43.0, 65.0] |" in page([point], "image", "t")
    (open_one,) = points([one(1, 50.0, None, None)])
    assert open_one.low is None and "50.0 |" in page([open_one], "image", "t")
    assert figure([point, open_one], "image", "t").axes
