"""``tools/mutate.py``: its groups are files that are there, and its answers are of today's code."""

from __future__ import annotations

import re

import pytest
import yaml

from cerviclip.tools import mutate
from cerviclip.tools.mutate import (
    ANSWERS,
    GROUPS,
    REPO,
    WORDING,
    changed_lines,
    main,
    read_answers,
    table,
)
from dassl.errors import UserError

DIFF = """--- a.py
+++ a.py
@@ -1,3 +1,3 @@
 def f(x):
-    return (x,
-        1)
+    return (x,
+        2)
"""


@pytest.mark.parametrize("name", GROUPS)
def test_groups_are_of_files_that_are_there(name):
    for pattern in (*GROUPS[name].code, *GROUPS[name].tests):
        assert list(REPO.glob(pattern)), pattern


def test_every_answer_is_of_a_line_that_is_there():
    """Else it was given for code that has changed since, and may be wrong of what is there now."""
    for entry in yaml.safe_load(ANSWERS.read_text(encoding="utf-8")):
        assert len(entry["why"]) > 10 and ("module" in entry) != ("everywhere" in entry)
        if "module" not in entry:
            continue
        file = REPO / (entry["module"].replace(".", "/") + ".py")
        source = " ".join(file.read_text(encoding="utf-8").split())
        for was, now in entry["changes"]:
            assert " ".join(was.split()) in source, f"{file}: {was}"
            assert was != now


def test_what_a_mutant_changes():
    assert changed_lines(DIFF) == ("return (x, 1)", "return (x, 2)")


def test_an_answer_is_for_one_change_of_one_module_or_for_a_part_of_any_line(tmp_path):
    path = tmp_path / "answers.yaml"
    path.write_text(
        "- {module: a.b, why: as quick, changes: [[x = 1, x = 2]]}\n"
        "- {everywhere: ', strict=[A-Za-z]+', why: equal lengths}\n"
    )
    is_answered = read_answers(path)
    assert is_answered("a.b", "x = 1", "x = 2")
    assert not is_answered("a.b", "x = 1", "x = 3") and not is_answered("a.c", "x = 1", "x = 2")
    assert is_answered("z", "zip(a, b, strict=True)", "zip(a, b, strict=None)")
    assert not is_answered("z", "zip(a, b, strict=True)", "zip(b, strict=True)")


def test_a_group_that_is_none_and_a_tool_that_is_not_there(monkeypatch):
    with pytest.raises(UserError, match="no group split: config, optim"):
        main(["split"])
    with pytest.raises(UserError, match="--sample is -1; give a number from 0"):
        main(["splits", "--sample", "-1"])
    monkeypatch.setattr(mutate, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="mutmut is not installed: pip install"):
        main(["splits"])


def test_the_table_has_a_sum():
    counts = dict(zip(("mutants", "tried", "killed", "no test", "survived", "answered", "open"),
                      range(7, 0, -1), strict=True))  # fmt: skip
    lines = table({"a": counts, "b": counts}).splitlines()
    assert lines[1].split() == ["a", *"7654321"] and lines[3].split()[1:4] == ["14", "12", "10"]


def test_some_mutants_say_nothing_but_words():
    words = re.compile("|".join(WORDING))
    assert words.search('    raise ValueError(f"{x} is 3")') and words.search('        f"a {b} c"')
    assert not words.search("    if x < 3:") and not words.search('    return "a"')
