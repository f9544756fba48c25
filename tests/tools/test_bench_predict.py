"""The benchmark of predicting a folder: what it says of itself, and its limit."""

from __future__ import annotations

import pytest
import torch

from cerviclip.tools import bench_predict
from dassl.errors import UserError


def test_decoding_is_free_where_cores_are_idle(monkeypatch):
    monkeypatch.setattr(bench_predict, "cores_of", lambda: 2)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert bench_predict.possible(1.0, 0.9) == 1.0  # the other core decodes
    assert bench_predict.possible(1.0, 3.0) == pytest.approx(0.5)  # four seconds on two cores
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert bench_predict.possible(1.0, 1.0) == pytest.approx(1 / 1.5)
    assert bench_predict.possible(1.0, 0.0) == 1.0


def test_what_is_to_be_corrected(tmp_path):
    with pytest.raises(UserError, match="give a RUN, or --vit"):
        bench_predict.main([str(tmp_path)])
    with pytest.raises(UserError, match="no images in"):
        bench_predict.main(["run", str(tmp_path)])
