"""What a run reads, looked at before anything is made: data set, centres, the backbone's name."""

from __future__ import annotations

import io
import warnings
from contextlib import nullcontext, redirect_stdout
from typing import Any

from cerviclip.adopt.spec import is_adopted
from dassl.utils.distributed import world_size


def check_data(cfg: Any, silent: bool = False) -> None:
    """Build the data set and its external centres.

    Args:
        cfg: the run's.
        silent: do not describe them; warnings are shown all the same.

    Raises:
        UserError: a folder, class, pattern or centre that cannot be.
    """
    from cerviclip.data.centers.external import build_external_datasets
    from dassl.data.datasets import build_dataset

    with redirect_stdout(io.StringIO()) if silent else nullcontext():
        build_external_datasets(cfg, build_dataset(cfg))


def uses_backbone(cfg: Any) -> bool:
    """Whether the trainer's backbone is one of ``load_backbone``."""
    from cerviclip.engine.vlm_trainer import VLMTrainer
    from cerviclip.plugins import ensure_loaded

    name = cfg.TRAINER.NAME
    return not is_adopted(name) and issubclass(ensure_loaded("trainer", name), VLMTrainer)


def check_names_and_values(cfg: Any) -> None:
    """Say what is wrong with names and values, where a folder holds a run of another configuration:
    a mistyped one is the likelier reason than a second run. In silence, and nothing is downloaded.

    Raises:
        UserError: as a new folder would get it.
    """
    from cerviclip.vlm.loading import check_name

    if world_size() > 1:  # each process would read all images at once
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if uses_backbone(cfg) or cfg.MODEL.BACKBONE.NAME.startswith("torchvision:"):
            check_name(cfg.MODEL.BACKBONE.NAME)
        check_data(cfg, silent=True)
