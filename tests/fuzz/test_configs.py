"""Config files and KEY VALUE overrides: a run that is described wholly, or one line."""

from __future__ import annotations

import json

import pytest
import yaml
from fuzz.bounds import call, examples, refused_or
from fuzz.mutations import ANY_WORD, WORDS, yaml_texts
from hypothesis import given
from hypothesis import strategies as st
from run_fixtures import asked

from cerviclip.runs.settings.config_hash import config_hash, flatten
from cerviclip.runs.settings.configure import setup_cfg
from dassl.config import get_cfg_default, merge_file

KEYS = sorted(flatten(get_cfg_default()))


def document() -> dict:
    """A config file that says everything."""
    tree = yaml.safe_load(get_cfg_default().dump())
    tree["TRAINER"] = {"NAME": "ZooLinear", "ZOOLINEAR": {"DEPTH": 1}}
    tree["DATASET"]["NAME"] = "ZooMain"
    return tree


def sound(cfg) -> None:
    """What must hold of every configuration that was not refused."""
    text = cfg.dump()
    assert yaml.safe_load(text)["SEED"] == cfg.SEED and len(config_hash(cfg)) == 64
    text.encode()
    json.dumps(flatten(cfg), allow_nan=False)
    assert cfg.TEST.SPLIT in ("test", "val") and cfg.DATALOADER.TRAIN_X.BATCH_SIZE >= 1


def test_a_config_file_gives_a_whole_configuration_or_a_line(size, zoo, tmp_path):
    path = tmp_path / "odd.yaml"
    argv = zoo.argv("ZooLinear", "2", "--config-file", str(path))

    @examples(size, 60, 250)
    @given(yaml_texts(document()))
    def check(content):
        path.write_bytes(content)
        cfg = refused_or(lambda: setup_cfg(asked(argv)))
        if cfg is not None:
            sound(cfg)

    check()


def test_a_config_file_alone_merges_or_says_why(size, tmp_path):
    """Without the ranges of our own runs, as a foreign repository merges its yaml."""
    path = tmp_path / "odd.yaml"

    @examples(size, 60, 250)
    @given(yaml_texts(document()))
    def check(content):
        path.write_bytes(content)
        cfg = get_cfg_default()
        cfg.TRAINER.set_new_allowed(True)
        if refused_or(lambda: merge_file(cfg, path) or True):
            cfg.dump()

    check()


def test_overrides_give_a_whole_configuration_or_a_line(size, zoo):
    argv = zoo.argv("ZooLinear", "2")
    words = st.lists(st.tuples(st.sampled_from(KEYS), ANY_WORD), min_size=1, max_size=2)

    @examples(size, 80, 400)
    @given(words)
    def check(pairs):
        flat = [word for pair in pairs for word in pair]
        cfg = refused_or(lambda: setup_cfg(asked([*argv, *flat])))
        if cfg is not None:
            sound(cfg)

    check()


def test_every_key_takes_each_odd_word_or_refuses_it(size, zoo):
    """One after the other, as what draws do not come to is found by users."""
    argv = zoo.argv("ZooLinear", "2", "--dataset", "FolderDataset")
    usual = flatten(get_cfg_default())
    texts = [key for key in KEYS if not isinstance(usual[key], (bool, int, float))]
    for key in [*get_cfg_default(), *texts]:
        for word in ("x" * 5000, "[1, 2]", "None") if size == "few" else WORDS:
            if word not in ("/", "//", "/proc/self/mem"):  # the whole disk, and a broken one
                cfg = refused_or(lambda: setup_cfg(asked([*argv, key, word])))  # noqa: B023
                if cfg is not None:
                    sound(cfg)


@pytest.mark.parametrize(
    "key", ["OPTIM", "DATASET", "INPUT", "DATALOADER", "TEST", "TRAIN", "MODEL"]
)
def test_a_run_with_an_odd_override_is_built_or_refused(size, zoo, key):
    """To the end of the building of data and model, with every key of the engine."""
    argv = zoo.argv("ZooLinear", "2", "--output-dir", str(zoo.out / "run"), "--no-train")
    keys = [name for name in KEYS if name.startswith(f"{key}.")]

    @examples(size, 3, 20)
    @given(st.sampled_from(keys), st.one_of(st.sampled_from(WORDS), st.integers().map(str)))
    def check(name, word):
        assert call(["train", *argv, name, word]).status in (0, 2)

    check()
