"""Registry of data sets and the function that builds the one a config names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dassl.utils import Registry, check_availability

if TYPE_CHECKING:
    from yacs.config import CfgNode

    from .base_dataset import DatasetBase

DATASET_REGISTRY = Registry("DATASET")


def build_dataset(cfg: CfgNode) -> DatasetBase:
    """Build the data set ``cfg.DATASET.NAME``; an unknown name is a ValueError as upstream's."""
    name = cfg.DATASET.NAME
    check_availability(name, DATASET_REGISTRY.registered_names())
    if cfg.VERBOSE:
        print(f"Loading dataset: {name}")
    return DATASET_REGISTRY.get(name)(cfg)
