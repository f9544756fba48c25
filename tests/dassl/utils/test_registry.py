"""Registries: upstream's use, and what their errors tell."""

from __future__ import annotations

import pytest

from dassl.utils import Registry, check_availability


def make():
    registry = Registry("TRAINER")

    @registry.register()
    class CoOp:
        pass

    @registry.register()
    class CoCoOp:
        pass

    return registry, CoOp


def test_decorator_call_and_names():
    registry, coop = make()

    def function():
        pass

    assert registry.register(function) is function
    assert registry.get("CoOp") is coop
    assert registry.get("function") is function
    assert registry.registered_names() == ["CoOp", "CoCoOp", "function"]
    assert "CoOp" in registry and "coop" not in registry


def test_unknown_name_says_what_where_nearest_and_all():
    registry, _ = make()
    with pytest.raises(KeyError) as caught:
        registry.get("CoCoop")
    message = str(caught.value)
    assert "TRAINER" in message and "'CoCoop'" in message
    assert "did you mean 'CoCoOp'?" in message and "CoCoOp, CoOp" in message


def test_duplicate_names_both_modules_unless_forced():
    registry, first = make()
    second = type("CoOp", (), {"__module__": "json"})
    with pytest.raises(KeyError) as caught:
        registry.register(second)
    assert __name__ in str(caught.value) and "json" in str(caught.value)
    assert "force=True" in str(caught.value)
    assert registry.get("CoOp") is first
    registry.register(second, force=True)
    assert registry.get("CoOp") is second

    @registry.register(force=True)
    class CoOp:
        pass

    assert registry.get("CoOp") is CoOp


def test_check_availability():
    check_availability("a", ["a", "b"])
    with pytest.raises(ValueError, match=r"\[CoOpp\] \(do you mean \[CoOp\]\?\)"):
        check_availability("CoOpp", ["CoOp", "Vanilla"])
    with pytest.raises(ValueError):
        check_availability("a", [])
