"""LoRA (Hu et al., 2022) on any tower: loralib's layers over shared, frozen weights.

``apply_lora`` returns a new tower whose modules are its own and whose frozen tensors are the
original's, so that many runs adapt one backbone and none of them can alter it.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TypeVar

import loralib
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cerviclip.shapes import parse_json
from cerviclip.vlm.base import Tower
from cerviclip.vlm.learned.merged import MergedWeight
from dassl.errors import UserError

TARGETS = ("q", "k", "v", "o", "mlp")
CONFIG_KEY, BASE_KEY = "lora.config", "lora.base_sha256"  # in saved states, as bytes
T = TypeVar("T", bound=Tower)
M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class LoRAConfig:
    """What is needed to rebuild adapters before their values are loaded."""

    targets: tuple[str, ...]
    blocks: int
    r: int
    alpha: float
    dropout: float


class CheapDropout(nn.Dropout):
    """Dropout whose mask on a CPU costs a quarter: four 16-bit draws from each random number.

    torch draws one number an element there, which takes longer than the adapters' own products.
    The probability is rounded to a multiple of 2**-16.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or x.device.type != "cpu":
            return super().forward(x)
        draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        kept = draws.view(torch.int16)[: x.numel()] >= round(self.p * 2**16) - 2**15
        return x * kept.view(x.shape).to(x.dtype).mul_(1 / (1 - self.p))


class LoRALinear(MergedWeight, loralib.Linear):
    """loralib's linear layer around an existing one, whose weight it shares and never changes.

    loralib merges by adding to the weight in place. Here evaluation uses a merged weight kept
    beside the base, made when first needed, dropped by ``train()``, made anew when A or B changed.
    """

    scaling: float
    in_features: int
    out_features: int
    lora_A: nn.Parameter
    lora_B: nn.Parameter

    def __init__(self, base: nn.Linear, r: int, alpha: float, dropout: float) -> None:
        super().__init__(
            base.in_features,
            base.out_features,
            r=r,
            lora_alpha=alpha,
            lora_dropout=dropout,
            merge_weights=False,
            bias=base.bias is not None,
            device="meta",  # the values come from the base
        )
        self.weight = base.weight
        self.bias = base.bias
        device = base.weight.device
        self.lora_A = nn.Parameter(torch.empty(r, base.in_features, device=device))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, r, device=device))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))
        # loralib has a lambda for none, which cannot be copied or pickled.
        self.lora_dropout = CheapDropout(dropout) if dropout > 0 else nn.Identity()

    def sources(self) -> tuple[Tensor, ...]:
        return self.lora_A, self.lora_B, self.weight

    def updated_weight(self) -> Tensor:
        """W + scaling * B A."""
        return self.weight.float() + (self.lora_B @ self.lora_A) * self.scaling

    def forward(self, x: Tensor) -> Tensor:
        if self.open:
            rows = x.reshape(-1, self.in_features)
            low = F.linear(self.lora_dropout(rows), self.lora_A) * self.scaling
            out = F.linear(rows, self.weight, self.bias)
            # Added within the small product, or it would cost another pass over the output.
            out = out.addmm_(low.to(out.dtype), self.lora_B.t().to(out.dtype))
            return out.view(*x.shape[:-1], self.out_features)
        return F.linear(x, self.merged_weight(), self.bias)


def apply_lora(
    tower: T,
    targets: Sequence[str] = ("q", "k", "v"),
    blocks: int | None = None,
    r: int = 2,
    alpha: float = 1,
    dropout: float = 0.0,
) -> T:
    """A copy of ``tower`` with adapters, sharing the frozen tensors with the original.

    Args:
        tower: vision or text tower; left as it is.
        targets: any of q, k, v, o (attention's output projection), mlp.
        blocks: the last so many blocks are adapted; None: all.
        r: rank. alpha: scaling times r. dropout: on the adapters' input, in training.

    Raises:
        UserError: more blocks than there are, unknown targets, a rank below 1.
    """
    config = _checked(tower, targets, blocks, r, alpha, dropout)
    adapted = replace_linears(
        tower, config.targets, lambda base: LoRALinear(base, r, alpha, dropout), config.blocks
    )
    adapted.requires_grad_(False)
    for parameter in lora_parameters(adapted):
        parameter.requires_grad_(True)
    adapted.lora_config = config
    return adapted.train(tower.training)


def _checked(tower: Tower, targets, blocks, r, alpha, dropout) -> LoRAConfig:
    known = [t for t in TARGETS if t in tower.lora_names]
    if tower.num_blocks == 0 or not known:
        raise UserError(
            f"LoRA needs attention blocks and this {type(tower).__name__} has none; choose a ViT, "
            "a CLIP ResNet or a transformer text tower"
        )
    unknown = [t for t in targets if t not in known]
    if unknown or not targets:
        raise UserError(
            f"LoRA targets {list(targets)}: this {type(tower).__name__} has {', '.join(known)}"
        )
    count = tower.num_blocks if blocks is None else int(blocks)
    if not 1 <= count <= tower.num_blocks:
        raise UserError(
            f"LoRA on the last {count} blocks: this {type(tower).__name__} has "
            f"{tower.num_blocks}; choose 1 to {tower.num_blocks}"
        )
    if r < 1:
        raise UserError(f"LoRA rank {r}: must be 1 or more")
    if not 0 <= dropout < 1:
        raise UserError(f"LoRA dropout {dropout}: must be at least 0 and below 1")
    ordered = tuple(t for t in known if t in targets)
    return LoRAConfig(ordered, count, int(r), float(alpha), float(dropout))


def replace_linears(
    tower: T,
    targets: Sequence[str],
    make: Callable[[nn.Linear], nn.Module],
    blocks: int | None = None,
) -> T:
    """A copy of ``tower`` whose frozen tensors are the original's, with layers of another kind.

    Args:
        targets: which layers, as ``tower.lora_names`` calls them.
        make: a linear layer to the one that takes its place.
        blocks: in the last so many blocks; None: all.
    """
    adapted = shared_copy(tower)
    count = tower.num_blocks if blocks is None else blocks
    for block in adapted.blocks[tower.num_blocks - count :]:
        for path in (path for target in targets for path in tower.lora_names[target]):
            parent_path, _, name = path.rpartition(".")
            parent = block.get_submodule(parent_path)
            setattr(parent, name, make(getattr(parent, name)))
    return adapted


def shared_copy(module: M) -> M:
    """A copy with modules of its own and the very tensors of the original."""
    memo = {id(t): t for t in (*module.parameters(), *module.buffers())}
    return copy.deepcopy(module, memo)


def lora_layers(module: nn.Module) -> Iterator[tuple[str, LoRALinear]]:
    for name, layer in module.named_modules():
        if isinstance(layer, LoRALinear):
            yield name, layer


def lora_parameters(module: nn.Module) -> list[nn.Parameter]:
    """A and B of every adapter: all that learns."""
    return [p for _, layer in lora_layers(module) for p in (layer.lora_A, layer.lora_B)]


def lora_state_dict(module: nn.Module, base_sha256: str = "") -> dict[str, Tensor]:
    """The adapters' values, how they were built, and the hash of the weights below them."""
    return learned_state(module, _lora_names(module), base_sha256)


def _lora_names(module: nn.Module) -> list[str]:
    return [f"{name}.{part}" for name, _ in lora_layers(module) for part in ("lora_A", "lora_B")]


def learned_state(
    module: nn.Module, names: Sequence[str], base_sha256: str = ""
) -> dict[str, Tensor]:
    """The values of some parameters and buffers, how adapters among them were built, and the hash
    of the frozen weights."""
    state = {name: _tensor_of(module, name).detach().clone() for name in names}
    config = getattr(module, "lora_config", None)
    if config is not None:
        state[CONFIG_KEY] = _to_bytes(json.dumps(asdict(config)))
    if base_sha256:
        state[BASE_KEY] = _to_bytes(base_sha256)
    return state


def saved_config(state: Mapping[str, Tensor]) -> LoRAConfig | None:
    """How the adapters in a saved state were built."""
    if CONFIG_KEY not in state:
        return None
    try:
        values = parse_json(_from_bytes(state[CONFIG_KEY]))
        return LoRAConfig(**{**values, "targets": tuple(values["targets"])})
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise UserError(
            f"the saved adapters do not say how they were built ({error}); take the checkpoint "
            "as the run wrote it"
        ) from error


def load_lora_state_dict(
    module: nn.Module, state: Mapping[str, Tensor], base_sha256: str = ""
) -> None:
    """Put saved values into adapters built the same way.

    Raises:
        UserError: other base weights, or adapters built another way.
    """
    names = _lora_names(module)
    refuse_misfits(state, *compare_learned(module, names, state, base_sha256))
    load_learned(module, names, state)


def compare_learned(
    module: nn.Module, names: Sequence[str], state: Mapping[str, Tensor], base_sha256: str = ""
) -> tuple[list[str], list[str]]:
    """Which of the names a saved state lacks, and which it has besides.

    Raises:
        UserError: it belongs to other base weights, or a tensor has another shape.
    """
    saved = _from_bytes(state[BASE_KEY]) if BASE_KEY in state else ""
    if saved and base_sha256 and saved != base_sha256:
        raise UserError(
            f"these adapted weights were trained over weights {saved[:8]}, the backbone here is "
            f"{base_sha256[:8]}; give the same backbone (--weights)"
        )
    values = set(state) - {CONFIG_KEY, BASE_KEY}
    both = sorted(values & set(names))
    misshapen = [k for k in both if _tensor_of(module, k).shape != state[k].shape]
    refuse_misfits(state, misshapen)
    return sorted(set(names) - values), sorted(values - set(names))


def refuse_misfits(state: Mapping[str, Tensor], *lists: Sequence[str]) -> None:
    """One line about tensors that differ.

    Raises:
        UserError: if there are any.
    """
    wrong = [key for keys in lists for key in keys]
    if not wrong:
        return
    config = saved_config(state)
    raise UserError(
        f"these adapted weights do not fit: {len(wrong)} tensors differ (first: {wrong[0]}); "
        + (f"they were built with {config}" if config else "use the settings they were made with")
    )


@torch.no_grad()
def load_learned(module: nn.Module, names: Sequence[str], state: Mapping[str, Tensor]) -> None:
    """Put the saved values that there are into the parameters and buffers of these names."""
    for name in names:
        if name in state:
            _tensor_of(module, name).copy_(state[name])


def _tensor_of(module: nn.Module, name: str) -> Tensor:
    """A parameter or a buffer by its path."""
    path, _, last = name.rpartition(".")
    return getattr(module.get_submodule(path), last)


def _to_bytes(words: str) -> Tensor:
    return torch.tensor(list(words.encode()), dtype=torch.uint8)


def _from_bytes(values: Tensor) -> str:
    return bytes(values.tolist()).decode()
