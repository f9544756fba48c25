"""tools/bench.py: keys, errors, and one small pass through the whole sweep comparison."""

from __future__ import annotations

import json

import pytest

from dassl.errors import UserError


@pytest.fixture
def bench(import_tool):
    return import_tool("bench")


def test_unknown_and_lone_keys_are_refused(bench, tmp_path):
    with pytest.raises(UserError, match="unknown figure 'speed'.*coop_step_over_text_tower"):
        bench.main(["--only", "speed"])
    with pytest.raises(UserError, match="--scaling"):
        bench.main(["--only", "resident_growth"])
    (tmp_path / "old").write_text("")
    with pytest.raises(UserError, match="is not empty"):
        bench.main(["--only", "help_seconds", "--work", str(tmp_path)])


def test_json_holds_the_figures_asked_for_and_the_machine(bench, tmp_path, capsys):
    bench.main(["--only", "help_seconds", "--json", str(tmp_path / "b.json")])
    report = json.loads((tmp_path / "b.json").read_text())
    assert [key for key in report if key != "details"] == ["help_seconds"]
    assert report["details"]["machine"]["cores"] >= 1
    assert "help_seconds" in capsys.readouterr().out


def test_generated_images_have_herlevs_layout(bench, tmp_path, monkeypatch):
    from cerviclip.tools.bench_parts import common

    monkeypatch.setattr(common, "HERLEV_COUNTS", {"carcinoma_in_situ": 6, "light_dysplastic": 4})
    common.write_herlev_like(tmp_path)
    assert len(list(tmp_path.glob("*/*.jpg"))) == 10
    from PIL import Image

    sizes = set()
    for path in tmp_path.glob("*/*.jpg"):
        with Image.open(path) as image:
            sizes.add(image.size)
    assert sizes == {(224, 224), (200, 200)}


def test_alternate_calls_each_part_equally(bench):
    from cerviclip.tools.bench_parts.common import alternate

    calls = {"a": 0, "b": 0}

    def work(name):
        calls[name] += 1

    times = alternate({name: (lambda n=name: work(n)) for name in calls}, repeats=3)
    assert calls == {"a": 5, "b": 5} and set(times) == {"a", "b"}


@pytest.mark.parametrize("name", ["CoOp", "MaPLe", "ProGrad", "FullFineTune", "MMA"])
def test_the_towers_part_of_a_step_is_made_again(bench, tmp_path, monkeypatch, name):
    """The noted calls give their parameters gradients, and change no weight of the trainer's."""
    import torch

    from cerviclip.tools.bench_parts import common, methods, scaling, steps

    monkeypatch.setattr(common, "HERLEV_COUNTS", {n: 40 for n in common.HERLEV_COUNTS})
    monkeypatch.setenv("HERLEV_ROOT", str(tmp_path / "data"))
    common.write_herlev_like(tmp_path / "data" / "herlev" / "images")
    scaling.tiny_weights(tmp_path / "CLIP.safetensors")
    keys = {"TRAINER.MMA.BLOCKS": 1} if name == "MMA" else {}
    keys |= {"TRAINER.MAPLE.PROMPT_DEPTH": 1} if name == "MaPLe" else {}
    trainer = steps.build(common.Bench(tmp_path), name, "CLIP", keys)
    batch = next(iter(trainer.train_loader_x))
    step = steps.stepper(trainer, batch)
    step()
    models = [trainer._models[n] for n in trainer.get_model_names()]
    learning = [p for model in models for p in model.parameters() if p.requires_grad]
    before = [p.detach().clone() for p in learning]
    work = methods.towers_step(trainer, batch)
    for p in learning:
        p.grad = None
    work()
    assert all(torch.equal(p, old) for p, old in zip(learning, before, strict=True))
    own = name in ("CoOp", "ProGrad")  # their prompts are an input of the tower, no part of it
    assert any(p.grad is not None for p in learning) != own
    step()  # the trainer trains on
    assert any(not torch.equal(p, old) for p, old in zip(learning, before, strict=True))


@pytest.fixture
def small(bench, tmp_path, monkeypatch):
    """The sweep on a tiny CLIP and few generated images."""
    from cerviclip.tools.bench_parts import common, scaling, sweep

    monkeypatch.setattr(common, "HERLEV_COUNTS", {n: 30 for n in common.HERLEV_COUNTS})
    monkeypatch.setenv("HERLEV_ROOT", str(tmp_path / "data"))
    common.write_herlev_like(tmp_path / "data" / "herlev" / "images")
    monkeypatch.setattr(sweep, "BACKBONE", "CLIP")
    monkeypatch.setattr(sweep, "SHOTS", ["4", "full"])
    monkeypatch.setattr(sweep, "SEEDS", ["1"])
    monkeypatch.setattr(sweep, "OTHER_SEEDS", ["2"])
    scaling.tiny_weights(tmp_path / "CLIP.safetensors")
    return common.Bench(tmp_path)


@pytest.mark.slow
def test_sweep_floor_and_published_way_agree(small):
    from cerviclip.tools.bench_parts import sweep

    keys = {"sweep_over_floor", "second_sweep_over_heads", "speedup_over_published"}
    sweep.measure_sweep(small, keys)
    assert keys <= set(small.figures)
    assert small.figures["published_predictions_agree"] >= 99
    assert small.details["sweep"]["floor"]["images"] == 210
    assert set(small.details["sweep"]["published"]["per_trainer"]) == set(sweep.TRAINERS)


def test_published_training_grows_by_what_grows_less(bench):
    from cerviclip.tools.bench_parts.sweep import growth

    assert growth("LinearProbe", 28, 7) == 0.25
    assert growth("CoOp", 28, 7) == 0.25  # one step either way, of a quarter of the images
    assert growth("CoOp", 28, 552) == 17  # 17 full batches, 544 images
    assert growth("TipAdapterF", 28, 56) == 1  # the last 24 images are dropped
