"""A fold as users write it."""

import pytest

from cerviclip.runs.settings.fold import Fold, parse_fold
from dassl.errors import UserError


@pytest.mark.parametrize("text, fold", [("3/10", (3, 10)), ("1/2", (1, 2)), ("10/10", (10, 10))])
def test_a_fold_is_read_and_written_as_it_was(text, fold):
    assert parse_fold(text) == Fold(*fold) and str(parse_fold(text)) == text


def test_nothing_is_no_fold():
    assert parse_fold("") is None


@pytest.mark.parametrize(
    "text, words",
    [
        ("0/10", "such as 3/10"), ("03/10", "such as 3/10"), ("3", "such as 3/10"),
        ("3 of 10", "such as 3/10"), ("-1/10", "such as 3/10"), ("٣/10", "such as 3/10"),
        ("3/10\n", "such as 3/10"), ("1/1", "at least 2"), ("11/10", "1/10 to 10/10"),
    ],
)  # fmt: skip
def test_what_is_no_fold_is_refused_in_one_line(text, words):
    with pytest.raises(UserError, match=words) as caught:
        parse_fold(text)
    assert "DATASET.FOLD" in str(caught.value) and "\n" not in str(caught.value)
