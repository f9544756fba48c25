"""What the registry of our own process holds of an adopted trainer: its name and its config keys.

The repository itself is imported only in a child, so that its ``trainers``, ``datasets``, ``clip``
and ``utils`` never meet ours.
"""

from __future__ import annotations

import copy
import hashlib
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any

from cerviclip.adopt.launch import Job, run_adopted
from cerviclip.adopt.spec import Adoption, read_adoption
from dassl.errors import UserError

_descriptions: dict[str, dict[str, Any]] = {}
#: In a child: plug-in -> what builds the real trainer from a configuration.
_builders: dict[str, Callable[[Any], Any]] = {}


def descriptions() -> dict[str, dict[str, Any]]:
    """What children have said so far, to hand to another process."""
    return dict(_descriptions)


def remember(known: Mapping[str, dict[str, Any]]) -> None:
    """Take over what another process knows."""
    _descriptions.update(known)


def build_by(plugin: str, builder: Callable[[Any], Any]) -> None:
    """Make this process the child that the trainer lives in."""
    _builders[plugin] = builder


def load(plugin: str) -> types.ModuleType:
    """A module that registers the stand-in of an adoption and extends a configuration as it does.

    Raises:
        UserError: the adoption cannot be, or its files cannot be imported.
    """
    adoption = read_adoption(plugin)
    key = f"{plugin} {adoption.repository.files_sha256()}"
    if key not in _descriptions:
        try:
            _descriptions[key] = run_adopted(Job("describe", plugin))
        except RuntimeError as error:  # nothing has run yet: another trainer or file is the way out
            raise UserError(f"{adoption.label} cannot be adopted: {error}") from error
    return _module(plugin, adoption, _descriptions[key]["tree"])


def _module(plugin: str, adoption: Adoption, tree: Mapping[str, Any]) -> types.ModuleType:
    from dassl.engine import TRAINER_REGISTRY, SimpleTrainer

    name = f"cerviclip_adopted_{hashlib.sha256(plugin.encode()).hexdigest()[:8]}"
    module = types.ModuleType(name, f"Stand-in of {plugin}")

    def extend_cfg(cfg: Any) -> None:
        merge(cfg, tree)
        merge(cfg, {"ADOPT": facts(adoption)})

    def make(cls: type, cfg: Any) -> Any:
        return _builders[plugin](cfg)

    body = {
        "__module__": name,
        "__doc__": adoption.trainer.summary,
        "__new__": make,
        "needs_training": adoption.trainer.learns,
    }
    module.extend_cfg = extend_cfg  # type: ignore[attr-defined]
    sys.modules[name] = module
    TRAINER_REGISTRY.register(type(adoption.label, (SimpleTrainer,), body), force=True)
    return module


def facts(adoption: Adoption) -> dict[str, str]:
    """The section ``ADOPT`` of a run's configuration: which code it runs."""
    repository = adoption.repository
    return {
        "NAME": adoption.name,
        "TRAINER": adoption.trainer.name,
        "REPOSITORY": str(repository.root),
        "COMMIT": repository.commit or "",
        "FILES": repository.files_sha256(),
        "TRANSFORMS": "theirs",
        "SUBSAMPLE_CLASSES": "all",  # what its code reads there; the data set keeps its classes
    }


def merge(cfg: Any, tree: Mapping[str, Any]) -> None:
    """Put a tree of new and changed keys into an open configuration."""
    from dassl.config import CfgNode

    for key, value in tree.items():
        if isinstance(value, Mapping):
            if not isinstance(cfg.get(key), CfgNode):
                cfg[key] = CfgNode()
            merge(cfg[key], value)
        else:
            cfg[key] = copy.deepcopy(value)
