"""Tensors with one row for each training image: their number is not known when a model is built."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class RowsByData(nn.Module):
    """A module some of whose tensors have a number of rows that the data decide.

    A subclass registers them with 0 rows, as parameters or buffers, and names them in
    ``rows_by_data``. ``set_rows`` gives them their rows in ``prepare_fit``; a checkpoint that is
    loaded brings its own number of rows along. All other sizes must fit, as for any module.
    """

    rows_by_data: tuple[str, ...] = ()

    @torch.no_grad()
    def set_rows(self, **rows: Tensor) -> None:
        """Give tensors their values; an optimiser that holds a parameter still does afterwards."""
        for name, value in rows.items():
            own = getattr(self, name)
            own.data = value.detach().to(own.device, own.dtype, copy=True)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        for name in self.rows_by_data:
            saved, own = state_dict.get(prefix + name), getattr(self, name)
            if saved is not None and saved.shape[1:] == own.shape[1:]:
                own.data = own.data.new_zeros(saved.shape)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
