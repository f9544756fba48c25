"""Published backbones by name: few blocks of the true width, from files as they are published."""

from __future__ import annotations

import json
import sys
from collections import OrderedDict
from dataclasses import replace
from types import MappingProxyType

import pytest
import torch
from open_clip_models import HF, TIMM, write_model

from cerviclip.backbones import published
from cerviclip.backbones.names import BACKBONES, known_towers
from cerviclip.backbones.published import PUBLISHED, how_to_get
from cerviclip.vlm import load_backbone
from cerviclip.vlm.files import beside
from cerviclip.vlm.towers import published as towers
from dassl.errors import MissingFileError, UserError

open_clip = pytest.importorskip("open_clip")
transformers = pytest.importorskip("transformers")

TINY_VIT = {"embed_dim": 64, "depth": 2, "num_heads": 2}
TINY_TEXT = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1}


@pytest.fixture
def smaller(monkeypatch):
    """``smaller(name, **arch)``: the entry with another size; ``embed_dim`` of the features too."""

    def change(name: str, dim: int = 64, **changes) -> None:
        entry = PUBLISHED[name]
        arch = {**entry.arch, **changes.pop("arch", {})}
        new = {**PUBLISHED, name: replace(entry, arch=arch, embed_dim=dim, **changes)}
        for module in (published, towers, beside):
            monkeypatch.setattr(module, "PUBLISHED", MappingProxyType(new))

    return change


def filled(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Values that do something, norms and layer scales included."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_(0.05 * noise)
    return module.eval()


# -- vision transformers alone ---------------------------------------------------------------------


def saved_as(name: str, state: dict) -> object:
    """What the authors' file of that name holds."""
    if name == "DinoBloom-S":  # a training checkpoint, its teacher beside other things
        teacher = {f"backbone.{key}": value for key, value in state.items()}
        return {"teacher": {**teacher, "dino_head.last.weight": torch.zeros(2)}, "iteration": 3}
    if name in ("UniCAS", "CROWN"):
        out = OrderedDict(mask_token=torch.zeros(1, 64))
        for key, value in state.items():
            key = key.replace("blocks.", "blocks.0.", 1) if name == "CROWN" else key
            key = key.replace("fc1", "w12").replace("fc2", "w3") if name == "CROWN" else key
            out[key] = value
        return out
    return state


@pytest.mark.parametrize("name", ["UNI", "DinoBloom-S", "UniCAS", "CROWN"])
@torch.no_grad()
def test_a_vision_transformer_gives_what_timms_own_forward_gives(name, smaller, tmp_path):
    smaller(name, arch=TINY_VIT)
    reference = filled(towers._trunk(towers.PUBLISHED[name]))
    file = tmp_path / PUBLISHED[name].file
    torch.save(saved_as(name, reference.state_dict()), file)
    backbone = load_backbone(name, file)
    entry = PUBLISHED[name]
    x = torch.randn(2, 3, entry.size, entry.size)
    torch.testing.assert_close(backbone.encode_image(x), reference(x), atol=2e-5, rtol=1e-4)
    assert not backbone.has_text and backbone.embed_dim == 64
    assert backbone.preprocess.mean == entry.statistics[0]
    assert backbone.preprocess.resize == entry.resize
    pooled, patches = backbone.encode_tokens(x)
    side = entry.size // entry.arch["patch_size"]
    assert patches.shape == (2, side * side, 64)
    torch.testing.assert_close(patches, reference.forward_features(x)[:, 1:], atol=2e-5, rtol=1e-4)
    with pytest.raises(UserError, match=f"{name} has no text encoder"):
        backbone.tokenize(["a cyst"])


@torch.no_grad()
def test_conch_is_its_trunk_under_its_attention_pool(smaller, tmp_path):
    smaller("CONCH", dim=32, arch=TINY_VIT, size=64)
    entry = towers.PUBLISHED["CONCH"]
    trunk = filled(towers._trunk(entry))
    pool = filled(towers.ContrastPool(64, 32), seed=1)
    state = {f"visual.trunk.{key}": value for key, value in trunk.state_dict().items()}
    names = {"attention": "attn_pool_contrast", "norm": "ln_contrast", "proj": "proj_contrast"}
    for key, value in pool.state_dict().items():
        first, _, rest = key.partition(".")
        state[".".join(filter(None, ["visual", names[first], rest]))] = value
    state |= {"visual.attn_pool_caption.query": torch.zeros(2), "text.positional": torch.zeros(1)}
    torch.save(state, tmp_path / "pytorch_model.bin")
    backbone = load_backbone("CONCH", tmp_path / "pytorch_model.bin")
    x = torch.randn(2, 3, 64, 64)

    tokens = trunk.forward_features(x)  # the paper's: one query attends to all tokens
    attention, keys = pool.attention.attn, pool.attention.ln_k(tokens)
    query = pool.attention.ln_q(pool.attention.query)
    q = query @ attention.q_proj_weight.t() + attention.in_proj_bias[:32]
    k = keys @ attention.k_proj_weight.t() + attention.in_proj_bias[32:64]
    v = keys @ attention.v_proj_weight.t() + attention.in_proj_bias[64:]
    heads = [t.unflatten(-1, (8, 4)).movedim(-2, -3) for t in (q, k, v)]
    weights = (heads[0] @ heads[1].transpose(-1, -2) / 4**0.5).softmax(-1)
    mixed = attention.out_proj((weights @ heads[2]).movedim(-3, -2).flatten(-2))[:, 0]
    expected = torch.nn.functional.layer_norm(mixed, (32,), pool.norm.weight, pool.norm.bias)
    expected = expected @ pool.proj
    torch.testing.assert_close(backbone.encode_image(x), expected, atol=2e-5, rtol=1e-4)
    assert backbone.encode_tokens(x)[1].shape == (2, 16, 32)


def test_a_file_of_another_network_is_refused_with_the_place_of_the_right_one(smaller, tmp_path):
    smaller("UNI", arch=TINY_VIT)
    file = tmp_path / "uni.bin"
    torch.save({"cls_token": torch.zeros(1, 1, 64), "conv1.weight": torch.zeros(1)}, file)
    with pytest.raises(UserError, match="does not belong to UNI.*missing.*1 unknown.*Mahmood"):
        load_backbone("UNI", file)
    deeper = {**TINY_VIT, "depth": 3}
    smaller("UniCAS", arch=deeper)
    torch.save(towers._trunk(towers.PUBLISHED["UniCAS"]).state_dict(), file)
    smaller("UniCAS", arch=TINY_VIT)
    with pytest.raises(UserError, match="does not belong to UniCAS: 14 unknown"):
        load_backbone("UniCAS", file)


def test_a_pickle_that_would_run_something_is_refused(smaller, tmp_path):
    class Harm:
        def __reduce__(self):
            return (print, ("this must not run",))

    file = tmp_path / "UniCAS.pth"
    torch.save({"cls_token": Harm()}, file)
    with pytest.raises(UserError, match="names builtins.print, which is not on the list"):
        load_backbone("UniCAS", file)


# -- CLIPs -----------------------------------------------------------------------------------------


def tiny_clip(folder, **vision):
    """A CLIP of transformers in a folder, as PLIP and PubMedCLIP are published."""
    text = {"hidden_size": 64, "num_attention_heads": 1, "num_hidden_layers": 2}
    text |= {"intermediate_size": 256, "projection_dim": 32, "eos_token_id": 49407}
    vision = {
        **{key: text[key] for key in ("hidden_size", "num_attention_heads", "num_hidden_layers")},
        **{"intermediate_size": 256, "image_size": 32, "patch_size": 8, "projection_dim": 32},
        **vision,
    }
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=32)
    model = filled(transformers.CLIPModel(config))
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    (folder / "config.json").write_text(config.to_json_string(use_diff=False))
    return model


@torch.no_grad()
def test_transformers_clip_gives_transformers_features(tmp_path):
    model = tiny_clip(tmp_path)
    backbone = load_backbone("CLIP", tmp_path / "pytorch_model.bin")
    x = torch.randn(2, 3, 32, 32)
    expected = model.visual_projection(model.vision_model(x).pooler_output)
    torch.testing.assert_close(backbone.encode_image(x), expected, atol=2e-5, rtol=1e-4)
    tokens = backbone.tokenize(["a cyst", "dark layers of an image"])
    hidden = model.text_model(input_ids=tokens).last_hidden_state
    ends = hidden[torch.arange(2), tokens.argmax(-1)]
    expected = model.text_projection(ends)
    torch.testing.assert_close(backbone.encode_text(tokens), expected, atol=2e-5, rtol=1e-4)


def test_a_config_beside_that_says_gelu_or_other_statistics_is_a_refusal(tmp_path):
    file = tmp_path / "pytorch_model.bin"
    tiny_clip(tmp_path, hidden_act="gelu")
    with pytest.raises(UserError, match="config.json says QuickGELU False.*CLIP has True"):
        load_backbone("CLIP", file)
    (tmp_path / "config.json").unlink()
    said = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(said))
    with pytest.raises(UserError, match="preprocessor_config.json says mean 0.5, 0.5, 0.5"):
        load_backbone("CLIP", file)
    renamed = file.rename(tmp_path / "mine.bin")  # of a folder of many files nothing is known
    load_backbone("CLIP", renamed)


def quiltnet(tmp_path, smaller, quick_gelu: bool):
    vision = {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8}
    arch = {"embed_dim": 32, "vision_cfg": vision, "text_cfg": TINY_TEXT}
    smaller("QuiltNet-B/32", dim=32, arch=arch, size=32)
    model = filled(open_clip.model.CLIP(**arch, quick_gelu=quick_gelu))
    file = tmp_path / "open_clip_pytorch_model.bin"
    torch.save(model.state_dict(), file)
    return model, file


@torch.no_grad()
def test_quiltnet_has_gelu_and_clips_statistics(smaller, tmp_path, recwarn):
    model, file = quiltnet(tmp_path, smaller, quick_gelu=False)
    backbone = load_backbone("QuiltNet-B/32", file)
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(
        backbone.encode_image(x), model.encode_image(x), atol=2e-5, rtol=1e-4
    )
    tokens = backbone.tokenize(["a cyst"])
    expected = model.encode_text(tokens)
    torch.testing.assert_close(backbone.encode_text(tokens), expected, atol=2e-5, rtol=1e-4)
    as_openai = load_backbone("CLIP", file)  # the same tensors with QuickGELU: other features
    assert (as_openai.encode_image(x) - model.encode_image(x)).abs().max() > 1e-3
    assert not recwarn.list


def test_quiltnets_file_is_known_by_its_hash_and_refused_as_clip(smaller, tmp_path, monkeypatch):
    _, file = quiltnet(tmp_path, smaller, quick_gelu=False)
    from dassl.utils.files import file_sha256

    known = replace(beside.PUBLISHED["QuiltNet-B/32"], sha256=(file_sha256(file)[:28],))
    new = {**beside.PUBLISHED, "QuiltNet-B/32": known}
    monkeypatch.setattr(beside, "PUBLISHED", MappingProxyType(new))
    with pytest.raises(UserError, match="is the file of QuiltNet-B/32.*--backbone QuiltNet-B/32"):
        load_backbone("CLIP", file)
    load_backbone("QuiltNet-B/32", file)
    config = {"model_cfg": {**known.arch, "quick_gelu": True}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="says QuickGELU True.*QuiltNet-B/32 has False"):
        load_backbone("QuiltNet-B/32", file)


@torch.no_grad()
def test_medsiglip_gives_transformers_features(smaller, tmp_path):
    from timm.models import register_model
    from timm.models.vision_transformer import VisionTransformer

    @register_model
    def tiny_siglip_of_this_test(pretrained=False, **kwargs):
        kwargs = {k: v for k, v in kwargs.items() if k in ("num_classes", "img_size")}
        return VisionTransformer(
            patch_size=8, embed_dim=64, depth=2, num_heads=2, mlp_ratio=2.0, class_token=False,
            global_pool="map", **kwargs,
        )  # fmt: skip

    vision = {**PUBLISHED["MedSigLIP"].arch["vision_cfg"], "image_size": 32}
    vision["timm_model_name"] = "tiny_siglip_of_this_test"
    text = {**PUBLISHED["MedSigLIP"].arch["text_cfg"], "width": 64, "heads": 2, "layers": 2}
    text |= {"mlp_ratio": 2.0, "context_length": 8, "vocab_size": 99}
    arch = {"embed_dim": 64, "vision_cfg": vision, "text_cfg": text}
    smaller("MedSigLIP", arch=arch, size=32)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
    sizes["num_attention_heads"] = 2
    config = transformers.SiglipConfig(
        text_config={**sizes, "vocab_size": 99, "max_position_embeddings": 8},
        vision_config={**sizes, "image_size": 32, "patch_size": 8},
    )
    model = filled(transformers.SiglipModel(config))
    file = tmp_path / "pytorch_model.bin"
    torch.save(model.state_dict(), file)
    backbone = load_backbone("MedSigLIP", file)
    x = torch.randn(2, 3, 32, 32)
    expected = model.vision_model(pixel_values=x).pooler_output
    torch.testing.assert_close(backbone.encode_image(x), expected, atol=2e-5, rtol=1e-4)
    tokens = torch.randint(2, 99, (3, 8))
    expected = model.text_model(input_ids=tokens).pooler_output
    torch.testing.assert_close(backbone.encode_text(tokens), expected, atol=2e-5, rtol=1e-4)
    assert backbone.preprocess.mean == (0.5, 0.5, 0.5) and backbone.preprocess.size == (32, 32)
    with pytest.raises(MissingFileError, match="tokenizer.*cannot be read"):  # only now is it asked
        backbone.tokenize(["a cyst"])


def test_biomedclip_by_its_name_is_its_folder(smaller, tmp_path):
    from cerviclip.vlm.towers import open_clip as own

    folder = write_model("biomedclip", tmp_path / "biomedclip")
    arch = {"embed_dim": 32, "vision_cfg": {**TIMM, "timm_pool": "", "timm_proj": "linear"}}
    smaller("BiomedCLIP", dim=32, arch={**arch, "text_cfg": HF}, size=160)
    (folder / own.CONFIG).unlink()  # the file and its tokenizer alone
    backbone = load_backbone("BiomedCLIP", folder / "open_clip_pytorch_model.bin")
    (folder / own.CONFIG).write_text(json.dumps({"model_cfg": {**arch, "text_cfg": HF}}))
    same = load_backbone(f"open_clip:local-dir:{folder}")
    x = torch.randn(1, 3, 160, 160)
    with torch.no_grad():
        assert torch.equal(backbone.encode_image(x), same.encode_image(x))
        tokens = backbone.tokenize(["a cyst"])
        assert torch.equal(
            backbone.encode_text(tokens), same.encode_text(same.tokenize(["a cyst"]))
        )


# -- the table -------------------------------------------------------------------------------------


def test_every_published_backbone_is_listed_with_its_towers():
    assert len(PUBLISHED) == 14
    for name, entry in PUBLISHED.items():
        assert BACKBONES[name] == entry.summary and str(entry.embed_dim) in entry.summary
        assert known_towers(name) == ("vit", entry.has_text)
        assert ("no text" in entry.summary or "images only" in entry.summary) != entry.has_text


@pytest.mark.parametrize("name", PUBLISHED)
def test_without_weights_it_says_where_they_are_and_on_what_terms(name):
    entry = PUBLISHED[name]
    with pytest.raises(MissingFileError) as caught:
        load_backbone(name)
    text = str(caught.value)
    assert entry.place in text and entry.licence in text and "--weights FILE" in text
    assert "\n" not in text and how_to_get(name) in text
    assert ("needs" in text) == bool(entry.gate)


def test_the_page_says_of_each_what_the_table_says(repo_dir):
    text = (repo_dir / "docs" / "backbones.md").read_text(encoding="utf-8")
    rows = {
        line.split("|")[1].strip(" `"): line for line in text.splitlines() if line.startswith("| `")
    }
    for name, entry in PUBLISHED.items():
        row = rows[name]
        for word in (entry.place, entry.file, entry.licence, f"{entry.embed_dim}", f"{entry.size}"):
            assert word in row, f"{name}: {word} is not in its row of docs/backbones.md"
        assert ("QuickGELU" in row) == entry.quick_gelu
        assert ("| gated |" in row) == bool(entry.gate)


@torch.no_grad()
def test_dinobloom_s_at_its_true_size(tmp_path):
    """22 million parameters: the smallest that is published."""
    reference = towers._trunk(PUBLISHED["DinoBloom-S"])
    file = tmp_path / "DinoBloom-S.pth"
    torch.save(saved_as("DinoBloom-S", reference.state_dict()), file)
    backbone = load_backbone("DinoBloom-S", file)
    x = torch.randn(1, 3, 224, 224)
    torch.testing.assert_close(backbone.encode_image(x), reference(x), atol=2e-5, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["PLIP", "QuiltNet-B/32", "UNI", "UniCAS", "CONCH"])
def test_the_true_architecture_at_random(name):
    """Up to 300 million parameters, one image."""
    entry = PUBLISHED[name]
    backbone = load_backbone(name, "random")
    with torch.no_grad():
        features = backbone.encode_image(torch.zeros(1, 3, entry.size, entry.size))
    assert features.shape == (1, entry.embed_dim) and features.isfinite().all()
    if entry.has_text:
        assert backbone.encode_text(backbone.tokenize(["a cyst"])).shape == (1, entry.embed_dim)


def test_without_the_hubs_library_the_line_that_installs_it_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingFileError, match="BiomedCLIP: to download them, pip install hugg"):
        load_backbone("BiomedCLIP")
