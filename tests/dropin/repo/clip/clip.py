"""Stands in for the copies of OpenAI's clip that such repositories carry."""

import hashlib

import torch
from pkg_resources import packaging

from .model import build_model
from .simple_tokenizer import SimpleTokenizer as _Tokenizer

if packaging.version.parse(torch.__version__) < packaging.version.parse("1.7.1"):
    print("PyTorch version 1.7.1 or higher is recommended")

__all__ = ["available_models", "load", "tokenize"]
_tokenizer = _Tokenizer()
_MODELS = {"ViT-B/16": 16, "RN50": 24}


def available_models():
    return list(_MODELS)


def _download(name, root=None):
    return name


def load(name, device="cpu"):
    """Weights that depend on the name alone."""
    seed = int(hashlib.md5(name.encode()).hexdigest()[:6], 16)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_model(width=_MODELS[name]).to(device), None


def tokenize(texts, context_length=77):
    texts = [texts] if isinstance(texts, str) else texts
    result = torch.zeros(len(texts), context_length, dtype=torch.long)
    for i, text in enumerate(texts):
        tokens = [_tokenizer.start, *_tokenizer.encode(text), _tokenizer.end]
        result[i, : len(tokens)] = torch.tensor(tokens)
    return result
