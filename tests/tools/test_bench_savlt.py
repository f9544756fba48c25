"""tools/bench_savlt.py: its plain way is the same model, and its figures are complete."""

from __future__ import annotations

import json

import pytest
import torch

pytest.importorskip("segmentation_models_pytorch", reason="needs the extra [segment]")


@pytest.fixture
def bench(import_tool):
    yield import_tool("bench_savlt")
    from cerviclip.data.images import cache as image_cache

    image_cache.disable()


@pytest.fixture
def small(bench, tmp_path, monkeypatch):
    """A tiny CLIP, few small frames, and its trainer's builder."""
    from cerviclip.tools.bench_parts import savlt_setup, scaling
    from cerviclip.tools.bench_parts.common import Bench

    write = savlt_setup.write_frames
    monkeypatch.setattr(savlt_setup, "write_frames", lambda root: write(root, 8, 48, 64))
    segment = savlt_setup.write_segmenter
    monkeypatch.setattr(
        savlt_setup, "write_segmenter", lambda path, frames: segment(path, frames, 32, 2)
    )
    monkeypatch.setattr(savlt_setup, "BATCH", 4)
    monkeypatch.setattr(bench, "BACKBONE", "CLIP")
    monkeypatch.setattr(bench, "STEPS", 1)
    monkeypatch.setattr(bench, "ROUNDS", 2)
    monkeypatch.setattr(bench, "RUNS", 5)
    scaling.tiny_weights(tmp_path / "CLIP.safetensors")
    return Bench(tmp_path)


@pytest.mark.slow
def test_every_figure_is_there_and_the_plain_way_is_the_same_model(bench, small, capsys):
    bench.measure(small, bench.PARTS, seconds=600)
    assert set(small.figures) == {*bench.RATIOS, *bench.OTHERS}
    no_bf16 = not small.details["machine"]["bf16_instructions"]
    for key, value in small.figures.items():
        assert value is None if no_bf16 and key in bench.NEEDS_BF16 else value > 0
    assert small.details["largest_logit_difference_to_plain"] < 1e-4
    assert {len(turns) for turns in small.details["turns"].values()} == {2}
    json.dumps(small.details)
    bench.print_table(small)
    shown = capsys.readouterr().out
    assert "step_over_bare" in shown and "target <= 1.15" in shown


def test_plain_and_vectorised_gradients_agree(bench, small):
    from cerviclip.tools.bench_parts import savlt_setup
    from cerviclip.tools.bench_parts.savlt_plain import Plain

    savlt_setup.write_frames(small.work / "data")
    savlt_setup.write_segmenter(small.work / "segmenter.safetensors", small.work / "data")
    trainer = savlt_setup.build(
        small.work, "CLIP", small.weights("CLIP"), TRAINER__SAVLT__LORA__DROPOUT=0.0
    )
    plain = Plain(trainer, 4)
    items = trainer.dm.dataset.test[:4]
    frames = [plain.loader.dataset.__class__(items, trainer.tfm_test)[i][1] for i in range(4)]
    (image, inside), _ = trainer.parse_batch_test(next(iter(trainer.make_loader(items))))
    found = []
    for logits in (trainer.both_logits(image, inside), plain.logits(image, frames)):
        loss = sum(part.square().mean() for part in logits)
        parameters = list(trainer.head.parameters())
        found.append(torch.autograd.grad(loss, parameters, allow_unused=True))
    for a, b in zip(*found, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


def test_no_round_begins_that_would_end_too_late(bench):
    import time

    calls = []
    times = bench.take_turns({"a": lambda: calls.append(1)}, until=time.perf_counter())
    assert len(calls) == 2 and len(times["a"]) == 1


def test_without_bf16_instructions_the_figures_are_null_with_the_reason(bench, small, monkeypatch):
    from cerviclip.tools.bench_parts import common

    monkeypatch.setattr(bench, "ROUNDS", 1)
    machine = common.machine()
    monkeypatch.setattr(common, "machine", lambda: {**machine, "bf16_instructions": False})
    bench.measure(small, ["bf16"], seconds=60)
    assert small.figures["bf16_speedup"] is None
    assert "no bf16 instructions" in small.details["bf16"]
