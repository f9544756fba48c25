"""The table of backbones and how one is made."""

from __future__ import annotations

from typing import Any

from dassl.utils import Registry, check_availability

BACKBONE_REGISTRY = Registry("BACKBONE")


def build_backbone(name: str, verbose: bool = True, **kwargs: Any) -> Any:
    """Make the backbone registered as ``name``.

    Args:
        name: as in ``MODEL.BACKBONE.NAME``.
        verbose: print the name.
        kwargs: for the backbone, such as ``pretrained``.
    """
    check_availability(name, BACKBONE_REGISTRY.registered_names())
    if verbose:
        print(f"Backbone: {name}")
    return BACKBONE_REGISTRY.get(name)(**kwargs)
