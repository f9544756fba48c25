"""Shapes say yes to what is of them, and name the place of what is not."""

from __future__ import annotations

import pytest

from cerviclip.shapes import (
    Misshapen,
    count,
    either,
    flag,
    listed,
    mapping,
    maybe,
    metric,
    name,
    number,
    parse_json,
    plain_json,
    record,
    text,
    unless_empty,
    whole,
)

RUN = record({"seed": whole, "scores": mapping(metric(0, 100))}, {"tags": maybe(listed(text))})


@pytest.mark.parametrize(
    "shape, good, bad",
    [
        (text, ["", "a"], [None, 1, b"a", ["a"]]),
        (name, ["a b", "é"], ["", "a\nb", "\x1b[1m", 3]),
        (flag, [True, False], [0, 1, "true", None]),
        (count, [0, 2**62], [-1, 1.0, True, 2**63, "1"]),
        (whole, [-3, 0], [0.5, False, 10**40]),
        (number, [0, -1.5, 10**20], [float("nan"), float("inf"), True, 10**400, "1"]),
        (maybe(count), [None, 1], ["1"]),
        (either(count, text), [1, "full"], [None, 1.5]),
        (listed(count), [[], [1, 2]], [(1,), [1, "a"], {}]),
        (metric(0, 1), [{"value": 0.5}, {"value": None, "low": None}], [{"low": 1}, 0.5, None]),
        (metric(0, 1), [{"value": 1.0, "low": 0.2, "high": 1}], [{"value": 1.1}, {"value": "1"}]),
        (metric(), [{"value": -1e9}], [{"value": 1, "low": 3, "high": 2}]),
    ],
)
def test_what_is_of_a_shape_and_what_is_not(shape, good, bad):
    for value in good:
        shape(value, "here")
    for value in bad:
        with pytest.raises(Misshapen, match="here"):
            shape(value, "here")


def test_an_empty_mapping_may_stand_for_what_was_never_written():
    shape = unless_empty(record({"a": count}))
    shape({}, "")
    shape({"a": 1}, "")
    for wrong in ({"b": 1}, [], None):
        with pytest.raises(Misshapen):
            shape(wrong, "")


def test_the_place_is_named():
    RUN({"seed": 1, "scores": {"accuracy": {"value": 1}}, "more": object()}, "")
    for value, place in (
        ({"scores": {}}, "lacks the key seed"),
        ({"seed": 1, "scores": {"auc": {"value": 140}}}, r"scores\.auc\.value is 140"),
        ({"seed": 1, "scores": {}, "tags": ["a", 3]}, r"tags\[1\] is 3"),
        ([], "a mapping"),
    ):
        with pytest.raises(Misshapen, match=place):
            RUN(value, "")


def test_a_message_stays_short():
    for value in ("x" * 10_000, list(range(10_000)), 10**5000):
        with pytest.raises(Misshapen) as error:
            flag(value, "here")
        assert len(str(error.value)) < 200


def test_json_is_read_strictly():
    assert parse_json('{"a": [1, null, "x"]}') == {"a": [1, None, "x"]}
    assert parse_json('\ufeff{"a": 1}') == plain_json('\ufeff{"a": 1}'.encode()) == {"a": 1}
    for bad in (
        '{"a": ["\\u0000"]}',
        '{"\\ud800": 1}',
        '{"a": 1, "a": 2}',
        "NaN",
        '{"a": -Infinity}',
        "[" * 200_000,
        "{",
        "",
    ):
        with pytest.raises(ValueError) as error:
            parse_json(bad)
        assert "\n" not in str(error.value)


def test_a_text_that_no_file_could_hold_is_taken_in_logs_alone():
    assert parse_json(r'["\ud83d\ude00"]') == ["\U0001f600"]  # two halves of one character
    for odd in (r'["\ud83d"]', r'{"a\u0000b": 1}'):
        with pytest.raises(ValueError, match="zero byte or is not Unicode"):
            parse_json(odd)
        assert parse_json(odd, any_text=True)
