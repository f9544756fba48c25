"""open_clip's models, small and random, in folders laid out as on the hub."""

from __future__ import annotations

import copy
import json
import sys

import pytest
import torch
from open_clip_models import HF, MODELS, write_model

from cerviclip.vlm import PromptLearner, apply_lora, load_backbone, lora_parameters
from cerviclip.vlm.base import Backbone
from cerviclip.vlm.learned.deep_prompts import DeepPrompts, text_prompts, vision_prompts
from dassl.errors import MissingFileError, UnknownNameError, UserError
from dassl.utils.files import file_sha256

open_clip = pytest.importorskip("open_clip")

WITH_LORA = {
    "plain": "qkvom qkvom",
    "mean": "qkvom qkvom",
    "norm_last": "qkvom qkvom",
    "coca": "qkvom qkvom",
    "bidirectional": "qkvom qkvom",
    "resnet": "qkvo qkvom",
    "biomedclip": "qkvom qkvom",
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {}
    root = tmp_path_factory.mktemp("open_clip")

    def folder(name):
        if name not in made:
            made[name] = write_model(name, root / name)
        return made[name]

    return folder


@pytest.fixture(scope="module")
def backbones(folders):
    made: dict[str, Backbone] = {}

    def backbone(name):
        if name not in made:
            made[name] = load_backbone(f"open_clip:local-dir:{folders(name)}")
        return made[name]

    return backbone


@pytest.fixture(scope="module")
def references(folders):
    """open_clip's own models from the same folders."""

    def reference(name):
        folder = folders(name)
        kwargs = {}
        if name == "biomedclip":
            kwargs["text_cfg"] = {**HF, "hf_model_name": str(folder / "bert")}
            kwargs["text_cfg"]["hf_model_pretrained"] = False
            (folder / "bert").mkdir(exist_ok=True)
            shapes = dict(vocab_size=21, hidden_size=64, num_hidden_layers=2, model_type="bert")
            shapes |= dict(num_attention_heads=1, intermediate_size=96, max_position_embeddings=300)
            (folder / "bert" / "config.json").write_text(json.dumps(shapes))
        return open_clip.create_model(f"local-dir:{folder}", **kwargs).eval()

    return reference


def pixels(backbone, count=2):
    torch.manual_seed(1)
    return torch.randn(count, 3, *backbone.preprocess.size)


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_features_equal_open_clips_own(name, backbones, references, folders):
    backbone, reference = backbones(name), references(name)
    x = pixels(backbone)
    expected = reference.encode_image(x, normalize=False)
    assert torch.allclose(backbone.encode_image(x), expected, atol=2e-5)
    pooled, patches = backbone.encode_tokens(x)
    assert torch.allclose(pooled, expected, atol=2e-5)
    rows, columns = backbone.visual.grid
    assert patches.shape == (2, rows * columns, expected.shape[1])
    tower, half = backbone.visual, backbone.visual.num_blocks // 2
    h = tower.run_blocks(tower.stem(x), 0, half)  # stopping between blocks changes nothing
    assert torch.allclose(tower.finish(h, half), expected, atol=2e-5)
    tokens = backbone.tokenize(["a cyst", "an image of dark layers ."])
    assert tokens.shape[1] == backbone.text.context_length or name == "biomedclip"
    expected = reference.encode_text(tokens, normalize=False)
    assert torch.allclose(backbone.encode_text(tokens), expected, atol=2e-5)
    assert torch.allclose(backbone.scale, reference.logit_scale.exp().reshape(-1)[0])
    assert backbone.preprocess.mean == (0.1, 0.2, 0.3)
    weights = folders(name) / "open_clip_pytorch_model.bin"
    assert backbone.weights_sha256 == file_sha256(weights)


@pytest.mark.parametrize("name", WITH_LORA)
@pytest.mark.parametrize("side", ["vision", "text"])
def test_lora_reaches_every_target_and_leaves_the_base_alone(name, side, backbones):
    backbone = backbones(name)
    before = backbone.fingerprint()
    base = backbone.visual if side == "vision" else backbone.text
    letters = WITH_LORA[name].split()[side == "text"]
    targets = [{"m": "mlp"}.get(letter, letter) for letter in letters]
    assert set(base.lora_names) == set(targets)
    given = pixels(backbone) if side == "vision" else backbone.tokenize(["a cyst", "the image"])
    tower = apply_lora(base, targets, r=2, alpha=4)
    assert torch.equal(tower.train()(given), base(given))
    with torch.no_grad():
        assert torch.equal(tower.eval()(given), base(given))
        for parameter in lora_parameters(tower):
            parameter.normal_(std=0.3)
        merged = tower(given)
    unmerged = tower.train()(given)
    assert (merged - base(given)).abs().max() > 1e-3
    assert (merged - unmerged).abs().max() <= 2e-5 * max(1, float(merged.abs().max()))
    unmerged.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in lora_parameters(tower))
    assert backbone.fingerprint() == before


@pytest.mark.parametrize("name", ["custom_blocks", "timm_map"])
def test_towers_without_known_blocks_refuse_lora(name, backbones):
    with pytest.raises(UserError, match="LoRA needs attention blocks"):
        apply_lora(backbones(name).visual)


@pytest.mark.parametrize("name", ["plain", "biomedclip"])
def test_learned_prompts_start_where_the_words_are(name, backbones):
    backbone = backbones(name)
    learner = PromptLearner(backbone, ["cyst", "high-grade_cancer"], ctx_init="an image of")
    features = learner.features(backbone.text)
    texts = ["an image of cyst.", "an image of high-grade cancer."]
    assert torch.allclose(features, backbone.encode_text(backbone.tokenize(texts)), atol=1e-5)
    features.square().sum().backward()
    assert learner.ctx.grad.abs().sum() > 0


def test_prompts_cannot_be_learned_where_texts_have_no_ends(backbones):
    backbone = copy.copy(backbones("plain"))
    with_ends = backbone._tokenizer
    backbone._tokenizer = lambda texts: with_ends(texts)[:, 1:]
    with pytest.raises(UserError, match="start and an end token"):
        PromptLearner(backbone, ["cyst"])


@torch.no_grad()
def test_train_mode_of_a_frozen_text_tower_drops_nothing(backbones):
    backbone = backbones("biomedclip")
    tower = apply_lora(backbone.text, ("q",), r=2).train()
    tokens = backbone.tokenize(["a cyst"])
    assert torch.equal(tower(tokens), tower(tokens)) and torch.equal(
        tower(tokens), backbone.text(tokens)
    )


@pytest.mark.parametrize("name", ["plain", "biomedclip", "coca", "timm_map"])
@torch.no_grad()
def test_bf16_weights_give_nearly_the_same_features(name, backbones, folders):
    exact = backbones(name)
    half = load_backbone(f"open_clip:local-dir:{folders(name)}", precision="bf16")
    x, tokens = pixels(exact), exact.tokenize(["a cyst"])
    cosine = torch.nn.functional.cosine_similarity
    assert cosine(half.encode_image(x), exact.encode_image(x)).min() > 0.98
    assert cosine(half.encode_text(tokens), exact.encode_text(tokens)).min() > 0.98


def test_an_architecture_of_open_clips_list_with_a_file_and_at_random(folders, tmp_path):
    (tmp_path / "tiny-arch.json").write_text(json.dumps({"embed_dim": 32, **MODELS["plain"]}))
    open_clip.add_model_config(tmp_path / "tiny-arch.json")
    file = folders("plain") / "open_clip_pytorch_model.bin"
    backbone = load_backbone(f"open_clip:tiny-arch:{file}")
    assert backbone.arch == "tiny-arch" and backbone.weights_sha256 == file_sha256(file)
    assert load_backbone("open_clip:tiny-arch", file).fingerprint() == backbone.fingerprint()
    drawn = [load_backbone("open_clip:tiny-arch:random").weights_sha256 for _ in range(2)]
    assert drawn[0] == drawn[1] != backbone.weights_sha256


def test_wrong_names_files_and_folders_are_named(folders, tmp_path, monkeypatch):
    with pytest.raises(UnknownNameError, match="ViT-B-61.*did you mean 'ViT-B-16'"):
        load_backbone("open_clip:ViT-B-61:openai")
    with pytest.raises(MissingFileError, match="needs weights.*openai.*--weights FILE"):
        load_backbone("open_clip:ViT-B-32")
    with pytest.raises(MissingFileError, match="neither a file nor a pretrained tag.*openai"):
        load_backbone("open_clip:ViT-B-32:oppenai")
    with pytest.raises(MissingFileError, match="open_clip_config.json"):
        load_backbone(f"open_clip:local-dir:{tmp_path}")
    (tmp_path / "open_clip_config.json").write_text("{}")
    with pytest.raises(UserError, match="model_cfg"):
        load_backbone(f"open_clip:local-dir:{tmp_path}")
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": MODELS["plain"]}))
    with pytest.raises(MissingFileError, match="no weights in"):
        load_backbone(f"open_clip:local-dir:{tmp_path}")
    other = folders("mean") / "open_clip_pytorch_model.bin"
    with pytest.raises(UserError, match="does not belong to open_clip's biomedclip"):
        load_backbone(f"open_clip:local-dir:{folders('biomedclip')}", other)


def test_a_download_that_fails_is_one_sentence(monkeypatch):
    def unreachable(*args, **kwargs):
        raise OSError("no route to host\nwith a long trace")

    monkeypatch.setattr(open_clip, "download_pretrained", unreachable)
    with pytest.raises(MissingFileError, match="--weights FILE") as caught:
        load_backbone("open_clip:ViT-B-32:openai")
    assert "\n" not in str(caught.value)


def test_without_the_extra_one_sentence_with_the_pip_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(UserError, match=r'pip install -e "\.\[open_clip\]"'):
        load_backbone("open_clip:ViT-B-32:openai")


def test_an_openai_file_serves_open_clips_copy_of_the_architecture(folders, backbones, tmp_path):
    """open_clip's plain CLIP has OpenAI's names: its file serves as `CLIP` too, away from the
    config that states other statistics."""
    file = folders("plain") / "open_clip_pytorch_model.bin"
    with pytest.raises(UserError, match="open_clip_config.json says mean 0.1, 0.2, 0.3"):
        load_backbone("CLIP", file)
    (tmp_path / "alone.bin").write_bytes(file.read_bytes())
    same = load_backbone("CLIP", tmp_path / "alone.bin")
    backbone = backbones("plain")
    x = pixels(backbone)
    with torch.no_grad():
        assert torch.allclose(same.encode_image(x), backbone.encode_image(x), atol=1e-5)


# -- prompts between the blocks -------------------------------------------------------------------

OPEN_VISION = [name for name in MODELS if name not in ("resnet", "custom_blocks", "timm_map")]


def blocks_of(reference, side):
    """open_clip's own list of blocks."""
    if side == "vision":
        trunk = getattr(reference.visual, "trunk", None)
        return trunk.blocks if trunk is not None else reference.visual.transformer.resblocks
    text = getattr(reference, "text", reference)
    if hasattr(text, "config"):
        return text.transformer.encoder.layer
    return text.transformer.resblocks


def hook_into(blocks, deep):
    """Let the library itself run with ``deep`` before each of its blocks."""
    for index, block in enumerate(blocks):

        def enter(module, args, kwargs, index=index):
            return (deep(index, args[0]), *args[1:]), kwargs

        block.register_forward_pre_hook(enter, with_kwargs=True)


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_text_by_stem_blocks_and_head_and_the_identity_callback(name, backbones):
    backbone = backbones(name)
    tower, tokens = backbone.text, backbone.tokenize(["a cyst", "an image of dark layers ."])
    expected = tower(tokens)
    assert torch.equal(tower(tokens, lambda i, h: h), expected)
    tokens = tokens[:, : tower.longest(tokens)].contiguous()
    h = tower.run_blocks(tower.stem(tower.embed(tokens)), 0, 1, tokens=tokens)
    h = tower.run_blocks(h, 1, tokens=tokens)
    assert torch.allclose(tower.head(h, tokens), expected, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("start", [0, 1])
@torch.no_grad()
def test_replaced_text_prompts_equal_the_librarys_run_with_hooks(
    name, start, backbones, references
):
    backbone, reference = backbones(name), references(name)
    tower, tokens = backbone.text, backbone.tokenize(["a cyst", "an image of dark layers ."])
    count = tower.num_blocks - start
    deep = text_prompts(tower, [torch.randn(2, 2, tower.width) for _ in range(count)], start)
    ours = tower(tokens, deep)
    hook_into(blocks_of(reference, "text"), deep)
    expected = reference.encode_text(tokens, normalize=False)
    assert torch.allclose(ours, expected, atol=2e-5)
    assert not torch.allclose(ours, tower(tokens), atol=1e-3)


@pytest.mark.parametrize("name", MODELS)
def test_tokens_added_to_a_text_are_seen_and_hide_no_others(name, backbones):
    """The columns that matter are the same as before, and the added ones are among them."""
    tower = backbones(name).text
    tokens = backbones(name).tokenize(["a cyst", "an image of dark layers ."])
    embeddings = tower.embed(tokens).detach().requires_grad_()

    def columns(features):
        (gradient,) = torch.autograd.grad(features.square().sum(), embeddings)
        return gradient.abs().sum(-1) > 0

    plain = columns(tower.encode(embeddings, tokens))
    added = torch.randn(3, tower.width, requires_grad=True)
    features = tower.encode(embeddings, tokens, 0, DeepPrompts([added], 0, 1, insert=True))
    assert torch.equal(columns(features), plain)
    features = tower.encode(embeddings, tokens, 0, DeepPrompts([added], 0, 1, insert=True))
    features.square().sum().backward()
    assert (added.grad.abs().sum(-1) > 0).all()


@torch.no_grad()
def test_tokens_added_to_biomedclips_text_equal_its_encoders_own_run(backbones, references):
    backbone, text = backbones("biomedclip"), references("biomedclip").text
    tower, tokens = backbone.text, backbone.tokenize(["a cyst", "an image of dark layers ."])
    tokens = tokens[:, : tower.longest(tokens)].contiguous()
    p = torch.randn(3, tower.width)
    h = text.transformer.embeddings(input_ids=tokens)
    h = torch.cat([h[:, :1], p.expand(2, -1, -1), h[:, 1:]], dim=1)
    real = torch.nn.functional.pad((tokens != 0).float(), (3, 0), value=1.0)
    mask = (1 - real[:, None, None, :]) * -1e30
    h = text.transformer.encoder(h, attention_mask=mask).last_hidden_state
    expected = text.proj(h[:, 0])
    ours = tower(tokens, DeepPrompts([p], 0, 1, insert=True))
    assert torch.allclose(ours, expected, atol=2e-5)


@pytest.mark.parametrize("name", OPEN_VISION)
@torch.no_grad()
def test_vision_prompts_equal_the_librarys_run_with_hooks(name, backbones, references):
    backbone, reference = backbones(name), references(name)
    tower, x = backbone.visual, pixels(backbone)
    assert torch.equal(tower(x, lambda i, h: h), tower(x))
    deep = vision_prompts(tower, [torch.randn(3, tower.width) for _ in range(2)])
    ours = tower.finish(tower.stem(x), 0, deep)
    pooled, patches = tower.head(tower.run_blocks(tower.stem(x), before_block=deep))
    blocks = blocks_of(reference, "vision")
    hook_into(blocks, deep)
    prefix = tower.prefix

    def leave(module, args, out):  # the library pools over all tokens that there are
        return torch.cat([out[:, :prefix], out[:, prefix + 3 :]], dim=1)

    blocks[-1].register_forward_hook(leave)
    expected = reference.encode_image(x, normalize=False)
    assert torch.allclose(ours, expected, atol=2e-5)
    assert torch.allclose(pooled, expected, atol=2e-5)
    assert patches.shape[1] == tower.grid[0] * tower.grid[1]


@pytest.mark.parametrize("name", ["resnet", "custom_blocks", "timm_map"])
def test_vision_towers_without_open_blocks_refuse_prompts(name, backbones):
    tower = backbones(name).visual
    with pytest.raises(UserError, match=f"{type(tower).__name__} has none.*ViT-B/16"):
        tower(pixels(backbones(name)), lambda i, h: h)


def test_a_text_encoder_of_another_kind_refuses_prompts(backbones):
    backbone = backbones("biomedclip")
    tower = copy.copy(backbone.text)
    tower.open_blocks = False  # as for T5, whose blocks take more than tokens and a mask
    tokens = backbone.tokenize(["a cyst"])
    for call in (
        lambda: tower(tokens, lambda i, h: h),
        lambda: tower.stem(tower.embed(tokens)),
    ):
        with pytest.raises(UserError, match="HFTextTower has none"):
            call()
