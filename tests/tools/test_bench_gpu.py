"""tools/bench_gpu.py on a CPU: the counts of operations and the table; no rate is judged here."""

from __future__ import annotations

import json

import pytest
import torch

from dassl.errors import UserError


@pytest.fixture
def bench_gpu(import_tool):
    return import_tool("bench_gpu")


def test_operations_of_a_product_are_counted(bench_gpu):
    a, b = torch.randn(3, 5), torch.randn(5, 7)
    assert bench_gpu.operations(lambda: a @ b) == 2 * 3 * 5 * 7


@pytest.mark.slow
def test_every_work_has_its_row(bench_gpu, tmp_path, capsys):
    file = tmp_path / "gpu.json"
    bench_gpu.main(
        [*("--backbones", "ViT-B/32", "--batches", "2", "--precision", "fp32", "--side", "64")]
        + [*("--modes", "eager", "--json", str(file))]
    )
    report = json.loads(file.read_text())
    assert [r["work"] for r in report["rows"]] == ["encode", "CoOp", "CLIPLoRA", "SAVLT"]
    for row in report["rows"]:
        assert row["images_per_second"] > 0
        rate = report["matrix_tflops"]
        assert row["share"] == pytest.approx(row["tflops"] / rate)
    encode, lora = report["rows"][0], report["rows"][2]
    # 4.4 G multiply-adds of ViT-B/32 for each image, two operations each.
    assert encode["tflops"] / encode["images_per_second"] * 1e3 == pytest.approx(8.7, rel=0.1)
    per_image = lora["tflops"] / lora["images_per_second"]
    assert per_image > 2 * encode["tflops"] / encode["images_per_second"]  # it has a backward
    assert "| SAVLT | ViT-B/32 | 2 | eager |" in capsys.readouterr().out


def test_unknown_backbones_and_batches_are_refused(bench_gpu):
    with pytest.raises(UserError, match="--backbones ViT-Z: take any of"):
        bench_gpu.main(["--backbones", "ViT-Z"])
    with pytest.raises(UserError, match="--batches 0"):
        bench_gpu.main(["--batches", "0"])
