"""tools/bench_ddp.py: the ratios of given times, and one short run of both processes."""

from __future__ import annotations

import json

import pytest

from dassl.errors import UserError


@pytest.fixture
def bench_ddp(import_tool):
    return import_tool("bench_ddp")


def of(way: str, *seconds: float) -> list[dict]:
    return [{"way": way, "seconds": s, "cpu": s / 2} for s in seconds]


def test_the_slower_process_counts_and_twice_the_work_is_done(bench_ddp):
    first = of("one", 1.0, 1.0, 9.0) + of("apart", 1.0, 1.1, 1.0) + of("together", 1.0, 1.25, 1.0)
    second = of("apart", 1.1, 1.0, 1.1) + of("together", 1.25, 1.0, 1.25)
    found = bench_ddp.summary([first, second])
    assert found["together_seconds"] == 1.25 and found["together_cpu"] == 0.625
    assert found["scaling_seconds"] == pytest.approx(0.8)
    assert found["scaling_cpu"] == pytest.approx(0.8)
    assert found["of_two_apart"] == pytest.approx(1.1 / 1.25)


def test_wrong_flags_are_refused(bench_ddp):
    with pytest.raises(UserError, match="--backbone ViT-Z: take any of"):
        bench_ddp.main(["--backbone", "ViT-Z"])
    with pytest.raises(UserError, match="--batch and --repeats"):
        bench_ddp.main(["--batch", "0"])


@pytest.mark.slow
def test_both_processes_step(bench_ddp, tmp_path, capsys):
    file = tmp_path / "ddp.json"
    assert bench_ddp.main(["--batch", "1", "--repeats", "1", "--json", str(file)]) == 0
    report = json.loads(file.read_text())
    assert [len(own) for own in report["times"]] == [3, 2]
    assert 0 < report["scaling_seconds"] < 2
    assert "scaling" in capsys.readouterr().out
