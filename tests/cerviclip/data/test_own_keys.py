"""Keys of a single data set."""

from __future__ import annotations

import pytest

from cerviclip.data.own_keys import add_keys, keys_of, one_of
from dassl.config import get_cfg_default
from dassl.errors import UserError

DEFAULTS = {"KIND": "crop", "SIZE": 28}


def test_keys_come_from_the_configuration_or_are_the_defaults():
    cfg = get_cfg_default()
    assert keys_of(cfg, "MINE", DEFAULTS).SIZE == 28
    add_keys(cfg, "MINE", DEFAULTS)
    cfg.merge_from_list(["DATASET.MINE.SIZE", 64])
    keys = keys_of(cfg, "MINE", DEFAULTS)
    assert (keys.KIND, keys.SIZE) == ("crop", 64) and DEFAULTS["SIZE"] == 28


def test_a_word_counts_in_any_case_and_another_is_refused():
    assert one_of("MINE.KIND", " Crop", ("crop", "full")) == "crop"
    with pytest.raises(
        UserError, match="DATASET.MINE.KIND is \"corp\"; it takes crop, full.*'crop'"
    ):
        one_of("MINE.KIND", "corp", ("crop", "full"))
