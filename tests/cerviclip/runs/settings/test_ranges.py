"""The engine's keys: their defaults are in range, and a slip is named with what the key takes."""

from __future__ import annotations

import pytest

from cerviclip.runs.settings.config_hash import flatten
from cerviclip.runs.settings.ranges import (
    LISTS,
    NUMBERS,
    WHOLE_NUMBERS,
    WORDS,
    check_filled,
    check_ranges,
)
from dassl.config import get_cfg_default
from dassl.errors import UserError


def test_every_named_key_is_a_key_and_its_default_passes():
    cfg = get_cfg_default()
    assert {*NUMBERS, *WORDS, *LISTS, *WHOLE_NUMBERS} <= flatten(cfg).keys()
    check_filled(cfg)
    check_ranges(cfg)


@pytest.mark.parametrize(
    "key, value, told",
    [
        ("SEED", 2**32, "SEED is 4294967296; it takes -1 to 4294967295"),
        ("DATALOADER.TRAIN_X.BATCH_SIZE", 0, "1 or more"),
        ("MODEL.HEAD.DROPOUT", 1.5, "0 to 1"),
        ("TEST.SPLIT", "validation", "test or val"),
        ("TEST.FINAL_MODEL", "best", "did you mean 'best_val'"),
        ("DATALOADER.TEST.SAMPLER", "RandomClassSampler", "SequentialSampler or RandomSampler"),
        ("INPUT.SIZE", (224,), "2 numbers"),
        ("INPUT.PIXEL_STD", [0.0, 1.0, 1.0], "3 numbers"),
        ("INPUT.PIXEL_MEAN", ["a", "b", "c"], "3 numbers"),
        ("INPUT.PIXEL_MEAN", [123.7, 116.3, 103.5], "each -10 to 10"),
        ("OPTIM.STEPSIZE", (1.5,), "whole numbers"),
    ],
)
def test_what_a_key_cannot_mean(key, value, told):
    cfg = get_cfg_default()
    node = cfg
    for part in key.split(".")[:-1]:
        node = node[part]
    node[key.rpartition(".")[2]] = value
    with pytest.raises(UserError, match=told):
        check_ranges(cfg)


def test_a_key_left_empty():
    cfg = get_cfg_default()
    cfg.OPTIM.LR = None
    with pytest.raises(UserError, match=r"OPTIM\.LR is null"):
        check_filled(cfg)
