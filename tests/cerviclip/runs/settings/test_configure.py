"""From flags to cfg: order of merging, yaml by name, and errors that name the way out."""

import re

import pytest
from run_fixtures import PLUGIN, asked

from cerviclip import plugins
from cerviclip.runs.settings import configure
from cerviclip.runs.settings.configure import dataset_yaml, setup_cfg, trainer_yaml
from dassl.errors import MissingFileError, UnknownNameError, UserError


@pytest.fixture
def configs(tmp_path, monkeypatch):
    folder = tmp_path / "configs"
    (folder / "trainers" / "ZooLinear").mkdir(parents=True)
    (folder / "datasets").mkdir()
    monkeypatch.setattr(configure, "CONFIGS", folder)
    return folder


def make(zoo, *flags, **opts):
    return setup_cfg(zoo.asked("ZooLinear", "2", *flags, **opts))


def test_later_sources_win(zoo, configs):
    (configs / "datasets" / "ZooMain.yaml").write_text("OPTIM: {LR: 1.0, GAMMA: 0.5}\nSEED: 4\n")
    trainer = configs / "trainers" / "ZooLinear" / "default.yaml"
    trainer.write_text("OPTIM: {LR: 2.0, MOMENTUM: 0.7}\nDATASET: {NUM_SHOTS: 9}\n")
    words = [*zoo.common, "--trainer", "ZooLinear", "--dataset", "ZooMain", "--seed", "6"]
    cfg = setup_cfg(asked([*words, "OPTIM.MOMENTUM", "0.8"]))
    assert cfg.OPTIM.GAMMA == 0.5  # dataset yaml
    assert cfg.OPTIM.LR == 2.0  # trainer yaml over dataset yaml
    assert cfg.SEED == 6  # flag over yaml
    assert cfg.OPTIM.MOMENTUM == 0.8  # override over all
    assert cfg.DATASET.NUM_SHOTS == 9
    assert cfg.TRAINER.ZOOLINEAR.DEPTH == 1  # extend_cfg
    assert cfg.is_frozen()


def test_yaml_by_backbone_then_default(zoo, configs):
    folder = configs / "trainers" / "ZooLinear"
    plugins.add_plugins([str(PLUGIN)])
    (folder / "default.yaml").write_text("OPTIM: {LR: 1.0}\n")
    (folder / "ViT-B-16.yaml").write_text("OPTIM: {LR: 2.0}\n")
    assert trainer_yaml("ZooLinear", "ViT-B/16") == folder / "ViT-B-16.yaml"
    assert trainer_yaml("ZooLinear", "RN50") == folder / "default.yaml"
    assert trainer_yaml("ZooPeeker") == folder / "default.yaml"  # its base's
    assert trainer_yaml("Nobody") is None
    words = [*zoo.common, "--trainer", "ZooLinear", "--dataset", "ZooMain"]
    cfg = setup_cfg(asked([*words, "MODEL.BACKBONE.NAME", "ViT-B/16"]))
    assert cfg.OPTIM.LR == 2.0


def test_dataset_yaml_under_either_spelling(configs):
    (configs / "datasets" / "zoo_main.yaml").write_text("SEED: 1\n")
    assert dataset_yaml("ZooMain") == configs / "datasets" / "zoo_main.yaml"
    assert dataset_yaml("Zoo") is None


def test_given_yaml_replaces_the_one_found_by_name(zoo, configs, tmp_path):
    (configs / "trainers" / "ZooLinear" / "default.yaml").write_text("OPTIM: {GAMMA: 0.7}\n")
    (tmp_path / "mine.yaml").write_text("OPTIM: {WEIGHT_DECAY: 0.25}\n")
    cfg = make(zoo, "--config-file", str(tmp_path / "mine.yaml"))
    assert cfg.OPTIM.WEIGHT_DECAY == 0.25 and cfg.OPTIM.GAMMA == 0.1


def test_names_sections_and_the_backbone_may_stand_in_a_base(zoo, configs, tmp_path):
    (tmp_path / "t.yaml").write_text("TRAINER: {NAME: ZooLinear, DOMAINMIX: {ALPHA: 0.5}}\n")
    (tmp_path / "d.yaml").write_text(
        "DATASET: {NAME: ZooMain}\nMODEL: {BACKBONE: {NAME: ViT-B/16}}\n"
    )
    for name in ("t", "d"):
        (tmp_path / f"{name}2.yaml").write_text(f"_BASE_: {name}.yaml\nSEED: 4\n")
    of_backbone = configs / "trainers" / "ZooLinear" / "ViT-B-16.yaml"
    of_backbone.write_text("_BASE_: ../_base_/slow.yaml\nOPTIM: {GAMMA: 0.7}\n")
    (configs / "trainers" / "_base_").mkdir()
    (configs / "trainers" / "_base_" / "slow.yaml").write_text("OPTIM: {GAMMA: 1.0, LR: 2.0}\n")
    flags = ["--dataset-config-file", str(tmp_path / "d2.yaml")]
    cfg = setup_cfg(asked([*zoo.common, *flags, "--trainer", "ZooLinear"]))
    assert (cfg.OPTIM.LR, cfg.OPTIM.GAMMA, cfg.SEED) == (2.0, 0.7, 4)
    flags += ["--config-file", str(tmp_path / "t2.yaml")]
    cfg = setup_cfg(asked([*zoo.common, *flags]))
    assert (cfg.TRAINER.NAME, cfg.DATASET.NAME) == ("ZooLinear", "ZooMain")
    assert cfg.TRAINER.DOMAINMIX.ALPHA == 0.5  # named by the base: stays visible


def test_names_may_come_from_the_yaml_files(zoo, tmp_path):
    (tmp_path / "t.yaml").write_text("TRAINER: {NAME: ZooLinear}\n")
    (tmp_path / "d.yaml").write_text("DATASET: {NAME: ZooMain}\n")
    flags = ["--config-file", str(tmp_path / "t.yaml")]
    flags += ["--dataset-config-file", str(tmp_path / "d.yaml")]
    cfg = setup_cfg(asked([*zoo.common, *flags]))
    assert (cfg.TRAINER.NAME, cfg.DATASET.NAME) == ("ZooLinear", "ZooMain")


def test_coops_flags_reach_their_keys(zoo):
    cfg = make(
        zoo, "--source-domains", "a", "b", "--target-domains", "c", "--head", "mlp",
        "--backbone", "resnet18", "--resume", "r",
    )  # fmt: skip
    assert cfg.DATASET.SOURCE_DOMAINS == ("a", "b") and cfg.DATASET.TARGET_DOMAINS == ("c",)
    assert cfg.MODEL.HEAD.NAME == "mlp" and cfg.MODEL.BACKBONE.NAME == "resnet18"
    assert cfg.RESUME == "r" and cfg.DATASET.ROOT == str(zoo.root)
    words = [*zoo.common, "--trainer", "ZooLinear", "--dataset", "ZooMain"]
    words += ["--transforms", "random_flip", "normalize"]
    cfg = setup_cfg(asked(words))
    assert cfg.INPUT.TRANSFORMS == ("random_flip", "normalize")


def test_defaults_where_nobody_said_anything(zoo):
    cfg = setup_cfg(asked([*zoo.common[:2], "--trainer", "ZooLinear", "--dataset", "ZooMain"]))
    assert cfg.SEED == 1 and cfg.DATASET.NUM_SHOTS == -1 and cfg.DATASET.ROOT == "./data"
    assert cfg.OUTPUT_DIR == "output/ZooMain/ZooLinear/none/default/shots_full/seed_1"


def test_what_trains_nothing_has_no_shots_and_no_seed(zoo):
    cfg = setup_cfg(zoo.asked("ZooConstant", "16", "--seed", "3"))
    assert (cfg.DATASET.NUM_SHOTS, cfg.SEED) == (0, 0)
    assert cfg.OUTPUT_DIR.endswith("shots_0/seed_0")


def test_sections_of_other_trainers_are_left_out(zoo):
    cfg = make(zoo)
    assert set(cfg.TRAINER) == {"NAME", "ZOOLINEAR"}
    cfg = make(zoo, TRAINER__DOMAINMIX__ALPHA="0.5")
    assert cfg.TRAINER.DOMAINMIX.ALPHA == 0.5  # the user touched it, so it stays visible


@pytest.mark.parametrize(
    "flags, kind, words",
    [
        (["--trainer", "ZooLinaer"], UnknownNameError, "unknown trainer 'ZooLinaer'.*ZooLinear"),
        (["--dataset", "ZooMian"], UnknownNameError, "unknown dataset 'ZooMian'.*ZooMain"),
        (["--shots", "0"], UserError, "0 shots"),
        (["--shots", "-3"], UserError, "shots"),
        (["--shots", "many"], UserError, "'many'"),
        (["--weights", "/no/such.pt"], MissingFileError, "/no/such.pt does not exist"),
        (["--weights", "/usr"], MissingFileError, "/usr is a folder, and a file is needed"),
        (["--config-file", "/usr"], MissingFileError, "/usr is a folder, and a file is needed"),
        (["--config-file", "/no/such.yaml"], MissingFileError, "/no/such.yaml"),
        (["--eval-only"], UserError, "--model-dir"),
        (["--model-dir", "/no/run"], UserError, "--model-dir /no/run .*needs --eval-only"),
        (["--load-epoch", "3"], UserError, "--load-epoch 3 .*needs --eval-only"),
        (["--eval-only", "--model-dir", "/no/run"], MissingFileError, "/no/run"),
        (["--plugin", "/no/plugin.py"], MissingFileError, "/no/plugin.py"),
        (["OPTIM.LRR", "1"], UnknownNameError, r"OPTIM\.LRR.*OPTIM\.LR\?"),
        (["OPTIM.LR"], UserError, "OPTIM.LR"),
        (["OPTIM.LR", "fast"], UserError, "fast"),
        (["TEST.EXTERNAL", "['ZooFra']"], UnknownNameError, "TEST.EXTERNAL.*ZooFra.*ZooFar"),
        (["DATASET.NUM_SHOTS", "-5"], UserError, "-5"),
        (["TEST.PATIENT_RULE", "median"], UserError, "PATIENT_RULE is 'median'.*mean, max, share"),
        (["TEST.MISS_COST", "-1.0"], UserError, r"TEST\.MISS_COST is -1\.0"),
        (["TEST.COVERAGE", "1.5"], UserError, r"TEST\.COVERAGE has 1\.5"),
        (["TEST.PREVALENCES", "[0.1, 5]"], UserError, "TEST.PREVALENCES has 5"),
        (["DATASET.TITLE", "a\nb"], UserError, r"DATASET.TITLE 'a.nb' .* holds '.n'"),
        (["DATASET.TITLE", "a|b"], UserError, r"DATASET.TITLE .* holds '\|'"),
        (["DATASET.TITLE", "x" * 10_000], UserError, "it has 10,000 characters"),
    ],
)
def test_errors_are_one_line_and_name_the_fault(zoo, flags, kind, words):
    base = ["--trainer", "ZooLinear", "--dataset", "ZooMain"]
    with pytest.raises(UserError) as caught:
        setup_cfg(asked([*zoo.common, *base, *flags]))
    assert isinstance(caught.value, kind)
    assert re.search(words, str(caught.value)) and "\n" not in str(caught.value)


@pytest.mark.parametrize("missing", ["trainer", "dataset"])
def test_a_missing_name_is_asked_for(zoo, missing):
    words = {"trainer": ["--trainer", "ZooLinear"], "dataset": ["--dataset", "ZooMain"]}
    del words[missing]
    argv = [*zoo.common, *next(iter(words.values()))]
    with pytest.raises(UserError, match=f"--{missing} NAME"):
        setup_cfg(asked(argv))


def test_a_wrong_key_in_a_yaml_names_the_file(zoo, tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("OPTIM: {LEARNING_RATE: 1}\n")
    with pytest.raises(UnknownNameError, match="LEARNING_RATE.*bad.yaml"):
        make(zoo, "--config-file", str(path))


def test_flags_after_overrides_are_refused():
    with pytest.raises(UserError, match="--seed stands after"):
        asked(["--trainer", "X", "OPTIM.LR", "1", "--seed", "2"])


def test_two_dashes_alone_are_refused_as_what_they_are():
    """Some versions of Python take them away."""
    with pytest.raises(UserError, match="^-- has no meaning here|--seed stands after"):
        asked(["--trainer", "X", "--", "--seed", "2"])


def test_abbreviated_flags_are_refused():
    with pytest.raises(UserError):
        asked(["--train", "X"])


def test_a_seed_below_zero_is_refused_and_upstreams_minus_one_is_not(zoo):
    with pytest.raises(UserError, match="--seed -5: seeds are whole numbers from 0"):
        setup_cfg(zoo.asked("ZooLinear", "1", "--seed", "-5"))
    assert setup_cfg(zoo.asked("ZooLinear", "1", "--seed", "-1")).SEED == 1


def test_a_backbone_that_is_no_section_is_named_not_a_traceback(zoo, tmp_path):
    file = tmp_path / "data.yaml"
    file.write_text("MODEL: {BACKBONE: RN50}\n")
    args = zoo.asked("ZooLinear", "1", "--dataset-config-file", str(file))
    with pytest.raises(UserError, match="BACKBONE"):
        setup_cfg(args)


def test_an_override_of_the_folder_is_followed_and_the_flag_wins(zoo, tmp_path):
    words = [*zoo.argv(), "OUTPUT_DIR", str(tmp_path / "mine")]
    assert setup_cfg(asked(words)).OUTPUT_DIR == str(tmp_path / "mine")
    flag = ["--output-dir", str(tmp_path / "flag")]
    assert setup_cfg(asked([*flag, *words])).OUTPUT_DIR == str(tmp_path / "flag")


@pytest.mark.parametrize(
    ("said", "wanted"),
    [("", ""), ("TEST: {INTERVALS: ''}", ""), ("TEST: {INTERVALS: few_patients}", "few_patients")],
)
def test_a_saved_run_keeps_its_intervals_and_a_new_one_has_those_for_few_patients(
    zoo, tmp_path, said, wanted
):
    assert make(zoo).TEST.INTERVALS == "few_patients"
    (tmp_path / "config.yaml").write_text(said)
    assert make(zoo, "--eval-only", "--model-dir", str(tmp_path)).TEST.INTERVALS == wanted
    with pytest.raises(UserError, match="TEST.INTERVALS is 'bca'; take few_patients, or bootstrap"):
        make(zoo, TEST__INTERVALS="bca")


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (["--shots", "4"], "NUM_SHOTS 4 .was 2"),
        (["--seed", "7"], "SEED 7"),
        (["DATASET.SPLIT_SEED", "5"], "DATASET.SPLIT_SEED 5"),
    ],
)
def test_an_evaluation_may_not_say_another_training(zoo, tmp_path, words, key):
    (tmp_path / "config.yaml").write_text(
        make(zoo, "--trainer", "ZooLinear", "--shots", "2").dump()
    )
    evaluate = ["--eval-only", "--model-dir", str(tmp_path)]
    assert make(zoo, *evaluate, "--shots", "2").DATASET.NUM_SHOTS == 2
    with pytest.raises(UserError, match=key):
        make(zoo, *evaluate, *words)
    with pytest.raises(UserError, match=r"OPTIM\.LR 0\.5"):
        make(zoo, *evaluate, OPTIM__LR="0.5")


@pytest.mark.parametrize(
    "key", ["DATASET__CLASS_MAP_FILE", "MODEL__INIT_WEIGHTS", "DATASET__DRAW_FILE"]
)
def test_a_name_that_no_file_can_have_is_one_line(zoo, key):
    """``Path.is_file`` raises of a name that is too long for the file system."""
    with pytest.raises(UserError):
        make(zoo, **{key: "x" * 5000})


def test_an_evaluation_may_be_of_another_folder_but_not_of_another_fold(zoo, tmp_path):
    folders = ["--dataset", "FolderDataset"]
    trained = make(zoo, *folders, "--shots", "2", DATASET__FOLDER="a", DATASET__FOLD="2/2")
    (tmp_path / "config.yaml").write_text(trained.dump())
    evaluate = [*folders, "--eval-only", "--model-dir", str(tmp_path)]
    assert make(zoo, *evaluate, DATASET__FOLDER="b").DATASET.FOLDER == "b"
    with pytest.raises(UserError, match=r"DATASET\.FOLD 1/2 .was "):
        make(zoo, *evaluate, DATASET__FOLD="1/2")


def test_a_tilde_is_the_home_folder_wherever_a_command_writes(zoo, monkeypatch, tmp_path):
    """``--output-dir=~/x`` made a folder called ``~`` in the working folder."""
    from pathlib import Path

    from cerviclip.app.predict_command import build_parser
    from cerviclip.runs.settings.flags import train_parser
    from cerviclip.runs.settings.plan import make_plan
    from cerviclip.runs.settings.requests import RunRequest, SweepRequest

    monkeypatch.setenv("HOME", str(tmp_path))
    home = str(tmp_path / "x")
    argv = zoo.argv("ZooLinear", "2", "--output-dir=~/x")
    assert train_parser().parse_args(argv).output_dir == home
    assert setup_cfg(zoo.asked("ZooLinear", "2", "--output-dir", "~/x")).OUTPUT_DIR == home
    assert setup_cfg(zoo.asked(OUTPUT_DIR="~/x")).OUTPUT_DIR == home
    found = build_parser("predict").parse_args(["RUN", "a.png", "--csv=~/x", "--pdf", "~/x"])
    assert found.csv == found.pdf == Path(home)
    zoo.sweep("trainers: [ZooLinear]\nshots: [1]\nseeds: [1]\n")
    request = SweepRequest(
        sweep=str(zoo.root / "zoo.yaml"), plugins=(str(PLUGIN),), output_dir="~/x"
    )
    assert str(make_plan(request).output_root) == home
    assert RunRequest(output_dir="~/x").output_dir == "~/x"  # as it was asked


@pytest.mark.parametrize("flags", [("--output-dir", "o" * 300), ("--variant", "o" * 300)])
def test_a_folder_whose_name_no_system_takes_is_refused_by_its_length(zoo, flags):

    with pytest.raises(UserError, match="a part of 300 bytes .* a shorter --output-dir"):
        setup_cfg(zoo.asked("ZooLinear", "2", *flags))


@pytest.mark.parametrize("text", ["Cervix OCT, Hospital A", "2024", "R&D (2 sites)"])
def test_a_title_is_read_as_it_is_typed(zoo, text):
    cfg = make(zoo, DATASET__TITLE=text)
    assert cfg.DATASET.TITLE == text and "ZooMain" in cfg.OUTPUT_DIR


def test_a_saved_runs_title_is_not_that_of_other_images(zoo, tmp_path):
    (tmp_path / "config.yaml").write_text(
        make(zoo, "--shots", "2", DATASET__TITLE="Hospital A").dump()
    )
    evaluate = ["--eval-only", "--model-dir", str(tmp_path)]

    def title(*words, **opts):
        return make(zoo, *evaluate, *words, **opts).DATASET.TITLE

    assert title() == "Hospital A"
    assert title(DATASET__FILE="other.csv") == title("--root", "elsewhere") == ""
    assert title(DATASET__FILE="other.csv", DATASET__TITLE="Hospital A") == "Hospital A"


@pytest.mark.slow
@pytest.mark.parametrize("trained", ["data", "data/", "./data/../data", "link", "absolute"])
@pytest.mark.parametrize("now", ["data", "data//", "link", "absolute", "home"])
def test_the_same_images_keep_the_title_however_their_folder_is_spelled(
    zoo, tmp_path, monkeypatch, trained, now
):
    (tmp_path / "data" / "mine").mkdir(parents=True)
    (tmp_path / "data" / "mine" / "list.csv").touch()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    spelled = {"absolute": str(tmp_path / "data"), "home": "~/data"}
    first = ["--shots", "2", "--root", spelled.get(trained, trained)]
    of_run = {
        "DATASET__FOLDER": "mine",
        "DATASET__FILE": "list.csv",
        "DATASET__TITLE": "Hospital A",
    }
    (tmp_path / "config.yaml").write_text(make(zoo, *first, **of_run).dump())
    evaluate = ["--eval-only", "--model-dir", ".", "--root", spelled.get(now, now)]
    assert make(zoo, *evaluate).DATASET.TITLE == "Hospital A"
    assert make(zoo, *evaluate, DATASET__FOLDER="mine/").DATASET.TITLE == "Hospital A"
    listed = str(tmp_path / "data" / "mine" / "list.csv")
    assert make(zoo, *evaluate, DATASET__FILE=listed).DATASET.TITLE == "Hospital A"
    assert make(zoo, *evaluate, DATASET__FOLDER="").DATASET.TITLE == ""
