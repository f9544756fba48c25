"""The Classification evaluator: upstream's numbers, words and files."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from dassl.config import get_cfg_default
from dassl.errors import UserError
from dassl.evaluation import (
    EVALUATOR_REGISTRY,
    Classification,
    EvaluatorBase,
    build_evaluator,
)

NAMES = {0: "normal", 1: "LSIL", 2: "HSIL"}
TRUE = [0, 0, 0, 0, 1, 1]
PRED = [0, 0, 0, 1, 1, 2]


def evaluator(tmp_path, **keys):
    cfg = get_cfg_default()
    cfg.OUTPUT_DIR = str(tmp_path)
    for key, value in keys.items():
        cfg.TEST[key] = value
    made = build_evaluator(cfg, lab2cname=NAMES)
    for part in (slice(0, 2), slice(2, 6)):
        made.process(torch.eye(3)[PRED[part]], torch.tensor(TRUE[part]))
    return made


# F1 of normal 2*3/(4+3) = 6/7, of LSIL 2*1/(2+2) = 1/2; HSIL is no one's label and not counted.
F1 = 100 * (6 / 7 + 1 / 2) / 2


def test_numbers_and_lines(tmp_path, capsys):
    results = evaluator(tmp_path).evaluate()
    assert list(results) == ["accuracy", "error_rate", "macro_f1"]
    assert results["accuracy"] == pytest.approx(100 * 4 / 6)
    assert results["error_rate"] == pytest.approx(100 * 2 / 6)
    assert results["macro_f1"] == pytest.approx(F1)
    assert capsys.readouterr().out == (
        "Loading evaluator: Classification\n=> result\n* total: 6\n* correct: 4\n"
        "* accuracy: 66.7%\n* error: 33.3%\n* macro_f1: 67.9%\n"
    )


def test_thousands_have_commas(tmp_path, capsys):
    made = evaluator(tmp_path)
    made.process(torch.eye(3)[torch.zeros(2000, dtype=torch.long)], torch.zeros(2000))
    made.evaluate()
    out = capsys.readouterr().out
    assert "* total: 2,006\n* correct: 2,004\n" in out


def test_per_class(tmp_path, capsys):
    results = evaluator(tmp_path, PER_CLASS_RESULT=True).evaluate()
    assert results["perclass_accuracy"] == pytest.approx((75 + 50) / 2)
    assert capsys.readouterr().out.endswith(
        "=> per-class result\n"
        "* class: 0 (normal)\ttotal: 4\tcorrect: 3\tacc: 75.0%\n"
        "* class: 1 (LSIL)\ttotal: 2\tcorrect: 1\tacc: 50.0%\n"
        "* average: 62.5%\n"
    )


def test_confusion_matrix_file(tmp_path, capsys):
    evaluator(tmp_path, COMPUTE_CMAT=True).evaluate()
    matrix = torch.load(tmp_path / "cmat.pt", weights_only=True)
    expected = [[0.75, 0.25, 0.0], [0.0, 0.5, 0.5], [0.0, 0.0, 0.0]]
    torch.testing.assert_close(matrix, torch.tensor(expected, dtype=torch.float64))
    assert f"Confusion matrix is saved to {tmp_path / 'cmat.pt'}" in capsys.readouterr().out


def test_a_class_that_is_neither_tested_nor_predicted_keeps_its_row(tmp_path):
    made = evaluator(tmp_path, COMPUTE_CMAT=True)
    made.reset()
    made.process(torch.tensor([[2.0, 0.0, 1.0], [0.0, 0.0, 1.0]]), torch.tensor([0, 2]))
    made.evaluate()
    matrix = torch.load(tmp_path / "cmat.pt", weights_only=True)
    assert matrix.tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 1]]


def test_a_subclass_that_reads_outputs_itself_gets_a_matrix_of_the_classes_it_saw(tmp_path):
    class Paired(Classification):
        """Takes labels that were predicted elsewhere."""

        def process(self, mo, gt):
            self._y_pred.extend(mo.tolist())
            self._y_true.extend(gt.tolist())
            self._total += len(gt)

    cfg = get_cfg_default()
    cfg.OUTPUT_DIR, cfg.TEST.COMPUTE_CMAT = str(tmp_path), True
    made = Paired(cfg)
    made.process(torch.tensor([0, 3, 3]), torch.tensor([0, 0, 3]))
    made.evaluate()
    matrix = torch.load(tmp_path / "cmat.pt", weights_only=True)
    assert matrix.tolist() == [[0.5, 0.5], [0, 1]]


def test_reset_forgets_everything(tmp_path):
    made = evaluator(tmp_path, PER_CLASS_RESULT=True)
    made.reset()
    made.process(torch.eye(3), torch.tensor([0, 1, 2]))
    results = made.evaluate()
    assert results["accuracy"] == 100.0 and results["perclass_accuracy"] == 100.0
    assert made._total == 3


def test_a_subclass_may_reset_what_it_sets_itself(tmp_path):
    class Counting(Classification):
        def __init__(self, cfg, lab2cname=None, **kwargs):
            super().__init__(cfg, lab2cname, **kwargs)
            self.counts = {"batches": 0}

        def reset(self):
            super().reset()
            self.counts.clear()

    made = Counting(get_cfg_default(), NAMES)
    made.process(torch.eye(3), torch.tensor([0, 1, 2]))
    made.reset()
    assert made.counts == {}
    with pytest.raises(UserError, match="no images to evaluate"):
        made.evaluate()


@pytest.mark.slow
def test_the_first_result_draws_nothing_from_pythons_generator(tmp_path, repo_dir):
    """In a fresh process: scikit-learn's first import draws."""
    code = f"""
import random, sys, torch
from dassl.config import get_cfg_default
from dassl.evaluation import Classification
cfg = get_cfg_default()
cfg.OUTPUT_DIR, cfg.TEST.COMPUTE_CMAT = {str(tmp_path)!r}, True
made = Classification(cfg)
made.process(torch.eye(2), torch.tensor([0, 1]))
assert "sklearn" not in sys.modules
random.seed(1)
before = random.getstate()
made.evaluate()
assert "sklearn" in sys.modules and random.getstate() == before
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=repo_dir, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_empty_split_and_missing_names(tmp_path):
    cfg = get_cfg_default()
    with pytest.raises(UserError, match="empty"):
        Classification(cfg).evaluate()
    cfg.TEST.PER_CLASS_RESULT = True
    with pytest.raises(ValueError, match="lab2cname"):
        Classification(cfg)


def test_custom_evaluators_are_built_by_name(capsys):
    @EVALUATOR_REGISTRY.register()
    class Sensitivity(EvaluatorBase):
        def __init__(self, cfg, lab2cname=None, **kwargs):
            super().__init__(cfg)
            self.names = lab2cname

    cfg = get_cfg_default()
    cfg.TEST.EVALUATOR, cfg.VERBOSE = "Sensitivity", False
    assert build_evaluator(cfg, lab2cname=NAMES).names == NAMES
    assert capsys.readouterr().out == ""
    cfg.TEST.EVALUATOR = "Sensitivty"
    with pytest.raises(ValueError, match=r"do you mean \[Sensitivity\]"):
        build_evaluator(cfg)
