"""Templates: what is one, and a class's name in it."""

from __future__ import annotations

import pytest

from cerviclip.data.texts.templates import fill_template, wrong_in_template
from cerviclip.engine.task import Task
from cerviclip.vlm.prompts import class_texts
from dassl.errors import UserError


@pytest.mark.parametrize(
    "template, filled",
    [
        ("a photo of a {}.", "a photo of a HSIL."),
        ("a {} beside a {}", "a HSIL beside a HSIL"),  # was an IndexError behind the loading
        ("{{}} {}", "{} HSIL"),
    ],
)
def test_every_place_is_filled(template, filled):
    assert wrong_in_template(template) == ""
    assert fill_template(template, "HSIL") == filled
    assert class_texts(["HSIL"], [template]) == [[filled]]


@pytest.mark.parametrize(
    "template, why",
    [
        ("a cell", "has no {} for the class name"),
        ("a {name}", "has no {} for the class name"),
        ("a {} of {x}", "has {x}; {} alone stands"),
        ("a {} of {0:>9}", "has {0:>9}; {} alone stands"),
        ("a {} }", "has a brace that is not closed or opened"),
    ],
)
def test_what_is_no_template_is_told_before_anything_is_trained(template, why):
    assert why in wrong_in_template(template)
    text = Task("Any", ("a", "b"), templates=(template,)).to_json()
    with pytest.raises(UserError, match="the template"):
        Task.from_json(text)
