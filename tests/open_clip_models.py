"""Small models of open_clip in folders laid out as on the hub, for tests."""

from __future__ import annotations

import json

import pytest
import torch

open_clip = pytest.importorskip("open_clip")

TEXT = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 2}
VIT = {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8}
TIMM = {"timm_model_name": "test_vit", "timm_model_pretrained": False, "image_size": 160}
HF = {
    "hf_model_name": "microsoft/BiomedNLP-PubMedBERT-base-uncased-abstract",
    "hf_tokenizer_name": "microsoft/BiomedNLP-PubMedBERT-base-uncased-abstract",
    "hf_proj_type": "mlp",
    "hf_pooler_type": "cls_last_hidden_state_pooler",
    "context_length": 256,
}
COCA = {"context_length": 76, "width": 64, "heads": 1, "layers": 1}
MODELS = {
    "plain": {"vision_cfg": VIT, "text_cfg": TEXT, "quick_gelu": True},
    "mean": {"vision_cfg": {**VIT, "pool_type": "avg", "ls_init_value": 0.5}, "text_cfg": TEXT},
    "norm_last": {
        "vision_cfg": {**VIT, "pool_type": "avg", "final_ln_after_pool": True, "no_ln_pre": True},
        "text_cfg": {**TEXT, "proj_bias": True},
        "custom_text": True,
    },
    "coca": {
        "vision_cfg": {
            **VIT,
            "attentional_pool": True,
            "attn_pooler_heads": 2,
            "output_tokens": True,
        },
        "text_cfg": {**TEXT, "context_length": 76, "embed_cls": True, "output_tokens": True},
        "multimodal_cfg": COCA,
        "custom_text": True,
    },
    "bidirectional": {
        "vision_cfg": {**TIMM, "timm_pool": "map", "timm_proj": "none"},
        "text_cfg": {**TEXT, "no_causal_mask": True, "pool_type": "last", "context_length": 16},
        "custom_text": True,
        "embed_dim": 64,
    },
    "resnet": {
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8},
        "text_cfg": TEXT,
    },
    "custom_blocks": {
        "vision_cfg": {**VIT, "qk_norm": True},
        "text_cfg": {**TEXT, "qk_norm": True},
    },
    "timm_map": {
        "vision_cfg": {
            **TIMM,
            "timm_model_name": "test_convnext",
            "timm_pool": "",
            "timm_proj": "mlp",
        },
        "text_cfg": TEXT,
    },
    "biomedclip": {
        "vision_cfg": {**TIMM, "timm_pool": "", "timm_proj": "linear"},
        "text_cfg": HF,
    },
}
WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] a an of the image photo cyst cancer layers dark x . - "
WORDS += "grade high ##s"


def write_bert_files(folder):
    """A small WordPiece vocabulary and the tokenizer's files as they lie beside BiomedCLIP."""
    from transformers import BertTokenizerFast

    folder.mkdir(exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(WORDS.split()))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(str(folder))


def write_model(name, folder):
    """The folder of a model: its config, random weights, and its tokenizer."""
    from transformers import BertConfig

    cfg = {"embed_dim": 32, **MODELS[name]}
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": cfg, "preprocess_cfg": {"mean": [0.1, 0.2, 0.3]}})
    )
    torch.manual_seed(5)
    if name == "biomedclip":
        write_bert_files(folder)
        shapes = {"vocab_size": 21, "hidden_size": 64, "num_hidden_layers": 2}
        bert = BertConfig(
            **shapes, num_attention_heads=1, intermediate_size=96, max_position_embeddings=300
        )
        text = open_clip.hf_model.HFTextEncoder(
            "", 32, config=bert, proj_type="mlp", pooler_type="cls_last_hidden_state_pooler"
        )
        plain = {**cfg, "text_cfg": TEXT, "custom_text": True}
        state = build(plain).state_dict()
        state = {k: v for k, v in state.items() if not k.startswith("text.")}
        state |= {
            f"text.{k}": v
            for k, v in text.state_dict().items()
            if not k.startswith("transformer.pooler")
        }
    else:
        state = build(cfg).state_dict()
    for key, value in state.items():
        if value.is_floating_point() and value.dim() == 1 and "running" not in key:
            value += 0.05 * torch.randn_like(value)  # norms and biases that do something
    torch.save(state, folder / "open_clip_pytorch_model.bin")
    return folder


def build(cfg):
    from copy import deepcopy

    from open_clip import model

    cfg = deepcopy(cfg)
    custom = cfg.pop("custom_text", False)
    if "multimodal_cfg" in cfg:
        return open_clip.coca_model.CoCa(**cfg)
    return (model.CustomTextCLIP if custom else model.CLIP)(**cfg)
