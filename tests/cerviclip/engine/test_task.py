"""Task: from any data set, to a file and back; what is no task is one line."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from cerviclip.engine.task import Task, check_same_classes
from cerviclip.engine.without_images import ManagerWithoutImages
from dassl.config import get_cfg_default
from dassl.data.datasets import DatasetBase
from dassl.errors import UserError

FULL = Task(
    dataset="Cells",
    classnames=("nilm", "hsil", "鳞癌"),
    templates=("a smear of {}.", "{} cells"),
    descriptions={"long": {"nilm": ("normal",), "hsil": ("dark", "large"), "鳞癌": ("cancer",)}},
    positive=("hsil", "鳞癌"),
    all_classnames=("nilm", "hsil", "鳞癌", "lsil"),
)


def test_round_trip_by_text_and_by_file(tmp_path):
    assert Task.from_json(FULL.to_json()) == FULL
    assert FULL.save(tmp_path).name == "task.json"
    assert Task.load(tmp_path) == FULL
    assert [path.name for path in tmp_path.iterdir()] == ["task.json"]
    assert Task.load(tmp_path / "nowhere") is None


def test_keys_of_a_later_code_are_left_out_and_absent_ones_have_their_defaults():
    values = json.loads(FULL.to_json())
    assert Task.from_json(json.dumps({**values, "ordered": True})) == FULL
    del values["all_classnames"]
    assert Task.from_json(json.dumps(values)).all_classnames == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is no task"),
        ("[1]", "is no task"),
        ('{"version": 1}', "is no task"),
        ('{"version": 1, "dataset": "A", "classnames": [1], "descriptions": {}}', "is no task"),
        ('{"version": 2}', "version 2, newer"),
    ],
)
def test_what_is_no_task_is_one_line_with_the_file(text, said, tmp_path):
    (tmp_path / "task.json").write_text(text)
    with pytest.raises(UserError, match=said) as error:
        Task.load(tmp_path)
    assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)


class Plain(DatasetBase):
    """As other people write them: class names and nothing more."""

    def __init__(self):
        super().__init__()
        self._classnames = ["b", "a"]


def test_a_plain_data_set_has_a_task_and_attributes_of_other_meaning_do_no_harm():
    assert Task.of(Plain()) == Task("Plain", ("b", "a"))
    odd = Plain()
    odd.templates, odd.descriptions, odd.positive_classes = 3, ["b"], ("a", "unknown")
    odd.all_class_names = ["b", "a", "c"]
    task = Task.of(odd)
    assert task.templates == ("a photo of a {}.",) and task.descriptions == {}
    assert task.positive == ("a",) and task.all_classnames == ("b", "a", "c")


def test_a_data_set_may_make_its_own():
    own = Plain()
    own.task = FULL
    assert Task.of(own) is FULL


def test_the_stand_in_for_the_data_knows_all_but_images():
    dm = ManagerWithoutImages(get_cfg_default(), FULL)
    assert Task.of(dm.dataset) == FULL
    assert dm.num_classes == dm.dataset.num_classes == 3
    assert dm.lab2cname == {0: "nilm", 1: "hsil", 2: "鳞癌"}
    assert dm.dataset.all_class_names[-1] == "lsil"
    assert dm.train_loader_x is dm.test_loader is None
    for part in ("train_x", "train_u", "val", "test"):
        with pytest.raises(UserError, match="asks for images of Cells"):
            getattr(dm.dataset, part)


def test_classes_are_compared_by_name_and_order():
    check_same_classes("RUN", ("aa", "bb"), ["aa", "bb"])
    check_same_classes("RUN", (), ["aa"])  # a run that does not say
    with pytest.raises(UserError) as error:
        check_same_classes("RUN", ("aa", "bb", "cc"), ["cc", "bb", "aa"])
    assert str(error.value) == "RUN was trained on aa, bb, cc; the data have cc, bb, aa"


def test_reading_a_task_brings_no_torch():
    code = "import sys; from cerviclip.engine.task import Task; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
