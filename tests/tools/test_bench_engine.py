"""The engine's benchmark measures what it says, at a small size."""

from __future__ import annotations

import json

from cerviclip.tools import bench_engine


def test_writes_both_figures(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench_engine, "_startup_once", lambda folder, number: 0.25 + number)
    monkeypatch.setattr(bench_engine, "epoch_over_bare_loop", lambda repeats: 1.02)
    file = tmp_path / "bench.json"
    assert bench_engine.main(["--json", str(file), "--processes", "3"]) == 0
    assert json.loads(file.read_text()) == {
        "epoch_over_bare_loop": 1.02,
        "startup_seconds_beyond_torch": 2.25,  # the first process is not counted
    }
    assert "1.020" in capsys.readouterr().out


def test_the_loop_costs_little_more_than_a_bare_one():
    ratio = bench_engine.epoch_over_bare_loop(repeats=5, images=1280)
    assert 0.5 < ratio < 2  # the target of 1.1 is for a quiet machine


def test_the_first_batch_comes_soon_after_torch(tmp_path):
    assert 0 < bench_engine.startup_child(tmp_path / "images") < 30
