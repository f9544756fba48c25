"""A trainer that is a plug-in, with upstream's hooks alone, predicts as any other."""

from __future__ import annotations

import numpy as np
from run_fixtures import PLUGIN, zoo

from cerviclip import Predictor
from cerviclip.runs.run.runner import run_one

__all__ = ["zoo"]


def test_a_plug_ins_trainer_predicts_its_own_numbers(zoo, tested_rows):
    run_one(zoo.cfg("ZooLinear"), echo=False)
    rows = tested_rows(zoo.out / "run")
    predictor = Predictor.from_run(zoo.out / "run", plugin=[str(PLUGIN)])
    said = [answer.probabilities for answer in predictor.predict([zoo.root / p for p in rows])]
    np.testing.assert_allclose(said, list(rows.values()), rtol=0, atol=1e-6)
