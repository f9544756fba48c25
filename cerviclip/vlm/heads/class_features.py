"""Class features of a text side that learns, averaged over each class's prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from cerviclip.vlm.base import Backbone, BeforeBlock, TextTower
from cerviclip.vlm.files.tensor_state import state_of
from cerviclip.vlm.prompts import encode_in_chunks

T = TypeVar("T")


class ClassPrompts:
    """The token ids of all classes' prompts, and which class each belongs to.

    Args:
        backbone: gives the tokeniser.
        texts: the prompts of each class.
    """

    def __init__(self, backbone: Backbone, texts: Sequence[Sequence[str]]) -> None:
        self.texts = [text for group in texts for text in group]
        counts = torch.tensor([len(group) for group in texts])
        self.tokens = backbone.tokenize(self.texts).to(backbone.device)  # (P, L)
        owner = torch.arange(len(texts)).repeat_interleave(counts)  # (P,)
        average = F.one_hot(owner, len(texts)).t() / counts[:, None]  # (C, P)
        self.average = average.to(backbone.device)

    def class_means(self, features: Tensor) -> Tensor:
        """Features (P, D) of prompts to unit float32 features (C, D), whatever the autocast."""
        with torch.autocast(features.device.type, enabled=False):
            return F.normalize(self.average @ F.normalize(features.float(), dim=-1), dim=-1)

    def features(self, tower: TextTower, before_block: BeforeBlock | None = None) -> Tensor:
        """Unit features (C, D) of the classes by a text tower, with its gradients.

        Args:
            before_block: what learns between the blocks; its rows are the P prompts.
        """
        embeddings = tower.embed(self.tokens)
        features = encode_in_chunks(tower, embeddings, self.tokens, before_block=before_block)
        return self.class_means(features)


class KeptWhileUnchanged(Generic[T]):
    """The value of a function without arguments, computed anew only when its parameters changed.

    A learned prompt or text tower gives one set of class features for a whole test. Where gradients
    are wanted, that is in training, the function is always called.
    """

    def __init__(self, compute: Callable[[], T], parameters: Iterable[Tensor]) -> None:
        self.compute = compute
        self.parameters = list(parameters)
        self._made_from: tuple[int, ...] | None = None
        self._value: T

    def __call__(self) -> T:
        if torch.is_grad_enabled():
            return self.compute()
        made_from = state_of(*self.parameters)
        if made_from != self._made_from:
            self._value, self._made_from = self.compute(), made_from
        return self._value
