"""Sweeps: what is run, skipped, retried and written; that order and company change no number."""

import json
import random
import shutil

import pytest
from run_fixtures import ZOO_SWEEP as TEXT
from run_fixtures import Zoo, all_results
from run_fixtures import run_sweep as run

import run_shell
import train
from cerviclip.runs.jobs.executors import InProcess
from cerviclip.runs.report.groups import group_runs, load_runs, sweep_order
from cerviclip.runs.settings.folders import find_results
from cerviclip.runs.sweep import command as sweep_module
from dassl.errors import cli_main
from helpers import write_images


@pytest.fixture(scope="module")
def made_once(tmp_path_factory):
    """A place, and a copy of it with the finished sweep, which the first test makes."""
    return tmp_path_factory.mktemp("zoo"), tmp_path_factory.mktemp("copy") / "zoo"


@pytest.fixture
def made(zoo, made_once):
    """The finished sweep as it was left, always in the same place, as its notes name files."""
    place, copy = made_once
    if not copy.exists():
        assert run(Zoo(place)) == 0
        shutil.copytree(place, copy)
    shutil.rmtree(place)
    shutil.copytree(copy, place)
    return Zoo(place)


def test_runs_lie_where_the_contract_says(made):
    assert set(all_results(made.out)) == {
        "ZooMain/ZooConstant/none/default/shots_0/seed_0",
        *(f"ZooMain/ZooLinear/none/default/shots_{k}/seed_{s}" for k in (1, 4) for s in (1, 2)),
    }


def test_files_and_table_of_the_sweep(made, capsys):
    for name in ("summary.csv", "summary.json", "results.md", "curves_ZooMain.png"):
        assert (made.out / name).stat().st_size > 0
    summary = json.loads((made.out / "summary.json").read_text())
    group = next(g for g in summary["groups"] if g["shots"] == 4)
    runs = all_results(made.out)
    values = [
        runs[f"ZooMain/ZooLinear/none/default/shots_4/seed_{s}"]["centers"]["test"]["accuracy"][
            "value"
        ]
        for s in (1, 2)
    ]
    assert list(group["centers"]["test"]["accuracy"]["values"].values()) == values
    assert group["centers"]["test"]["accuracy"]["mean"] == pytest.approx(sum(values) / 2)


def test_second_time_nothing_is_run_and_the_table_comes_without_torch(made, capsys, monkeypatch):
    first = all_results(made.out)
    monkeypatch.setattr(sweep_module, "chosen_runs", lambda *a: pytest.fail("worked it out again"))
    capsys.readouterr()
    assert run(made) == 0
    printed = capsys.readouterr().out
    assert "all 5 runs of sweep zoo are finished" in printed
    assert "ZooLinear" in printed and "ZooFar" in printed and "4 shots" in printed
    assert all_results(made.out) == first


def test_without_the_note_finished_runs_are_still_skipped(made, monkeypatch):
    for path in (made.out / ".sweeps").iterdir():
        path.unlink()
    seen = []
    nothing = lambda _, jobs, *a: (outcome for outcome in seen.append(list(jobs)) or ())  # noqa: E731
    monkeypatch.setattr(InProcess, "run", nothing)
    assert run(made) == 0
    assert seen == [[]]


@pytest.mark.parametrize(
    "place, key", [("", "FILE"), ("cells", "FILE"), ("", "SPLIT_FILE")], ids=str
)
def test_an_edited_list_is_noticed_in_spite_of_the_note(zoo, capsys, place, key):
    """Found under the data's root or folder, where the data set looks for it."""
    write_images(zoo.root / "cells", {"a": 12, "b": 12}, patients=6, size=8)
    images = sorted((zoo.root / "cells").rglob("*.png"))
    sides = {f"P{c:03d}{p:04d}": ("train", "test")[p % 2] for c in (0, 1) for p in range(6)}
    lines = [
        f"cells/{path.parent.name}/{path.name},{path.parent.name},{sides[patient]},{patient}"
        for path in images
        for patient in [path.name.split("_")[2]]
    ]
    file = zoo.root / place / "list.csv"
    file.write_text("\n".join(["path,label,split,patient", *lines]))
    opts = f"DATASET.FOLDER cells DATASET.{key} list.csv DATASET.PATIENT_PATTERN (P\\d{{7}})"
    opts += " TEST.EXTERNAL []"
    flags = ["--datasets", "FolderDataset", "--opts", *opts.split()]
    if key == "FILE":  # a list's paths are relative to the folder or to itself
        text = file.read_text()
        file.write_text(text if not place else text.replace("cells/", ""))
    text = "trainers: [ZooLinear]\nshots: [2]\nseeds: [1]\n"
    assert run(zoo, text, *flags) == 0
    capsys.readouterr()
    assert run(zoo, text, *flags) == 0
    assert "the chosen run of sweep zoo is finished" in capsys.readouterr().out
    content = file.read_text().splitlines()
    file.write_text("\n".join([content[0], *(x for x in content[1:] if "P0000001" not in x)]))
    assert run(zoo, text, *flags) == 2
    assert "another configuration" in capsys.readouterr().err


def test_an_added_image_is_named_as_what_has_changed(zoo, capsys):
    write_images(zoo.root / "cells", {"a": 12, "b": 12}, patients=6, size=8)
    opts = "DATASET.FOLDER cells DATASET.PATIENT_PATTERN (P\\d{7}) TEST.EXTERNAL []"
    flags = ["--datasets", "FolderDataset", "--opts", *opts.split()]
    text = "trainers: [ZooLinear]\nshots: [2]\nseeds: [1]\n"
    assert run(zoo, text, *flags) == 0
    first = sorted((zoo.root / "cells" / "a").iterdir())[0]
    shutil.copy(first, first.with_name(f"more_{first.name}"))
    capsys.readouterr()
    assert run(zoo, text, *flags) == 2
    error = capsys.readouterr().err
    assert "the images of FolderDataset have changed (25 now, 24 then). Give --fresh" in error


def test_a_folder_with_brackets_keeps_its_name(zoo, capsys):
    out = str(zoo.root / "runs [red]")
    assert run(zoo, "trainers: [ZooLinear]\nshots: [1]\nseeds: [1]\n", "--output-dir", out) == 0
    assert f"results in {out}\n" in capsys.readouterr().out


def test_ctrl_c_says_what_is_finished_and_how_to_go_on(zoo, capsys, monkeypatch):
    real = InProcess.run

    def stopped(self, jobs, started):
        yield from real(self, jobs[:2], started)
        raise KeyboardInterrupt

    monkeypatch.setattr(InProcess, "run", stopped)
    assert run(zoo) == 130
    said = "interrupted: 2 of 5 runs are finished and stay; the same command continues\n"
    assert capsys.readouterr().err.endswith(said)
    monkeypatch.undo()
    assert run(zoo) == 0
    assert "2 finished before" in capsys.readouterr().out


def test_an_edited_base_of_a_yaml_is_noticed_in_spite_of_the_note(zoo, capsys):
    base, own = zoo.root / "base.yaml", zoo.root / "own.yaml"
    base.write_text("OPTIM: {WEIGHT_DECAY: 0.1}\n")
    own.write_text("_BASE_: base.yaml\n")
    text = f"trainers: [{{trainer: ZooLinear, config: {own}}}]\nshots: [2]\nseeds: [1]\n"
    assert run(zoo, text) == 0
    capsys.readouterr()
    assert run(zoo, text) == 0
    assert "the run of sweep zoo is finished" in capsys.readouterr().out
    base.write_text("OPTIM: {WEIGHT_DECAY: 0.25}\n")
    assert run(zoo, text) == 2
    assert "WEIGHT_DECAY (0.1 -> 0.25)" in capsys.readouterr().err


def test_how_features_are_stored_is_noticed_in_spite_of_the_note(made, monkeypatch, capsys):
    monkeypatch.setenv("CERVICLIP_STORE_DTYPE", "bfloat16")
    capsys.readouterr()
    assert run(made) == 2
    assert "INPUT.STORE_DTYPE" in capsys.readouterr().err


def test_a_note_on_files_that_were_not_there_says_nothing(made, monkeypatch):
    [note] = (made.out / ".sweeps").iterdir()
    content = json.loads(note.read_text())
    content["files"][str(made.root / "absent.csv")] = []
    note.write_text(json.dumps(content))
    asked = []
    monkeypatch.setattr(sweep_module, "chosen_runs", lambda *a: asked.append(a) or [])
    run(made)
    assert asked


def cells_of(folder):
    """(trainer, shots, seeds) of each row of a sweep's summary.json."""
    groups = json.loads((folder / "summary.json").read_text())["groups"]
    return {(g["trainer"], g["shots"], tuple(g["seeds"])) for g in groups}


def test_a_sweep_made_in_pieces_ends_with_the_table_of_the_whole(made, capsys):
    names = ("summary.csv", "summary.json", "results.md")
    whole = [(made.out / name).read_text() for name in names]
    made.out.rename(made.root / "whole")
    assert run(made, TEXT, "--trainers", "ZooLinear", "--shots", "1") == 0
    assert cells_of(made.out) == {("ZooLinear", 1, (1, 2))}  # the rest is not there: no error
    assert "2 of 5 runs" in (made.out / "results.md").read_text()
    assert run(made, TEXT, "--seeds", "2") == 0
    assert cells_of(made.out) == {
        ("ZooConstant", 0, (0,)), ("ZooLinear", 1, (1, 2)), ("ZooLinear", 4, (2,))
    }  # fmt: skip
    assert run(made, TEXT, "--shots", "4", "--trainers", "ZooLinear") == 0
    assert [(made.out / name).read_text() for name in names] == whole
    # The first piece again, from its note: it knew nothing of the later ones when it was written.
    capsys.readouterr()
    assert run(made, TEXT, "--trainers", "ZooLinear", "--shots", "1") == 0
    assert "all 2 chosen runs of sweep zoo are finished" in capsys.readouterr().out
    assert [(made.out / name).read_text() for name in names] == whole


def test_what_the_flags_add_to_the_sweep_stands_beside_it(made):
    assert run(made, TEXT, "--trainers", "ZooPeeker", "--shots", "2", "--seeds", "7") == 0
    assert cells_of(made.out) == {
        ("ZooConstant", 0, (0,)), ("ZooLinear", 1, (1, 2)), ("ZooLinear", 4, (1, 2)),
        ("ZooPeeker", 2, (7,)),
    }  # fmt: skip


def test_other_settings_of_the_unchosen_runs_are_said_and_left_out(made, capsys):
    flags = ["--trainers", "ZooPeeker", "--shots", "1", "--opts", "OPTIM.LR", "0.1"]
    for _ in range(2):  # worked out, and from the note
        capsys.readouterr()
        assert run(made, TEXT, *flags) == 0
        assert "left out: 5 runs" in capsys.readouterr().out
        assert cells_of(made.out) == {("ZooPeeker", 1, (1, 2))}


def test_an_unchosen_entry_that_cannot_be_is_no_error(zoo):
    text = TEXT.replace(
        "[ZooConstant", "[NoSuchTrainer, {trainer: ZooLinear, name: x, weights: /no}"
    )
    assert run(zoo, text, "--trainers", "ZooPeeker", "--shots", "1", "--seeds", "1") == 0
    assert cells_of(zoo.out) == {("ZooPeeker", 1, (1,))}


def test_changed_results_are_noticed_in_spite_of_the_note(made):
    folder = made.out / "ZooMain/ZooLinear/none/default/shots_4/seed_2"
    before = all_results(made.out)
    (folder / "results.json").unlink()
    assert run(made) == 0
    assert all_results(made.out) == before


def test_alone_in_a_sweep_and_shuffled_the_numbers_are_the_same(made, monkeypatch):
    expected = all_results(made.out)
    alone = made.root / "alone"
    argv = made.argv("ZooLinear", "4", "--seed", "2", "--output-dir", str(alone))
    assert train.main(argv) == 0
    results = json.loads((alone / "results.json").read_text())
    results.pop("runtime")
    assert results == expected["ZooMain/ZooLinear/none/default/shots_4/seed_2"]

    in_order = InProcess.run

    def shuffled(self, jobs, started):
        jobs = list(jobs)
        random.Random(5).shuffle(jobs)
        return in_order(self, jobs, started)

    monkeypatch.setattr(InProcess, "run", shuffled)
    made.root.joinpath("out").rename(made.root / "first")
    assert run(made) == 0
    assert all_results(made.out) == expected


@pytest.mark.slow
def test_two_processes_give_the_same_numbers(made):
    expected = all_results(made.out)
    made.out.rename(made.root / "first")
    assert run(made, TEXT, "--jobs", "2") == 0
    assert all_results(made.out) == expected


def test_a_failed_run_is_recorded_and_retried_and_the_others_go_on(zoo, monkeypatch, capsys):
    text = "trainers: [ZooBroken, ZooLinear]\nshots: [1]\nseeds: [1]\n"
    assert run(zoo, text) == 1
    runs = all_results(zoo.out)
    assert runs["ZooMain/ZooBroken/none/default/shots_1/seed_1"]["error"] == (
        "RuntimeError: the zoo is on fire"
    )
    assert runs["ZooMain/ZooLinear/none/default/shots_1/seed_1"]["status"] == "done"
    assert "the zoo is on fire" in capsys.readouterr().out
    assert "zoo is on fire" in (zoo.out / "results.md").read_text()
    monkeypatch.setenv("ZOO_MENDED", "1")
    assert run(zoo, text) == 0
    assert {r["status"] for r in all_results(zoo.out).values()} == {"done"}
    assert "Failed" not in (zoo.out / "results.md").read_text()


@pytest.mark.slow
def test_a_killed_worker_fails_its_run_only(zoo, monkeypatch, capsys):
    text = "trainers: [ZooSuicidal, ZooLinear]\nshots: [1, 2]\nseeds: [1]\n"
    assert run(zoo, text, "--jobs", "2") == 1
    runs = all_results(zoo.out)
    states = {(r["trainer"], r["shots"]): r["status"] for r in runs.values()}
    assert states == {
        ("ZooSuicidal", 1): "failed", ("ZooSuicidal", 2): "failed",
        ("ZooLinear", 1): "done", ("ZooLinear", 2): "done",
    }  # fmt: skip
    assert "signal 9" in next(r["error"] for r in runs.values() if r["error"])


def test_ctrl_c_leaves_finished_runs_and_status_130(zoo, monkeypatch):
    assert run(zoo, TEXT, "--shots", "1") == 0
    finished = all_results(zoo.out)

    def stop(self, jobs, started):
        raise KeyboardInterrupt
        yield

    with monkeypatch.context() as patch:
        patch.setattr(InProcess, "run", stop)
        assert run(zoo) == 130
    assert all_results(zoo.out) == finished
    assert run(zoo) == 0
    assert len(all_results(zoo.out)) == 5


def test_other_settings_in_a_folder_stop_the_sweep_before_it_starts(made, capsys):
    before = all_results(made.out)
    capsys.readouterr()
    assert run(made, TEXT, "--opts", "OPTIM.LR", "0.3") == 2
    error = capsys.readouterr().err
    assert "OPTIM.LR (0.2 -> 0.3)" in error and error.count("\n") == 1
    assert all_results(made.out) == before


def test_fresh_runs_all_again(made):
    before = {p: p.stat().st_mtime_ns for p in find_results(made.out)}
    assert run(made, TEXT, "--fresh") == 0
    after = {p: p.stat().st_mtime_ns for p in find_results(made.out)}
    assert before.keys() == after.keys()
    assert all(after[p] > before[p] for p in before)


def test_dry_run_lists_and_does_nothing(zoo, capsys):
    assert run(zoo, TEXT, "--dry-run") == 0
    printed = capsys.readouterr().out
    assert printed.count("to do") == 6 and "5 runs, 5 to do" in printed
    assert not zoo.out.exists()


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--opts", "OPTIM.LRR", "0.1"], "OPTIM.LR"),
        (["--opts", "OPTIM.LR"], "OPTIM.LR"),
        (["--datasets", "Herlev"], "Herlev"),
        (["--weights", "/none/w.pt"], "/none/w.pt"),
        (["--output-dir", "/dev/null/x"], "cannot write results to /dev/null/x"),
    ],
)
def test_users_errors_are_found_before_any_run(zoo, capsys, flags, words):
    assert run(zoo, TEXT, *flags) == 2
    error = capsys.readouterr().err
    assert words in error and error.strip().count("\n") == 0
    assert not list(zoo.out.rglob("results.json")) and "Traceback" not in error


def test_cells_that_an_override_makes_equal_are_refused_before_any_run(zoo, capsys):
    text = "trainers: [ZooLinear]\nshots: [1, 2]\nseeds: [1]\n"
    assert run(zoo, text, "--opts", "DATASET.NUM_SHOTS", "2") == 2
    assert "are the same run" in capsys.readouterr().err
    assert not list(find_results(zoo.out))


def test_tools_keep_the_order_of_the_sweep(zoo):
    """Two tables of the same runs must not contradict each other."""
    text = "trainers: [ZooLinear, ZooConstant]\nshots: [1]\nseeds: [1]\n"
    assert run(zoo, text) == 0
    order = sweep_order(zoo.out)
    assert order == [("ZooLinear", "default"), ("ZooConstant", "default")]
    groups = group_runs(load_runs(zoo.out), order)
    assert [g.trainer for g in groups] == ["ZooLinear", "ZooConstant"]
    assert [g.trainer for g in group_runs(load_runs(zoo.out))] == ["ZooConstant", "ZooLinear"]
    assert sweep_order(zoo.root) == []


def test_results_are_headed_by_the_runs_that_were_asked_for(zoo, made):
    text = lambda: (made.out / "results.md").read_text()  # noqa: E731
    assert text().startswith("# Sweep zoo\n\n5 runs; backbones: none.\n")
    about = "- ZooMain; positive group: alpha; test: "
    assert about in text() and "; ZooFar: " in text()
    one = "trainers: [ZooConstant, ZooLinear]\nshots: [1, 4]\nseeds: [1, 2]\n"
    assert run(zoo, one, "--trainers", "ZooLinear", "--shots", "4", "--seeds", "2") == 0
    by = "--trainers ZooLinear --shots 4 --seeds 2"
    head = f"# Sweep zoo\n\n1 of 5 runs, the part that was chosen ({by}); backbones: none.\n"
    assert (zoo.out / "results.md").read_text().startswith(head)
    assert run(zoo, one, "--trainers", "ZooConstant") == 0
    told = "2 of 5 runs: 1 that were chosen (--trainers ZooConstant) and 1 made before; backbones"
    assert told in (zoo.out / "results.md").read_text()
    shutil.rmtree(zoo.out)
    assert run(zoo, one, "--trainers", "ZooLinear", "--shots", "2", "--seeds", "9") == 0
    head = "# ZooLinear on ZooMain\n\n1 run; backbones: none.\n"
    assert (zoo.out / "results.md").read_text().startswith(head)


def test_tables_of_another_sweep_are_not_replaced_without_a_word(zoo, capsys):
    assert run(zoo, "trainers: [ZooConstant]\nshots: [1]\nseeds: [1]\n") == 0
    first = zoo.out / "results.md"
    title = first.read_text().splitlines()[0].removeprefix("# ")
    assert "note: the tables" not in capsys.readouterr().out
    other = zoo.root / "other.yaml"
    other.write_text("datasets: [ZooMain]\ntrainers: [ZooLinear]\nshots: [1]\nseeds: [1]\n")
    words = zoo.sweep(TEXT)
    words[words.index("--sweep") + 1] = str(other)
    for said in (True, False):
        assert cli_main(run_shell.main, words) == 0
        out = capsys.readouterr().out
        assert (f"were of '{title}' and are of 'Sweep other' now" in out) == said
    assert len(list(find_results(zoo.out))) == 2  # the first sweep's run is there


def titles_in(folder):
    runs = [json.loads(path.read_text()) for path in find_results(folder)]
    return {run["runtime"].get("title", "") for run in runs}


def test_a_title_is_given_to_finished_runs_and_none_is_made_again(made, monkeypatch, capsys):
    """Also back to an earlier one, of which the sweep has a note that its runs are finished."""
    before = all_results(made.out)
    monkeypatch.setattr(InProcess, "__call__", lambda *_: pytest.fail("a run was made again"))
    for title in ("Hospital A", "Hospital B", "Hospital A", "Hospital A"):
        assert run(made, TEXT, "--opts", "DATASET.TITLE", title) == 0
        said = capsys.readouterr().out
        assert titles_in(made.out) == {title} and f"{title}: accuracy (%)" in said
        assert f"\n### {title}: accuracy (%)\n" in (made.out / "results.md").read_text()
    assert "the title of" not in said  # the last time there was nothing to do
    assert all_results(made.out) == before
    assert (made.out / "curves_ZooMain.png").is_file()
    assert "Hospital" not in (made.out / "summary.csv").read_text()
    assert run(made) == 0 and titles_in(made.out) == {"Hospital A"}  # none given: as it was


def test_one_title_for_two_data_sets_is_refused_before_any_run(zoo, capsys):
    flags = ("--datasets", "ZooMain", "ZooFar", "--opts", "DATASET.TITLE", "Hospital A")
    assert run(zoo, TEXT, *flags) == 2
    assert "'Hospital A' would name two data sets, ZooMain and ZooFar" in capsys.readouterr().err
    assert not list(find_results(zoo.out))


def test_what_the_flags_ask_for_is_headed_by_the_title(zoo, capsys):
    text = "trainers: [ZooConstant]\nshots: [1]\nseeds: [1]\n"
    assert run(zoo, text, "--trainers", "ZooLinear") == 0
    assert run(zoo, text, "--trainers", "ZooLinear", "--opts", "DATASET.TITLE", "Hospital A") == 0
    lines = (zoo.out / "results.md").read_text().splitlines()
    assert (
        lines[0] == "# ZooLinear on Hospital A" and "the tables in" not in capsys.readouterr().out
    )
