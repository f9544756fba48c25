"""The configuration tree: upstream's defaults and ours, and merging that explains its errors."""

from yacs.config import CfgNode

from dassl.config.defaults import default_tree
from dassl.config.merge import merge_file, merge_opts, unknown_key_message
from dassl.config.yaml_file import layers_of, merged_tree, read_yaml

__all__ = [
    "CfgNode",
    "clean_cfg",
    "get_cfg_default",
    "layers_of",
    "merge_file",
    "merge_opts",
    "merged_tree",
    "read_yaml",
    "unknown_key_message",
]


def get_cfg_default() -> CfgNode:
    """A fresh copy of the whole default tree, ready to be extended and merged into."""
    return default_tree()


def clean_cfg(cfg: CfgNode, trainer: str) -> None:
    """Drop the TRAINER sections of all other trainers, so that printing cfg shows what matters.

    Args:
        cfg: changed in place.
        trainer: the trainer's name; its section is the name in capitals.
    """
    for key in list(cfg.TRAINER.keys()):
        if key not in ("NAME", trainer.upper()):
            cfg.TRAINER.pop(key, None)
