"""A search over a grid, what it chooses on val, and a sweep that takes it."""

import json
import re

import pytest
from run_fixtures import PLUGIN, Zoo

import run_shell
from cerviclip.runs.search.choose import Choice, Tried, choose
from cerviclip.runs.settings.plan import make_plan
from cerviclip.runs.settings.requests import SweepRequest
from cerviclip.tools import choose as tool
from dassl.errors import UserError, cli_main

SEARCH = (
    "trainers: [{trainer: ZooLinear, grid: {OPTIM.LR: [1.0e-9, 0.05, 0.5]}}]\n"
    "shots: [4]\nseeds: [1, 2]\n"
)


def search_of(zoo, text=SEARCH, split="val"):
    """The sweep's yaml, scored on val."""
    argv = zoo.sweep(text)
    path = zoo.root / "zoo.yaml"
    path.write_text(path.read_text().replace("opts:\n", f"opts:\n  TEST.SPLIT: {split}\n"))
    return argv, path


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A finished search, and its yaml."""
    zoo = Zoo(tmp_path_factory.mktemp("zoo"))
    argv, path = search_of(zoo)
    assert cli_main(run_shell.main, argv) == 0
    return zoo, path.rename(zoo.root / "search.yaml")


def test_the_best_mean_on_val_wins_and_its_cost_is_counted(searched):
    zoo, path = searched
    (choice,) = choose(str(path), str(zoo.out), plugins=[str(PLUGIN)])
    means = [tried.mean for tried in choice.tried]
    assert len(means) == 3 and all(len(tried.scores) == 2 for tried in choice.tried)
    assert choice.best.mean == max(means) > means[0]  # 1e-9 learns nothing
    assert choice.best is choice.tried[means.index(max(means))]  # the first of equal ones
    drawn, scored = set(), set()
    for results in zoo.out.rglob("split.json"):
        record = json.loads(results.read_text())
        drawn |= {row["path"] for part in ("train", "val") for row in record[part]}
    for predictions in zoo.out.rglob("predictions.csv"):
        if predictions.name == "predictions.csv":
            scored |= {line.split(",")[1] for line in predictions.read_text().splitlines()[1:]}
    assert choice.labels == len(drawn | scored) > 12


def test_the_file_is_taken_by_another_sweep_and_its_cost_stands_in_results_md(searched, capsys):
    zoo, path = searched
    written = zoo.root / "chosen.yaml"
    assert (
        tool.main(
            [
                str(path),
                "--output-dir",
                str(zoo.out),
                "--output",
                str(written),
                "--plugin",
                str(PLUGIN),
            ]
        )
        == 0
    )
    said = capsys.readouterr().out
    (choice,) = choose(str(path), str(zoo.out), plugins=[str(PLUGIN)])
    rate = choice.best.opts["OPTIM.LR"]
    assert f"| ZooLinear | OPTIM.LR {rate} | {choice.best.mean:.4g} | 3 | {choice.labels} |" in said
    final = Zoo(zoo.root / "final")
    final.root.mkdir()
    argv = final.sweep(
        f"settings: {written}\ntrainers: [ZooLinear, ZooConstant]\nshots: [4]\nseeds: [1]\n"
    )
    assert cli_main(run_shell.main, argv) == 0
    config = next(final.out.glob("ZooMain/ZooLinear/**/config.yaml")).read_text()
    assert float(re.search(r"^  LR: (\S+)$", config, re.MULTILINE)[1]) == rate
    table = (final.out / "results.md").read_text()
    assert f"| ZooMain | ZooLinear | 4 | - | - | - | 3 | {choice.labels} |" in table
    assert "| ZooMain | ZooConstant | 0 | - | - | - | - | - |" in table


def test_an_entrys_own_settings_are_stronger_than_the_chosen(zoo):
    (zoo.root / "chosen.yaml").write_text(
        "trainers: {ZooLinear: {opts: {OPTIM.LR: 0.5}, tries: 2, labels: 9}}\n"
    )
    text = (
        "settings: chosen.yaml\nshots: [4]\nseeds: [1]\ntrainers:\n"
        "  - {trainer: ZooLinear, name: own, opts: {OPTIM.LR: 0.125}}\n  - ZooLinear\n"
    )
    zoo.sweep(text)
    own, plain = make_plan(
        SweepRequest(sweep=str(zoo.root / "zoo.yaml"), plugins=(str(PLUGIN),))
    ).runs
    assert [own.opts[i + 1] for i, key in enumerate(own.opts) if key == "OPTIM.LR"][-1] == 0.125
    assert [plain.opts[i + 1] for i, key in enumerate(plain.opts) if key == "OPTIM.LR"][-1] == 0.5


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("trainers: [ZooLinear]\n", "no 'trainers: {NAME: {opts: ...}}'"),
        ("trainers: {ZooLinear: 3}\n", "ZooLinear in settings .* not 3"),
        ("trainers: {ZooLinear: {opt: {}}}\n", "unknown key 'opt'"),
        ("trainers: {ZooLinear: {tries: many}}\n", "'tries' of ZooLinear .* not 'many'"),
        (None, "settings: chosen.yaml.*no such file"),
    ],
)
def test_files_that_are_no_settings_are_refused(zoo, text, why):
    if text is not None:
        (zoo.root / "chosen.yaml").write_text(text)
    zoo.sweep("settings: chosen.yaml\ntrainers: [ZooLinear]\nshots: [4]\nseeds: [1]\n")
    with pytest.raises(UserError, match=why):
        make_plan(SweepRequest(sweep=str(zoo.root / "zoo.yaml"), plugins=(str(PLUGIN),)))


def test_a_search_on_test_images_and_an_unfinished_one_are_refused(zoo):
    _, path = search_of(zoo)
    with pytest.raises(UserError, match=r"6 of 6 runs of .* are not finished"):
        choose(str(path), str(zoo.out), plugins=[str(PLUGIN)])
    argv, path = search_of(zoo, SEARCH.replace("[1, 2]", "[1]"), split="test")
    assert cli_main(run_shell.main, argv) == 0
    with pytest.raises(UserError, match="scored on the test set, which must not choose"):
        choose(str(path), str(zoo.out), plugins=[str(PLUGIN)])


def test_a_choice_at_the_grids_edge_is_named():
    tried = [Tried(str(v), {"OPTIM.LR": v, "NAME": "adam"}, (v,)) for v in (1.0, 2.0, 3.0)]
    assert Choice("T", tuple(tried), tried[2], 1).edge == ["OPTIM.LR"]
    assert Choice("T", tuple(tried), tried[1], 1).edge == []


def test_numbers_that_yaml_reads_as_text_have_an_edge_and_truth_values_none():
    tried = [Tried(v, {"OPTIM.LR": v, "ON": v == "1e-1"}, (float(v),)) for v in ("1e-2", "1e-1")]
    assert Choice("T", tuple(tried), tried[1], 1).edge == ["OPTIM.LR"]


def test_a_class_with_a_dot_in_its_name_can_be_chosen_by(searched, monkeypatch):
    scored = {"centers": {"val": {"per_class": {"ASC.US": {"f1": {"value": 60.0}}}}}}
    monkeypatch.setattr("cerviclip.runs.search.choose.read_results", lambda folder: scored)
    zoo, path = searched
    (choice,) = choose(str(path), str(zoo.out), "per_class.ASC.US.f1", [str(PLUGIN)])
    assert choice.best.mean == 60.0


@pytest.mark.parametrize(
    ("trainers", "why"),
    [
        (
            "[{trainer: ZooLinear, name: a, config: a.yaml}, {trainer: ZooLinear, name: b}]",
            "entries of ZooLinear in .* differ in 'config'",
        ),
        ("[ZooLinear]\nbase_to_new: true", "no plain run of ZooLinear .* without base_to_new"),
    ],
)
def test_searches_whose_choice_would_say_too_little_are_refused(zoo, monkeypatch, trainers, why):
    _, path = search_of(zoo, f"trainers: {trainers}\nshots: [4]\nseeds: [1]\n")
    (zoo.root / "a.yaml").write_text("OPTIM: {LR: 0.5}\n")
    monkeypatch.chdir(zoo.root)
    monkeypatch.setattr("cerviclip.runs.search.choose._check_finished", lambda *_: None)
    with pytest.raises(UserError, match=why):
        choose(str(path), str(zoo.out), plugins=[str(PLUGIN)])


@pytest.mark.parametrize("grid", ["3", "{}", "{OPTIM.LR: 3}", "{OPTIM.LR: []}", "[1, 2]"])
def test_a_grid_that_is_none_is_refused(zoo, grid):
    zoo.sweep(f"trainers: [{{trainer: ZooLinear, grid: {grid}}}]\nshots: [4]\nseeds: [1]\n")
    with pytest.raises(UserError, match=r"'grid' of trainer ZooLinear .* is \{KEY"):
        make_plan(SweepRequest(sweep=str(zoo.root / "zoo.yaml"), plugins=(str(PLUGIN),)))


def test_a_grid_is_every_combination_with_a_name_of_its_own(zoo):
    zoo.sweep(
        "trainers:\n  - trainer: ZooLinear\n    name: a\n"
        "    grid: {OPTIM.LR: [0.1, 0.2], OPTIM.MAX_EPOCH: [1, 2]}\nshots: [4]\nseeds: [1]\n"
    )
    runs = make_plan(SweepRequest(sweep=str(zoo.root / "zoo.yaml"), plugins=(str(PLUGIN),))).runs
    assert [run.variant for run in runs] == [
        f"a-LR{rate}-MAX_EPOCH{epochs}" for rate in (0.1, 0.2) for epochs in (1, 2)
    ]


def test_a_search_under_a_variant_is_chosen_among_by_its_name(zoo, capsys):
    argv, path = search_of(zoo, SEARCH.replace("[1, 2]", "[1]"))
    assert cli_main(run_shell.main, [*argv, "--variant", "ours"]) == 0
    words = [str(path), "--output-dir", str(zoo.out), "--plugin", str(PLUGIN)]
    written = zoo.root / "chosen.yaml"
    assert tool.main([*words, "--variant", "ours", "--output", str(written)]) == 0
    assert "OPTIM.LR" in capsys.readouterr().out
    assert "--metric accuracy --variant ours\n" in written.read_text()
    with pytest.raises(UserError, match="3 of 3 runs of .* are not finished"):
        tool.main(words)
    with pytest.raises(UserError, match="--variant others"):
        tool.main([*words, "--variant", "others"])


@pytest.mark.parametrize(
    "grid, why",
    [
        ("{OPTIM.LR: [0.1, 1e-1]}", "has OPTIM.LR 0.1 twice; it would count as two tries"),
        (
            f"{{A.B: {list(range(200))}, A.C: {list(range(200))}, A.D: {list(range(200))}}}",
            "has 8,000,000 combinations, more than 10,000",
        ),
    ],
)
def test_a_grid_without_end_or_of_equal_values_is_refused(zoo, grid, why):
    zoo.sweep(f"trainers: [{{trainer: ZooLinear, grid: {grid}}}]\nshots: [4]\nseeds: [1]\n")
    with pytest.raises(UserError, match=why):
        make_plan(SweepRequest(sweep=str(zoo.root / "zoo.yaml"), plugins=(str(PLUGIN),)))


@pytest.mark.parametrize("line", ["shots: [010]\nseeds: [1]", "shots: [1]\nseeds: 1:30"])
def test_numbers_that_yaml_reads_otherwise_are_refused(zoo, line):
    zoo.sweep(f"trainers: [ZooLinear]\n{line}\n")
    with pytest.raises(UserError, match=r"has (010|1:30), which yaml reads as (8|90); write"):
        make_plan(SweepRequest(sweep=str(zoo.root / "zoo.yaml"), plugins=(str(PLUGIN),)))
