"""CLIVP: its two modes, its equations, and that no label reaches the text stream."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from cases import TrainerCase

from dassl.errors import UserError

CASE = TrainerCase(
    "CLIVP",
    steps={"image and text": (), "image alone": ("TRAINER.CLIVP.MODE", 0)},
    stored=("TRAINER.CLIVP.DROPOUT", 0.0),
)


def test_mode_0_is_the_head_on_image_features_alone(build):
    """The same seed gives ClipMLP's start and, with its loss, its training."""
    same = ("OPTIM.MAX_EPOCH", 2, "OPTIM.LR", 0.01)
    image_only = build("CLIVP", "TRAINER.CLIVP.MODE", 0, *same)
    mlp = build("ClipMLP", "TRAINER.CLIPMLP.LABEL_SMOOTHING", 0.0, *same)
    for trainer in (image_only, mlp):
        torch.manual_seed(0)
        trainer.head.apply(lambda m: getattr(m, "reset_parameters", lambda: None)())
        trainer.train()
    for ours, theirs in zip(image_only.head.parameters(), mlp.head.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_text_stream_without_weight_is_mode_0(build, test_batch):
    both, image_only = build("CLIVP"), build("CLIVP", "TRAINER.CLIVP.MODE", 0)
    both.set_model_mode("eval"), image_only.set_model_mode("eval")
    x, width = test_batch(both), 512
    with torch.no_grad():
        both.head.out.weight[:, width:] = 0
        image_only.head.image.load_state_dict(both.head.image.state_dict())
        image_only.head.out.weight.copy_(both.head.out.weight[:, :width])
        image_only.head.out.bias.copy_(both.head.out.bias)
    torch.testing.assert_close(both.model_inference(x), image_only.model_inference(x))


def test_logits_are_those_of_the_equations(build, test_batch):
    opts = ("TRAINER.CLIVP.HIDDEN", 4, "TRAINER.CLIVP.TEMPERATURE", 2.0)
    trainer = build("CLIVP", *opts, "DATASET.TEMPLATES", "('a photo of a {}.','a scan of {}.')")
    trainer.set_model_mode("eval")
    texts = [
        t.format(n) for n in trainer.dm.dataset.classnames for t in trainer.cfg.DATASET.TEMPLATES
    ]
    backbone, head = trainer.backbone, trainer.head
    encoded = [F.normalize(backbone.encode_text(backbone.tokenize([t]))[0], dim=0) for t in texts]
    scale, x = backbone.scale.item() / 2, test_batch(trainer)[:3]
    for i, f in enumerate(trainer.image_features(x)):
        powers = [math.exp(scale * float(f @ t)) for t in encoded]
        mean = sum(p / sum(powers) * t for p, t in zip(powers, encoded, strict=True))
        streams = [(head.image, f), (head.text, mean / mean.norm())]
        hidden = [m.weight @ (32**0.5 * v) + m.bias for m, v in streams]
        expected = head.out.weight @ torch.cat(hidden).clamp(min=0) + head.out.bias
        torch.testing.assert_close(trainer.model_inference(x)[i], expected, rtol=1e-4, atol=1e-5)


def test_other_labels_of_test_images_move_no_prediction(build, test_batch):
    trainer = build("CLIVP")
    trainer.set_model_mode("eval")
    batch = next(iter(trainer.make_loader(trainer.dm.dataset.test)))
    wrong = {**batch, "label": (batch["label"] + 1) % 3}
    inputs = [trainer.parse_batch_test(b)[0] for b in (batch, wrong)]
    assert torch.equal(*map(trainer.model_inference, inputs))


def test_two_images_alike_get_the_same_text_whatever_their_class(module_of):
    texts = F.normalize(torch.randn(6, 8, generator=torch.Generator().manual_seed(0)), dim=-1)
    f = F.normalize(torch.ones(1, 8), dim=-1).repeat(2, 1)
    g = module_of("CLIVP").described(f, texts, 10.0)
    assert torch.equal(g[0], g[1])
    hard = module_of("CLIVP").described(texts, texts, 1e4)  # the most similar text alone
    torch.testing.assert_close(hard, texts)


def test_mode_0_serves_a_cnn_that_has_no_text_and_mode_1_refuses_it(build, tmp_path):
    from torchvision.models import squeezenet1_0

    file = tmp_path / "squeezenet.pth"
    torch.save(squeezenet1_0().state_dict(), file)
    cnn = {"backbone": "torchvision:squeezenet1_0", "weights": file}
    assert build("CLIVP", "TRAINER.CLIVP.MODE", 0, **cnn).head.text is None
    with pytest.raises(UserError, match="text encoder"):
        build("CLIVP", **cnn)


def test_an_unknown_mode_is_refused(build):
    with pytest.raises(UserError, match="MODE is 2"):
        build("CLIVP", "TRAINER.CLIVP.MODE", 2)


# -- mode 2: the report beside an image ------------------------------------------------------------


@pytest.fixture
def reports(image_root, tmp_path):
    """A report for each image, written without a look at its class."""
    table = tmp_path / "reports.csv"
    paths = sorted(image_root.rglob("*.png"))
    lines = [f"{p.parent.name}/{p.name},frame {n} of the series" for n, p in enumerate(paths)]
    table.write_text("\n".join(["path,report", *lines]))
    return ("TRAINER.CLIVP.MODE", "2", "TRAINER.CLIVP.REPORTS", str(table))


def test_the_text_stream_of_mode_2_is_the_images_own_report(build, reports):
    trainer = build("CLIVP", *reports)
    trainer.set_model_mode("eval")
    batch = next(iter(trainer.make_loader(trainer.dm.dataset.val)))
    (image, text), _ = trainer.parse_batch_test(batch)
    own = [trainer.reports.of(path) for path in batch["impath"]]
    encoded = trainer.backbone.encode_text(trainer.backbone.tokenize(own))
    torch.testing.assert_close(text, F.normalize(encoded, dim=-1), atol=1e-5, rtol=1e-4)
    logits = trainer.model_inference((image, text))
    torch.testing.assert_close(logits, trainer.head(trainer.image_features(image), text))
    assert not torch.equal(logits, trainer.model_inference((image, text.flip(0))))


def test_a_run_with_reports_ends_and_loads_again(run, evaluate, reports):
    folder, results = run("CLIVP", *reports)
    counts = results["runtime"]["trainer"]["reports"]
    assert counts["without_report"] == 0 and counts["texts"] == counts["images"] > 0
    assert evaluate(folder) == (folder / "predictions.csv").read_text()


def test_a_report_that_names_a_class_ends_the_run(run, reports, image_root):
    from pathlib import Path

    table = Path(reports[-1])
    table.write_text(table.read_text().replace("frame", "red frame"))
    with pytest.raises(UserError, match="name a class"):
        run("CLIVP", *reports)
    assert image_root.is_dir()


def test_an_image_in_memory_has_no_report(build, reports):
    from PIL import Image

    with pytest.raises(UserError, match="give the image's file"):
        build("CLIVP", *reports).sample_of(Image.new("RGB", (32, 32)))


@pytest.mark.parametrize("opts", [("TRAINER.CLIVP.MODE", 2), ("TRAINER.CLIVP.REPORTS", "r.csv")])
def test_mode_2_and_a_table_belong_together(build, opts):
    with pytest.raises(UserError, match=r"mode 2, and no other, takes a table of reports"):
        build("CLIVP", *opts)
