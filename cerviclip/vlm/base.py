"""The one interface in front of every backbone: ``Backbone``, ``VisionTower``, ``TextTower``.

Shapes: B images, C classes or prompts, D joint feature dim, L text length, N patches, T tokens
(patches and, where there is one, the class token), W width of a tower.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from dassl.errors import UserError

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
INITIAL_LOGIT_SCALE = math.log(1 / 0.07)  # what CLIP starts its training from
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# Called before each block with its index and the tokens (B, T, W) that enter it. Returns the tokens
# that shall enter, or a pair (tokens, side): ``side`` (B, T, W) is added to what leaves the block.
# The rules for added tokens stand in ``cerviclip.vlm.learned.deep_prompts``.
BeforeBlock = Callable[[int, Tensor], "Tensor | tuple[Tensor, Tensor]"]


@dataclass(frozen=True)
class Preprocess:
    """What an image must go through before the backbone sees it.

    Args:
        size: (height, width) in px of the network's input.
        mean: per channel, on pixels in 0-1.
        std: per channel, on pixels in 0-1.
        interpolation: of the resize.
        resize: ``shortest`` (then centre crop), ``squash`` (both sides, aspect ratio lost) or
            ``longest`` (then padding).
        version: raised when the meaning of these fields changes, so that stored features expire.
    """

    size: tuple[int, int]
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD
    interpolation: str = "bicubic"
    resize: str = "shortest"
    version: int = 1

    def params(self) -> dict[str, Any]:
        """Plain values, for keys and records."""
        return asdict(self)


# What learns beside frozen weights: LoRA's matrices, CLIP-SVD's singular values.
_ADAPTERS = ("lora_", "sigma")


def is_adapter(name: str) -> bool:
    """Whether a parameter of this name is an adapter's and not one of the network's own."""
    return name.rpartition(".")[2].startswith(_ADAPTERS)


class Tower(nn.Module):
    """What vision and text towers share: a list of blocks, precision, and a frozen base.

    Attributes:
        blocks: the residual blocks (for a CLIP ResNet: its attention pool), first to last.
        lora_names: for each LoRA target the paths of its ``nn.Linear`` layers within a block.
        half_dtype: float16 or bfloat16 where the matrices are kept in it, else None.
        open_blocks: whether the blocks are those of a transformer, so that a ``BeforeBlock`` can
            change their tokens.
    """

    lora_names: dict[str, tuple[str, ...]] = {}
    open_blocks: bool = True
    blocks: nn.ModuleList
    width: int = 0
    half_dtype: torch.dtype | None = None
    lora_config: Any = None  # set by apply_lora on its copies

    @property
    def num_blocks(self) -> int:
        return len(self.blocks)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def autocast(self):
        """Context in which half-precision matrices meet float32 activations; no-op for float32."""
        kind = self.device.type
        if self.half_dtype is None or torch.is_autocast_enabled(kind):
            return nullcontext()
        return torch.autocast(kind, self.half_dtype)

    def require_open_blocks(self, what: str = "deep prompts") -> None:
        """Refuse a method that changes tokens between blocks where the tower cannot be entered.

        Raises:
            UserError: names the towers that can.
        """
        if not self.open_blocks:
            raise UserError(
                f"{what} need the blocks of a transformer and this {type(self).__name__} has none "
                "that can be entered; choose a ViT backbone (PhantomCLIP, ViT-B/16, BiomedCLIP or "
                "another ViT of open_clip)"
            )

    def run_blocks(
        self,
        h: Tensor,
        start: int = 0,
        stop: int | None = None,
        before_block: BeforeBlock | None = None,
        tokens: Tensor | None = None,
    ) -> Tensor:
        """Tokens (B, T, W) through blocks ``start`` to ``stop`` (exclusive; None: to the end).

        Args:
            before_block: changes what enters the blocks (``cerviclip.vlm.learned.deep_prompts``).
            tokens: token ids (B, L); a text tower that is not causal needs them for its masks.
        """
        if before_block is not None:
            self.require_open_blocks()
        mask, columns = None, -1
        with self.autocast():
            for index in range(*slice(start, stop).indices(self.num_blocks)):
                h, side = enter_block(before_block, index, h)
                if h.shape[1] != columns:  # at the first block, and where tokens were added
                    mask, columns = self.attention_mask(h, tokens), h.shape[1]
                h = self.run_block(index, h, mask)
                h = h if side is None else h + side
        return h

    def run_block(self, index: int, h: Tensor, mask: Tensor | None) -> Tensor:
        """Tokens (B, T, W) through one block."""
        block = self.blocks[index]
        return block(h) if mask is None else block(h, mask)

    def attention_mask(self, h: Tensor, tokens: Tensor | None) -> Tensor | None:
        """What the blocks may not attend to (additive); None where they know it themselves."""
        return None

    def train(self, mode: bool = True):
        """Train mode reaches only what learns: over frozen weights dropout and batch statistics of
        the pre-trained network stay as in evaluation, so that a shared backbone cannot drift."""
        super().train(mode)
        if mode and not any(
            p.requires_grad for name, p in self.named_parameters() if not is_adapter(name)
        ):
            for child in self.children():
                child.eval()
            for module in self.modules():
                if hasattr(module, "lora_A"):
                    module.train()
        return self


def enter_block(
    before_block: BeforeBlock | None, index: int, h: Tensor
) -> tuple[Tensor, Tensor | None]:
    """The tokens that enter a block, and what is added behind it."""
    if before_block is None:
        return h, None
    entered = before_block(index, h)
    return entered if isinstance(entered, tuple) else (entered, None)


class VisionTower(Tower):
    """Image encoder as three stages, so that frozen lower blocks can be run once and stored.

    Attributes:
        grid: rows and columns of patches.
        prefix: number of tokens in front of the patches (class token, registers).
        projection: path of the last linear map, a matrix (W, D) or an ``nn.Linear``; empty where
            there is none (see ``cerviclip.vlm.projection``).
    """

    grid: tuple[int, int] = (0, 0)
    prefix: int = 1
    projection: str = ""

    def stem(self, x: Tensor) -> Tensor:
        """Pixels (B, 3, H, W) to the tokens that enter the first block (B, T, W)."""
        raise NotImplementedError

    def head(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens behind the last block to pooled (B, D) and projected patches (B, N, D).

        Tokens that a ``BeforeBlock`` added are left out of both.
        """
        raise NotImplementedError

    def finish(self, h: Tensor, start: int = 0, before_block: BeforeBlock | None = None) -> Tensor:
        """Tokens that enter block ``start`` to pooled features (B, D).

        Towers that pool one token override it: their last block needs that token's query only.
        """
        return self.head(self.run_blocks(h, start, before_block=before_block))[0]

    def own_tokens(self, h: Tensor) -> Tensor:
        """Tokens (B, T, W) without those that were added behind the prefix."""
        added = h.shape[1] - self.prefix - self.grid[0] * self.grid[1]
        if added <= 0:
            return h
        return torch.cat([h[:, : self.prefix], h[:, self.prefix + added :]], dim=1)

    def forward(self, x: Tensor, before_block: BeforeBlock | None = None) -> Tensor:
        return self.finish(self.stem(x), before_block=before_block)


class TextTower(Tower):
    """Text encoder over token embeddings, so that prompts can be learned in embedding space."""

    context_length: int = 77
    causal: bool = True  # columns behind a prompt's last token cannot change its features

    def __init__(self) -> None:
        super().__init__()
        # Token tensors are constants of a run: their longest prompt is read once, since reading it
        # from a GPU at each step would hold up the device.
        self._lengths = WeakIdKeyDictionary()

    def embed(self, tokens: Tensor) -> Tensor:
        """Token ids (C, L) to embeddings without positions (C, L, W)."""
        raise NotImplementedError

    def lengths(self, tokens: Tensor) -> Tensor:
        """Number of real tokens of each prompt, end token included: (C,)."""
        raise NotImplementedError

    def longest(self, tokens: Tensor) -> int:
        """Columns up to the end of the longest prompt."""
        known = self._lengths.get(tokens)
        if known is None or known[0] != tokens._version:
            known = (tokens._version, int(self.lengths(tokens).max()))
            self._lengths[tokens] = known
        return known[1]

    def stem(self, embeddings: Tensor) -> Tensor:
        """Embeddings (C, L, W) to the tokens that enter the first block (C, T, W)."""
        raise NotImplementedError

    def head(self, h: Tensor, tokens: Tensor) -> Tensor:
        """Tokens behind the last block (C, T, W) of prompts with ids (C, L) to features (C, D)."""
        raise NotImplementedError

    def encode(
        self,
        embeddings: Tensor,
        tokens: Tensor,
        shared: int = 0,
        before_block: BeforeBlock | None = None,
    ) -> Tensor:
        """Embeddings (C, L, W) of prompts with ids ``tokens`` (C, L) to features (C, D).

        Args:
            shared: number of leading columns known to be equal in all rows (a learned context that
                all classes share); a causal tower computes them once. Without effect where there is
                a ``before_block``, which may make them differ.
            before_block: changes what enters the blocks (``cerviclip.vlm.learned.deep_prompts``).
        """
        length = self.longest(tokens)
        tokens = tokens[:, :length].to(embeddings.device)
        h = self.stem(embeddings[:, :length])
        return self.head(self.run_blocks(h, before_block=before_block, tokens=tokens), tokens)

    def forward(self, tokens: Tensor, before_block: BeforeBlock | None = None) -> Tensor:
        """Token ids (C, L) to features (C, D), not normalised."""
        tokens = tokens[:, : self.longest(tokens)].to(self.device)
        return self.encode(self.embed(tokens), tokens, before_block=before_block)

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        state["_lengths"] = None
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._lengths = WeakIdKeyDictionary()


def added_columns(h: Tensor, tokens: Tensor) -> int:
    """How many tokens a ``BeforeBlock`` added to each prompt: (C, T, W) against ids (C, L)."""
    added = h.shape[1] - tokens.shape[1]
    if added < 0:
        raise ValueError(f"{-added} of a prompt's own {tokens.shape[1]} tokens were taken away")
    return added


def with_added(tokens: Tensor, added: int) -> Tensor:
    """Ids (C, L) with columns for added tokens behind the first one, whose id they take: it is
    neither an end token nor padding."""
    return torch.cat([tokens[:, :1].expand(-1, 1 + added), tokens[:, 1:]], dim=1)


class Backbone(nn.Module):
    """A pre-trained network: images, and texts where it has them, to one feature space.

    Frozen and in evaluation mode as it is loaded. Trainers of one process share it, so they adapt
    copies (``apply_lora``, ``copy.deepcopy``) and never this object.
    """

    def __init__(
        self,
        *,
        name: str,
        arch: str,
        visual: VisionTower,
        preprocess: Preprocess,
        embed_dim: int,
        text: TextTower | None = None,
        tokenizer: Callable[[Sequence[str]], Tensor] | None = None,
        logit_scale: Tensor | float = INITIAL_LOGIT_SCALE,
        weights_sha256: str = "",
        weights_file: str = "",
    ) -> None:
        super().__init__()
        self.name = name
        self.arch = arch
        self.visual = visual
        self.text = text
        self.preprocess = preprocess
        self.embed_dim = embed_dim
        self.weights_sha256 = weights_sha256
        self.weights_file = weights_file
        self._tokenizer = tokenizer
        scale = torch.as_tensor(logit_scale, dtype=torch.float32).detach().clone().reshape(())
        self.logit_scale = nn.Parameter(scale, requires_grad=False)

    @property
    def has_text(self) -> bool:
        return self.text is not None

    @property
    def scale(self) -> Tensor:
        """exp(logit_scale), the factor on cosine similarities; always float32."""
        return self.logit_scale.float().exp()

    @property
    def device(self) -> torch.device:
        return self.logit_scale.device

    def encode_image(self, x: Tensor) -> Tensor:
        """Pixels (B, 3, H, W) to features (B, D), float32, not normalised."""
        return self.visual(x).float()

    def encode_tokens(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels (B, 3, H, W) to pooled (B, D) and patch features (B, N, D) of the same space."""
        pooled, patches = self.visual.head(self.visual.run_blocks(self.visual.stem(x)))
        return pooled.float(), patches.float()

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Texts to token ids (C, L), on the CPU."""
        if self._tokenizer is None:
            raise _no_text(self.name)
        return self._tokenizer(list(texts))

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Token ids (C, L) to features (C, D), float32, not normalised."""
        if self.text is None:
            raise _no_text(self.name)
        return self.text(tokens).float()

    def fingerprint(self) -> str:
        """Hash over the tensors as they are in memory: unchanged if nothing altered the weights."""
        digest = hashlib.sha256()
        for key, value in self.state_dict().items():
            raw = value.detach().contiguous().reshape(-1).view(torch.uint8)
            whole = raw.numel() // 8 * 8
            # The wrapped sum of 64-bit words: any one change shows, at memory speed.
            total = raw[:whole].view(torch.int64).sum()
            digest.update(
                f"{key} {tuple(value.shape)} {int(total)} {raw[whole:].tolist()}".encode()
            )
        return digest.hexdigest()


def _no_text(name: str) -> Exception:
    return UserError(
        f"backbone {name} has no text encoder; this trainer needs a vision-language backbone "
        "such as ViT-B/16 or PhantomCLIP (MODEL.BACKBONE.NAME, --backbone)"
    )
