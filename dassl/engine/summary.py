"""TensorBoard where it is installed, nothing where it is not."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from dassl.utils import random_kept


def is_installed() -> bool:
    """Whether event files will be written."""
    return find_spec("tensorboard") is not None


class SummaryWriter:
    """``torch.utils.tensorboard.SummaryWriter``, opened late.

    The real one is opened at the first value, since importing it takes seconds. Without the
    tensorboard package every call does nothing: history.csv has the same curves.

    Args:
        log_dir: folder of the event files.
        kwargs: handed on to the real writer.
    """

    def __init__(self, log_dir: str | None = None, **kwargs: Any) -> None:
        self.log_dir = log_dir
        self._kwargs = kwargs
        self._real: Any = None
        self._absent = False

    def _open(self) -> Any:
        if self._real is None and not self._absent:
            try:
                with random_kept():
                    from torch.utils.tensorboard import SummaryWriter as Real
            except ImportError:
                self._absent = True
            else:
                self._real = Real(log_dir=self.log_dir, **self._kwargs)
        return self._real

    def add_scalar(
        self, tag: str, scalar_value: Any, global_step: int | None = None, *args: Any, **kwargs: Any
    ) -> None:
        if self._absent:
            return
        if (real := self._open()) is not None:
            real.add_scalar(tag, scalar_value, global_step, *args, **kwargs)

    def flush(self) -> None:
        if self._real is not None:
            self._real.flush()

    def close(self) -> None:
        if self._real is not None:
            self._real.close()

    def __getattr__(self, name: str) -> Any:  # add_image, add_histogram ...
        if not name.startswith("add_"):
            raise AttributeError(name)
        real = self._open()
        return getattr(real, name) if real is not None else lambda *args, **kwargs: None
