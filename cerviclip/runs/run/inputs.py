"""What a run reads, looked at before anything is made: data set, centres, the backbone's name; and
how it differs from what an earlier run has read."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from contextlib import nullcontext, redirect_stdout
from typing import Any

from cerviclip.adopt.spec import is_adopted
from dassl.errors import UserError
from dassl.utils.distributed import world_size


def check_data(cfg: Any, silent: bool = False) -> dict[str, Any]:
    """Build the data set and its external centres; their images by source, as ``flow`` has them.

    Args:
        cfg: the run's.
        silent: do not describe them; warnings are shown all the same.

    Raises:
        UserError: a folder, class, pattern or centre that cannot be.
    """
    from cerviclip.data.centers.external import build_external_datasets
    from cerviclip.data.flow import flow_of
    from dassl.data.datasets import build_dataset

    with redirect_stdout(io.StringIO()) if silent else nullcontext():
        dataset = build_dataset(cfg)
        centers = build_external_datasets(cfg, dataset)
    return flow_of(dataset, centers)["sources"]


def check_has_training_images(trainer: Any) -> None:
    """Refuse to train on a data set that is only tested on, as an external centre: some methods
    would give the zero-shot scores under their own name.

    Raises:
        UserError: there is no image to train on.
    """
    dataset = trainer.dm.dataset
    if not dataset.train_x and getattr(trainer, "needs_training", True):
        name = type(dataset).__name__
        raise UserError(
            f"{name} has no training images, and {type(trainer).__name__} trains; train on another "
            f"data set and name this one as a centre (TEST.EXTERNAL \"['{name}']\")"
        )


def uses_backbone(cfg: Any) -> bool:
    """Whether the trainer's backbone is one of ``load_backbone``."""
    from cerviclip.engine.vlm_trainer import VLMTrainer
    from cerviclip.plugins import ensure_loaded

    name = cfg.TRAINER.NAME
    return not is_adopted(name) and issubclass(ensure_loaded("trainer", name), VLMTrainer)


def check_names_and_values(cfg: Any) -> dict[str, Any]:
    """Say what is wrong with names and values, where a folder holds a run of another configuration:
    a mistyped one is the likelier reason than a second run. In silence, and nothing is downloaded.

    Returns:
        The images that there are now, as of `check_data`; {} where nobody has looked.

    Raises:
        UserError: as a new folder would get it.
    """
    from cerviclip.vlm.loading import check_name

    if world_size() > 1:  # each process would read all images at once
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if uses_backbone(cfg) or cfg.MODEL.BACKBONE.NAME.startswith("torchvision:"):
            check_name(cfg.MODEL.BACKBONE.NAME)
        return check_data(cfg, silent=True)


def changed_inputs(results: Mapping[str, Any], cfg: Any, sources: Mapping[str, Any]) -> list[str]:
    """What a run of the same settings has read and is now another, as far as its files tell.

    Args:
        results: of the earlier run.
        cfg: of the run that is asked for.
        sources: the images that there are now, as of `check_names_and_values`.
    """
    from cerviclip.runs.run.run_files import weights_sha256

    found = []
    earlier = (results.get("flow") or {}).get("sources") or {}
    for name in sorted(sources.keys() & earlier.keys()):
        now, then = (told[name]["seen"]["images"] for told in (sources, earlier))
        if now != then:
            found.append(f"the images of {name} have changed ({now:,} now, {then:,} then)")
    now, then = weights_sha256(cfg), results.get("weights_sha256")
    if now and then and now != then:
        found.append(f"the weights have changed (SHA-256 {now[:8]} now, {then[:8]} then)")
    return found
