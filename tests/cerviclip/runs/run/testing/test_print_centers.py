"""The lines of the centres on the screen claim no patients that nobody knows."""

import numpy as np

from cerviclip.evaluation.report import score
from cerviclip.runs.run.testing.scoring import print_centers


def lines_of(ids, capsys):
    probs = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3]])
    print_centers({"clinic": score([0, 1, 0, 1], probs, ids, ["a", "b"])})
    return capsys.readouterr().out


def test_patients_are_counted_only_where_they_are_known(capsys):
    assert "clinic: 4 images, 2 patients, accuracy" in lines_of(["p", "p", "q", "q"], capsys)
    said = lines_of([""] * 4, capsys)
    assert "clinic: 4 images, patients not known, accuracy" in said
    assert "clinic: no patient ids: each image counts as a patient" in said
