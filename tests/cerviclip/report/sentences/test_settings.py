"""Keys of config.yaml stand beside words in the draft; each key that it can show has some."""

from cerviclip import plugins
from cerviclip.report.sentences.method_settings import OF_ANY_METHOD, OF_ONE_METHOD
from cerviclip.report.sentences.settings import GENERAL, words_of
from cerviclip.runs.settings.config_hash import flatten
from cerviclip.runs.settings.configure import _extend
from dassl.config import get_cfg_default


def keys_of_methods():
    """``TIPADAPTER.ALPHA`` and so on of every trainer that is part of the software."""
    found = set()
    for name, entry in plugins.discover()["trainer"].items():
        if not entry.plugin:
            cfg = get_cfg_default()
            _extend(cfg, name, "PhantomOCT")
            section = cfg.TRAINER.get(name.upper()) or {}
            found |= {f"{name.upper()}.{key}" for key in flatten(section)}
    return found


def test_every_key_that_the_draft_can_show_has_words():
    keys = keys_of_methods()
    assert len(keys) > 250, "this test would prove nothing"
    assert {k for k in keys if "a setting of" in words_of(f"TRAINER.{k}")} == set()
    for key in GENERAL:
        section, name = key.split(".")
        assert name in get_cfg_default()[section], key
    assert "a setting of MYHEAD itself" in words_of("TRAINER.MYHEAD.DEPTH")


def test_no_words_are_kept_for_keys_that_are_gone():
    keys = keys_of_methods() | {"LINEARPROBE.C"}  # chosen on val; the key is C_DEFAULT
    assert set(OF_ONE_METHOD) <= keys
    assert set(OF_ANY_METHOD) <= {key.partition(".")[2] for key in keys}
