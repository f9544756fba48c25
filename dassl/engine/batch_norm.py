"""What torch says of batch norm on a batch of one, in terms of the configuration."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dassl.errors import UserError

_TORCH_SAYS = "Expected more than 1 value per channel when training"


@contextmanager
def lone_images_are_named() -> Iterator[None]:
    """Turn torch's error of batch norm on a single value into one that names the keys.

    Raises:
        UserError: a layer of batch norm in train mode has met one value per channel.
    """
    try:
        yield
    except ValueError as error:
        if not str(error).startswith(_TORCH_SAYS):
            raise
        raise UserError(
            "batch norm has one image to average over: set DATALOADER.TRAIN_X.BATCH_SIZE to 2 or "
            "more (and have 2 training images), MODEL.HEAD.BN False if it is the head's, or take "
            "larger images (INPUT.SIZE) if a feature map has shrunk to one pixel"
        ) from error
