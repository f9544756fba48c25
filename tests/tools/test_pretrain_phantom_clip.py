"""Pre-training of PhantomCLIP, cut down to seconds."""

from __future__ import annotations

import torch

from cerviclip.tools import pretrain_phantom_clip as tool


def test_a_few_steps_write_a_backbone_that_loads(tmp_path, capsys):
    from cerviclip.vlm import load_backbone

    path = tmp_path / "small.safetensors"
    arguments = ["--output", str(path), "--patients", "5", "--frames", "2"]
    assert tool.main([*arguments, "--steps", "2", "--batch", "6"]) == 0
    assert "wrote" in capsys.readouterr().out
    assert path.stat().st_size < 10e6
    backbone = load_backbone("PhantomCLIP", weights=str(path))
    assert backbone.preprocess.size == (96, 96)
    assert tuple(backbone.encode_image(torch.zeros(2, 3, 96, 96)).shape) == (2, 128)
    texts = backbone.encode_text(backbone.tokenize(["a cyst", "an unseen zebra"]))
    assert torch.isfinite(texts).all()


def test_captions_of_equal_facts_count_as_positives():
    image = torch.eye(3)
    keys = torch.tensor([0, 0, 1])
    same = tool.contrastive_loss(image, image, torch.tensor(10.0), keys)
    merged = torch.tensor([[1.0, 0, 0], [1.0, 0, 0], [0, 0, 1.0]])
    tolerant = tool.contrastive_loss(merged, merged, torch.tensor(10.0), keys)
    assert tolerant < same  # pulling the two pairs together is rewarded
    strict = tool.contrastive_loss(merged, merged, torch.tensor(10.0), torch.arange(3))
    assert strict > tool.contrastive_loss(image, image, torch.tensor(10.0), torch.arange(3))


def test_the_shipped_weights_are_small_and_of_this_generator():
    from safetensors import safe_open

    from cerviclip.data.phantoms import VERSION

    assert tool.WEIGHTS.stat().st_size <= 10e6
    with safe_open(str(tool.WEIGHTS), "pt") as file:
        words = file.metadata()
    assert words["generator"] == VERSION and words["data"] == "phantoms only"
