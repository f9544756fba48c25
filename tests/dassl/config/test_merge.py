"""Merging yaml files and overrides: what is accepted, and what each error says."""

from __future__ import annotations

import pytest
from yacs.config import CfgNode

from dassl.config import get_cfg_default, merge_file, merge_opts
from dassl.errors import MissingFileError, UnknownNameError, UserError


def write(tmp_path, text):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    return path


def test_yaml_values_take_the_type_of_their_default(tmp_path):
    cfg = get_cfg_default()
    merge_file(
        cfg,
        write(
            tmp_path,
            "INPUT:\n  SIZE: [96, 96]\n  TRANSFORMS: ['normalize']\n"
            "OPTIM:\n  LR: 1e-4\n  WEIGHT_DECAY: 0\n  STEPSIZE: [5, 8]\nDATASET:\n  FOLDER: 2021\n",
        ),
    )
    assert cfg.INPUT.SIZE == (96, 96)
    assert cfg.INPUT.TRANSFORMS == ("normalize",)
    assert cfg.OPTIM.LR == 1e-4
    assert cfg.OPTIM.WEIGHT_DECAY == 0.0 and isinstance(cfg.OPTIM.WEIGHT_DECAY, float)
    assert cfg.OPTIM.STEPSIZE == (5, 8)
    assert cfg.DATASET.FOLDER == "2021"


def test_opts_are_read_as_literals():
    cfg = get_cfg_default()
    opts = "OPTIM.LR 0.5 TEST.NO_TEST True DATASET.NAME 2021 INPUT.SIZE (32,48) OPTIM.GAMMA 1"
    merge_opts(cfg, opts.split())
    assert (cfg.OPTIM.LR, cfg.TEST.NO_TEST, cfg.DATASET.NAME) == (0.5, True, "2021")
    assert (cfg.INPUT.SIZE, cfg.OPTIM.GAMMA) == ((32, 48), 1.0)


def test_open_nodes_take_any_key(tmp_path):
    cfg = get_cfg_default()
    merge_file(cfg, write(tmp_path, "DATASET:\n  CLASS_MAP:\n    HSIL+: cancer\n"))
    merge_opts(cfg, ["DATASET.EXTERNAL_FOLDERS.north", "/data/north"])
    assert dict(cfg.DATASET.CLASS_MAP) == {"HSIL+": "cancer"}
    assert cfg.DATASET.EXTERNAL_FOLDERS.north == "/data/north"


def test_empty_file_and_empty_section_change_nothing(tmp_path):
    cfg = get_cfg_default()
    before = cfg.dump()
    merge_file(cfg, write(tmp_path, ""))
    merge_file(cfg, write(tmp_path, "OPTIM:\n"))
    merge_opts(cfg, [])
    assert cfg.dump() == before


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("OPTIM.MAX_EPOCHS", "OPTIM.MAX_EPOCH"),
        ("OPTIM.lr", "OPTIM.LR"),
        ("DATALOADER.BATCH_SIZE", "DATALOADER.TRAIN_X.BATCH_SIZE"),
        ("DATSET.NAME", "DATASET.NAME"),
        ("NUM_SHOTS", "DATASET.NUM_SHOTS"),
        ("MODEL.BACKBONE.NAM", "MODEL.BACKBONE.NAME"),
        ("DATALOADER.TRAIN_X.BATCHSIZE", "DATALOADER.TRAIN_X.BATCH_SIZE"),
        ("OPTM.LRR", "OPTIM.LR"),  # neither the section nor the key
        ("SEDD", "SEED"),
    ],
)
def test_typo_names_the_key_the_place_and_the_nearest_key(typed, meant):
    with pytest.raises(KeyError) as caught:
        merge_opts(get_cfg_default(), [typed, "1"])
    message = str(caught.value)
    assert typed in message and "the command line" in message
    assert f"did you mean {meant}?" in message
    assert "\n" not in message


def test_typo_in_a_file_names_the_file(tmp_path):
    path = write(tmp_path, "OPTIM:\n  MAX_EPOCHS: 5\n")
    with pytest.raises(UnknownNameError, match=r"OPTIM\.MAX_EPOCHS in .*run\.yaml.*MAX_EPOCH\?"):
        merge_file(get_cfg_default(), path)


def test_hopeless_key_lists_the_section():
    with pytest.raises(UnknownNameError, match="MODEL.HEAD has ACTIVATION, BN"):
        merge_opts(get_cfg_default(), ["MODEL.HEAD.QQQQ", "1"])


@pytest.mark.parametrize(
    ("key", "place"),
    [("ZZZZ.QQQQ", "the config"), ("QQQQQQQQ", "the config"), ("MODEL.ZZZZ.QQQQ", "MODEL")],
)
def test_a_hopeless_section_lists_what_holds_it(key, place):
    cfg = get_cfg_default()
    inner = sorted(cfg.MODEL if place == "MODEL" else cfg)
    with pytest.raises(UnknownNameError, match=f"command line; {place} has {', '.join(inner)}$"):
        merge_opts(cfg, [key, "1"])


def test_a_programs_values_are_taken_as_those_of_a_file():
    cfg = get_cfg_default()
    merge_opts(cfg, ["DATASET.CLASS_MAP", {1: "one", "b": 2}, "DATASET.CLASSES", ["a", 7]])
    assert dict(cfg.DATASET.CLASS_MAP) == {"1": "one", "b": "2"}
    assert cfg.DATASET.CLASSES == ("a", "7")
    with pytest.raises(UserError, match="DATASET.CLASSES .* has null where a name is meant"):
        merge_opts(cfg, ["DATASET.CLASSES", ["a", None]])


def test_a_new_key_of_an_open_section_may_hold_a_section(tmp_path):
    cfg = CfgNode({"ANY": None})
    cfg.OPEN = CfgNode(new_allowed=True)
    merge_file(cfg, write(tmp_path, "OPEN: {inner: {a: 1, b: [x]}, plain: 3}\n"))
    assert isinstance(cfg.OPEN.inner, CfgNode) and cfg.OPEN.plain == 3
    assert dict(cfg.OPEN.inner) == {"a": 1, "b": ["x"]}
    for text in ("OPEN: {x: {y: {z: 2021-01-01}}}", "OPEN: {x: [[2021-01-01]]}", "ANY: 2021-01-01"):
        with pytest.raises(
            UserError, match=r"key (OPEN\.x|ANY) in .*holds .*\(date\), which is no"
        ):
            merge_file(cfg, write(tmp_path, text))
    for word in ("{1, 2}", "{1: 2}", "b'x'"):
        with pytest.raises(UserError, match="config key ANY in the command line holds"):
            merge_opts(cfg, ["ANY", word])


@pytest.mark.parametrize(
    ("opts", "said"),
    [
        (["INPUT.SIZE", "5"], "it takes a tuple such as (224, 224)"),
        (["DATASET.NAME", "a\0b"], "DATASET.NAME in the command line is 'a\\x00b', which holds a"),
        (["DATASET.NAME", "a\ud800"], "or is not Unicode; rename what it names"),
        (["DATASET.NAME", "a\udfff"], "or is not Unicode; rename what it names"),
        (["OPTIM.MAX_EPOCH", "many"], "OPTIM.MAX_EPOCH in the command line is 'many'"),
        (["OPTIM.MAX_EPOCH", "1.5"], "it takes a int such as 10"),
        (["TEST.NO_TEST", "perhaps"], "bool"),
        (["OPTIM", "3"], "section"),
        (["OPTIM.LR"], "no partner"),
    ],
)
def test_wrong_values_are_one_line_user_errors(opts, said):
    with pytest.raises(UserError) as caught:
        merge_opts(get_cfg_default(), opts)
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"), [("OPTIM: [1", "not valid yaml"), ("- a\n", "sections"), ("OPTIM: 3", "keys")]
)
def test_wrong_files_are_one_line_user_errors(tmp_path, text, said):
    with pytest.raises(UserError) as caught:
        merge_file(get_cfg_default(), write(tmp_path, text))
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_absent_file(tmp_path):
    with pytest.raises(MissingFileError, match="no.yaml does not exist"):
        merge_file(get_cfg_default(), tmp_path / "no.yaml")


def test_frozen_cfg_is_not_changed():
    cfg = get_cfg_default()
    cfg.freeze()
    with pytest.raises(UserError, match="frozen"):
        merge_opts(cfg, ["SEED", "1"])
    assert cfg.SEED == -1


def test_a_second_value_of_a_flag_is_the_word_that_has_no_partner():
    """``--shots 1 2 DATASET.FOLDER cells`` named the last word."""
    with pytest.raises(UserError, match="'2' has no partner"):
        merge_opts(get_cfg_default(), ["2", "DATASET.FOLDER", "cells"])
    with pytest.raises(UserError, match="'OPTIM.LR' has no partner"):
        merge_opts(get_cfg_default(), ["DATASET.FOLDER", "2", "OPTIM.LR"])
