"""SAVLT piece by piece: pool, alignment, consistency, ROI, and each part switched off."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from cases import TrainerCase

from cerviclip.data.images.views import describe_transform, make_view
from cerviclip.data.roi.finder import patch_mask, steps_of, transform_together
from cerviclip.features.store import get_store
from dassl.data.transforms import build_styled_transform
from dassl.errors import UserError
from dassl.utils import read_image

S = "TRAINER.SAVLT"
NO_STYLES = (f"{S}.CONSISTENCY.WEIGHT", 0.0)
SHORT = ("TRAIN.MAX_ITERS", 3, f"{S}.HEAD.VIEWS", 2)
PLAIN = (f"{S}.ALPHA", 0.0, f"{S}.LORA.BLOCKS", 0, f"{S}.ROI.SOURCE", "none")
CASE = TrainerCase(
    "SAVLT",
    ("TRAIN.MAX_ITERS", 3, f"{S}.CONSISTENCY.WEIGHT", 1.0, f"{S}.PROMPTS", ""),
    steps={
        "as it is": ("INPUT.FEATURE_VIEWS", 0),
        "two styles": ("INPUT.FEATURE_VIEWS", 0, f"{S}.CONSISTENCY.WEIGHT", 1.0),
        "stored": ("INPUT.FEATURE_VIEWS", 2, f"{S}.LORA.BLOCKS", 1, *NO_STYLES),
        "texts learn": (
            *(f"{S}.CONTEXT.N_CTX", 2, f"{S}.TEXT_LORA.BLOCKS", 1, f"{S}.ROI.SOURCE", "none"),
        ),
    },
    stored=(
        *(f"{S}.LORA.BLOCKS", 1, f"{S}.ROI.SOURCE", "full", *NO_STYLES),
        *(f"{S}.HEAD.ITERS_PER_SHOT", 5),
    ),
)


@pytest.fixture
def savlt(module_of):
    return module_of("SAVLT")


def train_batch(trainer):
    return trainer.parse_batch_train(next(iter(trainer.train_loader_x)))


# -- the maths -----------------------------------------------------------------------------------


def test_untrained_pool_beside_the_class_token_changes_nothing(savlt):
    pool = savlt.RoiAttentionPool(16, start_at_zero=True)
    head = savlt.SAVLTHead(16, 3, alpha=0.5, pool=pool)
    token, patches = torch.randn(2, 16), torch.randn(2, 6, 16)
    inside = torch.ones(2, 6, dtype=torch.bool)
    features = head.image_features(token, patches, inside)
    torch.testing.assert_close(features, F.normalize(token, dim=-1))  # normalised once or twice


def test_alignment_mixes_texts_and_prototypes(savlt):
    head = savlt.SAVLTHead(8, 3, alpha=0.25)
    features, texts = F.normalize(torch.randn(5, 8), dim=-1), F.normalize(torch.randn(3, 8), dim=-1)
    text, prototype = head.logits(features, texts, torch.tensor(100.0))
    unit = F.normalize(head.prototypes, dim=-1)
    torch.testing.assert_close(prototype, 100 * features @ unit.t())
    torch.testing.assert_close(head.mix(text, prototype), 0.75 * text + 0.25 * prototype)
    gram = unit @ unit.t()
    torch.testing.assert_close(gram, torch.eye(3), atol=1e-5, rtol=0)  # orthogonal start


def test_consistency_is_the_jensen_shannon_divergence(savlt):
    a, b = torch.randn(4, 3), torch.randn(4, 3)
    p, q = a.softmax(-1), b.softmax(-1)
    m = (p + q) / 2
    expected = ((p * (p / m).log()).sum(-1) + (q * (q / m).log()).sum(-1)).mean() / 2
    torch.testing.assert_close(savlt.consistency_loss(a, b), expected)
    assert savlt.consistency_loss(a, a).item() == pytest.approx(0, abs=1e-6)


# -- the trainer ---------------------------------------------------------------------------------


def test_without_its_parts_the_logits_are_those_of_the_texts(build):
    trainer = build("SAVLT", *PLAIN, f"{S}.CONTEXT.N_CTX", 4, f"{S}.CONTEXT.CTX_INIT", "a photo of")
    zero_shot = build("ZeroShotCLIP", shots=0)
    assert trainer.get_model_names() == ["context"]
    trainer.class_features = lambda: zero_shot.classifier
    items = trainer.dm.dataset.test[:5]
    x = next(iter(zero_shot.make_loader(items)))["img"]
    batch = next(iter(trainer.make_loader(items)))
    input, _ = trainer.parse_batch_test(batch)
    with torch.no_grad():
        ours = trainer.model_inference(input)
    torch.testing.assert_close(ours, zero_shot.model_inference(x), rtol=0, atol=5e-2)


def test_alpha_0_with_fresh_lora_is_exactly_the_frozen_model(build):
    trainer = build("SAVLT", f"{S}.ALPHA", 0.0, f"{S}.ROI.SOURCE", "none", *SHORT)
    (x, inside), _ = train_batch(trainer)
    trainer.set_model_mode("eval")
    with torch.no_grad():
        logits = trainer.model_inference((x, inside))
        hidden = trainer.hidden_states(x)
        features = F.normalize(trainer.backbone.visual.finish(hidden).float(), dim=-1)
        expected = trainer.backbone.scale * features @ trainer.text_features().t()
    assert torch.equal(logits, expected)


def test_loss_is_the_mix_of_both_cross_entropies(build):
    trainer = build("SAVLT", *NO_STYLES, f"{S}.ALPHA", 0.3, f"{S}.LORA.DROPOUT", 0.0)
    input, label = train_batch(trainer)
    loss, _ = trainer.loss_and_logits(input, label)
    text, prototype = trainer.both_logits(*input)
    expected = 0.7 * F.cross_entropy(text, label) + 0.3 * F.cross_entropy(prototype, label)
    torch.testing.assert_close(loss, expected)


def test_consistency_off_draws_nothing_and_changes_nothing(build):
    trainer = build("SAVLT", *NO_STYLES, f"{S}.LORA.DROPOUT", 0.0)
    input, label = train_batch(trainer)
    state = torch.get_rng_state()
    trainer.style = None  # would fail if it were called
    trainer.loss_and_logits(input, label)
    assert torch.equal(torch.get_rng_state(), state)


def test_consistency_weighs_the_distance_of_two_styles(build, savlt):
    trainer = build("SAVLT", f"{S}.CONSISTENCY.WEIGHT", 2.0, f"{S}.LORA.DROPOUT", 0.0)
    (x, inside), label = train_batch(trainer)
    torch.manual_seed(3)
    loss, logits = trainer.loss_and_logits((x, inside), label)
    assert logits.shape == (len(label), 3)
    torch.manual_seed(3)
    views = torch.cat([trainer.style(x), trainer.style(x)])  # as one batch: the same but for speed
    text, prototype = trainer.both_logits(views, torch.cat([inside, inside]))
    both = torch.cat([label, label])
    expected = (F.cross_entropy(text, both) + F.cross_entropy(prototype, both)) / 2
    expected = expected + 2.0 * savlt.consistency_loss(text[: len(x)], text[len(x) :])
    torch.testing.assert_close(loss, expected)


def test_prototypes_start_from_class_means(build):
    trainer = build("SAVLT", *SHORT)
    trainer.start_prototypes()
    sums = {}
    trainer.set_model_mode("eval")
    with torch.no_grad():
        for batch in trainer.make_loader(trainer.dm.dataset.train_x):
            input, label = trainer.parse_batch_test(batch)
            for feature, c in zip(trainer.features_in_roi(*input), label.tolist(), strict=True):
                sums[c] = sums.get(c, 0) + feature
    expected = F.normalize(torch.stack([sums[c] for c in range(3)]), dim=-1)
    torch.testing.assert_close(trainer.head.prototypes.detach(), expected, rtol=1e-4, atol=1e-5)


ABLATIONS = {
    "no LoRA": (f"{S}.LORA.BLOCKS", 0),
    "last block": (f"{S}.LORA.BLOCKS", 1),
    "no ROI": (f"{S}.ROI.SOURCE", "none"),
    "full ROI": (f"{S}.ROI.SOURCE", "full"),
    "mask ROI": (f"{S}.ROI.KIND", "mask"),
    "no prototypes": (f"{S}.ALPHA", 0.0),
    "no text": (f"{S}.ALPHA", 1.0),
    "no consistency": NO_STYLES,
    "orthogonal": (f"{S}.PROTOTYPES", "orthogonal", f"{S}.ROI.CLASS_TOKEN", False),
    "from texts": (f"{S}.PROTOTYPES", "text"),
    "text LoRA": (f"{S}.TEXT_LORA.BLOCKS", -1),
    "context": (f"{S}.CONTEXT.N_CTX", 2),
    "stored hidden": (*NO_STYLES, f"{S}.LORA.BLOCKS", 1, "INPUT.FEATURE_VIEWS", 1),
    "stored views": (*NO_STYLES, f"{S}.LORA.BLOCKS", 1, "INPUT.FEATURE_VIEWS", 3),
    "bf16": (f"{S}.PREC", "bf16"),
    "bf16, texts learn": (
        *(f"{S}.PREC", "bf16", f"{S}.TEXT_LORA.BLOCKS", -1, f"{S}.CONTEXT.N_CTX", 2),
        *(f"{S}.PROTOTYPES", "orthogonal"),
    ),
}


@pytest.mark.parametrize("name", ABLATIONS)
def test_every_ablation_is_a_config_value_and_trains(build, name):
    trainer = build("SAVLT", *ABLATIONS[name], *SHORT)
    trainer.train()
    assert trainer.history[-1]["loss"] > 0
    for model in trainer._models.values():
        assert all(torch.isfinite(p).all() for p in model.parameters())


def write_black(paths):
    """Frames without tissue, one grey level in one pixel apart: equal files count as copies."""
    from PIL import Image

    for i, path in enumerate(paths):
        image = Image.new("L", (32, 32), 0)
        image.putpixel((i % 32, i // 32), 1)
        image.save(path)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_without_tissue_is_counted_and_listed(build, image_root, tmp_path, workers):
    from helpers import write_images

    root = tmp_path / "oct"
    paths = write_images(root / "cells", {"red": 8, "green": 8, "blue": 8}, patients=8)
    write_black(paths)
    opts = ("DATALOADER.NUM_WORKERS", workers, f"{S}.PROTOTYPES", "orthogonal")
    trainer = build("SAVLT", "DATASET.ROOT", root, *opts, *SHORT)
    trainer.train()
    record = trainer.extra_results["roi"]
    assert record["source"] == "surface"
    assert record["not_found"] == record["images"] == len(record["not_found_images"])
    train = {Path(item.impath).name for item in trainer.dm.dataset.train_x}
    assert train <= set(record["not_found_images"])


def test_black_frames_are_trained_on_whole_and_listed_in_results_json(run, tmp_path):
    from helpers import write_images

    root = tmp_path / "oct"
    paths = write_images(root / "cells", {"red": 12, "green": 12, "blue": 12}, patients=12)
    write_black(paths)
    _, results = run("SAVLT", "DATASET.ROOT", root, *SHORT)
    record = results["runtime"]["trainer"]["roi"]
    assert record["not_found"] == record["images"] == len(record["not_found_images"])
    tested = results["centers"]["test"]["n_images"]
    assert record["images"] >= tested + 12  # four shots of three classes


def test_images_of_every_mode_and_size_train(build, tmp_path):
    import numpy as np
    from PIL import Image

    from helpers import write_images

    root = tmp_path / "oct"
    paths = write_images(root / "cells", {"red": 8, "green": 8, "blue": 8}, patients=8)
    for i, path in enumerate(paths):
        image = Image.open(path).resize([(32, 32), (48, 40), (20, 50)][i % 3])
        mode = ("RGB", "L", "RGBA", "I;16")[i % 4]
        if mode == "I;16":
            image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
        else:
            image = image.convert(mode)
        image.save(path)
    with pytest.warns(UserWarning, match="6 of 24 images .* have more than 8 bits"):
        trainer = build("SAVLT", "DATASET.ROOT", root, *SHORT)
    trainer.train()
    assert 0 < trainer.history[-1]["loss"] < 100


@pytest.mark.parametrize("kind", ["mask", "box"])
def test_an_roi_of_one_patch_trains(build, tmp_path, kind):
    import numpy as np
    from PIL import Image

    from helpers import write_images

    root = tmp_path / "oct"
    paths = write_images(root / "cells" / "images", {"red": 8, "green": 8, "blue": 8}, patients=8)
    for path in map(Path, paths):
        mask = np.zeros((32, 32), np.uint8)
        mask[31, :] = 1  # a row of a patch
        target = root / "cells" / "masks" / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(target)
    opts = ("DATASET.FOLDER", "cells/images", f"{S}.ROI.SOURCE", "masks", f"{S}.ROI.KIND", kind)
    trainer = build("SAVLT", "DATASET.ROOT", root, *opts, *SHORT)
    (_, inside), _ = trainer.parse_batch_test(next(iter(trainer.test_loader)))
    assert (inside.sum(1) == trainer.backbone.visual.grid[1]).all()
    trainer.train()
    assert all(torch.isfinite(p).all() for m in trainer._models.values() for p in m.parameters())


def test_descriptions_that_leave_a_class_out_are_refused(build, tmp_path):
    file = tmp_path / "prompts.yaml"
    file.write_text("short: {red: [warm], green: [moss]}\n")
    with pytest.raises(UserError, match='"short" in .*prompts.yaml has no texts for class blue'):
        build("SAVLT", "DATASET.DESCRIPTIONS", file, f"{S}.PROMPTS", "short")


@pytest.mark.parametrize(
    "opts, message",
    [
        ((f"{S}.ALPHA", 1.5), "ALPHA is 1.5"),
        ((f"{S}.PROTOTYPES", "random"), "PROTOTYPES is 'random'"),
        ((f"{S}.ROI.SOURCE", "unet"), "SOURCE is 'unet'"),
        ((f"{S}.ROI.SOURCE", "segmenter"), "CHECKPOINT"),
        ((f"{S}.LORA.BLOCKS", 5), "last 5 blocks.*has 2"),
        ((f"{S}.TEXT_LORA.BLOCKS", 9), "last 9 blocks.*TextTower has 2"),
        (("DATASET.PROMPT_SET", "report"), "no prompt set 'report'"),
        ((f"{S}.CONSISTENCY.WEIGHT", 1.0, "INPUT.FEATURE_VIEWS", 2), "set one of the two to 0"),
        (PLAIN, "all off"),
        ((f"{S}.HEAD.VIEWS", 0), "HEAD.VIEWS is 0; take at least 1"),
        ((f"{S}.HEAD.ITERS_PER_SHOT", -1), "HEAD.ITERS_PER_SHOT is -1; take at least 0"),
        ((f"{S}.HEAD.LR", 0.0), "HEAD.LR is 0.0"),
        (("DATALOADER.K_TRANSFORMS", 2), "K_TRANSFORMS is 2, set it to 1"),
        (
            ("INPUT.TRANSFORMS", ["random_translation", "normalize"], f"{S}.ROI.SOURCE", "surface"),
            "random_translation moves pixels in a way that an ROI cannot follow",
        ),
    ],
)
def test_settings_that_cannot_be_are_refused(build, opts, message):
    with pytest.raises(UserError, match=message):
        build("SAVLT", *opts)


def test_prompts_name_a_set_and_fall_back_to_templates_where_there_are_none(
    build, tmp_path, capsys
):
    plain = build("SAVLT", *SHORT).class_features()
    named = build("SAVLT", f"{S}.PROMPTS", "short", *SHORT)  # the data set has no sets at all
    assert torch.equal(named.class_features(), plain)
    assert "its templates stand in for 'short'" in capsys.readouterr().out
    file = tmp_path / "prompts.yaml"
    file.write_text("short: {red: [warm], green: [moss], blue: [sky]}\n")
    known = ("DATASET.DESCRIPTIONS", file, *SHORT)
    short = build("SAVLT", f"{S}.PROMPTS", "short", *known).class_features()
    assert not torch.equal(short, plain)
    both = build("SAVLT", f"{S}.PROMPTS", "other", "DATASET.PROMPT_SET", "short", *known)
    assert torch.equal(both.class_features(), short)
    assert "prompts are 'short' (DATASET.PROMPT_SET), not 'other'" in capsys.readouterr().out
    with pytest.raises(UserError, match="'long'.*short"):
        build("SAVLT", f"{S}.PROMPTS", "long", *known)


# -- the head first --------------------------------------------------------------------------------


def test_the_head_learns_first_while_the_tower_stands(build):
    trainer = build("SAVLT", f"{S}.HEAD.ITERS_PER_SHOT", 40, f"{S}.HEAD.VIEWS", 3)
    trainer.start_prototypes()
    before = {k: v.clone() for k, v in trainer.head.state_dict().items()}
    loss = trainer.loss_on_views(trainer.dm.dataset.train_x, 3)
    everything = torch.arange(len(trainer.dm.dataset.train_x))
    started = loss(everything, everything % 3).item()
    state = torch.get_rng_state()
    trainer.train_head_first()
    assert torch.equal(torch.get_rng_state(), state)  # its draws are its own
    assert loss(everything, everything % 3).item() < 0.7 * started
    after = trainer.head.state_dict()
    assert not any(
        torch.equal(before[key], after[key]) for key in ("prototypes", "pool.out.weight")
    )
    assert all((p == 0).all() for n, p in trainer.visual.named_parameters() if "lora_B" in n)


def test_without_steps_of_its_own_the_head_starts_as_it_was(build):
    trainer = build("SAVLT", f"{S}.HEAD.ITERS_PER_SHOT", 0)
    before = {k: v.clone() for k, v in trainer.head.state_dict().items()}
    trainer.train_head_first()
    assert all(torch.equal(before[k], v) for k, v in trainer.head.state_dict().items())


@pytest.mark.parametrize("source", ["surface", "none"])
def test_loss_on_stored_views_is_the_loss_on_their_pixels(build, source):
    """The plain view is the test transform's image, so pixels give the same but for float16."""
    trainer = build("SAVLT", f"{S}.ROI.SOURCE", source, f"{S}.HEAD.VIEWS", 1)
    items = trainer.dm.dataset.train_x
    trainer.set_model_mode("eval")
    batch = next(iter(trainer.make_loader(items)))
    input, label = trainer.parse_batch_test(batch)
    with torch.no_grad():
        expected = trainer.head.loss(*trainer.both_logits(*input), label)
        index = torch.arange(len(label))
        got = trainer.loss_on_views(items, 1)(index, torch.zeros_like(index))
    torch.testing.assert_close(got, expected, rtol=5e-3, atol=5e-3)


def test_rois_of_views_are_those_behind_the_whole_transform(build):
    """Steps after the last one that moves pixels are left out; the draws must be the same."""
    trainer = build("SAVLT")
    preprocess, strength = trainer.backbone.preprocess, trainer.style.strength
    transform = build_styled_transform(trainer.cfg, preprocess, strength)
    path = trainer.dm.dataset.train_x[0].impath
    got = trainer.rois_of_views([path], 4, transform)[0]
    for view in range(4):
        roi = make_view(
            read_image(path),
            lambda image: transform_together(steps_of(transform), image, trainer.finder.mask(path))[
                1
            ],
            describe_transform(transform),
            get_store().hashes.sha256(path),
            view,
        )
        assert torch.equal(got[view], patch_mask(roi, trainer.backbone.visual.grid))
    assert len({tuple(g.tolist()) for g in got}) > 1


def test_a_resumed_run_has_its_head_from_the_checkpoint(build, capsys):
    trainer = build("SAVLT", *SHORT)
    trainer.train()
    assert "head alone" in capsys.readouterr().out
    resumed = build("SAVLT", *SHORT, "RESUME", trainer.output_dir)
    resumed.before_train()
    assert resumed.start_epoch > 0 and "head alone" not in capsys.readouterr().out
    before, after = trainer.head.state_dict(), resumed.head.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_a_full_training_set_is_stored_in_fewer_views(build, savlt, monkeypatch):
    trainer = build("SAVLT", f"{S}.HEAD.VIEWS", 12, shots="full")
    asked = []
    monkeypatch.setattr(savlt, "train_head", lambda *args: None)
    monkeypatch.setattr(savlt, "count_as_shots", lambda cfg, dataset: 1)
    monkeypatch.setattr(trainer, "loss_on_views", lambda items, views: asked.append(views))
    trainer.train_head_first()
    assert asked == [max(2, 12 * 3 // len(trainer.dm.dataset.train_x))] and asked[0] < 12
