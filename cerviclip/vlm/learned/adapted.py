"""Towers of which a part learns: that part alone is what an optimiser and a checkpoint see."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.module import _IncompatibleKeys

from cerviclip.vlm.base import Tower, is_adapter
from cerviclip.vlm.learned.lora import compare_learned, learned_state, load_learned, refuse_misfits
from dassl.errors import UserError

T = TypeVar("T", bound=Tower)
KINDS = ("bias", "norm", "projection", "all")
_TOWERS = {"both": ("vision", "text"), "vision": ("vision",), "text": ("text",)}
_NORMS = (nn.LayerNorm, nn.GroupNorm, _BatchNorm)


def towers_of(encoder: str, key: str) -> tuple[str, ...]:
    """The towers that ``both``, ``vision`` or ``text`` means.

    Raises:
        UserError: another word; ``key`` says what was set to it.
    """
    if encoder not in _TOWERS:
        raise UserError(f"{key} is {encoder!r}; take one of {', '.join(_TOWERS)}")
    return _TOWERS[encoder]


def check_kinds(tower: Tower, kinds: Sequence[str], what: str = "unfreezing") -> None:
    """Refuse a tower that has no parameters of these kinds.

    Args:
        what: who asks, for the message.

    Raises:
        UserError: an unknown kind, or a tower without such parameters; names those that have them.
    """
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise UserError(f"parameters of kind {unknown[0]!r}: take any of {', '.join(KINDS)}")
    if not _names_of(tower, kinds):
        raise UserError(
            f"{what} trains parameters of kind {' and '.join(kinds)}, and this "
            f"{type(tower).__name__} has none; choose a CLIP such as PhantomCLIP, ViT-B/16, RN50 "
            "or BiomedCLIP (--backbone)"
        )


def unfreeze(tower: T, kinds: Sequence[str]) -> T:
    """A copy of a tower in which some parameters learn.

    What learns is the copy's own, in float32; the other parameters are the original's, so that many
    runs share one backbone and none of them can alter it.

    Args:
        tower: vision or text tower; left as it is.
        kinds: ``bias`` (every bias: BitFit), ``norm`` (weights and biases of the norms: LN-tuning),
            ``projection`` (the matrix of a vision tower's last linear map: ProLIP), ``all`` (full
            fine-tuning).

    Raises:
        UserError: an unknown kind, or a tower without such parameters.
    """
    check_kinds(tower, kinds)
    names = _names_of(tower, kinds)
    # Buffers are copied too: batch statistics would move in training.
    memo = {id(p): p for name, p in tower.named_parameters() if name not in names}
    adapted = copy.deepcopy(tower, memo)
    for name, parameter in adapted.named_parameters():
        if name in names:
            parameter.data = parameter.data.float()
            parameter.requires_grad_(True)
    return adapted


def _names_of(tower: Tower, kinds: Sequence[str]) -> set[str]:
    """Names of a tower's parameters of these kinds."""
    names = set()
    last = getattr(tower, "projection", "")
    for path, module in tower.named_modules():
        for name, _ in module.named_parameters(recurse=False):
            kind = {"all"}
            if isinstance(module, _NORMS):
                kind.add("norm")
            if name.endswith("bias"):
                kind.add("bias")
            full = f"{path}.{name}" if path else name
            if last and full in (last, f"{last}.weight"):
                kind.add("projection")
            if kind & set(kinds):
                names.add(full)
    return names


def _moving_statistics(tower: Tower, learned: Sequence[str]) -> list[str]:
    """Names of the batch norms' running statistics, unless nothing but adapters learns: then train
    mode does not reach them (``Tower.train``)."""
    if all(is_adapter(name) for name in learned):
        return []
    norms = [name for name, m in tower.named_modules() if isinstance(m, _BatchNorm)]
    buffers = [name for name, _ in tower.named_buffers()]
    return [name for name in buffers if name.rpartition(".")[0] in norms]


class AdaptedTower(nn.Module):
    """What learns of a tower: its ``parameters`` hold nothing else. Its ``state_dict`` holds the
    running statistics of batch norms as well, where training moves them.

    Within a larger module its state is saved and loaded as that of any module.

    Args:
        tower: from ``apply_lora`` or ``unfreeze``; what requires a gradient now is what learns.
        base_sha256: of the frozen weights; loading over others is refused.
    """

    def __init__(self, tower: Tower, base_sha256: str) -> None:
        super().__init__()
        self.tower = tower
        self.base_sha256 = base_sha256
        self.learned = [name for name, p in tower.named_parameters() if p.requires_grad]
        self.saved = [*self.learned, *_moving_statistics(tower, self.learned)]
        self._prefix = ""  # of the state that is being loaded
        self.register_load_state_dict_post_hook(_forget_frozen)

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """What learns: an optimiser has no business with the frozen parameters."""
        return (self.tower.get_parameter(name) for name in self.learned)

    def state_dict(  # type: ignore[override]
        self,
        *args: Any,
        destination: dict[str, Any] | None = None,
        prefix: str = "",
        keep_vars: bool = False,
    ) -> dict[str, Any]:
        state = {} if destination is None else destination
        learned = learned_state(self.tower, self.saved, self.base_sha256)
        state.update({f"{prefix}{name}": value for name, value in learned.items()})
        return state

    def load_state_dict(  # type: ignore[override]
        self, state_dict: Mapping[str, Tensor], strict: bool = True, assign: bool = False
    ) -> _IncompatibleKeys:
        """As any module's, with one line where something does not fit.

        Raises:
            UserError: other base weights, another shape; with ``strict``, other tensors.
        """
        if strict:
            args = self.tower, self.saved, state_dict, self.base_sha256
            refuse_misfits(state_dict, *compare_learned(*args))
        return super().load_state_dict(state_dict, strict=False)

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Tensor],
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """torch's hook: the part of a larger module's state that is this one's."""
        own = {k[len(prefix) :]: v for k, v in state_dict.items() if k.startswith(prefix)}
        missing, unknown = compare_learned(self.tower, self.saved, own, self.base_sha256)
        missing_keys += [prefix + name for name in missing]
        unexpected_keys += [prefix + name for name in unknown]
        load_learned(self.tower, self.saved, own)
        self._prefix = prefix


def _forget_frozen(module: nn.Module, incompatible: Any) -> None:
    """torch goes on into the tower and misses its frozen tensors, which no state holds."""
    frozen = f"{module._prefix}tower."
    incompatible.missing_keys[:] = [
        key for key in incompatible.missing_keys if not key.startswith(frozen)
    ]
