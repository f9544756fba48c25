"""``PREC`` means the same to every trainer: products are of that type, what learns is float32."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dassl.errors import UserError

CNN = ("INPUT.SIZE", "(64,64)", "MODEL.BACKBONE.PRETRAINED", "False")
TRAINERS = {
    "CoOp": (("TRAINER.COOP.N_CTX", "4"), {}),
    "CLIPLoRA": (("TRAIN.MAX_ITERS", "3"), {}),
    "SAVLT": (("TRAIN.MAX_ITERS", "3"), {}),
    "CNNBaseline": (CNN, {"backbone": "torchvision:squeezenet1_0"}),
}
ON_A_CPU = {
    "fp32": torch.float32,
    "fp16": torch.float16,
    "amp": torch.bfloat16,
    "bf16": torch.bfloat16,
}


@pytest.mark.parametrize("prec", ON_A_CPU)
@pytest.mark.parametrize("name", TRAINERS)
def test_computes_in_its_precision_and_learns_in_float32(name, prec, build):
    opts, kwargs = TRAINERS[name]
    trainer = build(name, *opts, f"TRAINER.{name.upper()}.PREC", prec, **kwargs)
    network = trainer.model if name == "CNNBaseline" else trainer.backbone.text
    if name == "SAVLT":
        network = trainer.visual.blocks  # the stem is the shared backbone's
    elif name == "CLIPLoRA":
        network = trainer._models["text_lora"]
    layer = next(m for m in network.modules() if isinstance(m, (nn.Linear, nn.Conv2d)))
    seen = set()
    layer.register_forward_hook(lambda module, args, out: seen.add(out.dtype))
    learned = [p for model in trainer._models.values() for p in model.parameters()]
    before = [p.detach().clone() for p in learned]
    trainer.test_after_train = False
    trainer.train()
    assert ON_A_CPU[prec] in seen and seen <= {ON_A_CPU[prec], torch.float32}
    assert {p.dtype for p in learned} == {torch.float32}
    assert all(torch.isfinite(p).all() for p in learned)
    assert any(not torch.equal(p, old) for p, old in zip(learned, before, strict=True))


@pytest.mark.parametrize("name", TRAINERS)
def test_an_unknown_precision_is_named_with_its_key(name, build):
    opts, kwargs = TRAINERS[name]
    with pytest.raises(UserError, match=f"TRAINER.{name.upper()}.PREC is 'fp8'; take one of fp32"):
        build(name, *opts, f"TRAINER.{name.upper()}.PREC", "fp8", **kwargs)
