"""Hypothesis strategies that take a valid document and make a bad one of it.

A document that is random throughout is refused in its first line. One that is valid but for a place
or two comes as far as the code that trusts it.
"""

from __future__ import annotations

import copy
import datetime
import json
from collections.abc import Iterator
from typing import Any

import yaml
from hypothesis import strategies as st

Place = tuple[Any, ...]

#: Values of a wrong type, size or kind that a file can hold.
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 7, 10**9, 2**31, 2**63, -(2**63), 10**40, 0.5, -0.5, 1.5),
    *(140, 140.0, -3.0, 1e-300, 1e300, "", " ", "0", "1", "-1", "1e-3", "nan", "no", "07", "None"),
    *("true", "x" * 5000, "é", "e\u0301", "\u202e", "日本", "a/b", "..", "../..", "/", "~", "a b"),
    *("a\tb", "a\nb", "\x1b[31m", "%s", "{}", "{0}", "[", "(1, 2", "('a',)", "a,b", "9" * 5000),
    *([], [1], ["a"], [None], [[]], {}, {"a": 1}, {"value": 1}, [1, "a", None], [0.5] * 4),
)
NOT_JSON = (float("nan"), float("inf"), -float("inf"))  # json.loads reads them nevertheless
ONLY_YAML = (datetime.date(2021, 1, 1), {1: "a"}, {None: 1}, float("nan"), float("inf"))
_ONLY_PYTHON = ("a\0b", "\ud800")


def places(document: Any, path: Place = ()) -> Iterator[Place]:
    """The path of every value in a document, inner ones last."""
    yield path
    if isinstance(document, dict):
        for key, value in document.items():
            yield from places(value, (*path, key))
    elif isinstance(document, list):
        for i, value in enumerate(document[:4]):  # the rows of a list are alike
            yield from places(value, (*path, i))


def changed(document: Any, path: Place, how: str, value: Any) -> Any:
    """A copy of a document with one place of it changed."""
    if not path:
        return value if how == "set" else document
    new = copy.deepcopy(document)
    inner = new
    for key in path[:-1]:
        inner = inner[key]
    last = path[-1]
    old = inner[last]
    if how == "set":
        inner[last] = value
    elif how == "drop":
        del inner[last]
    elif how == "wrap":
        inner[last] = [old]
    elif how == "text":
        inner[last] = str(old)
    elif how == "scale" and isinstance(old, (int, float)):
        inner[last] = old * 3 + 1
    elif how == "twice" and isinstance(old, list) and old:
        inner[last] = [*old, old[0]]
    elif how == "fewer" and isinstance(old, list):
        inner[last] = old[:-1]
    elif how == "other" and isinstance(inner, dict):
        inner[f"{last}x"] = inner.pop(last)
    return new


_HOWS = ("set", "set", "set", "drop", "wrap", "text", "scale", "twice", "fewer", "other")


def mutated(document: Any, *more: Any) -> st.SearchStrategy[Any]:
    """The document with one to three places changed.

    Args:
        document: valid.
        more: odd values beside the usual ones.
    """
    values = st.sampled_from((*ODD_VALUES, *more))
    change = st.tuples(st.integers(0, 2**20), st.sampled_from(_HOWS), values)

    def apply(changes: list[tuple[int, str, Any]]) -> Any:
        new = document
        for place, how, value in changes:
            paths = list(places(new))
            new = changed(new, paths[place % len(paths)], how, value)
        return new

    return st.lists(change, min_size=1, max_size=3).map(apply)


def json_texts(document: Any) -> st.SearchStrategy[bytes]:
    """Bytes of a JSON file: mutated, with what JSON has not, or broken as text."""
    dumped = mutated(document, *NOT_JSON, "\ud800", "a\0b").map(
        lambda value: json.dumps(value).encode()
    )
    whole = json.dumps(document).encode()
    return st.one_of(dumped, dumped, dumped, broken(whole), st.sampled_from(_json_oddities(whole)))


def _json_oddities(whole: bytes) -> list[bytes]:
    return [
        *(b"", b"null", b"[]", b"{}", b"0", b'"a"', b"[" * 100_000, b'{"a":' * 3000, b"\xff\xfe"),
        *(b"\xef\xbb\xbf" + whole, whole.decode().encode("utf-16"), whole[:-1] + b',"status":1}'),
        *(whole + whole, b"<!doctype html>", b"\x00" * 100, b'{"a": NaN}', b"version https://git"),
    ]


def broken(content: bytes) -> st.SearchStrategy[bytes]:
    """Bytes that were cut, flipped, doubled or overwritten somewhere."""
    length = len(content)

    def apply(edits: list[tuple[str, float, bytes]]) -> bytes:
        new = bytearray(content)
        for how, share, value in edits:
            at = int(share * max(0, len(new) - 1))
            if how == "cut":
                del new[at:]
            elif how == "flip" and new:
                new[at] ^= value[0] | 1
            elif how == "insert":
                new[at:at] = value
            elif how == "write":
                new[at : at + len(value)] = value
            elif how == "drop":
                del new[at : at + len(value)]
        return bytes(new[: 4 * length + 64])

    share = st.floats(0, 1, allow_nan=False)
    edit = st.tuples(
        st.sampled_from(("flip", "flip", "write", "write", "insert", "drop", "cut")),
        st.one_of(share, share.map(lambda x: x * 0.05), st.sampled_from((0.0, 0.5, 1.0))),
        st.one_of(
            st.binary(min_size=1, max_size=8),
            st.sampled_from(
                (b"\x00" * 4, b"\xff" * 4, b"\xff" * 8, b"\x7f\xff\xff\xff", b'"', b",")
            ),
        ),
    )
    return st.lists(edit, min_size=1, max_size=4).map(apply)


def yaml_texts(document: Any) -> st.SearchStrategy[bytes]:
    """Bytes of a yaml file, likewise."""
    dumped = mutated(document, *ONLY_YAML).map(
        lambda value: yaml.safe_dump(value, allow_unicode=True).encode()
    )
    whole = yaml.safe_dump(document, allow_unicode=True).encode()
    return st.one_of(dumped, dumped, dumped, broken(whole), st.sampled_from(yaml_oddities(whole)))


def yaml_oddities(whole: bytes) -> list[bytes]:
    """What yaml has and JSON has not: tags, anchors, merges, several documents."""
    levels = "bcdefghijk"
    bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]\n"
        for a, b in zip("a" + levels, levels, strict=False)
    )
    texts = [
        *(
            "",
            "null",
            "[]",
            "{}",
            "0",
            "a",
            "- a",
            "a: [",
            "a: !!int ''",
            "a: !!bool x",
            "[" * 5000,
        ),
        *(
            "a: !!timestamp x",
            "a: !!python/object/apply:os.system [ls]",
            "a: &a [*a]",
            "a: &a {b: *a}",
        ),
        *(
            "x: &x {1: a}\nDATASET:\n  CLASS_MAP:\n    <<: *x\n    0x1: b",
            "<<: 3",
            "? [a]\n: b",
            "a: *b",
        ),
        *(
            "a: 1\n---\nb: 2",
            "OPTIM: &o\n  LR: 0.1\nTRAIN: *o",
            "1: 2",
            "null: 1",
            "yes: no",
            "a: 2021-13-01",
        ),
        *(
            "\t",
            "a: \x00",
            "a: !!set {x, y}",
            "a: !!binary AAAA",
            "_BASE_: .",
            "_BASE_: [1]",
            "_BASE_: ''",
        ),
        *(
            "INPUT: {SIZE: [224, 224], SIZE: [32, 32]}",
            "a: 1:30:00",
            "=: 3",
            "- - - - a",
            "%YAML 9.9\n---\na: 1",
        ),
        bomb,
        "DATASET:\n  CLASS_MAP: &m {a: b}\n  EXTERNAL_FOLDERS: *m\n",
        "opts: &o {OPTIM.LR: 1}\ntrainers: [{trainer: ZooLinear, opts: *o}]\n",
    ]
    return [
        *(text.encode() for text in texts),
        whole.decode().encode("utf-16"),
        b"\xff\xfe",
        whole * 2,
    ]


#: Words that a person may type where a number, a name or a path is meant.
WORDS = (
    *("", " ", "0", "-1", "1", "2", "99999999999999999999", "9" * 5000, "1.5", "1e3", "nan", "inf"),
    *(
        "full",
        "None",
        "none",
        "True",
        "off",
        "x",
        "é",
        "日本",
        "\u202e",
        "..",
        "../../x",
        "/",
        "//",
    ),
    *(
        ".",
        "~",
        "a/b",
        "a b",
        "-",
        "--",
        "-x",
        "--x=1",
        "%s",
        "{}",
        "('a',)",
        "[1, 2]",
        "(",
        "{[1]: 2}",
    ),
    *(
        "'",
        '"',
        "\\",
        "a:b",
        "a=b",
        "@x",
        "*",
        "x" * 300,
        "/dev/null",
        "/proc/self/mem",
        "~no-such-user/x",
        "\x1b[31m",
    ),
    *("1_000", "0x10", "٣", "²", "+1", "1,2", "3/10", "3/10@2", "10/3", "0/0", "A\nB"),
)
ANY_WORD = st.one_of(st.sampled_from(WORDS), st.text(max_size=12).filter(lambda w: "\0" not in w))
