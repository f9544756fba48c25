"""Prompts: texts of each class and their features, and contexts learned among embeddings (CoOp)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from cerviclip.data.texts.templates import fill_template
from cerviclip.vlm.base import Backbone, BeforeBlock, TextTower
from dassl.errors import UserError

POSITIONS = ("end", "middle", "front")
MAX_TOKENS = 8192  # token columns run through the text tower at once, about 3 GB with gradients


def class_texts(
    classnames: Sequence[str],
    templates: Sequence[str] = ("a photo of a {}.",),
    descriptions: Mapping[str, Sequence[str]] | None = None,
) -> list[list[str]]:
    """The prompts of each class: its descriptions where given, else every template with its name.

    Raises:
        UserError: descriptions that leave a class out, or no templates.
    """
    if descriptions:
        missing = [name for name in classnames if not descriptions.get(name)]
        if missing:
            raise UserError(
                f"no description of class {missing[0]!r} ({len(missing)} of {len(classnames)} "
                f"classes lack one; there are: {', '.join(sorted(descriptions))}); add it or "
                "choose another DATASET.PROMPT_SET"
            )
        return [
            [one] if isinstance(one := descriptions[name], str) else list(one)
            for name in classnames
        ]
    if not templates:
        raise UserError("no prompt templates: set DATASET.TEMPLATES, e.g. ['a photo of a {}.']")
    return [[fill_template(t, name.replace("_", " ")) for t in templates] for name in classnames]


@torch.no_grad()
def encode_class_texts(
    backbone: Backbone, texts: Sequence[Sequence[str]], chunk: int = 256
) -> Tensor:
    """Features of classes (C, D): the mean over each class's prompts, L2-normalised, float32.

    Equal prompts are encoded once, and prompts of similar length together, so that short ones are
    not run over the columns of long ones.
    """
    unique = sorted({text for group in texts for text in group})
    tokens = backbone.tokenize(unique)
    _warn_of_equal_classes(texts, dict(zip(unique, tokens.tolist(), strict=True)))
    order = torch.argsort(backbone.text.lengths(tokens), stable=True)
    features = torch.empty(len(unique), backbone.embed_dim, device=backbone.device)
    for index in order.split(chunk):
        features[index.to(features.device)] = F.normalize(
            backbone.encode_text(tokens[index].contiguous()), dim=-1
        )
    row = {text: i for i, text in enumerate(unique)}
    means = [features[[row[text] for text in group]].mean(dim=0) for group in texts]
    return F.normalize(torch.stack(means), dim=-1)


def _warn_of_equal_classes(
    texts: Sequence[Sequence[str]], tokens: Mapping[str, Sequence[int]]
) -> None:
    """Warn of classes whose prompts are the same to the text tower, as a cut may make them."""
    groups: dict[tuple, list[str]] = {}
    for group in texts:
        if group:
            key = tuple(sorted({tuple(tokens[text]) for text in group}))
            groups.setdefault(key, []).append(group[0])
    for firsts in groups.values():
        if len(firsts) > 1:
            shown = " and ".join(f'"{text[:60]}"' for text in dict.fromkeys(firsts))
            warnings.warn(
                f"{len(firsts)} classes have the same text after the tower's cut ({shown}): "
                "nothing tells them apart; change DATASET.DESCRIPTIONS or the classes' names",
                stacklevel=3,
            )


def encode_in_chunks(
    tower: TextTower,
    embeddings: Tensor | Callable[[slice], Tensor],
    tokens: Tensor,
    shared: int = 0,
    max_tokens: int = MAX_TOKENS,
    before_block: BeforeBlock | None = None,
) -> Tensor:
    """``tower.encode`` with bounded memory: (C, L, W) to (C, D).

    Above ``max_tokens`` columns the classes are run in chunks; where gradients are wanted each
    chunk is run again on the way back instead of being kept.

    Args:
        embeddings: (C, L, W), or a function from a slice of the rows to their embeddings, where all
            of them at once would be too large (a context for each image and class).
        before_block: as in ``tower.encode``; what differs between rows has a method ``rows(slice)``
            (see ``cerviclip.vlm.learned.deep_prompts``).
    """
    length = tower.longest(tokens)
    own = max(1, length - (shared if tower.causal and before_block is None else 0))
    size = max(1, (max_tokens - length) // own)

    def encode(part: slice, ids: Tensor) -> Tensor:
        rows = embeddings(part) if callable(embeddings) else embeddings[part]
        return tower.encode(rows, ids, shared, _rows_of(before_block, part))

    if len(tokens) <= size:
        return encode(slice(0, len(tokens)), tokens)
    again = torch.is_grad_enabled() and (
        callable(embeddings)
        or embeddings.requires_grad
        or before_block is not None
        or any(p.requires_grad for p in tower.parameters())
    )
    parts = []
    for start in range(0, len(tokens), size):
        part = slice(start, start + size)
        ids = tokens[part, :length]
        parts.append(
            checkpoint(encode, part, ids, use_reentrant=False) if again else encode(part, ids)
        )
    return torch.cat(parts)


def _rows_of(before_block: BeforeBlock | None, part: slice) -> BeforeBlock | None:
    rows = getattr(before_block, "rows", None)
    return before_block if rows is None else rows(part)


class PromptLearner(nn.Module):
    """Learnable context vectors around class names (CoOp: Zhou et al., IJCV 2022, section 3.2).

    Args:
        backbone: gives tokeniser and token embeddings; it is not kept as a submodule.
        classnames: names as the dataset spells them; underscores become spaces.
        n_ctx: number of context vectors M, drawn from N(0, 0.02) unless ``ctx_init`` is given.
        ctx_init: words whose embeddings start the context; their tokens then set M.
        csc: one context for each class instead of one for all.
        position: of the class name: ``end``, ``middle`` or ``front`` of the context.
    """

    fixed: Tensor
    slots: Tensor
    tokens: Tensor

    def __init__(
        self,
        backbone: Backbone,
        classnames: Sequence[str],
        n_ctx: int = 16,
        ctx_init: str = "",
        csc: bool = False,
        position: str = "end",
    ) -> None:
        super().__init__()
        if position not in POSITIONS:
            raise UserError(f"CLASS_TOKEN_POSITION {position!r} is none of {', '.join(POSITIONS)}")
        if backbone.text is None:
            backbone.tokenize([])  # says that there is no text encoder
        names = [name.replace("_", " ") for name in classnames]
        words, ctx = self._start(backbone, n_ctx, ctx_init.replace("_", " "))
        self.n_ctx = len(ctx)
        self.position = position
        self.ctx = nn.Parameter(ctx.expand(len(names), -1, -1).clone() if csc else ctx)
        if csc and not ctx_init:
            nn.init.normal_(self.ctx, std=0.02)
        self._check_ends(backbone)
        name_lengths = backbone.text.lengths(backbone.tokenize(names)) - 2
        self._check_room(backbone, classnames, name_lengths)
        tokens = backbone.tokenize([f"{words} {name}." for name in names])
        length = backbone.text.longest(tokens)
        tokens = tokens[:, :length].contiguous()
        with torch.no_grad():
            fixed = backbone.text.embed(tokens.to(backbone.device)).float()
        order, slots = _layout(length, self.n_ctx, name_lengths.tolist(), position)
        fixed = fixed.gather(1, order.to(fixed.device).unsqueeze(-1).expand_as(fixed))
        # Rebuilt from the names, so not saved: a checkpoint is the context alone.
        self.register_buffer("fixed", fixed, persistent=False)
        self.register_buffer("slots", slots.to(fixed.device), persistent=False)
        self.register_buffer("tokens", tokens.to(fixed.device), persistent=False)
        # Columns that are equal in all classes: start token and context.
        self.shared = 1 + self.n_ctx if position == "end" and not csc else 1

    @staticmethod
    def _start(backbone: Backbone, n_ctx: int, ctx_init: str) -> tuple[str, Tensor]:
        """Stand-in words for the context, and its first values (M, W)."""
        assert backbone.text is not None
        if not ctx_init:
            if n_ctx < 1:
                raise UserError(f"N_CTX is {n_ctx}: a learned context needs at least 1 vector")
            ctx = torch.empty(n_ctx, backbone.text.width, device=backbone.device)
            return " ".join(["X"] * n_ctx), nn.init.normal_(ctx, std=0.02)
        tokens = backbone.tokenize([ctx_init])
        count = int(backbone.text.lengths(tokens)) - 2
        with torch.no_grad():
            embedded = backbone.text.embed(tokens.to(backbone.device)).float()
        return ctx_init, embedded[0, 1 : 1 + count].clone()

    @staticmethod
    def _check_ends(backbone: Backbone) -> None:
        """The layout below counts on one start and one end token, as CLIP and BERT have them."""
        tokens = backbone.tokenize(["X", "X X"])
        lengths = backbone.text.lengths(tokens).tolist()
        if lengths != [3, 4] or tokens[0, 0] != tokens[1, 0]:
            raise UserError(
                f"contexts cannot be learned for {backbone.name}: its tokenizer does not put each "
                "text between a start and an end token; choose another backbone for this trainer"
            )

    def _check_room(self, backbone: Backbone, classnames: Sequence[str], lengths: Tensor) -> None:
        """Start and end token, context, name and full stop must fit, or the name would be cut."""
        longest, room = int(lengths.max()), backbone.text.context_length
        needed = self.n_ctx + longest + 3
        if needed > room:
            raise UserError(
                f"a context of {self.n_ctx} tokens and the class name "
                f"{classnames[int(lengths.argmax())]!r} need {needed} columns, {backbone.name} has "
                f"{room}; lower N_CTX or shorten CTX_INIT"
            )

    def forward(self) -> tuple[Tensor, Tensor]:
        """Prompt embeddings (C, L, W), cut to the longest prompt, and the token ids (C, L)."""
        return self.place(self.ctx), self.tokens

    def place(self, ctx: Tensor, classes: Tensor | None = None) -> Tensor:
        """Embeddings (R, L, W) of prompts with this context (M, W), or one for each prompt (R, M,
        W).

        Args:
            classes: (R,) whose prompts; None: each class once. With ``encode_in_chunks`` contexts
                that differ by image (CoCoOp) need not be there all at once.
        """
        fixed, slots = self.fixed, self.slots
        if classes is not None:
            fixed, slots = fixed[classes], slots[classes]
        if ctx.dim() == 2:
            ctx = ctx.expand(len(fixed), -1, -1)
        if self.position == "end":
            return torch.cat([fixed[:, :1], ctx, fixed[:, 1 + self.n_ctx :]], dim=1)
        rows = torch.arange(len(fixed), device=ctx.device).unsqueeze(1)
        return fixed.index_put((rows, slots), ctx)

    def features(
        self,
        tower: TextTower,
        max_tokens: int = MAX_TOKENS,
        before_block: BeforeBlock | None = None,
    ) -> Tensor:
        """Class features (C, D) by a text tower, not normalised; what classes share is run once."""
        embeddings, tokens = self()
        return encode_in_chunks(tower, embeddings, tokens, self.shared, max_tokens, before_block)


def _layout(
    length: int, n_ctx: int, name_lengths: Sequence[int], position: str
) -> tuple[Tensor, Tensor]:
    """Where columns of "start, context, name, rest" go.

    Returns:
        order: (C, L) the source column of each column; slots: (C, M) the columns of the context.
    """
    order = []
    before = {"end": n_ctx, "middle": n_ctx // 2, "front": 0}[position]
    ctx = list(range(1, 1 + n_ctx))
    for name_length in name_lengths:
        name = list(range(1 + n_ctx, 1 + n_ctx + name_length))
        rest = list(range(1 + n_ctx + name_length, length))
        order.append([0, *ctx[:before], *name, *ctx[before:], *rest])
    columns = torch.tensor(order)
    slots = torch.stack([((row >= 1) & (row <= n_ctx)).nonzero().squeeze(1) for row in columns])
    return columns, slots
