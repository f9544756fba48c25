"""Strict yaml: what is refused and in which words, typed text, and files that build on others."""

from __future__ import annotations

import pytest

from dassl.config import get_cfg_default, layers_of, merge_file, merged_tree, read_yaml
from dassl.config.yaml_file import YamlFile, parse_typed, read_typed
from dassl.errors import MissingFileError, UnknownNameError, UserError


@pytest.fixture
def write(tmp_path):
    def make(name: str, text: str | bytes):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return make


# -- one file ------------------------------------------------------------------------------------


def test_a_mapping_an_empty_file_and_a_byte_order_mark(write):
    assert read_yaml(write("a.yaml", "A: {B: [1, x]}\n")) == {"A": {"B": [1, "x"]}}
    assert read_yaml(write("b.yaml", "# nothing\n")) == {}
    assert read_yaml(write("c.yaml", b"\xef\xbb\xbfA: 1\n")) == {"A": 1}
    assert read_yaml(write("d.json", '{"A": {"B": "x"}}')) == {"A": {"B": "x"}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("A: [1", "not valid yaml"),
        ("- a\n", "must hold keys"),
        ("just words\n", "must hold keys"),
        (b"A: \xc4\xd6\n", "not UTF-8 text \\(byte 4\\)"),
        ("A: 1".encode("utf-16"), "not UTF-8"),
        ("A: 2021-13-01\n", "not valid yaml.*month"),
        ("A: !!python/object:os.system x\n", "not valid yaml"),
        ("A: 1\nB: 2\nA: 3\n", "key 'A' twice, in lines 1 and 3"),
        ("A:\n  B: 1\n  B: 2\n", "key 'B' twice, in lines 2 and 3"),
        ("A: [{B: 1, B: 2}]\n", "key 'B' twice, in line 1"),
        ("1: a\n'1': b\n", "key '1' twice"),  # one name
        ("yes: a\ntrue: b\n", "key 'true' twice"),  # one value
        ("[" * 5000, "not valid yaml|100 levels"),
    ],
)
def test_what_is_refused_in_one_line_that_names_the_file(write, text, said):
    path = write("bad.yaml", text)
    with pytest.raises(UserError, match=said) as caught:
        read_yaml(path)
    assert "bad.yaml" in str(caught.value) and "\n" not in str(caught.value)


def test_an_absent_file(tmp_path):
    with pytest.raises(MissingFileError, match="^sweep .*no.yaml does not exist"):
        read_yaml(tmp_path / "no.yaml", "sweep")
    for what, words in (("config file", ()), ("sweep", ("sweep",))):
        with pytest.raises(MissingFileError, match=f"^{what} .*no.yaml does not exist"):
            layers_of(tmp_path / "no.yaml", *words)


def test_an_anchor_that_is_merged_may_be_overridden(write):
    text = "common: &common {A: 1, B: 2}\none: {<<: *common, B: 3}\ntwo: *common\n"
    tree = read_yaml(write("a.yaml", text))
    assert tree["one"] == {"A": 1, "B": 3} and tree["two"] == {"A": 1, "B": 2}


def test_every_scalar_is_kept_as_it_was_typed(write):
    file = read_typed(write("a.yaml", "07: [1e3, no, '0', 2021-01-01, ~, ]\non: {x: 0x10}\n"))
    assert file.typed == {"07": ["1e3", "no", "0", "2021-01-01", "~"], "on": {"x": "0x10"}}
    assert list(file.tree) == [7, True]


# -- files that build on others ------------------------------------------------------------------


def test_a_file_overrides_its_bases_and_a_later_base_an_earlier_one(write):
    write("base/a.yaml", "OPTIM: {LR: 1.0, GAMMA: 0.1, MOMENTUM: 0.1}\nSEED: 1\n")
    write("base/b.yaml", "_BASE_: a.yaml\nOPTIM: {GAMMA: 0.2, MOMENTUM: 0.2}\n")
    write("base/c.yaml", "INPUT: {SIZE: [8, 8]}\nSEED: 3\n")
    path = write("t/x.yaml", "_BASE_: [../base/b.yaml, ../base/c.yaml]\nOPTIM: {MOMENTUM: 0.3}\n")
    cfg = get_cfg_default()
    merge_file(cfg, path)
    optim = cfg.OPTIM
    assert (optim.LR, optim.GAMMA, optim.MOMENTUM, cfg.SEED) == (1.0, 0.2, 0.3, 3)
    assert cfg.INPUT.SIZE == (8, 8) and "_BASE_" not in cfg
    assert [layer.path.stem for layer in layers_of(path)] == ["a", "b", "c", "x"]
    tree = merged_tree(path)
    assert tree["OPTIM"] == {"LR": 1.0, "GAMMA": 0.2, "MOMENTUM": 0.3} and tree["SEED"] == 3


def test_a_base_of_two_bases_counts_once_so_that_neither_loses_to_it(write):
    write("common.yaml", "SEED: 1\n")
    write("one.yaml", "_BASE_: common.yaml\nSEED: 2\n")
    write("two.yaml", "_BASE_: common.yaml\nVERBOSE: False\n")
    path = write("x.yaml", "_BASE_: [one.yaml, two.yaml]\n")
    cfg = get_cfg_default()
    merge_file(cfg, path)
    assert cfg.SEED == 2 and cfg.VERBOSE is False


def test_an_empty_section_and_an_empty_file_say_nothing(write):
    write("a.yaml", "OPTIM: {LR: 1.0}\n")
    path = write("x.yaml", "_BASE_: a.yaml\nOPTIM:\n")
    assert merged_tree(path) == {"OPTIM": {"LR": 1.0}}
    assert merged_tree(write("y.yaml", "_BASE_: x.yaml\n")) == {"OPTIM": {"LR": 1.0}}
    empty = write("empty.yaml", "")
    assert layers_of(empty) == [YamlFile(empty, {}, {})]


def test_reading_leaves_no_trace_in_the_next_reading(write):
    write("a.yaml", "A: {B: {C: 1}}\n")
    path = write("x.yaml", "_BASE_: a.yaml\nA: {B: {D: 2}}\n")
    assert merged_tree(path) == merged_tree(path) == {"A": {"B": {"C": 1, "D": 2}}}


def test_a_circle_names_both_files(write):
    write("a.yaml", "_BASE_: b.yaml\n")
    path = write("b.yaml", "_BASE_: a.yaml\n")
    with pytest.raises(UserError, match=r"a\.yaml has .*b\.yaml as _BASE_.*builds on it") as caught:
        merge_file(get_cfg_default(), path)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"self\.yaml has .*self\.yaml as _BASE_"):
        layers_of(write("self.yaml", "_BASE_: ./self.yaml\n"))


def test_a_missing_base_names_both_files(write):
    path = write("t/x.yaml", "_BASE_: ../gone.yaml\n")
    with pytest.raises(MissingFileError, match=r"gone\.yaml of config file .*x\.yaml.*own folder"):
        merge_file(get_cfg_default(), path)


@pytest.mark.parametrize("value", ["3", "{a: b}", "[a.yaml, 3]", "''", "~"])
def test_a_base_that_is_no_file_name_is_refused(write, value):
    write("a.yaml", "")
    with pytest.raises(UserError, match=r"_BASE_ in config file .*x\.yaml"):
        layers_of(write("x.yaml", f"_BASE_: {value}\n"))


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("OPTIM: {LRR: 1}\n", UnknownNameError, r"OPTIM\.LRR in .*base\.yaml"),
        ("OPTIM: {LR: fast}\n", UserError, r"OPTIM\.LR in .*base\.yaml is 'fast'"),
        ("OPTIM: {LR: 1, LR: 2}\n", UserError, r"base\.yaml has the key 'LR' twice"),
        ("OPTIM: {_BASE_: x.yaml}\n", UnknownNameError, r"OPTIM\._BASE_ in .*base\.yaml"),
    ],
)
def test_what_is_wrong_in_a_base_is_named_with_the_base(write, text, kind, said):
    write("base.yaml", text)
    with pytest.raises(kind, match=said):
        merge_file(get_cfg_default(), write("x.yaml", "_BASE_: base.yaml\nOPTIM: {LR: 1.0}\n"))


def test_yacs_own_merging_is_what_it_was(write):
    cfg = get_cfg_default()
    cfg.merge_from_file(str(write("a.yaml", "OPTIM: {LR: 1.0}\n")))
    assert cfg.OPTIM.LR == 1.0


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n"
    for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "repeats more than 100,000 values by aliases"),
        ("a: &a [1, *a]\n", "alias within its own anchor, in line 1"),
        ("a: &a {b: [*a]}\n", "alias within its own anchor"),
        ("a: !!int ''\n", "not of the type that its tag"),
        ("a: !!bool maybe\n", "not of the type that its tag"),
        ("a: !!timestamp soon\n", "not of the type that its tag"),
        ("x: &x {1: a}\ny:\n  <<: *x\n  0x1: b\n", "twice in other words"),
        ("a: " + "[" * 5000, "not valid yaml|100 levels"),
    ],
)
def test_what_yaml_can_hold_and_settings_cannot_is_one_line(write, text, said):
    with pytest.raises(UserError, match=said) as caught:
        layers_of(write("x.yaml", text))
    assert "\n" not in str(caught.value)


def test_an_alias_is_its_anchors_value(write):
    (file,) = layers_of(write("x.yaml", "a: &a [1, 2]\nb: *a\nc: [*a, *a]\n"))
    assert file.tree == {"a": [1, 2], "b": [1, 2], "c": [[1, 2], [1, 2]]}


@pytest.mark.parametrize("form", ["{a: ", "["])
def test_nesting_without_end_is_one_line(tmp_path, form):
    """Copying it was a RecursionError, with its traceback."""
    for levels, fits in ((90, True), (101, False), (900, False)):
        close = "}" if form.startswith("{") else "]"
        path = tmp_path / "deep.yaml"
        path.write_text("x: 1\nA: " + form * levels + "1" + close * levels)
        if fits:
            assert read_yaml(path)["x"] == 1
        else:
            with pytest.raises(UserError, match="nested in more than 100 levels"):
                read_yaml(path)


def test_where_nesting_is_too_deep_is_told():
    """An alias is as deep as its anchor."""
    lines = "x: 1\ny:\n  z: "
    parse_typed(lines + "[" * 98 + "]" * 98, "deep.yaml")
    with pytest.raises(UserError, match="^deep.yaml is nested in more than 100 levels, in line 3;"):
        parse_typed(lines + "[" * 99 + "]" * 99, "deep.yaml")
    chain = [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 120)]
    parse_typed("\n".join(["a0: &a0 x", *chain[:90]]), "deep.yaml")
    with pytest.raises(UserError, match="^deep.yaml is nested in more than 100 levels"):
        parse_typed("\n".join(["a0: &a0 x", *chain]), "deep.yaml")


@pytest.mark.parametrize("text", ["[" * 200_000, "- " * 200_000, "a: {" * 200_000, "? " * 200_000])
def test_nesting_without_end_is_refused_before_it_is_built(text):
    with pytest.raises(UserError, match="more than 100 levels, in line 1|nesting depth"):
        parse_typed(text, "deep.yaml")
