"""Name -> class tables, with errors that say what was asked, what is near and what is missing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from dassl.errors import DuplicateNameError, UnknownNameError, did_you_mean


class Registry:
    """A table of classes or functions under their own names.

    Used as upstream's: ``@REGISTRY.register()`` on a class, ``REGISTRY.register(cls)`` as a call,
    ``REGISTRY.get("Name")``.

    Args:
        name: shown in error messages, such as "TRAINER".
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._obj_map: dict[str, Any] = {}

    def register(self, obj: Any = None, force: bool = False) -> Any:
        """Register under ``obj.__name__``; as a decorator when called without ``obj``.

        Args:
            obj: class or function.
            force: replace an entry of the same name instead of raising.

        Raises:
            KeyError: the name is taken and ``force`` is False.
        """
        if obj is None:

            def decorator(decorated: Any) -> Any:
                self._do_register(decorated.__name__, decorated, force=force)
                return decorated

            return decorator
        self._do_register(obj.__name__, obj, force=force)
        return obj

    def get(self, name: str) -> Any:
        """The class registered as ``name``; KeyError with the nearest name where there is none."""
        if name not in self._obj_map:
            raise UnknownNameError(self._unknown(name))
        return self._obj_map[name]

    def registered_names(self) -> list[str]:
        return list(self._obj_map)

    def __contains__(self, name: object) -> bool:
        return name in self._obj_map

    def __repr__(self) -> str:
        return f"Registry({self._name!r}: {', '.join(sorted(self._obj_map)) or 'empty'})"

    def _do_register(self, name: str, obj: Any, force: bool = False) -> None:
        if name in self._obj_map and not force:
            raise DuplicateNameError(
                f"{self._name} registry: {name} in {_origin(obj)} is already registered by "
                f"{_origin(self._obj_map[name])}; rename one, or register with force=True"
            )
        self._obj_map[name] = obj

    def _unknown(self, name: str) -> str:
        names = sorted(self._obj_map)
        return (
            f"{self._name} registry has no {name!r}{did_you_mean(name, names)} "
            f"Registered: {', '.join(names) or 'nothing'}. "
            "Import the module that registers it first (or name it with --plugin)."
        )


def _origin(obj: Callable[..., Any]) -> str:
    module = getattr(obj, "__module__", "?")
    path = getattr(sys.modules.get(module), "__file__", None)
    return f"{module} ({path})" if path else str(module)
