"""Whether tensors are still what they were when something was worked out from them."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook

_steps_done = 0


def _count(*args: Any) -> None:
    global _steps_done
    _steps_done += 1


register_optimizer_step_post_hook(_count)


def state_of(*tensors: Tensor) -> tuple[int, ...]:
    """A key that differs once one of the tensors was changed in place, or any optimiser stepped.

    The steps are counted because torch's fused optimisers leave a tensor's version as it is.
    """
    return (_steps_done, *(n for t in tensors for n in (t._version, t.data_ptr())))
