"""The base of CLIP-family trainers: loaders of stored features, equality with online encoding."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from cases import trainer_cases
from safetensors.torch import save_file
from torch import nn
from vlm_fixtures import Probe, make, toy

from cerviclip.data.images import cache as image_cache
from cerviclip.features.loader import FeatureLoader
from cerviclip.features.source import clear_tables
from cerviclip.plugins import ensure_loaded
from dassl.engine import TRAINER_REGISTRY
from dassl.errors import UserError
from helpers import tiny_clip_state_dict

__all__ = ["toy"]


class Hidden(Probe):
    """The same on the tokens below block 1."""

    image_input = "hidden"
    first_block = 1

    def build_model(self) -> None:
        super().build_model()
        self.shapes: list[tuple] = []

    def image_features(self, x):
        self.shapes.append(tuple(x.shape))
        h = self.hidden_states(x)
        return F.normalize(self.backbone.visual.finish(h, self.first_block), dim=-1)


@pytest.mark.parametrize("kind", [Probe, Hidden])
def test_stored_single_view_equals_online_without_augmentation(toy, kind):
    stored = make(toy, kind, INPUT__FEATURE_VIEWS=1)
    assert isinstance(stored.train_loader_x, FeatureLoader)
    stored.train()
    online = make(toy, kind, INPUT__FEATURE_VIEWS=0)
    assert not isinstance(online.train_loader_x, FeatureLoader)
    online.train()
    assert stored.order == online.order
    assert stored.losses == online.losses
    assert stored.test("test") == online.test("test")


SHIPPED = {name: case.stored for name, case in trainer_cases().items() if case.stored}


def test_some_trainers_say_that_they_may_learn_from_stored_features():
    assert len(SHIPPED) >= 4


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_trainers_score_the_same_stored_and_online(toy, name):
    kind = ensure_loaded("trainer", name)
    logits = []
    for views in (1, 0):
        clear_tables()
        cfg_keys = {"INPUT.FEATURE_VIEWS": views, "DATASET.NUM_SHOTS": 2}
        trainer = make(toy, kind, **cfg_keys, opts=SHIPPED[name])
        trainer.train()
        trainer.set_model_mode("eval")
        with torch.no_grad():
            batches = [trainer.parse_batch_test(b) for b in trainer.make_loader(trainer.test_items)]
            logits.append(torch.cat([trainer.model_inference(x) for x, _ in batches]))
    assert torch.equal(*logits)


def test_batches_have_upstreams_keys_and_normalised_features(toy):
    trainer = make(toy, INPUT__FEATURE_VIEWS=2)
    batch = next(iter(trainer.train_loader_x))
    # Upstream's, and which stored view each row is.
    assert sorted(batch) == ["domain", "img", "impath", "index", "label", "view"]
    assert set(batch["view"].tolist()) <= {0, 1}
    assert batch["img"].shape == (4, trainer.backbone.embed_dim)
    norms = trainer.image_features(batch["img"]).norm(dim=-1)
    torch.testing.assert_close(norms, torch.ones(4))


def test_pixels_give_the_very_bits_of_the_store(toy):
    trainer = make(toy)
    stored = torch.cat([b["img"] for b in trainer.val_loader])
    trainer_pixels = make(toy)
    trainer_pixels.image_input = "images"
    loader = trainer_pixels.make_loader(trainer.dm.dataset.val)
    online = torch.cat([trainer.image_features(b["img"]) for b in loader])
    assert torch.equal(F.normalize(stored, dim=-1), online)


def test_second_run_encodes_nothing(toy):
    first = make(toy, INPUT__FEATURE_VIEWS=1)
    first.train()
    assert first.store_counts["misses"] == 20  # train and test; val was not asked for
    second = make(toy, INPUT__FEATURE_VIEWS=1)
    second.train()
    assert (second.store_counts["misses"], second.store_counts["hits"]) == (0, 20)


@pytest.mark.parametrize("value", ["", "float16", "bfloat16"])
def test_features_are_stored_as_the_environment_says_and_empty_is_nothing(toy, monkeypatch, value):
    monkeypatch.setenv("CERVICLIP_STORE_DTYPE", value)
    trainer = make(toy, INPUT__FEATURE_VIEWS=1)
    rows = trainer.train_loader_x.dataset.table.rows
    assert rows.dtype == getattr(torch, value or "float16")


def test_test_set_is_not_touched_before_training_ended(toy):
    trainer = make(toy, INPUT__FEATURE_VIEWS=1)
    trainer.train()
    assert not trainer.dm.test_read_early
    early = make(toy)
    next(iter(early.test_loader))
    assert early.dm.test_read_early


class Cheat(Probe):
    """Trains on the test images."""

    def before_epoch(self):
        self.train_loader_x = self.make_loader(self.dm.dataset.test[:4])


def test_training_on_a_loader_of_test_images_leaves_a_mark(toy):
    trainer = make(toy, Cheat)
    assert not trainer.dm.test_read_early
    trainer.train()
    assert trainer.dm.test_read_early
    honest = make(toy)
    for items in (honest.dm.dataset.train_x, honest.dm.dataset.val):
        honest.make_loader(items)
    honest.train()
    honest.make_loader(honest.dm.dataset.test)
    assert not honest.dm.test_read_early


def test_hidden_batches_are_tokens_and_first_block_0_without_views_is_pixels(toy):
    trainer = make(toy, Hidden, INPUT__FEATURE_VIEWS=1)
    assert next(iter(trainer.train_loader_x))["img"].shape == (4, 17, 64)
    whole = type("Whole", (Hidden,), {"first_block": 0})
    TRAINER_REGISTRY._obj_map["Whole"] = whole
    assert next(iter(make(toy, whole).val_loader))["img"].shape[1:] == (3, 32, 32)
    views = make(toy, whole, INPUT__FEATURE_VIEWS=2)
    assert next(iter(views.train_loader_x))["img"].shape == (4, 17, 64)


def test_split_features_are_unit_vectors_by_view(toy):
    trainer = make(toy, INPUT__FEATURE_VIEWS=3, INPUT__TRANSFORMS=["random_resized_crop"])
    features, labels = trainer.split_features("train")
    assert features.shape == (10, 3, trainer.backbone.embed_dim)
    assert labels.tolist() == [d.label for d in trainer.dm.dataset.train_x]
    torch.testing.assert_close(features.norm(dim=-1), torch.ones(10, 3))
    assert (features[:, 0] != features[:, 1]).any(dim=1).all()
    trainer.dm.dataset._val = []
    assert trainer.split_features("val")[0].shape == (0, 1, trainer.backbone.embed_dim)


def test_views_do_not_disturb_the_global_generators(toy):
    trainer = make(toy, INPUT__FEATURE_VIEWS=3, INPUT__TRANSFORMS=["random_resized_crop"])
    before = torch.get_rng_state()
    trainer.split_features("train")
    assert torch.equal(before, torch.get_rng_state())


def test_image_cache_gives_the_same_test_pixels(toy):
    trainer = make(toy)
    trainer.image_input = "images"
    items = trainer.dm.dataset.test
    plain = torch.cat([b["img"] for b in trainer.make_loader(items)])
    cache = image_cache.enable(10**8)
    cached = [torch.cat([b["img"] for b in trainer.make_loader(items)]) for _ in range(2)]
    assert torch.equal(plain, cached[0]) and torch.equal(plain, cached[1])
    assert (cache.misses, cache.hits) == (10, 10)


def test_prompt_sets_and_templates(toy):
    trainer = make(toy)
    assert trainer.class_texts()[0] == ["a photo of a blue."]
    trainer = make(toy, DATASET__PROMPT_SET="long")
    assert trainer.class_texts()[2] == ["cells that look red", "red stain"]
    norms = trainer.text_features().norm(dim=-1)
    torch.testing.assert_close(norms, torch.ones(3))
    trainer = make(toy, DATASET__TEMPLATES=["slide of {}"])
    assert trainer.class_texts()[1] == ["slide of green"]
    with pytest.raises(UserError, match="no prompt set 'nope'.*long"):
        make(toy, DATASET__PROMPT_SET="nope")


def test_bad_settings_are_refused_in_one_line(toy):
    with pytest.raises(UserError, match="FEATURE_VIEWS is -1"):
        make(toy, INPUT__FEATURE_VIEWS=-1)
    with pytest.raises(UserError, match="TRAINER.PROBE.PREC is 'int4'"):
        make(toy, TRAINER__PROBE__PREC="int4")


def other_weights(tmp_path, **shape):
    """Weights of a CLIP of the same or of another shape."""
    path = tmp_path / "other.safetensors"
    save_file(tiny_clip_state_dict(seed=1, **shape), path)
    return str(path)


@pytest.mark.parametrize("own_folder", [True, False])
def test_resuming_on_another_backbone_of_the_same_shape_is_refused(toy, own_folder):
    first = make(toy, INPUT__FEATURE_VIEWS=1)
    first.train()
    where = {"OUTPUT_DIR" if own_folder else "RESUME": first.output_dir}
    again = make(toy, **where, OPTIM__MAX_EPOCH=3)
    again.train()
    assert [row["epoch"] for row in again.history] == [1, 2, 3]
    other = make(toy, **where, MODEL__INIT_WEIGHTS=other_weights(toy), OPTIM__MAX_EPOCH=4)
    with pytest.raises(UserError, match="tar-[23] was trained on a backbone with weights "):
        other.train()
    with pytest.raises(UserError, match="was trained on a backbone with weights "):
        other.load_model(first.output_dir)


def test_resuming_on_a_backbone_of_another_shape_names_the_tensor(toy):
    first = make(toy, INPUT__FEATURE_VIEWS=1)
    first.train()
    wider = other_weights(toy, embed_dim=48)
    other = make(toy, RESUME=first.output_dir, MODEL__INIT_WEIGHTS=wider, OPTIM__MAX_EPOCH=3)
    with pytest.raises(UserError, match=r"does not fit.*weight has shape .*3, 48") as e:
        other.train()
    assert "\n" not in str(e.value)


def test_a_foreign_checkpoint_that_names_no_backbone_is_still_resumed(toy):
    first = make(toy, INPUT__FEATURE_VIEWS=1)
    first.train()
    path = Path(first.output_dir) / "head" / "model.pth.tar-2"
    saved = torch.load(path, weights_only=True)
    assert saved.pop("backbone_sha256") == first.backbone.weights_sha256 != ""
    torch.save(saved, path)
    again = make(toy, RESUME=first.output_dir, OPTIM__MAX_EPOCH=3)
    again.train()
    assert [row["epoch"] for row in again.history] == [1, 2, 3]


def test_load_model_takes_the_final_model_and_refuses_another_shape(toy):
    trainer = make(toy, INPUT__FEATURE_VIEWS=1)
    trainer.train()
    final = trainer.head.weight.detach().clone()
    again = make(toy)
    again.load_model(trainer.output_dir)
    assert torch.equal(again.head.weight, final)
    again._models["head"] = nn.Linear(5, 3)
    with pytest.raises(UserError, match="weight has shape"):
        again.load_model(trainer.output_dir)
    with pytest.raises(UserError, match="no checkpoint"):
        again.load_model(str(toy / "nowhere"))


@pytest.mark.parametrize("views, said", [(1, True), (3, False), (0, False)])
def test_random_steps_without_effect_are_named(toy, capsys, views, said):
    make(toy, Probe, INPUT__FEATURE_VIEWS=views, INPUT__TRANSFORMS=("random_flip", "normalize"))
    assert ("these have no effect: random_flip;" in capsys.readouterr().out) == said


@pytest.mark.parametrize("sets, used", [(("only",), True), (("one", "two"), False)])
def test_descriptions_without_a_chosen_set(toy, capsys, sets, used):
    trainer = make(toy, Probe)
    names = trainer.task.classnames
    described = {s: {name: (f"a look of {name} {s}",) for name in names} for s in sets}
    trainer.task = replace(trainer.task, descriptions=described)
    trainer.cfg.defrost()
    trainer.cfg.DATASET.DESCRIPTIONS = "mine.yaml"
    trainer.cfg.freeze()
    texts = trainer.class_texts()
    assert (texts[0] == [f"a look of {names[0]} only"]) == used
    assert ("DATASET.PROMPT_SET chooses one of one, two" in capsys.readouterr().out) != used


@pytest.mark.parametrize("views, trains_by", [(0, "train"), (1, "test"), (2, "train")])
def test_the_log_tells_the_transform_that_training_images_go_through(toy, capsys, views, trains_by):
    make(toy, Probe, INPUT__FEATURE_VIEWS=views)
    said = capsys.readouterr().out
    assert ("Building transform_train" in said) == (trains_by == "train")
    assert ("Training images go through transform_test" in said) == (trains_by == "test")
    assert said.count("Building transform_test") == 1
