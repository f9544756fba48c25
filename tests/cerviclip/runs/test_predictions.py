"""predictions.csv gives back what was written; what is broken is refused by name."""

import subprocess
import sys

import numpy as np
import pytest

from cerviclip.runs.predictions import (
    Predictions,
    pooled,
    read_predictions,
    relative_path,
    write_predictions,
)
from dassl.errors import UserError

CLASSES = ("cyst", "cancer, invasive", "normal")


def predictions(center, n, seed=0):
    draws = np.random.default_rng(seed)
    probs = draws.dirichlet(np.ones(3), n)
    paths = [f'{center}/{i} "a".png' for i in range(n)]
    return Predictions(center, paths, [f"P{i // 2}" for i in range(n)],
                       draws.integers(0, 3, n), probs, CLASSES)  # fmt: skip


def equal(a, b):
    return (
        (a.center, a.paths, a.patient_ids, a.classnames)
        == (b.center, b.paths, b.patient_ids, b.classnames)
        and np.array_equal(a.labels, b.labels)
        and np.array_equal(a.probs, b.probs)
        and (a.labels.dtype, a.probs.dtype) == (b.labels.dtype, b.probs.dtype)
    )


def test_what_is_written_is_read_back_to_the_last_digit(tmp_path):
    given = [predictions("test", 7), predictions("Far, Away", 4, seed=1)]
    path = write_predictions(tmp_path, given, CLASSES)
    assert path == tmp_path / "predictions.csv"
    for place in (tmp_path, path):
        found = read_predictions(place)
        assert len(found) == 2 and all(map(equal, found, given))
    text = path.read_bytes()
    write_predictions(tmp_path, read_predictions(tmp_path), CLASSES)
    assert path.read_bytes() == text


def test_signs_that_a_table_is_made_of_may_stand_in_names(tmp_path):
    """Commas, quotes, and ends of lines of either kind."""
    given = predictions("a,b", 3)
    given.paths = ["a\r\nb.png", 'c"d.png', "e\rf.png"]
    write_predictions(tmp_path, [given], CLASSES)
    [found] = read_predictions(tmp_path)
    assert equal(found, given)


@pytest.mark.parametrize(
    ("path", "roots", "seen"),
    [
        ("/data/a/1.png", ("/data",), "a/1.png"),
        ("/data/a/1.png", ("", "/data/a", "/data"), "1.png"),
        ("/elsewhere/1.png", ("/data", "/more"), "/elsewhere/1.png"),
        ("/more/1.png", ("/data", "/more"), "1.png"),
        ("/data/1.png", ("",), "/data/1.png"),
        ("/data/1.png", (), "/data/1.png"),
    ],
)
def test_a_path_is_seen_from_the_first_root_that_holds_it(path, roots, seen):
    assert relative_path(path, *roots) == seen


def test_the_file_is_the_contracts(tmp_path):
    probs = np.array([[0.25, 0.5, 0.25], [0.1, 0.2, 0.7]])
    given = Predictions("test", ["a.png", "b.png"], ["P1", ""], np.array([0, 2]), probs)
    assert write_predictions(tmp_path, [given], CLASSES).read_text() == (
        'center,path,patient_id,label,prediction,p_cyst,"p_cancer, invasive",p_normal\n'
        'test,a.png,P1,cyst,"cancer, invasive",0.25,0.5,0.25\n'
        "test,b.png,,normal,normal,0.1,0.2,0.7\n"
    )


def test_a_center_without_images_leaves_no_line(tmp_path):
    empty = Predictions("Far", [], [], np.zeros(0, dtype=np.int64), np.zeros((0, 3)), CLASSES)
    assert len(empty.predicted) == 0
    write_predictions(tmp_path, [empty, predictions("test", 2)], CLASSES)
    assert [p.center for p in read_predictions(tmp_path)] == ["test"]
    write_predictions(tmp_path, [], CLASSES)
    assert read_predictions(tmp_path) == []


@pytest.mark.parametrize("cut", [1, 2, 30])
def test_a_file_cut_anywhere_in_its_last_line_is_refused(tmp_path, cut):
    path = write_predictions(tmp_path, [predictions("test", 3)], CLASSES)
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(UserError, match="predictions.csv is not a run's predictions"):
        read_predictions(tmp_path)


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda text: "", "StopIteration"),
        (lambda text: text.replace("patient_id", "patient"), "its columns are center, path"),
        (lambda text: text.replace("0.7", "most"), "most"),
        (lambda text: text.replace("0.7", "0.702"), "b.png are not probabilities that add up"),
        (lambda text: text.replace("0.1,0.2", "-0.1,0.4"), "b.png are not probabilities"),
        (lambda text: text.replace("0.5", "nan"), "a.png are not probabilities"),
        (lambda text: text.replace("0.5", "inf"), "a.png are not probabilities"),
        (lambda text: text.replace(",0.7", ",0.7,0"), "line 3 has 9 columns"),
        (lambda text: text.replace("p_normal", "p_cyst"), "a class has two columns"),
        (lambda text: text.replace(",p_cyst", "").partition(',"p_')[0], "its columns are"),
        (lambda text: text.replace(",normal,normal", ",benign,normal"), "benign"),
        (lambda text: text.replace(",normal,normal", ",normal,cyst"), "b.png is not its most prob"),
    ],
)
def test_what_is_no_predictions_file_is_refused_in_one_line(tmp_path, change, words):
    probs = np.array([[0.25, 0.5, 0.25], [0.1, 0.2, 0.7]])
    given = Predictions("test", ["a.png", "b.png"], ["P1", ""], np.array([0, 2]), probs)
    path = write_predictions(tmp_path, [given], CLASSES)
    path.write_text(change(path.read_text()))
    with pytest.raises(UserError, match=words) as caught:
        read_predictions(tmp_path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_an_absent_file_is_for_the_caller_to_judge(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_predictions(tmp_path)


def test_parts_are_put_together_in_order():
    parts = [predictions("test", n, seed=n) for n in (2, 3)]
    whole = pooled(parts)
    assert whole.paths == parts[0].paths + parts[1].paths and len(whole) == 5
    assert np.array_equal(whole.probs[2:], parts[1].probs)
    assert list(whole.predicted) == [*parts[0].predicted, *parts[1].predicted]


def test_patients_that_repeat_the_file_name_are_not_known():
    def known(*ids):
        paths = ["a/x1.png", "a/x2.png"]
        return Predictions("test", paths, [*ids], np.zeros(2), np.zeros((2, 2))).known_patients

    assert known("x1", "x2") == ["", ""]
    # A patient whose id is the name of one of her files is one patient still.
    assert known("x1", "x1") == ["x1", "x1"] and known("x1", "P7") == ["x1", "P7"]


def test_reading_needs_no_torch(tmp_path):
    write_predictions(tmp_path, [predictions("test", 2)], CLASSES)
    code = (
        "import sys\nfrom cerviclip.runs.predictions import read_predictions\n"
        "print(len(read_predictions(sys.argv[1])[0]), 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["2", "False"]
