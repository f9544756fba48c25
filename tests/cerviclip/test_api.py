"""``import cerviclip`` in a notebook: the commands as functions, with the commands' numbers."""

import json

import pytest
from run_fixtures import PLUGIN, QUICK, zoo

import cerviclip
from cerviclip.cli import main
from cerviclip.runs.results_json import read_results
from dassl.errors import MissingFileError, UnknownNameError

__all__ = ["zoo"]


def train(zoo, trainer="ZooLinear", **more):
    settings = {"shots": 2, "opts": QUICK, "root": zoo.root, "plugins": PLUGIN, "echo": False}
    return cerviclip.train(dataset="ZooMain", trainer=trainer, **settings | more)


def numbers(folder):
    results = json.loads((folder / "results.json").read_text())
    return {key: value for key, value in results.items() if key != "runtime"}


def test_every_name_is_there_and_said():
    assert set(cerviclip.__all__) <= set(dir(cerviclip))
    for name in cerviclip.__all__:
        assert getattr(cerviclip, name) is not None
    with pytest.raises(AttributeError, match="trian"):
        cerviclip.trian  # noqa: B018


def test_a_run_from_python_is_the_commands_run(zoo, capsys):
    run = train(zoo, output_dir=zoo.out / "python", seed=3)
    assert capsys.readouterr().out == ""  # echo=False: a notebook stays readable
    argv = zoo.argv("ZooLinear", "2", "--seed", "3", "--output-dir", str(zoo.out / "command"))
    assert main(["train", *argv]) == 0
    assert run.folder == zoo.out / "python"
    assert numbers(run.folder) == numbers(zoo.out / "command")
    assert "accuracy" in (run.folder / "log.txt").read_text()


def test_overrides_may_be_nested_dotted_or_a_list(zoo):
    from cerviclip.runs.settings.requests import flat_opts

    flat = ("OPTIM.LR", 0.1, "INPUT.SIZE", (8, 8))
    assert flat_opts({"OPTIM": {"LR": 0.1}, "INPUT.SIZE": [8, 8]}) == flat
    assert flat_opts(["OPTIM.LR", 0.1, "INPUT.SIZE", [8, 8]]) == flat
    assert flat_opts(None) == ()
    with pytest.raises(cerviclip.UserError, match="'opts' is a mapping KEY: VALUE"):
        flat_opts(["OPTIM.LR"])
    with pytest.raises(
        cerviclip.UserError, match="'opts' in my.yaml: OPTIM.LR has {'a': 1} within a list"
    ):
        flat_opts({"OPTIM": {"LR": [{"a": 1}]}}, "in my.yaml")
    run = train(zoo, output_dir=zoo.out / "run", opts=QUICK | {"OPTIM": {"LR": 0.3}})
    assert "LR: 0.3" in (run.folder / "config.yaml").read_text()


def test_what_a_run_tells_of_itself(zoo):
    run = train(zoo, output_dir=zoo.out / "run")
    stored = read_results(run.folder)
    assert run.results == stored and len(repr(run)) < 300
    assert run.value() == stored["centers"]["test"]["accuracy"]["value"]
    assert run.value("macro_f1", "ZooFar") == stored["centers"]["ZooFar"]["macro_f1"]["value"]
    assert run.value("macro_f1", "Nowhere") is None
    assert len(run.predictions()) == sum(c["n_images"] for c in stored["centers"].values())


def test_errors_are_exceptions_and_leave_nothing(zoo):
    with pytest.raises(UnknownNameError, match="did you mean 'ZooLinear'"):
        train(zoo, "ZooLinaer")
    with pytest.raises(UnknownNameError, match="OPTIM.LR"):
        train(zoo, output_dir=zoo.out, opts={"OPTIM.LRR": 1})
    with pytest.raises(cerviclip.UserError, match="0 shots"):
        train(zoo, output_dir=zoo.out, shots=0)
    assert not zoo.out.exists()


def test_a_run_that_breaks_raises_what_broke_it(zoo):
    with pytest.raises(RuntimeError, match="the zoo is on fire"):
        train(zoo, "ZooBroken", output_dir=zoo.out / "run")
    assert numbers(zoo.out / "run")["status"] == "failed"


def sweep(zoo, text, **more):
    path = zoo.sweep(text)[zoo.sweep(text).index("--sweep") + 1]
    settings = {"root": zoo.root, "plugins": PLUGIN, "output_dir": zoo.out, "echo": False}
    return cerviclip.sweep(path, **settings | more)


CELLS = "trainers: [ZooConstant, ZooLinear]\nshots: [1, 2]\nseeds: [1, 2]\n"


def test_a_sweep_and_its_long_table(zoo, capsys):
    swept = sweep(zoo, CELLS, shots=1, seeds=[1, 2])
    assert capsys.readouterr().out == ""
    assert [r.results["trainer"] for r in swept.runs] == ["ZooConstant", "ZooLinear", "ZooLinear"]
    assert not swept.failed and (swept.folder / "results.md").is_file()
    table = cerviclip.read_results(zoo.out)
    assert len(table) == len(swept.table())
    picked = table.query("trainer == 'ZooLinear' and center == 'ZooFar' and metric == 'accuracy'")
    assert picked.seed.tolist() == [1, 2] and (picked.shots == 1).all()
    assert picked.value.tolist() == [run.value(center="ZooFar") for run in swept.runs[1:]]
    again = sweep(zoo, CELLS, shots=1, seeds=[1, 2])
    assert [r.folder for r in again.runs] == [r.folder for r in swept.runs]


def test_a_sweep_that_fails_in_part_warns_and_keeps_the_rest(zoo):
    text = "trainers: [ZooConstant, ZooBroken]\nshots: [1]\nseeds: [1]\n"
    with pytest.warns(UserWarning, match="1 of 2 runs failed"):
        swept = sweep(zoo, text)
    assert [run.results["trainer"] for run in swept.runs] == ["ZooConstant"]
    assert [numbers(folder)["trainer"] for folder in swept.failed] == ["ZooBroken"]
    with pytest.warns(UserWarning, match="1 of 2 runs in .* are not done"):
        table = cerviclip.read_results(zoo.out)
    assert set(table.trainer) == {"ZooConstant"}


def test_the_long_table_says_why_a_number_is_not_there(zoo):
    run = train(zoo, output_dir=zoo.out / "run")
    table = cerviclip.read_results(run.folder)
    assert table.value.dtype == float and "fold" not in table
    gone = table[table.value.isna()]
    assert gone.reason.str.len().gt(0).all()
    assert {"accuracy", "per_class.alpha.f1", "binary.auc"} <= set(table.metric)
    assert not table.duplicated(["center", "metric"]).any()


def test_folds_are_a_column_where_there_are_folds():
    from cerviclip.runs.many.tidy import long_table

    entry = {"accuracy": {"value": 50.0, "low": 40.0, "high": 60.0}}
    run = {"status": "done", "trainer": "T", "seed": 1, "fold": 3, "centers": {"test": entry}}
    assert long_table([run]).fold.tolist() == [3]


def test_a_folder_without_runs_is_an_error(tmp_path):
    with pytest.raises(MissingFileError, match="no results.json below"):
        cerviclip.read_results(tmp_path)


def test_lists_of_names(zoo):
    assert "CoOp" in cerviclip.list_trainers() and "PhantomOCT" in cerviclip.list_datasets()
    assert "PhantomCLIP" in cerviclip.list_backbones()
    assert cerviclip.list_trainers(PLUGIN)["ZooLinear"]


def test_a_backbone_to_encode_with():
    assert cerviclip.load_backbone("PhantomCLIP").embed_dim > 0
    with pytest.raises(UnknownNameError, match="PhantomCLIP"):
        cerviclip.load_backbone("PhantomCLOP")
