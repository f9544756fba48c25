"""Values that look like numbers although names are meant, lists of one, maps in one word."""

from __future__ import annotations

import pytest

from dassl.config import get_cfg_default, merge_file, merge_opts
from dassl.errors import UserError


@pytest.fixture
def from_file(tmp_path):
    def merge(text: str):
        path = tmp_path / "run.yaml"
        path.write_text(text)
        cfg = get_cfg_default()
        merge_file(cfg, path)
        return cfg

    return merge


def from_words(*words: str):
    cfg = get_cfg_default()
    merge_opts(cfg, words)
    return cfg


# -- files ---------------------------------------------------------------------------------------


def test_names_in_a_file_are_what_was_typed(from_file):
    data = from_file(
        "DATASET:\n  CLASSES: [0, 07, 1e3, 2021-01-01, x]\n  POSITIVE: [1]\n  TEMPLATES: [1]\n"
        "  CLASS_MAP: {0_normal: 0, 10: '0', '07': 08, left: ''}\n"
        "  EXTERNAL_FOLDERS: {2021: 007}\n  FOLDER: 2021\n  FILE: 1.10\n"
    ).DATASET
    assert data.CLASSES == ("0", "07", "1e3", "2021-01-01", "x")
    assert data.POSITIVE == ("1",) and data.TEMPLATES == ("1",)
    assert dict(data.CLASS_MAP) == {"0_normal": "0", "10": "0", "07": "08", "left": ""}
    assert dict(data.EXTERNAL_FOLDERS) == {"2021": "007"}
    assert (data.FOLDER, data.FILE) == ("2021", "1.10")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("CLASSES: [yes, no]", "DATASET.CLASSES .* has yes .*truth value; quote it"),
        ("CLASSES: [a, ~]", "DATASET.CLASSES .* has ~ .*nothing; quote it"),
        ("CLASSES: [[0, 1]]", "DATASET.CLASSES .*one name is meant"),
        ("CLASS_MAP: {a: no}", r"DATASET.CLASS_MAP.a .* has no .*quote it"),
        ("CLASS_MAP: {a: }", r"DATASET.CLASS_MAP.a .* has null .*quote it \(\"\" for none\)"),
        ("CLASS_MAP: {on: x}", "DATASET.CLASS_MAP .* has on .*quote it"),
        ("CLASS_MAP: {a: [b]}", r"DATASET.CLASS_MAP.a .*one name is meant"),
        ("CLASS_MAP: 3", "takes names"),
        ("EXTERNAL_FOLDERS: {on: x}", "EXTERNAL_FOLDERS .* has on .*quote it"),
        ("FOLDER: yes", "DATASET.FOLDER .*quote it"),
    ],
)
def test_what_yaml_takes_for_no_name_is_one_line(from_file, text, said):
    with pytest.raises(UserError, match=said) as caught:
        from_file(f"DATASET:\n  {text}\n")
    assert "run.yaml" in str(caught.value) and "\n" not in str(caught.value)


def test_where_text_is_wanted_quoting_is_the_way_out(from_file):
    said = r"TRAINER.NAME in .* is True \(bool\); it takes a str such as ''; quote it if a name is"
    with pytest.raises(UserError, match=said):
        from_file("TRAINER: {NAME: yes}\n")


def test_nothing_after_the_colon_is_nothing(from_file):
    data = from_file("DATASET:\n  FOLDER:\n  CLASSES:\n  CLASS_MAP:\n").DATASET
    assert (data.FOLDER, data.CLASSES, dict(data.CLASS_MAP)) == ("", (), {})


def test_a_word_is_a_list_of_one_in_a_file_too(from_file):
    cfg = from_file("DATASET: {POSITIVE: HSIL, TEMPLATES: 'OCT, of a {}.'}\n")
    assert cfg.DATASET.POSITIVE == ("HSIL",) and cfg.DATASET.TEMPLATES == ("OCT, of a {}.",)


def test_not_a_number_is_refused(from_file):
    with pytest.raises(UserError, match="OPTIM.LR .*nan"):
        from_file("OPTIM: {LR: .nan}\n")
    with pytest.raises(UserError, match="OPTIM.LR .* has nothing where a number"):
        from_file("OPTIM: {LR: }\n")


# -- the command line ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("HSIL", ("HSIL",)),
        ("'HSIL'", ("HSIL",)),
        ("('HSIL')", ("HSIL",)),
        ("('HSIL',)", ("HSIL",)),
        ("('HSIL', 'SCC')", ("HSIL", "SCC")),
        ("[HSIL]", ("HSIL",)),
        ("[HSIL, SCC]", ("HSIL", "SCC")),
        ("(HSIL,SCC)", ("HSIL", "SCC")),
        ("0", ("0",)),
        ("07", ("07",)),
        ("(0,1)", ("0", "1")),
        ("0,1", ("0", "1")),
        ("[07, 08]", ("07", "08")),
        ("('a', 0)", ("a", "0")),
        ("()", ()),
        ("[]", ()),
        ("", ()),
    ],
)
def test_lists_of_names(word, meant):
    assert from_words("DATASET.POSITIVE", word).DATASET.POSITIVE == meant
    assert from_words("TEST.EXTERNAL", word).TEST.EXTERNAL == meant


def test_several_names_without_brackets_are_shown_how_to_be_written():
    with pytest.raises(UserError, match=r"POSITIVE .*\('HSIL', 'SCC'\)"):
        from_words("DATASET.POSITIVE", "HSIL,SCC")


def test_a_list_whose_default_holds_text_takes_names_as_well():
    cfg = get_cfg_default()
    cfg.TRAINER.NAMED = ["q", "k"]
    merge_opts(cfg, ["TRAINER.NAMED", "v"])
    assert cfg.TRAINER.NAMED == ["v"]


def test_an_empty_list_of_numbers_shows_one_that_is_not():
    with pytest.raises(UserError, match=r"HIDDEN_LAYERS .*tuple such as \(512,\)"):
        from_words("MODEL.HEAD.HIDDEN_LAYERS", "512")
    assert from_words("MODEL.HEAD.HIDDEN_LAYERS", "(512,)").MODEL.HEAD.HIDDEN_LAYERS == (512,)


@pytest.mark.parametrize("word", ["1e2", "100", "100.0"])
def test_a_whole_number_may_be_written_with_an_exponent(word):
    value = from_words("OPTIM.MAX_EPOCH", word).OPTIM.MAX_EPOCH
    assert value == 100 and type(value) is int


def test_names_of_a_map_are_what_was_typed():
    key = "DATASET.CLASS_MAP"
    cfg = from_words(f"{key}.0_normal", "0", f"{key}.c.d", "e", f"{key}.x", "", f"{key}.n", "no")
    assert dict(cfg.DATASET.CLASS_MAP) == {"0_normal": "0", "c.d": "e", "x": "", "n": "no"}
    cfg = from_words("DATASET.EXTERNAL_FOLDERS.2021", "007")
    assert dict(cfg.DATASET.EXTERNAL_FOLDERS) == {"2021": "007"}


def test_a_map_in_one_word():
    cfg = from_words("DATASET.CLASS_MAP", "{a: b, 0: 1, 'c.d': \"e f\", left out: ''}")
    assert dict(cfg.DATASET.CLASS_MAP) == {"a": "b", "0": "1", "c.d": "e f", "left out": ""}
    cfg = from_words("DATASET.CLASS_MAP.z", "y", "DATASET.CLASS_MAP", "{'a': 'b'}")
    assert dict(cfg.DATASET.CLASS_MAP) == {"z": "y", "a": "b"}


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("{a:b}", "has null"),  # yaml reads one key, a:b
        ("{a: [b", "not valid yaml"),
        ("a", "takes names such as"),
        ("{a: b, a: c}", "'a' twice"),
    ],
)
def test_a_map_that_cannot_be_read_is_one_line(word, said):
    with pytest.raises(UserError, match=said) as caught:
        from_words("DATASET.CLASS_MAP", word)
    assert "DATASET.CLASS_MAP" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("text, read", [("010", 8), ("1:30", 90), ("-010", -8)])
def test_numbers_in_yamls_old_bases_are_refused(tmp_path, text, read):
    """``SEED: 010`` was seed 8."""
    cfg = get_cfg_default()
    (tmp_path / "a.yaml").write_text(f"SEED: {text}\n")
    with pytest.raises(UserError, match=f"SEED in .* is {text}, which yaml reads as {read}; write"):
        merge_file(cfg, tmp_path / "a.yaml")
    (tmp_path / "a.yaml").write_text("SEED: 10\nOPTIM: {LR: 0.01}\n")
    merge_file(cfg, tmp_path / "a.yaml")
    assert cfg.SEED == 10


def test_a_set_is_no_list_of_names(tmp_path):
    (tmp_path / "a.yaml").write_text("DATASET:\n  CLASSES: !!set {a, b}\n")
    with pytest.raises(UserError, match="CLASSES in .* where one name is meant"):
        merge_file(get_cfg_default(), tmp_path / "a.yaml")
